//! Texts worked on by all threads: parts of one piece, while what became of the piece before is taken
//! and the piece behind it is read.

use super::{Pieces, Watch, tell};
use crate::error::Result;
use cllm_kernels::Pool;
use cllm_kernels::memory::reserve;
use std::sync::{Mutex, PoisonError};

/// Where the beginning of a longer text can be cut.
pub(super) type LastCut<'c> = &'c (dyn Fn(&[u8]) -> Option<usize> + Sync);

/// `text` in parts of about `size` bytes, which `last_cut` allows; none is empty.
fn parts<'t>(text: &'t [u8], size: usize, last_cut: LastCut<'_>) -> Result<Vec<&'t [u8]>> {
    let mut parts = Vec::new();
    reserve("the parts of a text", &mut parts, text.len() / size + 1)?;
    let (mut rest, mut window) = (text, size);
    while rest.len() > window {
        match last_cut(&rest[..window]).filter(|&cut| cut > 0) {
            Some(cut) => {
                parts.push(&rest[..cut]);
                (rest, window) = (&rest[cut..], size);
            }
            None => window = window.saturating_mul(2),
        }
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    Ok(parts)
}

/// Calls `work` for all parts of some `size` bytes of `pieces`, on all threads of `pool`, and `take` for each
/// result, in order, with whether a text begins with its part. Where the parts are cut does not depend on
/// the number of threads. `watch` is told how many bytes are done, on this thread.
pub(super) fn work_on<R: Send>(
    mut pieces: Pieces<'_>,
    size: usize,
    pool: &Pool,
    last_cut: LastCut<'_>,
    work: &(dyn Fn(&[u8]) -> Result<R> + Sync),
    take: &mut (dyn FnMut(bool, R) -> Result<()> + Send),
    watch: Watch<'_>,
) -> Result<()> {
    let (mut text, mut ahead) = (Vec::new(), Vec::new());
    let mut first = pieces.next_into(&mut text, last_cut)?;
    let mut made: Vec<Mutex<Option<Result<R>>>> = Vec::new();
    let (mut made_first, mut bytes) = (false, 0);
    while !text.is_empty() || !made.is_empty() {
        let parts = parts(&text, size, last_cut)?;
        let mut results = Vec::new();
        reserve("the parts of a text", &mut results, parts.len())?;
        results.extend(parts.iter().map(|_| Mutex::new(None)));
        let taking = Mutex::new((&mut *take, std::mem::take(&mut made), Ok(())));
        let reading = Mutex::new((&mut pieces, &mut ahead, Ok(false)));
        pool.for_each(parts.len() + 2, |task| match task.checked_sub(2) {
            Some(part) => set(&results[part], Some(work(parts[part]))),
            None if task == 0 => {
                let (take, made, taken) =
                    &mut *taking.lock().unwrap_or_else(PoisonError::into_inner);
                *taken = made.drain(..).enumerate().try_for_each(|(part, result)| {
                    match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                        Some(result) => take(made_first && part == 0, result?),
                        None => Ok(()),
                    }
                });
            }
            None => {
                let (pieces, ahead, found) =
                    &mut *reading.lock().unwrap_or_else(PoisonError::into_inner);
                *found = pieces.next_into(ahead, last_cut);
            }
        });
        taking.into_inner().unwrap_or_else(PoisonError::into_inner).2?;
        let next_first = reading.into_inner().unwrap_or_else(PoisonError::into_inner).2?;
        if !text.is_empty() {
            bytes += text.len() as u64;
            tell(watch, bytes)?;
        }
        (made, made_first) = (results, first);
        (text, ahead) = (ahead, text);
        first = next_first;
    }
    Ok(())
}

fn set<T>(place: &Mutex<T>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = value;
}
