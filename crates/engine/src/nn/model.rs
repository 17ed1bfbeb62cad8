//! The parameters of a model as shaped views: the same structure over weights, gradients and
//! optimizer moments.

use crate::error::{Error, Result};
use smallvec::SmallVec;
use std::convert::Infallible;

/// Smallest variance that layer norm divides by, where a norm states none.
pub const DEFAULT_EPSILON: f32 = 1e-5;

/// How an attention layer stores its three matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionLayout {
    /// d×d.
    Full,
    /// One h×h block per head, one after the other: head a sees only its own h inputs.
    PerHead,
}

impl AttentionLayout {
    /// Floats in one matrix.
    pub fn matrix_len(self, heads: usize, head_dim: usize) -> usize {
        match self {
            Self::Full => (heads * head_dim) * (heads * head_dim),
            Self::PerHead => heads * head_dim * head_dim,
        }
    }
}

/// Query, key and value matrices of one layer.
#[derive(Clone, Debug)]
pub struct Attention<T> {
    /// Number of heads.
    pub heads: usize,
    /// Components of a head; `heads * head_dim` = d.
    pub head_dim: usize,
    /// Shape of the matrices.
    pub layout: AttentionLayout,
    /// Wq, Wk and Wv.
    pub qkv: [T; 3],
    /// The three as one matrix `[3d][d]`, where they lie next to each other; never an own tensor.
    pub joined: Option<T>,
}

/// The two products of a feed-forward sublayer.
#[derive(Clone, Debug)]
pub struct FeedForward<T> {
    /// F.
    pub hidden: usize,
    /// `[F][d]`.
    pub w1: T,
    /// `[F]`; absent = 0.
    pub b1: Option<T>,
    /// `[d][F]`.
    pub w2: T,
    /// `[d]`; absent = 0.
    pub b2: Option<T>,
}

/// A layer norm; without gamma and beta it only normalises.
#[derive(Clone, Debug)]
pub struct Norm<T> {
    /// Added to the variance.
    pub epsilon: f32,
    /// `[d]`; absent = 1.
    pub gamma: Option<T>,
    /// `[d]`; absent = 0.
    pub beta: Option<T>,
}

impl<T> Default for Norm<T> {
    fn default() -> Self {
        Self { epsilon: DEFAULT_EPSILON, gamma: None, beta: None }
    }
}

impl<T> Norm<T> {
    fn by_ref(&self) -> Norm<&T> {
        Norm { epsilon: self.epsilon, gamma: self.gamma.as_ref(), beta: self.beta.as_ref() }
    }

    fn by_mut(&mut self) -> Norm<&mut T> {
        Norm { epsilon: self.epsilon, gamma: self.gamma.as_mut(), beta: self.beta.as_mut() }
    }
}

/// One block: x += attention(norm1(x)); x += feed-forward(norm2(x)). A missing part adds nothing.
#[derive(Clone, Debug)]
pub struct Layer<T> {
    /// LN1.
    pub norm1: Norm<T>,
    /// Attention.
    pub attention: Option<Attention<T>>,
    /// LN2.
    pub norm2: Norm<T>,
    /// Feed-forward.
    pub feed_forward: Option<FeedForward<T>>,
}

/// The blocks of a model. So many are kept in place: a step over a model of that depth allocates
/// nothing for its views.
pub type Layers<T> = SmallVec<[Layer<T>; 16]>;

/// Everything that is trained.
#[derive(Clone, Debug)]
pub struct Params<T> {
    /// E, `[V][d]`: input embedding and output matrix.
    pub embeddings: T,
    /// The blocks.
    pub layers: Layers<T>,
    /// P, `[max_length][d]`.
    pub learned: Option<T>,
}

/// Which kind of parameter a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// E.
    Embeddings,
    /// Wq.
    Query,
    /// Wk.
    Key,
    /// Wv.
    Value,
    /// W1.
    W1,
    /// b1.
    Bias1,
    /// W2.
    W2,
    /// b2.
    Bias2,
    /// Gamma of LN1.
    Gamma1,
    /// Beta of LN1.
    Beta1,
    /// Gamma of LN2.
    Gamma2,
    /// Beta of LN2.
    Beta2,
    /// P.
    Learned,
}

impl Kind {
    /// Matrices decay; biases and norm parameters don't.
    pub fn decays(self) -> bool {
        matches!(
            self,
            Self::Embeddings
                | Self::Query
                | Self::Key
                | Self::Value
                | Self::W1
                | Self::W2
                | Self::Learned
        )
    }
}

impl<T> Params<T> {
    /// Visits every tensor in the canonical order: E; then for each layer Wq, Wk, Wv, W1, b1, W2,
    /// b2, the two norms; then P. Layer is 0 for E and P.
    pub fn visit<'s>(&'s self, mut f: impl FnMut(Kind, usize, &'s T)) {
        f(Kind::Embeddings, 0, &self.embeddings);
        for (l, layer) in self.layers.iter().enumerate() {
            if let Some(attention) = &layer.attention {
                for (kind, t) in
                    [Kind::Query, Kind::Key, Kind::Value].into_iter().zip(&attention.qkv)
                {
                    f(kind, l, t);
                }
            }
            if let Some(ff) = &layer.feed_forward {
                f(Kind::W1, l, &ff.w1);
                optional(&mut f, Kind::Bias1, l, &ff.b1);
                f(Kind::W2, l, &ff.w2);
                optional(&mut f, Kind::Bias2, l, &ff.b2);
            }
            optional(&mut f, Kind::Gamma1, l, &layer.norm1.gamma);
            optional(&mut f, Kind::Beta1, l, &layer.norm1.beta);
            optional(&mut f, Kind::Gamma2, l, &layer.norm2.gamma);
            optional(&mut f, Kind::Beta2, l, &layer.norm2.beta);
        }
        optional(&mut f, Kind::Learned, 0, &self.learned);

        fn optional<'s, T>(
            f: &mut impl FnMut(Kind, usize, &'s T),
            kind: Kind,
            layer: usize,
            tensor: &'s Option<T>,
        ) {
            if let Some(t) = tensor {
                f(kind, layer, t);
            }
        }
    }

    /// The same structure over what `f` makes of each tensor, called in the canonical order.
    /// Joined matrices are dropped: they would be second views of the same values.
    pub fn try_map<U, E>(
        self,
        mut f: impl FnMut(Kind, usize, T) -> Result<U, E>,
    ) -> Result<Params<U>, E> {
        let embeddings = f(Kind::Embeddings, 0, self.embeddings)?;
        let mut layers = Layers::with_capacity(self.layers.len());
        for (l, layer) in self.layers.into_iter().enumerate() {
            let attention = match layer.attention {
                None => None,
                Some(Attention { heads, head_dim, layout, qkv: [q, k, v], joined: _ }) => {
                    let qkv = [f(Kind::Query, l, q)?, f(Kind::Key, l, k)?, f(Kind::Value, l, v)?];
                    Some(Attention { heads, head_dim, layout, qkv, joined: None })
                }
            };
            let feed_forward = match layer.feed_forward {
                None => None,
                Some(FeedForward { hidden, w1, b1, w2, b2 }) => Some(FeedForward {
                    hidden,
                    w1: f(Kind::W1, l, w1)?,
                    b1: b1.map(|t| f(Kind::Bias1, l, t)).transpose()?,
                    w2: f(Kind::W2, l, w2)?,
                    b2: b2.map(|t| f(Kind::Bias2, l, t)).transpose()?,
                }),
            };
            let mut norm = |norm: Norm<T>, gamma: Kind, beta: Kind| {
                Ok(Norm {
                    epsilon: norm.epsilon,
                    gamma: norm.gamma.map(|t| f(gamma, l, t)).transpose()?,
                    beta: norm.beta.map(|t| f(beta, l, t)).transpose()?,
                })
            };
            let norm1 = norm(layer.norm1, Kind::Gamma1, Kind::Beta1)?;
            let norm2 = norm(layer.norm2, Kind::Gamma2, Kind::Beta2)?;
            layers.push(Layer { norm1, attention, norm2, feed_forward });
        }
        let learned = self.learned.map(|t| f(Kind::Learned, 0, t)).transpose()?;
        Ok(Params { embeddings, layers, learned })
    }

    /// References to every tensor, in the canonical order.
    pub fn tensors(&self) -> Vec<(Kind, usize, &T)> {
        let mut list = Vec::new();
        self.visit(|kind, layer, t| list.push((kind, layer, t)));
        list
    }

    /// [`Params::try_map`] for what can't fail.
    pub fn map<U>(self, mut f: impl FnMut(Kind, usize, T) -> U) -> Params<U> {
        let mapped = self.try_map(|kind, layer, t| Ok::<U, Infallible>(f(kind, layer, t)));
        match mapped {
            Ok(params) => params,
            Err(never) => match never {},
        }
    }

    /// The same structure over references.
    pub fn by_ref(&self) -> Params<&T> {
        let layers = self.layers.iter().map(|layer| Layer {
            norm1: layer.norm1.by_ref(),
            attention: layer.attention.as_ref().map(|a| Attention {
                heads: a.heads,
                head_dim: a.head_dim,
                layout: a.layout,
                qkv: a.qkv.each_ref(),
                joined: a.joined.as_ref(),
            }),
            norm2: layer.norm2.by_ref(),
            feed_forward: layer.feed_forward.as_ref().map(|f| FeedForward {
                hidden: f.hidden,
                w1: &f.w1,
                b1: f.b1.as_ref(),
                w2: &f.w2,
                b2: f.b2.as_ref(),
            }),
        });
        Params {
            layers: layers.collect(),
            embeddings: &self.embeddings,
            learned: self.learned.as_ref(),
        }
    }

    /// The same structure over mutable references.
    pub fn by_mut(&mut self) -> Params<&mut T> {
        let layers = self.layers.iter_mut().map(|layer| Layer {
            norm1: layer.norm1.by_mut(),
            attention: layer.attention.as_mut().map(|a| Attention {
                heads: a.heads,
                head_dim: a.head_dim,
                layout: a.layout,
                qkv: a.qkv.each_mut(),
                joined: None,
            }),
            norm2: layer.norm2.by_mut(),
            feed_forward: layer.feed_forward.as_mut().map(|f| FeedForward {
                hidden: f.hidden,
                w1: &mut f.w1,
                b1: f.b1.as_mut(),
                w2: &mut f.w2,
                b2: f.b2.as_mut(),
            }),
        });
        Params {
            layers: layers.collect(),
            embeddings: &mut self.embeddings,
            learned: self.learned.as_mut(),
        }
    }
}

/// A model to run: its sizes, its parameters, its constant position table.
#[derive(Clone, Debug)]
pub struct ModelRef<'a> {
    /// What the owner of the weights counts: another number after each change that it knows of; 0
    /// where it does not count. See [`ModelRef::weights_version`].
    pub version: u64,
    /// V.
    pub vocab: usize,
    /// d.
    pub dim: usize,
    /// Rows of the position tables; 0 when there are none.
    pub max_length: usize,
    /// S: `[max_length][d]`, added but not trained.
    pub spiral: Option<&'a [f32]>,
    /// What is trained.
    pub params: Params<&'a [f32]>,
}

impl ModelRef<'_> {
    /// Number of weights.
    pub fn weights(&self) -> usize {
        let mut sum = 0;
        self.params.visit(|_, _, tensor| sum += tensor.len());
        sum
    }

    /// Whether some position table takes part, so that positions from `max_length` on have no row.
    pub fn has_positions(&self) -> bool {
        self.max_length > 0 && (self.spiral.is_some() || self.params.learned.is_some())
    }

    /// The widest feed-forward sublayer; 0 without any.
    pub fn max_hidden(&self) -> usize {
        let hidden = |l: &Layer<_>| l.feed_forward.as_ref().map_or(0, |ff| ff.hidden);
        self.params.layers.iter().map(hidden).max().unwrap_or(0)
    }

    /// The most heads of any layer; 0 without attention.
    pub fn max_heads(&self) -> usize {
        let heads = |l: &Layer<_>| l.attention.as_ref().map_or(0, |a| a.heads);
        self.params.layers.iter().map(heads).max().unwrap_or(0)
    }

    /// Checks every tensor's length against the sizes. Views from C are checked when made; this
    /// is for models that Rust code assembles.
    pub fn check(&self) -> Result<()> {
        let d = self.dim;
        let expect = |what: &str, len: usize, expected: usize| {
            if len == expected {
                Ok(())
            } else {
                Err(Error::shape(format!("{what} has {len} values, not {expected}")))
            }
        };
        expect("the embedding matrix", self.params.embeddings.len(), self.vocab * d)?;
        for table in self.spiral.iter().chain(&self.params.learned) {
            expect("a position table", table.len(), self.max_length * d)?;
        }
        for layer in &self.params.layers {
            if let Some(a) = &layer.attention {
                expect("heads × head width", a.heads * a.head_dim, d)?;
                for w in &a.qkv {
                    let len = a.layout.matrix_len(a.heads, a.head_dim);
                    expect("an attention matrix", w.len(), len)?;
                }
            }
            if let Some(ff) = &layer.feed_forward {
                expect("W1", ff.w1.len(), ff.hidden * d)?;
                expect("W2", ff.w2.len(), ff.hidden * d)?;
                ff.b1.map_or(Ok(()), |b| expect("b1", b.len(), ff.hidden))?;
                ff.b2.map_or(Ok(()), |b| expect("b2", b.len(), d))?;
            }
            for norm in [&layer.norm1, &layer.norm2] {
                for t in norm.gamma.iter().chain(&norm.beta) {
                    expect("a norm", t.len(), d)?;
                }
            }
        }
        Ok(())
    }
}
