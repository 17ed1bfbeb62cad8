//! One pass of training: forward, loss, backward, in memory that is used again.

use crate::error::Result;
use crate::model::{ModelRef, Network, Params, Weight};
use crate::nn::activations::{Activations, Save};
use crate::nn::backward::{self, ActivationGradients};
use crate::nn::dropout::Dropout;
use crate::nn::forward::{self, Beyond};
use crate::nn::loss::{self, LossBuffers, Targets};
use crate::nn::products::Products;
use crate::nn::windows::{self, WindowBuffers, Windows};
use cllm_kernels::Pool;
use cllm_kernels::bf16::Bfloat16;

/// Memory of training passes.
#[derive(Debug, Default)]
pub struct Workspace {
    /// What the latest forward pass computed.
    pub activations: Activations,
    /// What the latest backward pass computed; `dx` is the gradient of the input embeddings.
    pub backward: ActivationGradients,
    loss: LossBuffers,
    windows: WindowBuffers,
}

impl Workspace {
    /// The forward pass of `batch` sequences, which leaves out what `dropout` says and whose matrix
    /// products are of f32 or `bfloat16`; the backward pass after it does so too.
    pub fn forward(
        &mut self,
        pool: &Pool,
        model: &ModelRef,
        tokens: &[u32],
        batch: usize,
        dropout: Option<Dropout>,
        bfloat16: Option<Bfloat16>,
    ) -> Result<()> {
        self.activations.dropout = dropout;
        self.activations.bfloat16 = bfloat16;
        forward::forward(
            pool,
            model,
            tokens,
            batch,
            &mut self.activations,
            Save::ForBackward,
            None,
            Beyond::NoPosition,
        )
    }

    /// Mean loss and exact gradients after a forward pass over the same tokens; `grads` is
    /// overwritten.
    pub fn backward(
        &mut self,
        pool: &Pool,
        model: &ModelRef,
        tokens: &[u32],
        targets: Targets,
        batch: usize,
        grads: &mut Params<&mut [f32]>,
    ) -> Result<f64> {
        self.backward.reserve(model, tokens.len())?;
        let doutput = match &mut grads.head {
            Some(head) => {
                grads.embeddings.fill(0.0);
                head
            }
            None => &mut *grads.embeddings,
        };
        let products = Products { pool, bfloat16: self.activations.bfloat16 };
        let mean = loss::gradient(
            products,
            model,
            &self.activations.normed,
            targets,
            &mut self.loss,
            &mut self.backward.dnormed,
            doutput,
        )?;
        let Self { activations, backward: activation_grads, .. } = self;
        backward::backward(pool, model, tokens, batch, activations, grads, activation_grads)?;
        Ok(mean)
    }

    /// Mean loss of `tokens` cut into sequences of `length` (the last one may be shorter), each
    /// predicting `targets`. Nothing is kept for a backward pass.
    pub fn evaluate(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        tokens: &[u32],
        targets: &[u32],
        length: usize,
    ) -> Result<f64> {
        let n = tokens.len().min(targets.len());
        let windows = Windows::apart(length.clamp(1, n.max(1)));
        let (mut sum, mut counted) = (0.0, 0);
        let Self { activations, loss, windows: buffers, .. } = self;
        windows::run(pool, model, &tokens[..n], windows, activations, buffers, |at, normed| {
            let targets = Targets::all(&targets[at]);
            let count = targets.count(model.vocab);
            sum += loss::evaluate(pool, model, normed, targets, loss)? * count as f64;
            counted += count;
            Ok(())
        })?;
        Ok(if counted == 0 { 0.0 } else { sum / counted as f64 })
    }
}
