//! What a checkpoint file begins with.

use super::trainer::Counters;
use std::time::{SystemTime, UNIX_EPOCH};

/// What stands before the block: the counters that the original library wrote, in one of two
/// forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `<model>.state`, 16 bytes: epoch, step, loss, best loss.
    State,
    /// `<name>.ckpt`, 40 bytes: epoch, step, best loss, learning rate, Unix time, 16 zeros.
    Ckpt,
}

impl Prefix {
    pub(super) fn len(self) -> usize {
        match self {
            Self::State => 16,
            Self::Ckpt => 40,
        }
    }

    pub(super) fn bytes(self, c: &Counters) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend(narrow(c.epoch).to_le_bytes());
        bytes.extend(narrow(c.step).to_le_bytes());
        match self {
            Self::State => {
                bytes.extend(c.loss.to_le_bytes());
                bytes.extend(c.best_loss.to_le_bytes());
            }
            Self::Ckpt => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
                bytes.extend(c.best_loss.to_le_bytes());
                bytes.extend(c.learning_rate.to_le_bytes());
                bytes.extend(now.to_le_bytes());
                bytes.extend([0; 16]);
            }
        }
        bytes
    }

    /// The counters that `bytes` state; the others are those of a new run.
    pub(super) fn counters(self, bytes: &[u8]) -> Option<Counters> {
        let word = |i: usize| bytes.get(4 * i..4 * i + 4)?.try_into().ok();
        let count = |i: usize| Some(u32::try_from(i32::from_le_bytes(word(i)?)).unwrap_or(0));
        let real = |i: usize| Some(f32::from_le_bytes(word(i)?));
        let mut c = Counters { epoch: count(0)?, step: count(1)?, ..Counters::default() };
        match self {
            Self::State => (c.loss, c.best_loss) = (real(2)?, real(3)?),
            Self::Ckpt => (c.best_loss, c.learning_rate) = (real(2)?, real(3)?),
        }
        Some(c)
    }
}

/// A number for an i32; one beyond its range stays at the end of it.
pub(super) fn narrow(n: impl TryInto<i32>) -> i32 {
    n.try_into().unwrap_or(i32::MAX)
}
