//! The matrix products of a pass, in the precision that it is to have.

use crate::error::{Error, Result};
use crate::model::{Tensor, Weight};
use crate::nn::rows::{mat, mat_mut};
use cllm_kernels::Pool;
use cllm_kernels::bf16::{Bfloat16, Sums};
use cllm_kernels::int8;
use cllm_kernels::matmul::{self, Accumulate};
use ndarray::{ArrayView2, ArrayViewMut2};

/// What the matrix products of a training step take. Weights, gradients, moments, norms, positions,
/// attention, activations and loss are f32 in either case, and so are all sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrainingPrecision {
    /// f32.
    #[default]
    F32,
    /// Both matrices of a product are rounded to bfloat16 ([`cllm_kernels::bf16`]), where the processor
    /// has instructions for it. Held-out losses differ little; whether it is faster depends on the
    /// processor.
    Bf16,
}

impl TrainingPrecision {
    /// Its name: "f32" or "bf16".
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The one of that name.
    pub fn named(name: &[u8]) -> Option<Self> {
        [Self::F32, Self::Bf16].into_iter().find(|p| p.name().as_bytes() == name)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        self == Self::F32 || Bfloat16::found().is_some()
    }

    /// The one whose products this processor computes faster. It is a property of the processor: a run
    /// that is to be the same elsewhere names f32.
    pub fn fastest() -> Self {
        match Bfloat16::found() {
            Some(bfloat16) if bfloat16.is_faster() => Self::Bf16,
            _ => Self::F32,
        }
    }

    /// Products of bfloat16, where it asks for them.
    ///
    /// # Errors
    /// A processor without them.
    pub fn bfloat16(self) -> Result<Option<Bfloat16>> {
        match self {
            Self::F32 => Ok(None),
            Self::Bf16 => match Bfloat16::found() {
                Some(found) => Ok(Some(found)),
                None => Err(Error::state(
                    "training in bfloat16 needs a processor with AVX512_BF16, which this one lacks or \
                     CLLM_SIMD forbids"
                        .to_string(),
                )),
            },
        }
    }

    /// Its name, and by which instruction this processor computes its products, which decides about their
    /// last bits: "f32", "bf16 by AMX" or "bf16 by AVX512_BF16".
    pub fn arithmetic(self) -> String {
        let sums = (self == Self::Bf16).then(Bfloat16::found).flatten().map(Bfloat16::sums);
        match sums {
            None => self.name().to_string(),
            Some(Sums::Pairs) => format!("{} by AVX512_BF16", self.name()),
            Some(Sums::Tiles) => format!("{} by AMX", self.name()),
        }
    }
}

/// Who computes matrix products.
#[derive(Clone, Copy)]
pub struct Products<'a> {
    /// The threads.
    pub pool: &'a Pool,
    /// Products of bfloat16; `None`: of f32.
    pub bfloat16: Option<Bfloat16>,
}

impl<'a> Products<'a> {
    /// Products of f32.
    pub fn f32(pool: &'a Pool) -> Self {
        Self { pool, bfloat16: None }
    }

    /// [`matmul::matmul`].
    pub fn matmul(
        self,
        out: ArrayViewMut2<f32>,
        a: ArrayView2<f32>,
        b: ArrayView2<f32>,
        accumulate: Accumulate,
    ) {
        match self.bfloat16 {
            None => matmul::matmul(self.pool, out, a, b, accumulate),
            Some(bfloat16) => bfloat16.matmul(self.pool, out, a, b, accumulate),
        }
    }

    /// [`matmul::matmul_then`].
    pub fn matmul_then(
        self,
        out: ArrayViewMut2<f32>,
        also: Option<ArrayViewMut2<f32>>,
        a: ArrayView2<f32>,
        b: ArrayView2<f32>,
        finish: impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync,
    ) {
        match self.bfloat16 {
            None => matmul::matmul_then(self.pool, out, also, a, b, finish),
            Some(bfloat16) => bfloat16.matmul_then(self.pool, out, also, a, b, finish),
        }
    }

    /// out = x·Wᵀ for n rows: out `[n][outputs]`, x `[n][inputs]`, W `[outputs][inputs]`.
    pub fn linear(
        self,
        out: &mut [f32],
        x: &[f32],
        w: impl Weight,
        n: usize,
        inputs: usize,
        outputs: usize,
    ) {
        match w.tensor() {
            Tensor::F32(w) => {
                let (out, x) = (mat_mut(out, n, outputs), mat(x, n, inputs));
                self.matmul(out, x, mat(w, outputs, inputs).t(), Accumulate::Replace);
            }
            Tensor::Int8(w) => int8::linear(self.pool, &mut out[..n * outputs], x, n, &[w]),
        }
    }
}
