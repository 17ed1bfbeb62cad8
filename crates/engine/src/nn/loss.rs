//! Cross-entropy of the next token, its gradient, and the two products of the output layer, in
//! chunks of rows: memory does not grow with batch × vocabulary.

use super::backward::replace_first;
use super::products::Products;
use super::rows::{mat, mat_mut};
use super::work;
use crate::error::{Error, Result};
use crate::model::{ModelRef, Network, Weight};
use cllm_kernels::Pool;
use cllm_kernels::cross_entropy::{log_sum_exp, loss_gradient};
use cllm_kernels::matmul::Accumulate;
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::product;

/// Logits that one chunk holds, about: 8 MiB. Fewer rows would pack the output matrix more often.
const CHUNK_LOGITS: usize = 1 << 21;

/// Which positions count, and what comes next there.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// The next token of each row; one ≥ V does not count.
    pub ids: &'a [u32],
    /// Rows with 0.5 or less don't count.
    pub mask: Option<&'a [f32]>,
}

impl<'a> Targets<'a> {
    /// All rows count.
    pub fn all(ids: &'a [u32]) -> Self {
        Self { ids, mask: None }
    }

    fn counted(&self, row: usize, vocab: usize) -> Option<usize> {
        let target = *self.ids.get(row)? as usize;
        let masked_in = self.mask.is_none_or(|mask| mask.get(row).is_some_and(|&m| m > 0.5));
        (target < vocab && masked_in).then_some(target)
    }

    /// N: how many rows count.
    pub fn count(&self, vocab: usize) -> usize {
        (0..self.ids.len()).filter(|&row| self.counted(row, vocab).is_some()).count()
    }
}

/// Memory for [`evaluate`] and [`gradient`], used again from call to call.
#[derive(Debug, Default)]
pub struct LossBuffers {
    logits: Floats,
    losses: Floats,
}

fn chunk_rows(vocab: usize) -> usize {
    (CHUNK_LOGITS / vocab.max(1)).next_multiple_of(32).clamp(32, 512)
}

impl LossBuffers {
    fn reserve(&mut self, rows: usize, vocab: usize) -> Result<()> {
        let chunk = product("the logits", &[chunk_rows(vocab).min(rows), vocab])?;
        self.logits.grow("the logits", chunk)?;
        self.losses.grow("the losses", rows)?;
        Ok(())
    }
}

/// Mean of `−ln softmax(E·n)[target]`, E being the output matrix, over the rows that count; 0 if none does.
pub fn evaluate(
    pool: &Pool,
    model: &Network<impl Weight>,
    normed: &[f32],
    targets: Targets,
    buffers: &mut LossBuffers,
) -> Result<f64> {
    let rows = checked_rows(model, normed, targets)?;
    buffers.reserve(rows, model.vocab)?;
    let LossBuffers { logits, losses } = buffers;
    let losses = &mut losses[..rows];
    let loss = |row: &mut [f32], target: usize| log_sum_exp(row) - row[target];
    let each = where_counted(model, targets, loss);
    let size = work::logits(model, rows, chunk_rows(model.vocab), 1);
    pool.step(size, |pool| {
        chunks(Products::f32(pool), model, normed, logits, losses, each, |_, _, _| {});
    });
    Ok(mean(model, targets, losses))
}

/// How a model rates a token that follows in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenScore {
    /// ln of its probability, at most 0 but for rounding.
    pub log_prob: f32,
    /// 1 for the likeliest token of the vocabulary, 2 for the next one; of equals the lower id comes
    /// first.
    pub rank: u32,
}

/// The score of `targets[i]` by row i of the final hidden vectors `normed`, into `out[i]`. No more
/// logits are held at once than for [`evaluate`].
///
/// # Errors
/// Fewer rows than targets, or an output of another length; a target that the model does not have; no
/// memory.
pub fn token_scores(
    pool: &Pool,
    model: &Network<impl Weight>,
    normed: &[f32],
    targets: &[u32],
    buffers: &mut LossBuffers,
    out: &mut [TokenScore],
) -> Result<()> {
    let all = Targets::all(targets);
    let rows = checked_rows(model, normed, all)?;
    if out.len() != rows || all.count(model.vocab) != rows {
        return Err(Error::shape(format!("{rows} targets for {} scores", out.len())));
    }
    buffers.reserve(rows, model.vocab)?;
    let each = where_counted(model, all, |row: &mut [f32], target| {
        let logit = row[target];
        let before = row[..target].iter().filter(|&&x| x >= logit).count();
        let behind = row[target + 1..].iter().filter(|&&x| x > logit).count();
        TokenScore { log_prob: logit - log_sum_exp(row), rank: 1 + (before + behind) as u32 }
    });
    let logits = &mut buffers.logits;
    let size = work::logits(model, rows, chunk_rows(model.vocab), 1);
    pool.step(size, |pool| {
        chunks(Products::f32(pool), model, normed, logits, out, each, |_, _, _| {});
    });
    Ok(())
}

/// The same, and its gradient: `dnormed` `[T][d]` and `doutput` `[V][d]`, that of the output matrix,
/// are overwritten.
pub fn gradient(
    products: Products,
    model: &ModelRef,
    normed: &[f32],
    targets: Targets,
    buffers: &mut LossBuffers,
    dnormed: &mut [f32],
    doutput: &mut [f32],
) -> Result<f64> {
    let rows = checked_rows(model, normed, targets)?;
    buffers.reserve(rows, model.vocab)?;
    let (d, vocab) = (model.dim, model.vocab);
    let counted = targets.count(vocab);
    let scale = if counted == 0 { 0.0 } else { 1.0 / counted as f32 };
    let LossBuffers { logits, losses } = buffers;
    let losses = &mut losses[..rows];
    let each =
        where_counted(model, targets, |row: &mut [f32], target| loss_gradient(row, target, scale));
    products.pool.step(work::logits(model, rows, chunk_rows(vocab), 3), |pool| {
        let products = Products { pool, ..products };
        chunks(products, model, normed, logits, losses, each, |first, count, dlogits| {
            let dlogits = mat(dlogits, count, vocab);
            let out = mat_mut(&mut dnormed[first * d..(first + count) * d], count, d);
            let embeddings = mat(model.output_matrix(), vocab, d);
            products.matmul(out, dlogits, embeddings, Accumulate::Replace);
            let x = mat(&normed[first * d..], count, d);
            products.matmul(mat_mut(doutput, vocab, d), dlogits.t(), x, replace_first(first));
        });
    });
    Ok(mean(model, targets, losses))
}

fn checked_rows(model: &Network<impl Weight>, normed: &[f32], targets: Targets) -> Result<usize> {
    let rows = targets.ids.len();
    if rows * model.dim > normed.len() || targets.mask.is_some_and(|m| m.len() < rows) {
        return Err(Error::shape(format!("{rows} targets for fewer rows")));
    }
    Ok(rows)
}

/// What `of` makes of a row's logits and its target, where the row counts; elsewhere the row becomes 0,
/// and so does the outcome.
fn where_counted<T: Default>(
    model: &Network<impl Weight>,
    targets: Targets,
    of: impl Fn(&mut [f32], usize) -> T + Sync,
) -> impl Fn(usize, &mut [f32]) -> T + Sync {
    move |row, logits| match targets.counted(row, model.vocab) {
        Some(target) => of(logits, target),
        None => {
            logits.fill(0.0);
            T::default()
        }
    }
}

/// For each chunk of the rows of `out`: the logits, in the memory of `logits`; `each` with the row and
/// its logits, for its place in `out`; then `after` with the chunk's first row, its number of rows and
/// what `each` left of the logits.
fn chunks<T: Send>(
    products: Products,
    model: &Network<impl Weight>,
    normed: &[f32],
    logits: &mut Floats,
    out: &mut [T],
    each: impl Fn(usize, &mut [f32]) -> T + Sync,
    mut after: impl FnMut(usize, usize, &[f32]),
) {
    let (d, vocab) = (model.dim, model.vocab);
    let step = chunk_rows(vocab);
    for (chunk, out) in out.chunks_mut(step).enumerate() {
        let (first, count) = (chunk * step, out.len());
        let logits = &mut logits[..count * vocab];
        let x = &normed[first * d..];
        products.linear(logits, x, model.output_matrix(), count, d, vocab);
        products.pool.chunks2((logits, 4 * vocab), (out, 4), |task, logits, out| {
            for (i, (row, out)) in logits.chunks_exact_mut(vocab).zip(out).enumerate() {
                *out = each(first + task * 4 + i, row);
            }
        });
        after(first, count, logits);
    }
}

fn mean(model: &Network<impl Weight>, targets: Targets, losses: &[f32]) -> f64 {
    let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
    match targets.count(model.vocab) {
        0 => 0.0,
        counted => sum / counted as f64,
    }
}
