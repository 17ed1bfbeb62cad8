//! Several processes that train one model: what a program supplies so that they can talk, and what
//! training says by it. A process is called a rank, as in MPI.

use crate::error::{Error, Result};
use cllm_kernels::memory::{filled, grow};
use std::fmt;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Bytes that one exchange sends or receives at most.
pub const MAX_MESSAGE: usize = 1 << 28;

/// What a program supplies so that its ranks train together, by
/// [`Trainer::set_communicator`](super::Trainer::set_communicator). All ranks make the same sequence of exchanges, each with partners
/// that fit.
pub trait Communicator: fmt::Debug + Send + Sync {
    /// The number of this rank, from 0 on.
    fn rank(&self) -> usize;

    /// How many ranks there are, 1 or more.
    fn ranks(&self) -> usize;

    /// Sends `send` to rank `to`, and fills `receive` with what rank `from` sends here: MPI_Sendrecv. One
    /// of the two may be empty, and then that rank takes no part. None is longer than [`MAX_MESSAGE`].
    ///
    /// # Errors
    /// A rank that can't be reached. Training ends then.
    fn exchange(&mut self, to: usize, send: &[u8], from: usize, receive: &mut [u8]) -> Result<()>;
}

/// Ranks that are threads of one process, for tests and to try things out: for each one its
/// communicator. A rank whose communicator is dropped ends the training of all others.
///
/// ```
/// use cllm_engine::train::ranks::{Communicator, threads};
///
/// let sums: Vec<u8> = std::thread::scope(|scope| {
///     let ranks = threads(3).into_iter().map(|mut rank| {
///         scope.spawn(move || {
///             let (me, mut got) = (rank.rank(), [0]);
///             rank.exchange((me + 1) % 3, &[me as u8], (me + 2) % 3, &mut got).unwrap();
///             got[0]
///         })
///     });
///     ranks.collect::<Vec<_>>().into_iter().map(|rank| rank.join().unwrap()).collect()
/// });
/// assert_eq!(sums, [2, 0, 1]);
/// ```
pub fn threads(ranks: usize) -> Vec<Threads> {
    let mut all: Vec<_> =
        (0..ranks).map(|rank| Threads { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..ranks {
        for to in 0..ranks {
            let (sender, receiver) = channel();
            all[from].to.push(sender);
            all[to].from.push(Mutex::new(receiver));
        }
    }
    all
}

/// A rank of [`threads`].
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn exchange(&mut self, to: usize, send: &[u8], from: usize, receive: &mut [u8]) -> Result<()> {
        let gone = |rank: usize| Error::state(format!("rank {rank} is gone"));
        if !send.is_empty() {
            self.to[to].send(send.to_vec()).map_err(|_| gone(to))?;
        }
        if !receive.is_empty() {
            let channel = self.from[from].lock().unwrap_or_else(PoisonError::into_inner);
            let message = channel.recv().map_err(|_| gone(from))?;
            if message.len() != receive.len() {
                let (n, m) = (message.len(), receive.len());
                return Err(Error::state(format!("rank {from} sent {n} bytes, not {m}")));
            }
            receive.copy_from_slice(&message);
        }
        Ok(())
    }
}

/// What a rank has sent, and how long it has waited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes that this rank sent.
    pub bytes: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Seconds in them, waiting for ranks that were not there yet included.
    pub seconds: f64,
}

/// Part `index` of `parts` as equal as can be, in order.
pub(super) fn share(len: usize, index: usize, parts: usize) -> Range<usize> {
    let (each, rest) = (len / parts, len % parts);
    let start = |index: usize| index * each + index.min(rest);
    start(index)..start(index + 1)
}

/// A communicator in use.
#[derive(Debug)]
pub(super) struct Link {
    communicator: Box<dyn Communicator>,
    pub rank: usize,
    pub ranks: usize,
    pub traffic: Traffic,
    /// After an error nobody knows any more who waits for what.
    broken: bool,
    gathered: Vec<u8>,
}

impl Link {
    pub fn new(communicator: Box<dyn Communicator>) -> Result<Self> {
        let (rank, ranks) = (communicator.rank(), communicator.ranks());
        if rank >= ranks {
            return Err(Error::argument("the rank", rank, "below the number of ranks"));
        }
        let traffic = Traffic::default();
        Ok(Self { communicator, rank, ranks, traffic, broken: false, gathered: Vec::new() })
    }

    /// [`Communicator::exchange`]; nothing where both arrays are empty.
    pub fn exchange(
        &mut self,
        to: usize,
        send: &[u8],
        from: usize,
        receive: &mut [u8],
    ) -> Result<()> {
        if self.broken {
            return Err(Error::state("the ranks have lost each other"));
        }
        if send.is_empty() && receive.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let done = self.communicator.exchange(to, send, from, receive);
        self.traffic.seconds += began.elapsed().as_secs_f64();
        self.traffic.exchanges += 1;
        self.traffic.bytes += send.len() as u64;
        self.broken = done.is_err();
        done
    }

    /// Memory for [`gather`](Self::gather) of so many bytes.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        let all = cllm_kernels::memory::product("what the ranks say", &[bytes, self.ranks])?;
        Ok(grow("what the ranks say", &mut self.gathered, all)?)
    }

    /// As many bytes of every rank, in the order of the ranks, in ⌈log₂ R⌉ rounds (Bruck et al.,
    /// "Efficient algorithms for all-to-all communications", 1997).
    pub fn gather(&mut self, mine: &[u8]) -> Result<&[u8]> {
        self.reserve(mine.len())?;
        let (size, rank, ranks) = (mine.len(), self.rank, self.ranks);
        let mut gathered = std::mem::take(&mut self.gathered);
        // First in the order of the distance from this rank.
        let all = &mut gathered[..size * ranks];
        all[..size].copy_from_slice(mine);
        let mut have = 1;
        let mut done = Ok(());
        while have < ranks && done.is_ok() {
            let count = have.min(ranks - have);
            let (there, missing) = all.split_at_mut(have * size);
            let (to, from) = ((rank + ranks - have) % ranks, (rank + have) % ranks);
            let missing = &mut missing[..count * size];
            done = self.exchange(to, &there[..count * size], from, missing);
            have += count;
        }
        all.rotate_right(rank * size);
        self.gathered = gathered;
        done?;
        Ok(&self.gathered[..size * ranks])
    }

    /// Whether any rank says so.
    pub fn any(&mut self, here: bool) -> Result<bool> {
        Ok(self.gather(&[u8::from(here)])?.contains(&1))
    }

    /// An error for all ranks where one has one: the first of them, by rank.
    pub fn all_well<T>(&mut self, here: Result<T>) -> Result<T> {
        self.all_well_and_any(here, false).map(|(here, _)| here)
    }

    /// [`all_well`](Self::all_well) and [`any`](Self::any) in one round.
    pub fn all_well_and_any<T>(&mut self, here: Result<T>, so: bool) -> Result<(T, bool)> {
        let mine = u8::from(here.is_err()) | u8::from(so) << 1;
        let all = self.gather(&[mine])?.iter().fold(0, |all, one| all | one);
        if all & 1 == 0 {
            return here.map(|here| (here, all & 2 != 0));
        }
        let text = here.err().map_or_else(String::new, |error| error.to_string());
        let texts = self.gather(&field::<TEXT>(&text))?;
        let failed = texts.chunks(TEXT).map(text_of).enumerate().find(|(_, text)| !text.is_empty());
        let (rank, text) = failed.unwrap_or((0, String::new()));
        Err(Error::state(format!("rank {rank}: {text}")))
    }

    /// An error, the same on all ranks, where the others' `fields` (name and value, as many everywhere)
    /// are not those of rank 0.
    pub fn same(&mut self, fields: &[(&'static str, String)]) -> Result<()> {
        self.same_in(env!("CARGO_PKG_VERSION"), fields)
    }

    /// [`same`](Self::same) in so named a version of the library.
    fn same_in(&mut self, version: &str, fields: &[(&'static str, String)]) -> Result<()> {
        let mut hasher = crc32fast::Hasher::new();
        for (name, value) in fields {
            hasher.update(name.as_bytes());
            hasher.update(value.as_bytes());
            hasher.update(&[0]);
        }
        let mut record = [0; VERSION + 4];
        record[..VERSION].copy_from_slice(&field::<VERSION>(version));
        record[VERSION..].copy_from_slice(&hasher.finalize().to_le_bytes());
        let differs = |name: &str, first: String, rank: usize, other: String| {
            Err(Error::state(format!(
                "the ranks differ in {name}: {first} on rank 0, {other} on rank {rank}"
            )))
        };
        let records = self.gather(&record)?;
        let first = &records[..record.len()];
        // Of another version, even the number of the fields may be another.
        let mut others = records.chunks(record.len()).enumerate();
        if let Some((rank, other)) = others.find(|(_, r)| r[..VERSION] != first[..VERSION]) {
            return differs("the version of the library", text_of(first), rank, text_of(other));
        }
        if records.chunks(record.len()).all(|other| other == first) {
            return Ok(());
        }
        let mut values = filled("what the ranks say", fields.len() * TEXT)?;
        for (slot, (_, value)) in values.chunks_mut(TEXT).zip(fields) {
            slot.copy_from_slice(&field::<TEXT>(value));
        }
        let all = self.gather(&values)?;
        for (rank, other) in all.chunks(values.len()).enumerate() {
            let pairs = all.chunks(TEXT).zip(other.chunks(TEXT)).zip(fields);
            for ((first, other), (name, _)) in pairs {
                if first != other {
                    return differs(name, text_of(first), rank, text_of(other));
                }
            }
        }
        Err(Error::state("the ranks differ"))
    }
}

/// Bytes of a text that is sent, and of a version.
const TEXT: usize = 200;
const VERSION: usize = 28;

/// A text as bytes that end in zeros, cut where it is too long.
fn field<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let len = text.len().min(N);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    bytes
}

fn text_of(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `work` returns on each of several ranks.
    fn on_ranks<T: Send>(ranks: usize, work: impl Fn(&mut Link) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let work = &work;
            let all: Vec<_> = threads(ranks)
                .into_iter()
                .map(|rank| scope.spawn(move || work(&mut Link::new(Box::new(rank)).unwrap())))
                .collect();
            all.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    #[test]
    fn shares_are_contiguous_and_equal_but_for_one() {
        for len in 0..30 {
            for parts in 1..10 {
                let shares: Vec<_> = (0..parts).map(|i| share(len, i, parts)).collect();
                assert_eq!((shares[0].start, shares[parts - 1].end), (0, len));
                assert!(shares.windows(2).all(|w| w[0].end == w[1].start));
                assert!(
                    shares.iter().all(|s| s.len() == len / parts || s.len() == len / parts + 1)
                );
            }
        }
    }

    #[test]
    fn everybody_gets_what_everybody_has() {
        for ranks in 1..10 {
            let expected: Vec<u8> = (0..ranks as u8).flat_map(|r| [r, 100 + r]).collect();
            for (all, any) in on_ranks(ranks, |link| {
                let me = link.rank as u8;
                let all = link.gather(&[me, 100 + me]).unwrap().to_vec();
                (all, link.any(link.rank + 1 == ranks).unwrap())
            }) {
                assert_eq!((&all, any), (&expected, true));
            }
            assert!(on_ranks(ranks, |link| link.any(false).unwrap()).iter().all(|any| !any));
        }
    }

    #[test]
    fn an_error_of_one_is_an_error_of_all() {
        for text in on_ranks(4, |link| {
            let here = match link.rank {
                2 => Err(Error::shape("no memory")),
                rank => Ok(rank),
            };
            link.all_well(here).unwrap_err().to_string()
        }) {
            assert_eq!(text, "rank 2: no memory");
        }
        assert_eq!(on_ranks(3, |link| link.all_well(Ok(link.rank)).unwrap()), [0, 1, 2]);
        let said = |says| {
            on_ranks(3, move |link| {
                link.all_well_and_any(Ok(link.rank), link.rank == says).unwrap()
            })
        };
        assert_eq!(said(2), [(0, true), (1, true), (2, true)]);
        assert_eq!(said(3), [(0, false), (1, false), (2, false)]);
    }

    #[test]
    fn what_differs_is_named() {
        let fields =
            |rate: f32| vec![("the seed", "7".to_string()), ("the rate", rate.to_string())];
        assert!(on_ranks(5, |link| link.same(&fields(0.5))).iter().all(Result::is_ok));
        for text in on_ranks(5, |link| {
            link.same(&fields(if link.rank == 3 { 0.25 } else { 0.5 })).unwrap_err().to_string()
        }) {
            assert_eq!(text, "the ranks differ in the rate: 0.5 on rank 0, 0.25 on rank 3");
        }
    }

    #[test]
    fn another_version_is_named_whatever_it_compares() {
        for text in on_ranks(3, |link| {
            let (version, count) = if link.rank == 2 { ("0.9.1", 1) } else { ("1.0.0", 4) };
            let fields = vec![("the seed", "7".to_string()); count];
            link.same_in(version, &fields).unwrap_err().to_string()
        }) {
            assert_eq!(
                text,
                "the ranks differ in the version of the library: 1.0.0 on rank 0, 0.9.1 on rank 2"
            );
        }
    }

    #[test]
    fn a_rank_that_is_gone_is_an_error() {
        let mut ranks = threads(2);
        drop(ranks.pop());
        let mut link = Link::new(Box::new(ranks.remove(0))).unwrap();
        assert_eq!(link.gather(&[1]).unwrap_err().to_string(), "rank 1 is gone");
        let text = link.gather(&[1]).unwrap_err().to_string();
        assert_eq!(text, "the ranks have lost each other");
    }
}
