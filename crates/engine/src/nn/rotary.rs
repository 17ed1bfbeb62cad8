//! Queries and keys between their projection and attention: divided by their root mean square, turned
//! by their positions.

use super::rows::{Pass, TASK_ROWS};
use crate::error::Result;
use crate::model::{Attention, DEFAULT_EPSILON, Weight};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::product;
use cllm_kernels::rotary;

/// The angles of all positions up to one, as their cosines and sines; they are made once.
#[derive(Debug, Default)]
pub struct Angles {
    /// `[positions][h]`.
    table: Floats,
    positions: usize,
    head_dim: usize,
}

impl Angles {
    /// Makes those of the positions below `needed`, for heads of `head_dim` components. `ahead` is
    /// how many a run is expected to need.
    ///
    /// # Errors
    /// Memory.
    pub fn reserve(&mut self, head_dim: usize, needed: usize, ahead: usize) -> Result<()> {
        const WHAT: &str = "the angles of positions";
        if self.head_dim == head_dim && needed <= self.positions {
            return Ok(());
        }
        let positions = needed.max(ahead).checked_next_power_of_two().unwrap_or(needed);
        self.positions = 0;
        self.table.grow(WHAT, product(WHAT, &[positions, head_dim])?)?;
        for (position, row) in self.table.chunks_exact_mut(head_dim).take(positions).enumerate() {
            rotary::angles(position, row);
        }
        (self.positions, self.head_dim) = (positions, head_dim);
        Ok(())
    }

    fn of(&self, position: usize) -> &[f32] {
        &self.table[position * self.head_dim..][..self.head_dim]
    }
}

/// Normalises and turns the queries and keys of `qkv` `[n][3d]`, where the layer does so; the shifted heads
/// are not turned. `factors` `[n][2H]` receives what the heads were multiplied by.
pub fn forward(
    pass: &Pass,
    w: &Attention<impl Weight>,
    angles: &Angles,
    qkv: &mut [f32],
    factors: &mut [f32],
) {
    if !w.scores.rotary && !w.scores.qk_norm {
        return;
    }
    let (n, d, width) = (pass.n(), pass.d, 2 * w.heads);
    let own = w.own_components();
    let row = |t: usize, qkv: &mut [f32], mut factors: Option<&mut [f32]>| {
        let angles = w.scores.rotary.then(|| angles.of(pass.base + t % pass.rows));
        for heads in qkv[..2 * d].chunks_exact_mut(d) {
            let factors = factors.as_mut().and_then(|all| all.split_off_mut(..w.heads));
            rotary::forward(heads, w.head_dim, angles, own, DEFAULT_EPSILON, factors);
        }
    };
    let qkv = (&mut qkv[..n * 3 * d], TASK_ROWS * 3 * d);
    if w.scores.qk_norm {
        let factors = (&mut factors[..n * width], TASK_ROWS * width);
        pass.pool.chunks2(qkv, factors, |task, qkv, factors| {
            let rows = qkv.chunks_exact_mut(3 * d).zip(factors.chunks_exact_mut(width));
            for (i, (qkv, factors)) in rows.enumerate() {
                row(task * TASK_ROWS + i, qkv, Some(factors));
            }
        });
    } else {
        pass.pool.chunks(qkv, |task, qkv| {
            for (i, qkv) in qkv.chunks_exact_mut(3 * d).enumerate() {
                row(task * TASK_ROWS + i, qkv, None);
            }
        });
    }
}

/// The gradient of what [`forward`] was given, in the place of that of its result: `dqkv` `[n][3d]`.
/// `qkv` and `factors` are what it left.
pub fn backward(
    pass: &Pass,
    w: &Attention<&[f32]>,
    angles: &Angles,
    qkv: &[f32],
    factors: &[f32],
    dqkv: &mut [f32],
) {
    if !w.scores.rotary && !w.scores.qk_norm {
        return;
    }
    let (n, d, width) = (pass.n(), pass.d, 2 * w.heads);
    pass.pool.chunks((&mut dqkv[..n * 3 * d], TASK_ROWS * 3 * d), |task, dqkv| {
        for (i, dqkv) in dqkv.chunks_exact_mut(3 * d).enumerate() {
            let t = task * TASK_ROWS + i;
            let angles = w.scores.rotary.then(|| angles.of(pass.base + t % pass.rows));
            let y = &qkv[t * 3 * d..][..2 * d];
            let heads = dqkv[..2 * d].chunks_exact_mut(d).zip(y.chunks_exact(d));
            for (i, (dy, y)) in heads.enumerate() {
                let at = t * width + i * w.heads;
                let factors = w.scores.qk_norm.then(|| &factors[at..][..w.heads]);
                rotary::backward(dy, y, w.head_dim, angles, w.own_components(), factors);
            }
        }
    });
}
