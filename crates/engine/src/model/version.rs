//! Which weights something was computed from: what the key/value cache and saved states compare.

use super::params::{Network, Scores};
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
            let Scores { rotary, qk_norm, sharp, shifted } = attention.scores;
            let parts = [rotary, qk_norm, sharp, shifted > 0];
            if parts.contains(&true) {
                let bits = parts.iter().rev().fold(0, |bits, &part| 2 * bits + u64::from(part));
                hash.add(1 + bits);
            }
        }
        WeightsVersion { counted: self.version, sampled: hash.0 }
    }

    /// [`weights_version`](Self::weights_version), where `before` was found last. Nobody but their owner, who
    /// counts, can change 8-bit weights: of those nothing is sampled while the count stays.
    pub(crate) fn weights_version_since(&self, before: WeightsVersion) -> WeightsVersion {
        let int8 = matches!(self.params.embeddings.tensor(), Tensor::Int8(_));
        if int8 && self.version != 0 && self.version == before.counted {
            before
        } else {
            self.weights_version()
        }
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

#[cfg(test)]
mod tests {
    use super::super::{Model, ModelConfig};
    use super::*;
    use cllm_kernels::Pool;

    #[test]
    fn other_weights_of_8_bits_are_noticed_without_sampling() {
        let config = ModelConfig { vocab: 40, dim: 32, heads: 2, hidden: 64, ..Default::default() };
        let quantized = |seed| {
            let model = Model::new(&config, seed).unwrap();
            model.quantize(&Pool::serial()).unwrap()
        };
        let [one, other, same] = [quantized(1), quantized(2), quantized(1)];
        let none = WeightsVersion::default();
        let found = one.view().weights_version_since(none);
        assert_eq!(found, one.view().weights_version());
        assert_eq!(one.view().weights_version_since(found), found);
        for next in [other, same] {
            assert_eq!(next.view().weights_version_since(found), next.view().weights_version());
            assert_ne!(next.view().weights_version_since(found), found);
        }
        // Floats that somebody may change unseen are sampled each time.
        let mut model = Model::new(&config, 1).unwrap();
        let found = model.view().weights_version_since(none);
        let counted = model.view().version;
        model.params_mut().embeddings.fill(0.5);
        let mut changed = model.view();
        changed.version = counted;
        assert_ne!(changed.weights_version_since(found), found);
    }
}
