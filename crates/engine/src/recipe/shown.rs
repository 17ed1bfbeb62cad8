//! The recipe in words.

use super::{Recipe, Tokens, bytes_per_token, weights};
use std::fmt::{self, Display, Formatter};

/// A number as people say it: `950`, `12 thousand`, `1.6 million`.
fn about(n: f64) -> String {
    match n {
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 9.95e3 => format!("{:.1} thousand", n / 1e3),
        n if n < 9.995e5 => format!("{:.0} thousand", n / 1e3),
        n if n < 9.995e8 => format!("{:.1} million", n / 1e6),
        n => format!("{:.1} billion", n / 1e9),
    }
}

impl Display for Recipe {
    /// Three lines: what was chosen, and why.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let task = &self.task;
        let bytes = about(task.bytes as f64);
        let tokens = about(task.tokens.unwrap_or(0) as f64);
        match self.tokens {
            Tokens::Bytes if task.fixed.tokens.is_some() => {
                writeln!(f, "Tokens: single bytes, {bytes} of them, as asked for")?;
            }
            Tokens::Bytes => {
                writeln!(
                    f,
                    "Tokens: single bytes, for {bytes} bytes are too few for parts of words"
                )?;
            }
            Tokens::Words => {
                writeln!(
                    f,
                    "Tokens: a vocabulary of at most {} words, for {bytes} bytes of text, {tokens} words",
                    self.vocab(),
                )?;
            }
            Tokens::Subwords => {
                let each = match task.tokens {
                    Some(n) if n > 0 => task.bytes as f64 / n as f64,
                    _ => bytes_per_token(self.tokens, self.vocab()),
                };
                writeln!(
                    f,
                    "Tokens: a vocabulary of {} parts of words for {bytes} bytes of text, {tokens} \
                     tokens of {each:.1} bytes",
                    self.vocab(),
                )?;
            }
        }
        let m = &self.model;
        let seen = f64::from(self.steps) * self.rows() as f64;
        writeln!(
            f,
            "Model: width {}, {} layers, {} heads, windows of {} tokens: {} weights, for {} tokens are \
             trained in all",
            m.dim,
            m.layers,
            m.heads,
            self.windows(),
            about(weights(m) + m.vocab as f64 * m.dim as f64),
            about(seen),
        )?;
        let t = &self.trainer;
        write!(
            f,
            "Training: {} steps of {} x {} tokens, {:.1} epochs{}, rate {:.4} falling to 0, dropout \
             {:.2}, weight decay {:.2}, beta2 {:.4}",
            self.steps,
            self.batch,
            m.context,
            self.epochs,
            self.time(),
            t.schedule.base,
            t.dropout,
            t.weight_decay,
            t.beta2,
        )
    }
}

impl Recipe {
    /// The windows' tokens, with those of the first part.
    fn windows(&self) -> String {
        match self.trainer.short_windows.positions {
            0 => self.model.context.to_string(),
            short => format!("{short}, at the end {}", self.model.context),
        }
    }

    /// How long it takes, as far as that is known.
    fn time(&self) -> String {
        let pace = self.tokens_per_second();
        let (seconds, about_them) = match self.task.seconds {
            Some(seconds) => (seconds, ""),
            None if pace > 0.0 => (f64::from(self.steps) * self.rows() as f64 / pace, "about "),
            None => return String::new(),
        };
        format!(" in {about_them}{seconds:.0} s at {} tokens a second", about(pace))
    }
}
