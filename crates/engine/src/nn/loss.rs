//! Cross-entropy of the next token, its gradient, and the two products of the output layer, in
//! chunks of rows: memory does not grow with batch × vocabulary.

use super::backward::replace_first;
use super::rows::{linear, mat, mat_mut};
use crate::error::{Error, Result};
use crate::model::{ModelRef, Network, Weight};
use cllm_kernels::Pool;
use cllm_kernels::cross_entropy::{log_sum_exp, loss_gradient};
use cllm_kernels::matmul::{Accumulate, matmul};
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
    pool.install(|| {
        chunks(
            pool,
            model,
            normed,
            targets,
            rows,
            buffers,
            |row, target| log_sum_exp(row) - row[target],
            |_, _, _| {},
        );
    });
    Ok(mean(model, targets, &buffers.losses[..rows]))
}

/// The same, and its gradient: `dnormed` `[T][d]` and `doutput` `[V][d]`, that of the output matrix,
/// are overwritten.
pub fn gradient(
    pool: &Pool,
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
    pool.install(|| {
        chunks(
            pool,
            model,
            normed,
            targets,
            rows,
            buffers,
            |row, target| loss_gradient(row, target, scale),
            |first, count, dlogits| {
                let dlogits = mat(dlogits, count, vocab);
                let out = mat_mut(&mut dnormed[first * d..(first + count) * d], count, d);
                matmul(
                    pool,
                    out,
                    dlogits,
                    mat(model.output_matrix(), vocab, d),
                    Accumulate::Replace,
                );
                let x = mat(&normed[first * d..], count, d);
                matmul(pool, mat_mut(doutput, vocab, d), dlogits.t(), x, replace_first(first));
            },
        );
    });
    Ok(mean(model, targets, &buffers.losses[..rows]))
}

fn checked_rows(model: &Network<impl Weight>, normed: &[f32], targets: Targets) -> Result<usize> {
    let rows = targets.ids.len();
    if rows * model.dim > normed.len() || targets.mask.is_some_and(|m| m.len() < rows) {
        return Err(Error::shape(format!("{rows} targets for fewer rows")));
    }
    Ok(rows)
}

/// For each chunk of rows: the logits; `row_loss` on each row that counts (others become 0);
/// then `after` with the chunk's first row, its number of rows and what `row_loss` left there.
fn chunks(
    pool: &Pool,
    model: &Network<impl Weight>,
    normed: &[f32],
    targets: Targets,
    rows: usize,
    buffers: &mut LossBuffers,
    row_loss: impl Fn(&mut [f32], usize) -> f32 + Sync + Send,
    mut after: impl FnMut(usize, usize, &[f32]),
) {
    let (d, vocab) = (model.dim, model.vocab);
    let step = chunk_rows(vocab);
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let logits = &mut buffers.logits[..count * vocab];
        linear(pool, logits, &normed[first * d..], model.output_matrix(), count, d, vocab);
        let losses = &mut buffers.losses[first..first + count];
        pool.chunks2((logits, 4 * vocab), (losses, 4), |task, logits, losses| {
            for (i, (row, loss)) in logits.chunks_exact_mut(vocab).zip(losses).enumerate() {
                *loss = match targets.counted(first + task * 4 + i, vocab) {
                    Some(target) => row_loss(row, target),
                    None => {
                        row.fill(0.0);
                        0.0
                    }
                };
            }
        });
        after(first, count, &buffers.logits[..count * vocab]);
    }
}

fn mean(model: &Network<impl Weight>, targets: Targets, losses: &[f32]) -> f64 {
    let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
    match targets.count(model.vocab) {
        0 => 0.0,
        counted => sum / counted as f64,
    }
}
