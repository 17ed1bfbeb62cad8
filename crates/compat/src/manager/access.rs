//! Who may use a model: many readers or one writer. Access belongs to the process, not to a
//! thread: any thread may give it back. Which thread took it only tells who would wait for itself.

use cllm_engine::error::{Error, Result};
use std::thread::ThreadId;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Beside other readers.
    Read,
    /// Alone.
    Write,
}

/// What a thread is told that asks for access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Granted,
    /// Others have to give theirs back first.
    Wait,
    /// It would wait for itself: all that stands in the way are its own read access and threads that
    /// wait for write access as well.
    Deadlock,
}

/// The access to one model.
#[derive(Debug, Default)]
pub struct Access {
    writer: Option<ThreadId>,
    /// Threads with read access, and how often each took it.
    readers: Vec<(ThreadId, u32)>,
    /// Threads that wait.
    waiting: Vec<(ThreadId, Mode)>,
}

impl Access {
    /// Asks for access on behalf of the thread `me`.
    ///
    /// The writer itself gets everything at once: write access is then not counted again, read
    /// access is. Readers don't wait for a writer that waits, so that a thread that reads already
    /// can go on reading.
    ///
    /// # Errors
    /// Too many readers, or no memory to note another one.
    pub fn ask(&mut self, mode: Mode, me: ThreadId) -> Result<Answer> {
        let others_write = self.writer.is_some_and(|writer| writer != me);
        match mode {
            _ if others_write => Ok(Answer::Wait),
            Mode::Read => self.count_reader(me).map(|()| Answer::Granted),
            Mode::Write if self.writer.is_some() => Ok(Answer::Granted),
            Mode::Write if self.readers.is_empty() => {
                self.writer = Some(me);
                Ok(Answer::Granted)
            }
            Mode::Write => {
                Ok(if self.waits_for_itself(me) { Answer::Deadlock } else { Answer::Wait })
            }
        }
    }

    fn count_reader(&mut self, me: ThreadId) -> Result<()> {
        if self.readers() == u32::MAX {
            return Err(Error::state("the model has 4294967295 readers"));
        }
        match self.readers.iter_mut().find(|(thread, _)| *thread == me) {
            Some((_, times)) => *times += 1,
            None => push(&mut self.readers, (me, 1))?,
        }
        Ok(())
    }

    fn waits_for_itself(&self, me: ThreadId) -> bool {
        let reads = |thread| self.readers.iter().any(|(reader, _)| *reader == thread);
        reads(me)
            && self
                .readers
                .iter()
                .all(|(reader, _)| *reader == me || self.waiting.contains(&(*reader, Mode::Write)))
    }

    /// Notes that the thread `me` waits.
    ///
    /// # Errors
    /// No memory.
    pub fn begin_waiting(&mut self, mode: Mode, me: ThreadId) -> Result<()> {
        push(&mut self.waiting, (me, mode))
    }

    /// The thread `me` no longer waits.
    pub fn end_waiting(&mut self, mode: Mode, me: ThreadId) {
        if let Some(i) = self.waiting.iter().position(|entry| *entry == (me, mode)) {
            self.waiting.swap_remove(i);
        }
    }

    /// Gives access back: of the readers one that the thread `me` took, or else another thread's.
    ///
    /// # Errors
    /// There is none to give back.
    pub fn release(&mut self, mode: Mode, me: ThreadId) -> Result<()> {
        if mode == Mode::Write {
            return self.writer.take().map(|_| ()).ok_or_else(|| nothing("write"));
        }
        let own = self.readers.iter().position(|(thread, _)| *thread == me);
        let i = own.unwrap_or(0);
        let (_, times) = self.readers.get_mut(i).ok_or_else(|| nothing("read"))?;
        *times -= 1;
        if *times == 0 {
            self.readers.remove(i);
        }
        Ok(())
    }

    /// How often read access is held.
    pub fn readers(&self) -> u32 {
        self.readers.iter().map(|(_, times)| times).sum()
    }

    /// Whether a thread has write access.
    pub fn writing(&self) -> bool {
        self.writer.is_some()
    }

    /// How many threads wait.
    pub fn waiters(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it is held, or waited for.
    pub fn in_use(&self) -> bool {
        self.writing() || !self.readers.is_empty() || !self.waiting.is_empty()
    }
}

fn nothing(what: &str) -> Error {
    Error::state(format!("nobody has {what} access to the model"))
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<()> {
    let refused = |_| Error::memory("a list of threads", size_of::<T>());
    list.try_reserve(1).map_err(refused)?;
    list.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Answer::{Deadlock, Granted, Wait};
    use super::Mode::{Read, Write};
    use super::*;

    fn threads() -> [ThreadId; 3] {
        [(); 3].map(|()| std::thread::spawn(|| std::thread::current().id()).join().unwrap())
    }

    #[test]
    fn many_readers_or_one_writer() {
        let [a, b, c] = threads();
        let mut access = Access::default();
        assert_eq!(access.ask(Read, a).unwrap(), Granted);
        assert_eq!(access.ask(Read, b).unwrap(), Granted);
        assert_eq!(access.ask(Read, b).unwrap(), Granted);
        assert_eq!((access.readers(), access.writing()), (3, false));
        assert_eq!(access.ask(Write, c).unwrap(), Wait);
        for _ in 0..3 {
            access.release(Read, c).unwrap();
        }
        assert!(access.release(Read, a).is_err());
        assert!(!access.in_use());
        assert_eq!(access.ask(Write, c).unwrap(), Granted);
        assert_eq!(access.ask(Write, a).unwrap(), Wait);
        assert_eq!(access.ask(Read, a).unwrap(), Wait);
        access.release(Write, a).unwrap();
        assert!(access.release(Write, c).is_err());
        assert!(!access.in_use());
    }

    #[test]
    fn the_writer_does_not_wait_for_itself() {
        let [a, b, _] = threads();
        let mut access = Access::default();
        assert_eq!(access.ask(Write, a).unwrap(), Granted);
        assert_eq!(access.ask(Write, a).unwrap(), Granted);
        assert_eq!(access.ask(Read, a).unwrap(), Granted);
        assert_eq!(access.readers(), 1);
        access.release(Write, b).unwrap();
        assert!(!access.writing(), "the second one was not counted");
        assert_eq!(access.ask(Write, b).unwrap(), Wait);
        assert_eq!(access.ask(Write, a).unwrap(), Deadlock);
        access.release(Read, b).unwrap();
        assert_eq!(access.ask(Write, b).unwrap(), Granted);
    }

    #[test]
    fn readers_that_want_to_write_do_not_wait_for_each_other() {
        let [a, b, c] = threads();
        let mut access = Access::default();
        for thread in [a, b] {
            assert_eq!(access.ask(Read, thread).unwrap(), Granted);
        }
        assert_eq!(access.ask(Write, a).unwrap(), Wait);
        access.begin_waiting(Write, a).unwrap();
        assert_eq!(access.ask(Write, c).unwrap(), Wait, "it reads nothing itself");
        assert_eq!(access.ask(Write, b).unwrap(), Deadlock);
        access.release(Read, b).unwrap();
        assert_eq!(access.ask(Write, a).unwrap(), Deadlock);
        access.end_waiting(Write, a);
        access.release(Read, a).unwrap();
        assert!(!access.in_use());
    }
}
