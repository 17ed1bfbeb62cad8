//! Whether numbers are sound: weights, gradients, logits, token ids.

use cllm_engine::error::{Error, Result};
use std::fmt::Display;

/// Largest gradient that passes as sound.
pub const MAX_GRADIENT: f32 = 100.0;
/// Smallest mean magnitude of a gradient that passes as not vanished.
pub const MIN_MEAN_GRADIENT: f64 = 1e-7;
/// Spread of logits beyond which softmax is all but one-hot.
pub const MAX_LOGIT_RANGE: f32 = 100.0;

/// An error that counts the values that are NaN or infinite.
pub fn finite(what: impl Display, values: &[f32]) -> Result<()> {
    let Some(first) = values.iter().position(|x| !x.is_finite()) else {
        return Ok(());
    };
    let nan = values.iter().filter(|x| x.is_nan()).count();
    let infinite = values.iter().filter(|x| x.is_infinite()).count();
    Err(Error::state(format!(
        "{what}: {nan} NaN and {infinite} infinite among {} values, the first at {first}",
        values.len()
    )))
}

/// Gradients that an optimizer can use: some, finite, neither exploded nor vanished.
pub fn gradients(values: &[f32]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::state("there are no gradients"));
    }
    finite("the gradients", values)?;
    let max = values.iter().fold(0f32, |max, g| max.max(g.abs()));
    if max > MAX_GRADIENT {
        return Err(Error::state(format!("the largest gradient is {max}, above {MAX_GRADIENT}")));
    }
    let sum: f64 = values.iter().map(|&g| f64::from(g.abs())).sum();
    let mean = sum / values.len() as f64;
    if mean < MIN_MEAN_GRADIENT {
        return Err(Error::state(format!(
            "the mean gradient is {mean:e}, below {MIN_MEAN_GRADIENT:e}"
        )));
    }
    Ok(())
}

/// The distance between the largest and the smallest value; 0 for none.
pub fn range(values: &[f32]) -> f32 {
    let (min, max) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &x| (min.min(x), max.max(x)));
    if min <= max { max - min } else { 0.0 }
}

/// Token ids that all lie below the vocabulary's size.
pub fn ids(what: &str, ids: &[u32], vocab: u32) -> Result<()> {
    match ids.iter().position(|&id| id >= vocab) {
        None => Ok(()),
        Some(i) => Err(Error::state(format!(
            "{what}[{i}] is {}, the vocabulary has {vocab} tokens",
            ids[i]
        ))),
    }
}

/// Whether a batch is what `cllm_engine::train::batch::fill` makes: every real position has an input and a target other
/// than the padding id 0, every padded one has neither, and `valid` counts the real ones.
pub fn batch(inputs: &[u32], targets: &[u32], mask: &[f32], valid: usize) -> Result<()> {
    let mut real = 0;
    for (i, ((&input, &target), &m)) in inputs.iter().zip(targets).zip(mask).enumerate() {
        let problem = if m > 0.5 {
            real += 1;
            (input == 0 || target == 0).then_some("is real but has the padding id 0")
        } else {
            (input != 0 || target != 0).then_some("is padding but has a token")
        };
        if let Some(problem) = problem {
            return Err(Error::state(format!("position {i} {problem}")));
        }
    }
    if real != valid {
        return Err(Error::state(format!("num_valid_tokens is {valid}, the mask has {real}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_counts_what_is_not() {
        assert!(finite("x", &[]).is_ok());
        assert!(finite("x", &[0.0, -f32::MAX, f32::MAX, 1e-45]).is_ok());
        let values = [1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let text = finite("layer 3", &values).unwrap_err().to_string();
        let expected = "layer 3: 1 NaN and 2 infinite among 4 values, the first at 1";
        assert_eq!(text, expected);
    }

    #[test]
    fn gradients_have_a_range() {
        assert!(gradients(&[]).is_err(), "none at all");
        assert!(gradients(&[1e-3, -1e-3]).is_ok());
        assert!(gradients(&[100.0, -100.0]).is_ok());
        assert!(gradients(&[100.1]).is_err(), "exploded");
        assert!(gradients(&[0.0, -100.1]).is_err(), "exploded, negative");
        assert!(gradients(&[0.0; 8]).is_err(), "vanished");
        assert!(gradients(&[9e-8, -9e-8]).is_err(), "vanished");
        assert!(gradients(&[2e-7, 0.0]).is_ok(), "the mean counts");
        assert!(gradients(&[f32::NAN]).is_err());
    }

    #[test]
    fn range_and_ids() {
        assert_eq!(range(&[]), 0.0);
        assert_eq!(range(&[3.0]), 0.0);
        assert_eq!(range(&[-2.0, 5.0, 1.0]), 7.0);
        assert!(ids("in", &[0, 4], 5).is_ok());
        let text = ids("in", &[0, 5], 5).unwrap_err().to_string();
        assert_eq!(text, "in[1] is 5, the vocabulary has 5 tokens");
    }

    #[test]
    fn every_kind_of_damage_to_a_batch_is_found() {
        let ok = |i: &[u32], t: &[u32], m: &[f32], n| batch(i, t, m, n).is_ok();
        assert!(ok(&[1, 0], &[2, 0], &[1.0, 0.0], 1));
        assert!(!ok(&[0, 0], &[2, 0], &[1.0, 0.0], 1), "a real input 0");
        assert!(!ok(&[1, 0], &[0, 0], &[1.0, 0.0], 1), "a real target 0");
        assert!(!ok(&[1, 3], &[2, 0], &[1.0, 0.0], 1), "a padded input");
        assert!(!ok(&[1, 0], &[2, 3], &[1.0, 0.0], 1), "a padded target");
        assert!(!ok(&[1, 0], &[2, 0], &[1.0, 0.0], 2), "the count");
        assert!(!ok(&[1, 0], &[2, 0], &[f32::NAN, 0.0], 1), "NaN is not real");
    }
}
