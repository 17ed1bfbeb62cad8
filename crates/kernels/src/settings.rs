//! Environment variables that the library reads, and what to say of those that it can't use.

use crate::arch::InstructionSet;
use crate::notice;
use crate::threads::MAX_THREADS;
use std::ffi::OsStr;

/// Names the instruction set to use at most.
pub(crate) const SIMD: &str = "CLLM_SIMD";

/// Says how many threads work where a call says nothing.
pub(crate) const NUM_THREADS: &str = "CLLM_NUM_THREADS";

/// How the names of the library's variables begin.
const PREFIX: &str = "CLLM_";

/// What a value of `CLLM_SIMD` asks for: the best, where there is none or an empty one, and where it
/// names nothing, which is noted.
pub(crate) fn instruction_set(value: Option<&OsStr>) -> InstructionSet {
    let best = InstructionSet::best();
    let Some(value) = value.map(OsStr::to_string_lossy).filter(|value| !value.is_empty()) else {
        return best;
    };
    let named = InstructionSet::ALL.iter().find(|(_, name)| *name == value);
    named.map_or_else(
        || {
            let names: Vec<_> = InstructionSet::ALL.iter().rev().map(|(_, name)| *name).collect();
            notice::leave(format!(
                "{SIMD}={value} is not known ({}): the best instructions of this processor are used",
                names.join(", ")
            ));
            best
        },
        |(set, _)| *set,
    )
}

/// What a value of `CLLM_NUM_THREADS` asks for: 0, as many as are worth it, where there is none or an
/// empty one, and where it is no number, which [`complaints`] say.
pub(crate) fn threads(value: Option<&OsStr>) -> usize {
    number_of_threads(value).unwrap_or_default()
}

/// The same; the value where it is no number.
fn number_of_threads(value: Option<&OsStr>) -> Result<usize, String> {
    let Some(value) = value.map(OsStr::to_string_lossy).filter(|value| !value.is_empty()) else {
        return Ok(0);
    };
    let number = value.trim().parse::<usize>().map(|threads| threads.min(MAX_THREADS));
    number.map_err(|_| value.into_owned())
}

/// A note for each variable of the environment whose name looks like a slip of one of ours, and for a
/// number of threads that is none.
pub(crate) fn complaints() -> impl Iterator<Item = String> {
    let slips = std::env::vars_os().filter_map(|(name, _)| {
        let name = name.to_str().filter(|name| name.starts_with(PREFIX))?;
        let near = |ours: &&str| (1..=2).contains(&distance(name, ours));
        let ours = [SIMD, NUM_THREADS].into_iter().find(near)?;
        Some(format!("the environment variable {name} is not known; is {ours} meant?"))
    });
    let value = number_of_threads(std::env::var_os(NUM_THREADS).as_deref()).err();
    let no_number = value.map(|value| {
        format!(
            "{NUM_THREADS}={value} is no number of threads: all processors are used where they are \
             worth it"
        )
    });
    slips.chain(no_number)
}

/// Letters to insert, drop or change (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slips() {
        let best = InstructionSet::best();
        assert_eq!(instruction_set(None), best);
        assert_eq!(instruction_set(Some(OsStr::new(""))), best);
        for (set, name) in InstructionSet::ALL {
            assert_eq!(instruction_set(Some(OsStr::new(name))), *set);
        }
        assert_eq!(instruction_set(Some(OsStr::new("AVX2"))), best);
        assert!(notice::waiting());
        let notes = notice::take();
        assert!(notes.iter().any(|note| note.contains("CLLM_SIMD=AVX2")), "{notes:?}");
        for (value, threads_asked) in
            [("", 0), ("0", 0), ("1", 1), (" 3 ", 3), ("1000", MAX_THREADS)]
        {
            assert_eq!(threads(Some(OsStr::new(value))), threads_asked);
        }
        assert_eq!(threads(None), 0);
        assert_eq!((threads(Some(OsStr::new("two"))), threads(Some(OsStr::new("-1")))), (0, 0));
        assert_eq!(number_of_threads(Some(OsStr::new("two"))), Err("two".into()));
        assert_eq!(distance("CLLM_SIMD", SIMD), 0);
        assert_eq!(distance("CLLM_SMID", SIMD), 2);
        assert_eq!(distance("CLLM_SIM", SIMD), 1);
        assert_eq!(distance("CLLM_SIMDS", SIMD), 1);
        assert!(distance("CLLM_LIBRARY", SIMD) > 2 && distance("CLLM_MODEL", SIMD) > 2);
    }
}
