//! Ids of training data that a model doesn't have.

use crate::error::{Error, Result};
use crate::text::Ids;

/// Ids that are not below the size of a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: u32,
    /// Its place.
    pub position: usize,
}

impl Foreign {
    /// What is wrong, in words; `all` is the number of all ids.
    pub fn describe(&self, all: usize, vocab: usize) -> String {
        let Self { count, first, position } = self;
        format!(
            "{count} of {all} ids are not below the model's vocabulary size of {vocab}; the first \
             is {first}, at position {position}"
        )
    }
}

/// The foreign ids of `tokens`, where there are some. They are no targets, and as input they are
/// positions without a token; an error where no target is left that could be learnt.
pub fn foreign<'a>(tokens: impl Into<Ids<'a>>, vocab: usize) -> Result<Option<Foreign>> {
    let tokens = tokens.into();
    let found = match tokens {
        Ids::Memory(ids) => in_memory(ids, vocab),
        Ids::File(file) => file.foreign(vocab)?,
    };
    let Some(found) = found else { return Ok(None) };
    let Foreign { count, position, .. } = found;
    // The first id of all is nobody's target.
    let targets = tokens.len() - 1;
    let lost = count - usize::from(position == 0);
    if targets > 0 && lost == targets {
        return Err(Error::state(format!(
            "no id to learn or to measure: {}",
            found.describe(tokens.len(), vocab)
        )));
    }
    Ok(Some(found))
}

fn in_memory(tokens: &[u32], vocab: usize) -> Option<Foreign> {
    let is_foreign = |&&id: &&u32| id as usize >= vocab;
    let position = tokens.iter().position(|id| is_foreign(&id))?;
    let count = tokens[position..].iter().filter(is_foreign).count();
    Some(Foreign { count, first: tokens[position], position })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_ids_are_counted_and_the_first_is_named() {
        assert_eq!(foreign(&[0, 1, 2], 3).unwrap(), None);
        assert_eq!(foreign(&[], 3).unwrap(), None);
        let found = foreign(&[0, 3, 1, u32::MAX], 3).unwrap().unwrap();
        assert_eq!(found, Foreign { count: 2, first: 3, position: 1 });
        assert_eq!(
            found.describe(4, 3),
            "2 of 4 ids are not below the model's vocabulary size of 3; the first is 3, at position 1"
        );
    }

    #[test]
    fn nothing_to_learn_is_an_error() {
        let error = |tokens: &[u32]| foreign(tokens, 3).unwrap_err().to_string();
        assert!(error(&[9; 5]).starts_with("no id to learn or to measure: 5 of 5 ids"));
        assert!(error(&[0, 9, 9]).contains("the first is 9, at position 1"));
        assert!(foreign(&[9, 9, 1], 3).unwrap().is_some());
    }
}
