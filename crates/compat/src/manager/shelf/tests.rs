use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

struct Thing {
    number: u32,
    loaded: bool,
    shown: Status,
}

impl Item for Thing {
    type Handle = u32;

    fn handle(&self) -> u32 {
        self.number
    }

    fn is_loaded(&self) -> bool {
        self.loaded
    }

    fn show(&mut self, status: Status) {
        self.shown = status;
    }
}

const NOBODY: Status = Status { writing: false, readers: 0 };

#[test]
fn the_list_is_there_after_the_last_item() {
    let shelf = shelf(&[]);
    assert_eq!(shelf.list(), Some((ptr::null(), 0)));
    let thing = Thing { number: 1, loaded: true, shown: NOBODY };
    assert!(shelf.insert(b"a", thing).is_ok());
    assert!(shelf.remove(b"a").is_ok());
    assert!(shelf.list().is_some_and(|(list, len)| !list.is_null() && len == 0));
}

fn shelf(names: &[&[u8]]) -> Arc<Shelf<Thing>> {
    let shelf = Shelf::new();
    shelf.open(Path::new("folder"));
    for (number, name) in (0..).zip(names) {
        let thing = Thing { number, loaded: true, shown: NOBODY };
        assert!(shelf.insert(name, thing).is_ok());
    }
    Arc::new(shelf)
}

/// What the first item was told last, and what is so.
fn shown(shelf: &Shelf<Thing>) -> (Status, Status) {
    shelf.with(b"a", |thing, status| Ok((thing.shown, status))).unwrap()
}

/// Takes access on a thread of its own, which gives what came of it.
fn acquiring(shelf: &Arc<Shelf<Thing>>, mode: Mode) -> JoinHandle<Result<u32>> {
    let shelf = Arc::clone(shelf);
    thread::spawn(move || shelf.acquire(b"a", mode, |thing| thing.number))
}

/// Until so many threads wait for the first item.
fn until_waiting(shelf: &Shelf<Thing>, count: usize) {
    let waiting = || {
        let mut open = shelf.lock();
        open.as_mut().unwrap().find(b"a").unwrap().access.waiters()
    };
    while waiting() != count {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_closed_shelf_has_nothing() {
    let shelf = Shelf::<Thing>::new();
    assert!(!shelf.is_open() && shelf.folder().is_err() && shelf.check_free(b"a").is_err());
    assert!(shelf.acquire(b"a", Mode::Read, |_| ()).is_err());
    assert!(shelf.release(b"a", Mode::Read).is_err() && shelf.remove(b"a").is_err());
    assert!(shelf.list().is_none() && shelf.first(|_| ()).is_none() && shelf.close().is_empty());
    let thing = Thing { number: 7, loaded: true, shown: NOBODY };
    assert_eq!(shelf.insert(b"a", thing).unwrap_err().0.number, 7);
}

#[test]
fn items_keep_their_order() {
    let shelf = shelf(&[b"b", b"a", b"c"]);
    assert!(shelf.check_free(b"a").is_err() && shelf.check_free(b"d").is_ok());
    assert!(shelf.check_free(b"../d").is_err());
    let thing = Thing { number: 9, loaded: true, shown: NOBODY };
    assert!(shelf.insert(b"a", thing).is_err());
    assert_eq!((shelf.list().unwrap().1, shelf.first(|thing| thing.number)), (3, Some(0)));
    assert_eq!(shelf.remove(b"b").unwrap().number, 0);
    assert_eq!((shelf.list().unwrap().1, shelf.first(|thing| thing.number)), (2, Some(1)));
    assert_eq!(shelf.folder().unwrap(), Path::new("folder"));
    shelf.open(Path::new("another"));
    assert_eq!(shelf.folder().unwrap(), Path::new("folder"));
    assert_eq!(shelf.close().len(), 2);
}

#[test]
fn what_is_not_loaded_can_not_be_had() {
    let shelf = shelf(&[b"a"]);
    let unload = |thing: &mut Thing| {
        thing.loaded = false;
        Ok(())
    };
    shelf.with_idle(b"a", unload).unwrap();
    let error = shelf.acquire(b"a", Mode::Read, |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "'a' is not loaded");
    assert!(shelf.remove(b"a").is_ok());
}

#[test]
fn what_is_in_use_stays() {
    let shelf = shelf(&[b"a"]);
    for (mode, status) in [
        (Mode::Read, Status { writing: false, readers: 1 }),
        (Mode::Write, Status { writing: true, readers: 0 }),
    ] {
        assert_eq!(shelf.acquire(b"a", mode, |thing| thing.number).unwrap(), 0);
        assert_eq!(shown(&shelf), (status, status));
        assert!(shelf.remove(b"a").is_err() && shelf.with_idle(b"a", |_| Ok(())).is_err());
        shelf.release(b"a", mode).unwrap();
        assert!(shelf.release(b"a", mode).is_err());
        assert_eq!(shown(&shelf), (NOBODY, NOBODY));
    }
}

#[test]
fn a_waiter_keeps_the_item() {
    let shelf = shelf(&[b"a"]);
    shelf.acquire(b"a", Mode::Write, |_| ()).unwrap();
    let reader = acquiring(&shelf, Mode::Read);
    let writer = acquiring(&shelf, Mode::Write);
    until_waiting(&shelf, 2);
    assert!(shelf.remove(b"a").is_err());
    shelf.release(b"a", Mode::Write).unwrap();
    // One of them at least has it now or waits for it.
    assert!(shelf.remove(b"a").is_err());
    // Whoever was first.
    let mut to_release = vec![Mode::Read, Mode::Write];
    while !to_release.is_empty() {
        to_release.retain(|&mode| shelf.release(b"a", mode).is_err());
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((reader.join().unwrap().unwrap(), writer.join().unwrap().unwrap()), (0, 0));
    assert!(shelf.remove(b"a").is_ok());
}

#[test]
fn waiters_learn_that_the_shelf_was_closed() {
    let shelf = shelf(&[b"a"]);
    shelf.acquire(b"a", Mode::Write, |_| ()).unwrap();
    let waiters = [acquiring(&shelf, Mode::Read), acquiring(&shelf, Mode::Write)];
    until_waiting(&shelf, 2);
    let left = shelf.close();
    assert!(left[0].1.writing);
    // One of the same name is another one.
    shelf.open(Path::new("folder"));
    let (item, _) = left.into_iter().next().unwrap();
    assert!(shelf.insert(b"a", item).is_ok());
    for waiter in waiters {
        let error = waiter.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the models were cleaned up meanwhile");
    }
    assert!(shelf.remove(b"a").is_ok());
}

#[test]
fn a_reader_that_would_wait_for_itself_is_told() {
    let shelf = shelf(&[b"a"]);
    shelf.acquire(b"a", Mode::Read, |_| ()).unwrap();
    assert!(shelf.acquire(b"a", Mode::Write, |_| ()).is_err());
    // While another one reads it waits, and is told when that one is gone.
    let both = Arc::clone(&shelf);
    let upgrading = thread::spawn(move || {
        both.acquire(b"a", Mode::Read, |_| ()).unwrap();
        both.acquire(b"a", Mode::Write, |_| ())
    });
    until_waiting(&shelf, 1);
    shelf.release(b"a", Mode::Read).unwrap();
    assert!(upgrading.join().unwrap().is_err());
    shelf.release(b"a", Mode::Read).unwrap();
    assert!(shelf.remove(b"a").is_ok());
}

#[test]
fn writers_are_alone() {
    let shelf = shelf(&[b"a"]);
    let inside = Arc::new(AtomicI32::new(0));
    let work = |mode: Mode| {
        let (shelf, inside) = (Arc::clone(&shelf), Arc::clone(&inside));
        thread::spawn(move || {
            for _ in 0..500 {
                shelf.acquire(b"a", mode, |_| ()).unwrap();
                match mode {
                    Mode::Read => assert!(inside.fetch_add(1, SeqCst) >= 0),
                    Mode::Write => assert_eq!(inside.fetch_sub(1000, SeqCst), 0),
                }
                thread::yield_now();
                inside.fetch_add(if mode == Mode::Read { -1 } else { 1000 }, SeqCst);
                shelf.release(b"a", mode).unwrap();
            }
        })
    };
    let modes = [Mode::Read, Mode::Write, Mode::Read, Mode::Write, Mode::Read];
    for thread in modes.map(work) {
        thread.join().unwrap();
    }
    assert_eq!(inside.load(SeqCst), 0);
    assert_eq!(shown(&shelf), (NOBODY, NOBODY));
}
