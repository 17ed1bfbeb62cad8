//! How a generator chooses tokens, and when it stops.

use crate::error::{Error, Result};

/// Settings of a [`Generator`](super::Generator). The default draws from the model's plain
/// distribution.
///
/// The steps come in this order: repetition penalty, suppressed and not allowed tokens, temperature, top-k, top-p,
/// min-p; then one draw.
///
/// ```
/// use cllm_engine::generate::GeneratorConfig;
///
/// let config = GeneratorConfig { temperature: 0.8, top_k: 40, ..Default::default() };
/// assert!(config.check().is_ok());
/// assert!(GeneratorConfig { min_p: 2.0, ..config }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// Divides the logits: below 1 the likely tokens become likelier. Finite; 0 or less: always the
    /// likeliest token, the lowest id of equals. 1 by default.
    pub temperature: f32,
    /// Draws among the k likeliest tokens only. 0, the default: all. 1: always the likeliest.
    pub top_k: usize,
    /// Nucleus: draws among the likeliest tokens whose probabilities together reach this sum. From 0
    /// to 1; 0, and 1, the default: all.
    pub top_p: f32,
    /// Leaves out tokens less than this many times as likely as the likeliest. From 0, the default
    /// (none is left out), to 1.
    pub min_p: f32,
    /// Above 1, tokens that the sequence already holds become less likely: positive logits are
    /// divided by it, negative ones multiplied. 0 or more, finite; 0, and 1, the default: off.
    pub repetition_penalty: f32,
    /// Always the likeliest token, whatever the temperature.
    pub greedy: bool,
    /// Tokens that a prompt is continued by, at most. 50 by default.
    pub max_tokens: usize,
    /// Tokens that end the text when they are drawn; they do not become part of it. None by default.
    pub stop_tokens: Vec<u32>,
    /// Tokens that are never drawn. Ids that the model does not have are no error. None by default.
    pub suppress_tokens: Vec<u32>,
    /// The only tokens that may be drawn, less those that are suppressed. Stop tokens too are drawn
    /// only if they are among them. Ids that the model does not have are no error. `None`, the
    /// default: all.
    pub allowed_tokens: Option<Vec<u32>>,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            greedy: false,
            max_tokens: 50,
            stop_tokens: Vec::new(),
            suppress_tokens: Vec::new(),
            allowed_tokens: None,
        }
    }
}

impl GeneratorConfig {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind) names the first one that is not.
    pub fn check(&self) -> Result<()> {
        if !self.temperature.is_finite() {
            return Err(Error::argument("temperature", self.temperature, "finite"));
        }
        for (name, value) in [("top_p", self.top_p), ("min_p", self.min_p)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::argument(name, value, "from 0 to 1"));
            }
        }
        if !(self.repetition_penalty >= 0.0 && self.repetition_penalty.is_finite()) {
            let penalty = self.repetition_penalty;
            return Err(Error::argument("repetition_penalty", penalty, "0 or more, and finite"));
        }
        Ok(())
    }

    /// Whether the likeliest token is always taken.
    pub(crate) fn always_likeliest(&self) -> bool {
        self.greedy || self.temperature <= 0.0 || self.top_k == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_named() {
        let good = GeneratorConfig::default();
        good.check().unwrap();
        GeneratorConfig { temperature: 0.0, top_p: 0.0, repetition_penalty: 0.0, ..good.clone() }
            .check()
            .unwrap();
        for (name, bad) in [
            ("temperature", GeneratorConfig { temperature: f32::NAN, ..good.clone() }),
            ("top_p", GeneratorConfig { top_p: 1.5, ..good.clone() }),
            ("min_p", GeneratorConfig { min_p: -0.1, ..good.clone() }),
            ("repetition_penalty", GeneratorConfig { repetition_penalty: f32::INFINITY, ..good }),
        ] {
            let text = bad.check().unwrap_err().to_string();
            assert!(text.starts_with(name), "{text}");
        }
    }
}
