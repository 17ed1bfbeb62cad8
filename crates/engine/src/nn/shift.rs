//! Keys of the token before: in the shifted heads of a layer key t is what the projection made of token
//! t − 1, and that of a sequence's first token is 0. Queries that look for the token that they are of
//! find what followed it, so that one layer copies: what two layers together learn otherwise, the first of
//! which marks each token with the one before it ("In-context Learning and Induction Heads", Olsson et al.,
//! 2022). The records of fast training move a part of each head ("partial key offset", modded-nanogpt, 2025), one
//! that positions don't turn; nor do they turn these heads, for what is looked for may be anywhere.

use super::rows::Pass;
use crate::model::{Attention, Weight};

/// Moves the keys in `qkv` `[n][3d]` to their next rows.
pub fn forward(pass: &Pass, w: &Attention<impl Weight>, qkv: &mut [f32]) {
    let (d, own) = (pass.d, w.own_components());
    if w.scores.shifted == 0 {
        return;
    }
    pass.pool.chunks((&mut qkv[..pass.n() * 3 * d], pass.rows * 3 * d), |_, sequence| {
        for t in (1..pass.rows).rev() {
            let from = (t - 1) * 3 * d;
            sequence.copy_within(from + d + own..from + 2 * d, t * 3 * d + d + own);
        }
        sequence[d + own..2 * d].fill(0.0);
    });
}

/// The gradient of what [`forward`] was given, in the place of that of its result: `dqkv` `[n][3d]`.
pub fn backward(pass: &Pass, w: &Attention<&[f32]>, dqkv: &mut [f32]) {
    let (d, own) = (pass.d, w.own_components());
    if w.scores.shifted == 0 {
        return;
    }
    pass.pool.chunks((&mut dqkv[..pass.n() * 3 * d], pass.rows * 3 * d), |_, sequence| {
        for t in 1..pass.rows {
            let from = t * 3 * d;
            sequence.copy_within(from + d + own..from + 2 * d, from - 3 * d + d + own);
        }
        let last = (pass.rows - 1) * 3 * d;
        sequence[last + d + own..last + 2 * d].fill(0.0);
    });
}
