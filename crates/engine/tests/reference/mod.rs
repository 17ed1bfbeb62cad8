//! The model of the documentation in plain f64 loops, written apart from the library, and random
//! models to compare on.
#![allow(dead_code)]

use cllm_engine::model::{
    Activation, Architecture, Attention, AttentionLayout, FeedForward, Layer, ModelRef, Norm,
    Params, Scores,
};
use cllm_engine::nn::dropout::Site;
use rand::{RngExt, SeedableRng};

/// A model whose values the test owns.
pub struct Owned {
    pub vocab: usize,
    pub dim: usize,
    pub max_length: usize,
    pub spiral: Option<Vec<f32>>,
    pub params: Params<Vec<f32>>,
}

/// What a random model looks like.
#[derive(Clone)]
pub struct Spec {
    pub vocab: usize,
    pub dim: usize,
    pub heads: usize,
    pub hidden: usize,
    pub layers: usize,
    pub max_length: usize,
    pub layout: AttentionLayout,
    pub attention: bool,
    pub feed_forward: bool,
    pub norms: bool,
    pub second_norms: bool,
    pub biases: bool,
    pub spiral: bool,
    pub learned: bool,
    pub architecture: Architecture,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            vocab: 11,
            dim: 6,
            heads: 2,
            hidden: 9,
            layers: 2,
            max_length: 7,
            layout: AttentionLayout::Full,
            attention: true,
            feed_forward: true,
            norms: true,
            second_norms: true,
            biases: true,
            spiral: true,
            learned: true,
            architecture: Architecture::ORIGINAL,
        }
    }
}

pub fn random(spec: &Spec, seed: u64) -> Owned {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut values = |n: usize, around: f32, width: f32| -> Vec<f32> {
        (0..n).map(|_| around + width * (rng.random::<f32>() - 0.5)).collect()
    };
    let d = spec.dim;
    let h = d / spec.heads;
    let mut layers = Vec::new();
    for l in 0..spec.layers {
        let attention = spec.attention.then(|| {
            let len = spec.layout.matrix_len(spec.heads, h);
            let qkv = [0, 1, 2].map(|_| values(len, 0.0, 1.2));
            Attention {
                heads: spec.heads,
                head_dim: h,
                layout: spec.layout,
                qkv,
                joined: None,
                output: spec.architecture.output.then(|| values(d * d, 0.0, 1.2)),
                scores: Scores::of(&spec.architecture, spec.heads, l, spec.layers),
            }
        });
        let feed_forward = spec.feed_forward.then(|| FeedForward {
            hidden: spec.hidden,
            activation: spec.architecture.activation,
            w1: values(spec.hidden * d, 0.0, 1.5),
            b1: spec.biases.then(|| values(spec.hidden, 0.0, 0.5)),
            w2: values(spec.hidden * d, 0.0, 1.0),
            b2: spec.biases.then(|| values(d, 0.0, 0.5)),
        });
        let mut norm = |present: bool| Norm {
            epsilon: 1e-5,
            gamma: present.then(|| values(d, 1.0, 0.8)),
            beta: present.then(|| values(d, 0.0, 0.6)),
        };
        layers.push(Layer {
            norm1: norm(spec.norms),
            norm2: norm(spec.second_norms),
            attention,
            feed_forward,
        });
    }
    Owned {
        vocab: spec.vocab,
        dim: d,
        max_length: spec.max_length,
        spiral: spec.spiral.then(|| values(spec.max_length * d, 0.0, 0.6)),
        params: Params {
            embeddings: values(spec.vocab * d, 0.0, 1.6),
            layers: layers.into(),
            learned: spec.learned.then(|| values(spec.max_length * d, 0.0, 0.6)),
            head: spec.architecture.untied.then(|| values(spec.vocab * d, 0.0, 1.6)),
        },
    }
}

impl Owned {
    pub fn view(&self) -> ModelRef<'_> {
        ModelRef {
            version: 0,
            vocab: self.vocab,
            dim: self.dim,
            max_length: self.max_length,
            spiral: self.spiral.as_deref(),
            params: view(&self.params),
        }
    }

    /// Zeroed arrays in the shape of the parameters.
    pub fn zeros(&self) -> Params<Vec<f32>> {
        self.params.clone().try_map(|_, _, t| Ok::<_, ()>(vec![0.0; t.len()])).unwrap()
    }

    pub fn doubled(&self) -> Params<Vec<f64>> {
        let double = |t: Vec<f32>| t.into_iter().map(f64::from).collect();
        self.params.clone().try_map(|_, _, t| Ok::<_, ()>(double(t))).unwrap()
    }
}

pub fn view(params: &Params<Vec<f32>>) -> Params<&[f32]> {
    params.by_ref().map(|_, _, t| t.as_slice())
}

pub fn view_mut(params: &mut Params<Vec<f32>>) -> Params<&mut [f32]> {
    params.by_mut().map(|_, _, t| t.as_mut_slice())
}

/// Mean loss of `batch` equal sequences over the targets below V, in f64.
pub fn loss(
    model: &Owned,
    params: &Params<Vec<f64>>,
    tokens: &[u32],
    targets: &[u32],
    batch: usize,
) -> f64 {
    masked_loss(model, params, tokens, targets, batch, &|_, _| 1.0)
}

/// The same where value i of what a site gives, `[B·S][d]`, is multiplied by `mask(site, i)`.
pub fn masked_loss(
    model: &Owned,
    params: &Params<Vec<f64>>,
    tokens: &[u32],
    targets: &[u32],
    batch: usize,
    mask: &dyn Fn(Site, usize) -> f64,
) -> f64 {
    let logits = masked_logits(model, params, tokens, batch, mask);
    let (mut sum, mut count) = (0.0, 0);
    for (row, &target) in logits.iter().zip(targets) {
        if (target as usize) < model.vocab {
            let max = row.iter().cloned().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - max).exp()).sum();
            sum += max + total.ln() - row[target as usize];
            count += 1;
        }
    }
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// Logits of every position, in f64.
pub fn logits(
    model: &Owned,
    params: &Params<Vec<f64>>,
    tokens: &[u32],
    batch: usize,
) -> Vec<Vec<f64>> {
    masked_logits(model, params, tokens, batch, &|_, _| 1.0)
}

fn masked_logits(
    model: &Owned,
    params: &Params<Vec<f64>>,
    tokens: &[u32],
    batch: usize,
    mask: &dyn Fn(Site, usize) -> f64,
) -> Vec<Vec<f64>> {
    let (d, s) = (model.dim, tokens.len() / batch);
    let mut out = Vec::new();
    for (number, sequence) in tokens.chunks(s).enumerate() {
        let mask = |site, row: usize, c: usize| mask(site, (number * s + row) * d + c);
        let mut x: Vec<Vec<f64>> = Vec::new();
        for (pos, &token) in sequence.iter().enumerate() {
            let mut row = vec![0.0; d];
            for c in 0..d {
                if (token as usize) < model.vocab {
                    row[c] += params.embeddings[token as usize * d + c];
                }
                if pos < model.max_length {
                    if let Some(table) = &model.spiral {
                        row[c] += f64::from(table[pos * d + c]);
                    }
                    if let Some(table) = &params.learned {
                        row[c] += table[pos * d + c];
                    }
                }
            }
            for (c, x) in row.iter_mut().enumerate() {
                *x *= mask(Site::Input, pos, c);
            }
            x.push(row);
        }
        for (l, layer) in params.layers.iter().enumerate() {
            if let Some(a) = &layer.attention {
                let u: Vec<_> = x.iter().map(|row| norm(row, &layer.norm1)).collect();
                let [mut q, mut k, v] = [0, 1, 2]
                    .map(|i| u.iter().map(|row| project(row, &a.qkv[i], a)).collect::<Vec<_>>());
                let h = a.head_dim;
                let own = (a.heads - a.scores.shifted) * h;
                let mut before = vec![0.0; d - own];
                k.iter_mut().for_each(|key| before.swap_with_slice(&mut key[own..]));
                let sharpness = if a.scores.sharp { 2.5 } else { 1.0 };
                for rows in [&mut q, &mut k] {
                    for (position, row) in rows.iter_mut().enumerate() {
                        for (number, head) in row.chunks_mut(h).enumerate() {
                            prepare(head, (number * h < own).then_some(position), a);
                        }
                    }
                }
                let mut attended = vec![vec![0.0; d]; s];
                for i in 0..s {
                    for head in 0..a.heads {
                        let at = head * h..(head + 1) * h;
                        let scores: Vec<f64> = (0..=i)
                            .map(|j| {
                                let product: f64 = at.clone().map(|c| q[i][c] * k[j][c]).sum();
                                product * sharpness / (h as f64).sqrt()
                            })
                            .collect();
                        let max = scores.iter().cloned().fold(f64::NEG_INFINITY, f64::max);
                        let total: f64 = scores.iter().map(|s| (s - max).exp()).sum();
                        for c in at {
                            attended[i][c] = (0..=i)
                                .map(|j| (scores[j] - max).exp() / total * v[j][c])
                                .sum::<f64>();
                        }
                    }
                }
                for (t, (row, attended)) in x.iter_mut().zip(attended).enumerate() {
                    for o in 0..d {
                        let change = match &a.output {
                            Some(w) => (0..d).map(|i| w[o * d + i] * attended[i]).sum(),
                            None => attended[o],
                        };
                        row[o] += change * mask(Site::Attention(l), t, o);
                    }
                }
            }
            if let Some(f) = &layer.feed_forward {
                for (t, row) in x.iter_mut().enumerate() {
                    let w = norm(row, &layer.norm2);
                    let hidden: Vec<f64> = (0..f.hidden)
                        .map(|o| {
                            let z = f.b1.as_ref().map_or(0.0, |b| b[o])
                                + (0..d).map(|i| f.w1[o * d + i] * w[i]).sum::<f64>();
                            if f.activation == Activation::SquaredRelu {
                                return z.max(0.0).powi(2);
                            }
                            let u =
                                (2.0 / std::f64::consts::PI).sqrt() * (z + 0.044715 * z.powi(3));
                            0.5 * z * (1.0 + u.tanh())
                        })
                        .collect();
                    for o in 0..d {
                        let change = f.b2.as_ref().map_or(0.0, |b| b[o])
                            + (0..f.hidden)
                                .map(|i| f.w2[o * f.hidden + i] * hidden[i])
                                .sum::<f64>();
                        row[o] += change * mask(Site::FeedForward(l), t, o);
                    }
                }
            }
        }
        for row in &x {
            let n = norm(row, &Norm::default());
            out.push(
                params
                    .head
                    .as_ref()
                    .unwrap_or(&params.embeddings)
                    .chunks(d)
                    .map(|e| e.iter().zip(&n).map(|(e, n)| e * n).sum())
                    .collect(),
            );
        }
    }
    out
}

fn norm(x: &[f64], norm: &Norm<Vec<f64>>) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let r = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
    (0..x.len())
        .map(|i| {
            (x[i] - mean) * r * norm.gamma.as_ref().map_or(1.0, |g| g[i])
                + norm.beta.as_ref().map_or(0.0, |b| b[i])
        })
        .collect()
}

/// A head of a query or key, normalised and turned.
fn prepare(head: &mut [f64], position: Option<usize>, a: &Attention<Vec<f64>>) {
    let h = head.len();
    if a.scores.qk_norm {
        let mean = head.iter().map(|x| x * x).sum::<f64>() / h as f64;
        head.iter_mut().for_each(|x| *x /= (mean + 1e-5).sqrt());
    }
    if let Some(position) = position.filter(|_| a.scores.rotary) {
        for i in 0..h / 2 {
            let angle = position as f64 / 10_000f64.powf(2.0 * i as f64 / h as f64);
            let (p, q) = (head[i], head[i + h / 2]);
            head[i] = p * angle.cos() - q * angle.sin();
            head[i + h / 2] = p * angle.sin() + q * angle.cos();
        }
    }
}

fn project(x: &[f64], w: &[f64], a: &Attention<Vec<f64>>) -> Vec<f64> {
    let (d, h) = (x.len(), a.head_dim);
    match a.layout {
        AttentionLayout::Full => {
            (0..d).map(|o| (0..d).map(|i| w[o * d + i] * x[i]).sum()).collect()
        }
        AttentionLayout::PerHead => (0..d)
            .map(|o| {
                let (head, row) = (o / h, o % h);
                (0..h).map(|i| w[(head * h + row) * h + i] * x[head * h + i]).sum()
            })
            .collect(),
    }
}
