//! The parameters of a model as shaped views: the same structure over weights, gradients and
//! optimizer moments.

use super::architecture::{Activation, Architecture, SHARPNESS};
use super::part::{Extent, Part, TensorName};
use super::tensor::Weight;
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

/// The matrices of attention of one layer.
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
    /// Wo, `[d][d]`; absent: what attention gives is added as it is.
    pub output: Option<T>,
    /// How queries and keys become scores.
    pub scores: Scores,
}

/// How the queries and keys of a layer become scores; by default the products of them alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// Whether queries and keys are turned by their positions, but for the shifted heads.
    pub rotary: bool,
    /// Whether each head of queries and keys is divided by its root mean square.
    pub qk_norm: bool,
    /// Whether scores are multiplied by [`SHARPNESS`].
    pub sharp: bool,
    /// So many heads, the last ones, have the keys of the token before, and its first token none.
    pub shifted: usize,
}

impl Scores {
    /// Those of an architecture, in a layer of so many heads, one of `layers`.
    pub fn of(architecture: &Architecture, heads: usize, layer: usize, layers: usize) -> Self {
        let &Architecture { rotary, qk_norm, sharp, .. } = architecture;
        Self { rotary, qk_norm, sharp, shifted: architecture.shifted_heads(heads, layer, layers) }
    }
}

impl<T> Attention<T> {
    /// What products of a query and a key are multiplied by.
    pub fn scale(&self) -> f32 {
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        if self.scores.sharp { SHARPNESS * scale } else { scale }
    }

    /// Components of a key that are those of the token itself: those before the shifted heads.
    pub fn own_components(&self) -> usize {
        (self.heads - self.scores.shifted) * self.head_dim
    }
}

/// The two products of a feed-forward sublayer.
#[derive(Clone, Debug)]
pub struct FeedForward<T> {
    /// F.
    pub hidden: usize,
    /// What the hidden units compute.
    pub activation: Activation,
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
    /// E, `[V][d]`: input embedding, and output matrix where there is no other.
    pub embeddings: T,
    /// The blocks.
    pub layers: Layers<T>,
    /// P, `[max_length][d]`.
    pub learned: Option<T>,
    /// The output matrix, `[V][d]`; absent: E.
    pub head: Option<T>,
}

impl<T> Params<T> {
    /// Visits every tensor in the canonical order: E; then for each layer Wq, Wk, Wv, Wo, W1, b1,
    /// W2, b2, the two norms; then P and the output matrix. Layer is 0 for what is in none.
    pub fn visit<'s>(&'s self, mut f: impl FnMut(Part, usize, &'s T)) {
        let mut call = |part, layer| {
            if let Some(tensor) = self.get(part, layer) {
                f(part, layer, tensor);
            }
        };
        call(Part::Embeddings, 0);
        for layer in 0..self.layers.len() {
            Part::LAYER.into_iter().for_each(|part| call(part, layer));
        }
        call(Part::Learned, 0);
        call(Part::Head, 0);
    }

    /// The same structure over what `f` makes of each tensor, called in the canonical order.
    /// Joined matrices are dropped: they would be second views of the same values.
    pub fn try_map<U, E>(
        self,
        mut f: impl FnMut(Part, usize, T) -> Result<U, E>,
    ) -> Result<Params<U>, E> {
        self.try_map_by(&mut f)
    }

    /// One piece of code for all that is made of the same tensors, for it is long.
    fn try_map_by<U, E>(
        self,
        f: &mut dyn FnMut(Part, usize, T) -> Result<U, E>,
    ) -> Result<Params<U>, E> {
        let embeddings = f(Part::Embeddings, 0, self.embeddings)?;
        let mut layers = Layers::with_capacity(self.layers.len());
        for (l, layer) in self.layers.into_iter().enumerate() {
            let attention = match layer.attention {
                None => None,
                Some(a) => {
                    let Attention { heads, head_dim, layout, scores, .. } = a;
                    let [q, k, v] = a.qkv;
                    let qkv = [f(Part::Query, l, q)?, f(Part::Key, l, k)?, f(Part::Value, l, v)?];
                    let output = a.output.map(|t| f(Part::Output, l, t)).transpose()?;
                    let joined = None;
                    Some(Attention { heads, head_dim, layout, qkv, joined, output, scores })
                }
            };
            let feed_forward = match layer.feed_forward {
                None => None,
                Some(FeedForward { hidden, activation, w1, b1, w2, b2 }) => Some(FeedForward {
                    hidden,
                    activation,
                    w1: f(Part::W1, l, w1)?,
                    b1: b1.map(|t| f(Part::Bias1, l, t)).transpose()?,
                    w2: f(Part::W2, l, w2)?,
                    b2: b2.map(|t| f(Part::Bias2, l, t)).transpose()?,
                }),
            };
            let mut norm = |norm: Norm<T>, gamma: Part, beta: Part| {
                Ok(Norm {
                    epsilon: norm.epsilon,
                    gamma: norm.gamma.map(|t| f(gamma, l, t)).transpose()?,
                    beta: norm.beta.map(|t| f(beta, l, t)).transpose()?,
                })
            };
            let norm1 = norm(layer.norm1, Part::Gamma1, Part::Beta1)?;
            let norm2 = norm(layer.norm2, Part::Gamma2, Part::Beta2)?;
            layers.push(Layer { norm1, attention, norm2, feed_forward });
        }
        let learned = self.learned.map(|t| f(Part::Learned, 0, t)).transpose()?;
        let head = self.head.map(|t| f(Part::Head, 0, t)).transpose()?;
        Ok(Params { embeddings, layers, learned, head })
    }

    /// References to every tensor, in the canonical order.
    pub fn tensors(&self) -> Vec<(Part, usize, &T)> {
        let mut list = Vec::new();
        self.visit(|part, layer, t| list.push((part, layer, t)));
        list
    }

    /// [`Params::try_map`] for what can't fail.
    pub fn map<U>(self, mut f: impl FnMut(Part, usize, T) -> U) -> Params<U> {
        let mapped = self.try_map(|part, layer, t| Ok::<U, Infallible>(f(part, layer, t)));
        match mapped {
            Ok(params) => params,
            Err(never) => match never {},
        }
    }
}

/// The ways to borrow from a [`Params`], once for `&` and once for `&mut`.
macro_rules! borrowing {
    ($by:ident, $get:ident, $doc:literal, $joined:expr,
     $as_ref:ident, $each_ref:ident, $iter:ident $(, $mut:tt)?) => {
        impl<T> Norm<T> {
            fn $by(&$($mut)? self) -> Norm<&$($mut)? T> {
                Norm {
                    epsilon: self.epsilon,
                    gamma: self.gamma.$as_ref(),
                    beta: self.beta.$as_ref(),
                }
            }
        }

        impl<T> Params<T> {
            #[doc = $doc]
            pub fn $by(&$($mut)? self) -> Params<&$($mut)? T> {
                let layers = self.layers.$iter().map(|layer| Layer {
                    norm1: layer.norm1.$by(),
                    attention: layer.attention.$as_ref().map(|a| Attention {
                        heads: a.heads,
                        head_dim: a.head_dim,
                        layout: a.layout,
                        qkv: a.qkv.$each_ref(),
                        joined: $joined(&a.joined),
                        output: a.output.$as_ref(),
                        scores: a.scores,
                    }),
                    norm2: layer.norm2.$by(),
                    feed_forward: layer.feed_forward.$as_ref().map(|ff| FeedForward {
                        hidden: ff.hidden,
                        activation: ff.activation,
                        w1: &$($mut)? ff.w1,
                        b1: ff.b1.$as_ref(),
                        w2: &$($mut)? ff.w2,
                        b2: ff.b2.$as_ref(),
                    }),
                });
                Params {
                    layers: layers.collect(),
                    embeddings: &$($mut)? self.embeddings,
                    learned: self.learned.$as_ref(),
                    head: self.head.$as_ref(),
                }
            }

            /// One tensor; `None` where the model has no such part, or no such layer.
            pub fn $get(&$($mut)? self, part: Part, layer: usize) -> Option<&$($mut)? T> {
                if !part.in_layer() {
                    return match part {
                        Part::Embeddings => Some(&$($mut)? self.embeddings),
                        Part::Learned => self.learned.$as_ref(),
                        Part::Head => self.head.$as_ref(),
                        _ => None,
                    };
                }
                let Layer { norm1, attention, norm2, feed_forward } =
                    self.layers.$iter().nth(layer)?;
                if part == Part::Output {
                    return attention.$as_ref().and_then(|a| a.output.$as_ref());
                }
                let qkv = attention.$as_ref().map(|a| a.qkv.$each_ref());
                match part {
                    Part::Query => qkv.map(|[q, _, _]| q),
                    Part::Key => qkv.map(|[_, k, _]| k),
                    Part::Value => qkv.map(|[_, _, v]| v),
                    Part::W1 => feed_forward.$as_ref().map(|ff| &$($mut)? ff.w1),
                    Part::Bias1 => feed_forward.$as_ref().and_then(|ff| ff.b1.$as_ref()),
                    Part::W2 => feed_forward.$as_ref().map(|ff| &$($mut)? ff.w2),
                    Part::Bias2 => feed_forward.$as_ref().and_then(|ff| ff.b2.$as_ref()),
                    Part::Gamma1 => norm1.gamma.$as_ref(),
                    Part::Beta1 => norm1.beta.$as_ref(),
                    Part::Gamma2 => norm2.gamma.$as_ref(),
                    Part::Beta2 => norm2.beta.$as_ref(),
                    _ => None,
                }
            }
        }
    };
}

borrowing!(
    by_ref,
    get,
    "The same structure over references.",
    Option::as_ref,
    as_ref,
    each_ref,
    iter
);
borrowing!(
    by_mut,
    get_mut,
    "The same structure over mutable references; without joined matrices, which would be second \
     ones.",
    no_joined,
    as_mut,
    each_mut,
    iter_mut,
    mut
);

fn no_joined<T, U>(_: &Option<T>) -> Option<U> {
    None
}

/// What a pass over a model needs: its sizes, its parameters, its constant position table.
#[derive(Clone, Debug)]
pub struct Network<T> {
    /// What the owner of the weights counts: another number after each change that it knows of; 0
    /// where it does not count. See [`ModelRef::weights_version`].
    pub version: u64,
    /// V.
    pub vocab: usize,
    /// d.
    pub dim: usize,
    /// Rows of the position tables; with rotary positions, the length of the windows that the model
    /// was trained on; 0 when there are neither.
    pub max_length: usize,
    /// S: `[max_length][d]`, added but not trained.
    pub spiral: Option<T>,
    /// What is trained.
    pub params: Params<T>,
}

/// A model to run, whose values are borrowed.
pub type ModelRef<'a> = Network<&'a [f32]>;

impl<W: Weight> Network<W> {
    /// Number of weights.
    pub fn weights(&self) -> usize {
        let mut sum = 0;
        self.params.visit(|_, _, tensor| sum += tensor.count());
        sum
    }

    /// The positions that the model knows: those of its tables, or, where positions turn the heads,
    /// those that it was trained on. `None` where it tells no positions apart.
    pub fn positions(&self) -> Option<usize> {
        let tables = self.spiral.is_some() || self.params.learned.is_some();
        (self.max_length > 0 && (tables || self.some_attention(|w| w.scores.rotary)))
            .then_some(self.max_length)
    }

    /// The output matrix: logits = it · n.
    pub fn output_matrix(&self) -> W {
        self.params.head.unwrap_or(self.params.embeddings)
    }

    /// Components of the heads that positions turn; `None` where no layer has such.
    ///
    /// # Errors
    /// Heads of an odd number of components, or of different ones.
    pub fn rotary_head_dim(&self) -> Result<Option<usize>> {
        let attention = self.params.layers.iter().filter_map(|l| l.attention.as_ref());
        super::shape::rotary_head_dim(attention.filter(|a| a.scores.rotary).map(|a| a.head_dim))
    }

    /// The widest feed-forward sublayer; 0 without any.
    pub fn max_hidden(&self) -> usize {
        let hidden = |l: &Layer<_>| l.feed_forward.as_ref().map_or(0, |ff| ff.hidden);
        self.params.layers.iter().map(hidden).max().unwrap_or(0)
    }

    /// Whether the attention of some layer is such.
    pub fn some_attention(&self, is: impl Fn(&Attention<W>) -> bool) -> bool {
        self.params.layers.iter().filter_map(|l| l.attention.as_ref()).any(is)
    }

    /// The most heads of any layer; 0 without attention.
    pub fn max_heads(&self) -> usize {
        let heads = |l: &Layer<_>| l.attention.as_ref().map_or(0, |a| a.heads);
        self.params.layers.iter().map(heads).max().unwrap_or(0)
    }

    /// Checks every tensor's length against the sizes. Views from C are checked when made; this
    /// is for models that Rust code assembles.
    pub fn check(&self) -> Result<()> {
        let expect = |what: &dyn std::fmt::Display, len: usize, expected: usize| {
            if len == expected {
                return Ok(());
            }
            Err(Error::shape(format!("{what} has {len} values, not {expected}")))
        };
        let mut extent =
            Extent { vocab: self.vocab, dim: self.dim, hidden: 0, positions: self.max_length };
        let mut check = |part: Part, layer: usize, t: &W| {
            let of = self.params.layers.get(layer).filter(|_| part.in_layer());
            let (attention, feed_forward) =
                of.map_or((None, None), |l| (l.attention.as_ref(), l.feed_forward.as_ref()));
            extent.hidden = feed_forward.map_or(0, |ff| ff.hidden);
            let floats = match (part, attention) {
                (Part::Query | Part::Key | Part::Value, Some(a)) => {
                    expect(&"heads × head width", a.heads.saturating_mul(a.head_dim), self.dim)?;
                    a.layout.matrix_len(a.heads, a.head_dim)
                }
                _ => part.floats(&extent)?,
            };
            expect(&TensorName { part, layer }, t.count(), floats)
        };
        if let Some(spiral) = &self.spiral {
            check(Part::Spiral, 0, spiral)?;
        }
        self.rotary_head_dim()?;
        let mut outcome = Ok(());
        self.params.visit(|part, layer, t| {
            if outcome.is_ok() {
                outcome = check(part, layer, t);
            }
        });
        outcome
    }
}
