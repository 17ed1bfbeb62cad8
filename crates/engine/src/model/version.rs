//! Which weights something was computed from: what the key/value cache and saved states compare.

use super::params::Network;
use super::tensor::{Tensor, Weight};

/// Equal for the same weights in the same state. Two versions that differ are of weights that
/// differ; the other way there is a gap: where the owner of the weights does not count
/// ([`Network::version`] stays as it is), the change of single values may go unnoticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WeightsVersion {
    /// [`Network::version`].
    counted: u64,
    /// A hash of a few values of every tensor, of the numbers of heads and of what they do: it changes
    /// when the weights are replaced as a whole, or trained.
    sampled: u64,
}

impl WeightsVersion {
    /// The part that means the same in every process, so that a file can hold it.
    pub fn portable(self) -> u64 {
        self.sampled
    }
}

impl<W: Weight> Network<W> {
    /// The version of the weights behind this view.
    pub fn weights_version(&self) -> WeightsVersion {
        let mut hash = self.sample();
        for layer in &self.params.layers {
            let Some(attention) = &layer.attention else {
                hash.add(0);
                continue;
            };
            hash.add(attention.heads as u64);
            let parts = [attention.rotary, attention.qk_norm, attention.sharp];
            if parts.contains(&true) {
                let bits = parts.iter().rev().fold(0, |bits, &part| 2 * bits + u64::from(part));
                hash.add(1 + bits);
            }
        }
        WeightsVersion { counted: self.version, sampled: hash.0 }
    }

    /// What earlier releases took for [`WeightsVersion::portable`]: without the heads.
    pub(crate) fn weights_version_without_heads(&self) -> u64 {
        self.sample().0
    }

    fn sample(&self) -> Fnv {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        let mut mix = |tensor: Tensor| match tensor {
            Tensor::F32(values) => {
                let step = (values.len() / 7).max(1);
                for x in values.iter().step_by(step).chain(values.last()) {
                    hash.add(u64::from(x.to_bits()));
                }
            }
            Tensor::Int8(w) => w.sample(|bits| hash.add(bits)),
        };
        self.params.visit(|_, _, t| mix(t.tensor()));
        if let Some(spiral) = &self.spiral {
            mix(spiral.tensor());
        }
        hash
    }
}

/// FNV-1a, over words instead of bytes.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    }
}
