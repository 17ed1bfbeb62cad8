//! How a new model's parameters start.

use super::architecture::Architecture;
use super::params::Params;
use super::part::Part;
use crate::rng::{Rng, fill_normal};

/// Standard deviation of a new matrix in a model of width d. GPT-2 ("Language Models are
/// Unsupervised Multitask Learners", 2.3, and its published code) uses 0.02 at its smallest width,
/// 768; for other widths it is scaled by 1/√d, so that a map of a normalised vector always begins
/// with the same variance.
pub fn sigma(d: usize) -> f32 {
    0.02 * (768.0 / d.max(1) as f32).sqrt()
}

/// Sets every parameter of `params`, of a model of width `d`, to a start from which training goes
/// well.
///
/// E, Wq, Wk and W1 are drawn from N(0, σ²) with [`sigma`], P from N(0, 0.02²). What is added to the residual
/// stream, of which there are two summands for each of the L layers, is drawn from N(0, σ²/2L), so
/// that the stream's variance at the output does not grow with the depth. In GPT-2 those are W2
/// and attention's output matrix; this model has no output matrix, Wv writes to the stream itself,
/// so Wv takes its place. Biases are 0, norms start as gamma 1 and beta 0.
///
/// That is the start of [`Architecture::ORIGINAL`]. Any other begins with blocks that add nothing,
/// so that every depth begins as the same function (Zhang et al., "Fixup", 2019): Wo and W2 are 0, as
/// is a matrix of the logits. Wq, Wk, Wv and W1 are drawn from N(0, 1/d), so that a map of a
/// normalised vector has variance 1. E and P are drawn as above, and so is Wv without Wo, for then it
/// writes to the stream.
pub fn initialize(params: Params<&mut [f32]>, d: usize, architecture: Architecture, rng: &mut Rng) {
    if !architecture.is_original() {
        return initialize_idle(params, d, architecture, rng);
    }
    let sublayers = 2 * params.layers.len().max(1);
    let sigma = sigma(d);
    let residual = sigma / (sublayers as f32).sqrt();
    params.map(|kind, _, t| match kind {
        Part::Embeddings | Part::Query | Part::Key | Part::W1 => fill_normal(rng, t, sigma),
        Part::Learned => fill_normal(rng, t, 0.02),
        Part::Value | Part::W2 => fill_normal(rng, t, residual),
        Part::Gamma1 | Part::Gamma2 => t.fill(1.0),
        _ => t.fill(0.0),
    });
}

/// The start with blocks that add nothing.
fn initialize_idle(
    params: Params<&mut [f32]>,
    d: usize,
    architecture: Architecture,
    rng: &mut Rng,
) {
    let sublayers = 2 * params.layers.len().max(1);
    let map = 1.0 / (d.max(1) as f32).sqrt();
    let value = if architecture.output { map } else { sigma(d) / (sublayers as f32).sqrt() };
    params.map(|kind, _, t| match kind {
        Part::Embeddings => fill_normal(rng, t, sigma(d)),
        Part::Query | Part::Key | Part::W1 => fill_normal(rng, t, map),
        Part::Value => fill_normal(rng, t, value),
        Part::Learned => fill_normal(rng, t, 0.02),
        Part::Gamma1 | Part::Gamma2 => t.fill(1.0),
        _ => t.fill(0.0),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::architecture::Activation;
    use crate::model::params::{Attention, AttentionLayout, FeedForward, Layer, Norm, Scores};
    use crate::rng::seeded;

    const D: usize = 32;
    const F: usize = 64;

    struct Buffers(Vec<Vec<f32>>);

    impl Buffers {
        /// Two layers, every value NaN, so that one that is not set shows.
        fn new() -> Self {
            let layer = [D * D, D * D, D * D, F * D, F, D * F, D, D, D, D, D];
            let lens = [100 * D].into_iter().chain(layer).chain(layer).chain([16 * D]);
            Self(lens.map(|len| vec![f32::NAN; len]).collect())
        }

        fn params(&mut self) -> Params<&mut [f32]> {
            let mut next = self.0.iter_mut().map(Vec::as_mut_slice);
            let mut next = || next.next().unwrap();
            let embeddings = next();
            let layers = (0..2).map(|_| Layer {
                attention: Some(Attention {
                    heads: 4,
                    head_dim: D / 4,
                    layout: AttentionLayout::Full,
                    qkv: [next(), next(), next()],
                    joined: None,
                    output: None,
                    scores: Scores::default(),
                }),
                feed_forward: Some(FeedForward {
                    hidden: F,
                    activation: Activation::Gelu,
                    w1: next(),
                    b1: Some(next()),
                    w2: next(),
                    b2: Some(next()),
                }),
                norm1: Norm { epsilon: 1e-5, gamma: Some(next()), beta: Some(next()) },
                norm2: Norm { epsilon: 1e-5, gamma: Some(next()), beta: Some(next()) },
            });
            let layers = layers.collect();
            Params { embeddings, layers, learned: Some(next()), head: None }
        }
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn scales_are_gpt2s() {
        assert_eq!(sigma(768), 0.02);
        let full = f64::from(sigma(D));
        let mut buffers = Buffers::new();
        initialize(buffers.params(), D, Architecture::ORIGINAL, &mut seeded(7));
        let residual = full / 4f64.sqrt();
        buffers.params().visit(|kind, layer, t| {
            let (mean, sigma) = moments(t);
            let expected = match kind {
                Part::Value | Part::W2 => residual,
                Part::Embeddings | Part::Query | Part::Key | Part::W1 => full,
                Part::Learned => 0.02,
                Part::Gamma1 | Part::Gamma2 => {
                    assert!(t.iter().all(|&x| x == 1.0), "{kind:?} {layer}");
                    return;
                }
                _ => {
                    assert!(t.iter().all(|&x| x == 0.0), "{kind:?} {layer}");
                    return;
                }
            };
            // 512 draws or more: the estimate's own deviation is at most 3.2 % of sigma.
            assert!((sigma / expected - 1.0).abs() < 0.13, "{kind:?} {layer}: {sigma}");
            assert!(mean.abs() < 0.2 * expected, "{kind:?} {layer}: mean {mean}");
        });
    }

    #[test]
    fn another_block_begins_idle() {
        let mut buffers = Buffers::new();
        let modern = Architecture::MODERN;
        initialize(buffers.params(), D, modern, &mut seeded(7));
        let map = 1.0 / (D as f64).sqrt();
        buffers.params().visit(|kind, layer, t| {
            let (mean, deviation) = moments(t);
            let expected = match kind {
                Part::Embeddings => f64::from(sigma(D)),
                Part::Query | Part::Key | Part::Value | Part::W1 => map,
                Part::Learned => 0.02,
                Part::Gamma1 | Part::Gamma2 => return assert_eq!((mean, deviation), (1.0, 0.0)),
                _ => return assert!(t.iter().all(|&x| x == 0.0), "{kind:?} {layer}"),
            };
            assert!((deviation / expected - 1.0).abs() < 0.13, "{kind:?} {layer}: {deviation}");
        });
        // Without a matrix after attention Wv writes to the stream.
        let bare = Architecture { output: false, ..modern };
        initialize(buffers.params(), D, bare, &mut seeded(7));
        let value = moments(buffers.params().get(Part::Value, 0).unwrap()).1;
        assert!((value / (f64::from(sigma(D)) / 2.0) - 1.0).abs() < 0.13, "{value}");
    }

    #[test]
    fn a_seed_means_the_same_weights() {
        let (mut a, mut b, mut c) = (Buffers::new(), Buffers::new(), Buffers::new());
        initialize(a.params(), D, Architecture::ORIGINAL, &mut seeded(1));
        initialize(b.params(), D, Architecture::ORIGINAL, &mut seeded(1));
        initialize(c.params(), D, Architecture::ORIGINAL, &mut seeded(2));
        assert_eq!(a.0, b.0);
        assert_ne!(a.0[0], c.0[0]);
        assert_ne!(a.0[1], a.0[2], "Q and K must differ");
    }
}
