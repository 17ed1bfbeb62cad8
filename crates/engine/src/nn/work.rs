//! How much the steps of a pass compute, about: what the choice of threads goes by.

use super::rows::Pass;
use crate::model::{Network, Tensor, Weight};
use cllm_kernels::Work;

/// Loops of a layer's forward pass: three products at least, attention, norms and the like.
const LOOPS: usize = 6;
/// A product with 8-bit weights takes this share of the time of one with floats.
const INT8_SHARE: usize = 4;

/// Multiply-adds of a product of one row with a matrix; those of integers by the time they take.
fn product(w: impl Weight) -> usize {
    match w.tensor() {
        Tensor::F32(values) => values.len(),
        Tensor::Int8(_) => w.count() / INT8_SHARE,
    }
}

/// The forward pass through all layers.
pub fn layers(pass: &Pass, model: &Network<impl Weight>) -> Work {
    let n = pass.n();
    let mut operations = 0usize;
    for layer in &model.params.layers {
        let mut of_row = 0usize;
        if let Some(attention) = &layer.attention {
            let matrices = attention.qkv.iter().chain(&attention.output);
            of_row += matrices.map(|&w| product(w)).sum::<usize>();
            // Scores and sums over the keys that a row sees, half of the new ones in the mean.
            of_row += 2 * pass.d * (pass.base + pass.rows / 2);
        }
        if let Some(ff) = &layer.feed_forward {
            of_row += product(ff.w1) + product(ff.w2);
        }
        operations = operations.saturating_add(n.saturating_mul(of_row));
    }
    Work { operations, loops: 2 + LOOPS * model.params.layers.len() }
}

/// The backward pass through all layers: two products for each of the forward pass.
pub fn backward(pass: &Pass, model: &Network<impl Weight>) -> Work {
    let Work { operations, loops } = layers(pass, model);
    Work { operations: operations.saturating_mul(2), loops: 3 * loops }
}

/// The logits of some rows, `at_once` of them at a time, with `products` products of that size.
pub fn logits(model: &Network<impl Weight>, rows: usize, at_once: usize, products: usize) -> Work {
    let operations = rows.saturating_mul(product(model.output_matrix())).saturating_mul(products);
    Work { operations, loops: rows.div_ceil(at_once.max(1)) * (products + 1) }
}
