//! The layers one by one.

use crate::case::{Case, Handler, float, floats};
use cllm::headers::cllm::{AttentionLayer, CLLMLayerNorm, FeedForwardLayer};
use cllm::headers::cllm_inference::attention::cllm_attention_forward;
use cllm::headers::cllm_inference::feed_forward::cllm_feedforward;
use cllm::headers::cllm_inference::layer_norm::{cllm_layer_norm, cllm_layer_norm_stats};
use cllm::headers::cllm_training::layers::{cllm_feedforward_backward, cllm_layer_norm_backward};
use std::ptr::null_mut;

/// Calls an exported function with arrays of the sizes that it documents.
macro_rules! call {
    ($f:ident($($arg:expr),* $(,)?)) => {
        // SAFETY: each handler passes layers and arrays of the sizes that the case states.
        unsafe { $f($($arg),*) }
    };
}

/// The arrays of a layer norm, to be kept while the layer is used.
struct Norm {
    layer: CLLMLayerNorm,
    _arrays: [Vec<f32>; 2],
}

fn norm(c: &Case) -> Norm {
    let (mut gamma, mut beta) = (c.f32s("gamma"), c.f32s("beta"));
    let layer = CLLMLayerNorm {
        layer_id: 0,
        dim: gamma.len() as u32,
        epsilon: c.f32("epsilon"),
        gamma: gamma.as_mut_ptr(),
        beta: beta.as_mut_ptr(),
    };
    Norm { layer, _arrays: [gamma, beta] }
}

/// The same for a feed-forward layer.
struct FeedForward {
    layer: FeedForwardLayer,
    arrays: [Vec<f32>; 4],
}

fn feed_forward(c: &Case) -> FeedForward {
    let mut arrays = ["w1", "w2", "b1", "b2"].map(|name| c.f32s(name));
    let [w1, w2, b1, b2] = arrays.each_mut().map(|a| a.as_mut_ptr());
    let layer = FeedForwardLayer {
        layer_id: 0,
        input_dim: c.int("input_dim"),
        hidden_dim: c.int("hidden_dim"),
        output_dim: c.int("output_dim"),
        w1_lattice: w1,
        w2_lattice: w2,
        bias1: b1,
        bias2: b2,
    };
    FeedForward { layer, arrays }
}

pub fn handler(name: &str) -> Option<Handler> {
    Some(match name {
        "cllm_layer_norm" => |c| {
            let (mut n, mut x) = (norm(c), c.f32s("input"));
            let mut out = vec![0.0; x.len()];
            call!(cllm_layer_norm(&mut n.layer, x.as_mut_ptr(), out.as_mut_ptr()));
            vec![("output", floats(&out))]
        },
        "cllm_layer_norm_stats" => |c| {
            let mut x = c.f32s("input");
            let (mut mean, mut variance) = (0.0, 0.0);
            let n = x.len() as u32;
            call!(cllm_layer_norm_stats(x.as_mut_ptr(), n, &mut mean, &mut variance));
            vec![("mean", float(mean)), ("variance", float(variance))]
        },
        "cllm_layer_norm_backward" => |c| {
            let (mut n, mut x, mut dy) = (norm(c), c.f32s("input"), c.f32s("grad_output"));
            let [mut dx, mut dgamma, mut dbeta] = [0; 3].map(|_| vec![0.0; x.len()]);
            call!(cllm_layer_norm_backward(
                &mut n.layer,
                x.as_mut_ptr(),
                dy.as_mut_ptr(),
                dx.as_mut_ptr(),
                dgamma.as_mut_ptr(),
                dbeta.as_mut_ptr(),
            ));
            vec![
                ("grad_input", floats(&dx)),
                ("grad_gamma", floats(&dgamma)),
                ("grad_beta", floats(&dbeta)),
            ]
        },
        "cllm_feedforward" => |c| {
            let (mut ff, mut x) = (feed_forward(c), c.f32s("input"));
            let mut out = vec![0.0; ff.layer.output_dim as usize];
            call!(cllm_feedforward(&mut ff.layer, x.as_mut_ptr(), out.as_mut_ptr()));
            vec![("output", floats(&out))]
        },
        "cllm_feedforward_backward" => |c| {
            let (mut ff, mut x, mut dy) = (feed_forward(c), c.f32s("input"), c.f32s("grad_output"));
            let mut hidden = c.f32s("hidden");
            let mut dx = vec![0.0; x.len()];
            let mut grads = ff.arrays.each_ref().map(|a| vec![0.0f32; a.len()]);
            let [dw1, dw2, db1, db2] = grads.each_mut().map(|g| g.as_mut_ptr());
            call!(cllm_feedforward_backward(
                &mut ff.layer,
                x.as_mut_ptr(),
                hidden.as_mut_ptr(),
                dy.as_mut_ptr(),
                dx.as_mut_ptr(),
                dw1,
                dw2,
                db1,
                db2,
            ));
            vec![
                ("grad_input", floats(&dx)),
                ("grad_w1", floats(&grads[0])),
                ("grad_w2", floats(&grads[1])),
                ("grad_b1", floats(&grads[2])),
                ("grad_b2", floats(&grads[3])),
            ]
        },
        "cllm_attention_forward" => |c| {
            let mut w = ["wq", "wk", "wv"].map(|name| c.f32s(name));
            let [q, k, v] = w.each_mut().map(|w| w.as_mut_ptr());
            let mut layer = AttentionLayer {
                layer_id: 0,
                num_heads: c.int("num_heads"),
                head_dim: c.int("head_dim"),
                query_lattice: q,
                key_lattice: k,
                value_lattice: v,
            };
            let mut x = c.f32s("input");
            let mut out = vec![0.0; x.len()];
            call!(cllm_attention_forward(
                &mut layer,
                x.as_mut_ptr(),
                out.as_mut_ptr(),
                null_mut(),
                null_mut(),
                c.int("seq_len"),
            ));
            vec![("output", floats(&out))]
        },
        _ => return None,
    })
}
