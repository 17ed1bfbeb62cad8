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
use crate::text::Ids;
use cllm_kernels::Pool;
use cllm_kernels::bf16::Bfloat16;
use cllm_kernels::memory::filled;

/// Losses of an evaluation that are added up.
#[derive(Default)]
struct Losses {
    sum: f64,
    counted: usize,
}

impl Losses {
    fn mean(&self) -> f64 {
        if self.counted == 0 { 0.0 } else { self.sum / self.counted as f64 }
    }
}

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
        let mut losses = Losses::default();
        self.add_losses(pool, model, &tokens[..n], &targets[..n], windows, &mut losses)?;
        Ok(losses.mean())
    }

    /// Mean loss of the first `count` of `ids`, 2 or more, cut into sequences of `length` (the last one
    /// may be shorter), each id predicting the next, and how many were counted. Nothing is kept for a
    /// backward pass; of a file no more is held than a few passes read.
    pub fn evaluate_ids(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        ids: Ids,
        count: usize,
        length: usize,
    ) -> Result<(f64, usize)> {
        let inputs = count.min(ids.len()).saturating_sub(1);
        let windows = Windows::apart(length.clamp(1, inputs.max(1)));
        let mut losses = Losses::default();
        if inputs == 0 {
            return Ok((0.0, 0));
        }
        if let Some(ids) = ids.as_slice() {
            self.add_losses(
                pool,
                model,
                &ids[..inputs],
                &ids[1..inputs + 1],
                windows,
                &mut losses,
            )?;
        } else {
            // Whole passes, so that the sums are those of one array.
            let most = windows.pass_tokens().saturating_mul(64).min(inputs);
            let mut part = filled("the ids of an evaluation", most + 1)?;
            for at in (0..inputs).step_by(most.max(1)) {
                let n = most.min(inputs - at);
                ids.read(at, &mut part[..n + 1])?;
                self.add_losses(pool, model, &part[..n], &part[1..n + 1], windows, &mut losses)?;
            }
        }
        Ok((losses.mean(), losses.counted))
    }

    fn add_losses(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        tokens: &[u32],
        targets: &[u32],
        windows: Windows,
        losses: &mut Losses,
    ) -> Result<()> {
        let Self { activations, loss, windows: buffers, .. } = self;
        windows::run(pool, model, tokens, windows, activations, buffers, |at, normed| {
            let targets = Targets::all(&targets[at]);
            let count = targets.count(model.vocab);
            losses.sum += loss::evaluate(pool, model, normed, targets, loss)? * count as f64;
            losses.counted += count;
            Ok(())
        })
    }
}
