//! Environment variables that the library reads, and what to say of those that it can't use.

use crate::arch::InstructionSet;
use crate::notice;
use std::ffi::OsStr;

/// Names the instruction set to use at most.
pub(crate) const SIMD: &str = "CLLM_SIMD";

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

/// A note for each variable of the environment whose name looks like a slip of one of ours.
pub(crate) fn misspelt() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| {
        let name = name.to_str()?;
        let slip = name.starts_with(PREFIX) && (1..=2).contains(&distance(name, SIMD));
        slip.then(|| format!("the environment variable {name} is not known; is {SIMD} meant?"))
    })
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
        assert_eq!(distance("CLLM_SIMD", SIMD), 0);
        assert_eq!(distance("CLLM_SMID", SIMD), 2);
        assert_eq!(distance("CLLM_SIM", SIMD), 1);
        assert_eq!(distance("CLLM_SIMDS", SIMD), 1);
        assert!(distance("CLLM_LIBRARY", SIMD) > 2 && distance("CLLM_MODEL", SIMD) > 2);
    }
}
