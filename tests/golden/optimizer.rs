//! `ai/cllm_optimizer.h`.

use crate::case::{Case, Got, Handler, Results, float, floats, integers};
use cllm::headers::cllm_optimizer::{
    OptimizerConfig, OptimizerState, arrays::*, rates::*, steps::*,
};
use cllm::headers::cllm_optimizer::{
    optimizer_create, optimizer_default_config, optimizer_free, optimizer_reset,
    optimizer_validate_config,
};

/// Calls an exported function with arrays of the sizes that it documents.
macro_rules! call {
    ($f:ident($($arg:expr),* $(,)?)) => {
        // SAFETY: each handler passes pointers to as many values as the function is told of.
        unsafe { $f($($arg),*) }
    };
}

/// The configuration of a case: the defaults of its type, and the fields that it states.
fn configuration(c: &Case) -> OptimizerConfig {
    let mut config = optimizer_default_config(c.int("type"));
    macro_rules! fields {
        ($read:ident: $($field:ident)*) => {
            $(if c.has(stringify!($field)) {
                config.$field = c.$read(stringify!($field));
            })*
        };
    }
    fields!(f32: learning_rate min_lr max_lr momentum beta1 beta2 epsilon weight_decay clip_value
        clip_norm decay_rate);
    fields!(int: scheduler warmup_steps total_steps decay_steps cycle_steps);
    macro_rules! flags {
        ($($field:ident)*) => {
            $(if c.has(stringify!($field)) {
                config.$field = (c.int::<u8>(stringify!($field)) != 0).into();
            })*
        };
    }
    flags!(use_nesterov amsgrad decoupled_weight_decay use_gradient_clipping);
    config
}

/// An optimizer over the parameters of a case.
struct Optimizer {
    state: *mut OptimizerState,
    parameters: Vec<f32>,
}

impl Optimizer {
    fn new(c: &Case) -> Self {
        let mut parameters = c.f32s("parameters");
        let config = configuration(c);
        let state = call!(optimizer_create(&config, parameters.as_mut_ptr(), parameters.len()));
        assert!(!state.is_null());
        Self { state, parameters }
    }

    fn state(&mut self) -> &mut OptimizerState {
        // SAFETY: `new` made it, and there is one thread.
        unsafe { &mut *self.state }
    }

    /// The parameters, and the buffers that there are.
    fn results(&mut self) -> Results {
        let n = self.parameters.len();
        let s = *self.state();
        let mut results = vec![("parameters", floats(&self.parameters))];
        for (name, buffer) in [
            ("momentum_buffer", s.momentum_buffer),
            ("variance_buffer", s.variance_buffer),
            ("max_variance_buffer", s.max_variance_buffer),
        ] {
            if !buffer.is_null() {
                // SAFETY: a buffer of the optimizer has n values.
                results.push((name, floats(unsafe { std::slice::from_raw_parts(buffer, n) })));
            }
        }
        results
    }
}

impl Drop for Optimizer {
    fn drop(&mut self) {
        call!(optimizer_free(self.state));
    }
}

type Rule = unsafe extern "C" fn(*mut OptimizerState, *const f32) -> i32;

fn rule(c: &Case, f: Rule) -> Results {
    let mut optimizer = Optimizer::new(c);
    let gradients = c.f32s("gradients");
    let mut returned = Vec::new();
    let n = optimizer.parameters.len();
    for (g, step) in gradients.chunks_exact(n).zip(c.i32s("steps")) {
        optimizer.state().step = step;
        returned.push(call!(f(optimizer.state, g.as_ptr())));
    }
    let mut results = optimizer.results();
    results.push(("result", integers(&returned)));
    results.push(("step", integers(&[optimizer.state().step])));
    results
}

fn step(c: &Case) -> Results {
    let mut optimizer = Optimizer::new(c);
    let (mut rates, mut gradients, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
    let n = optimizer.parameters.len();
    // The original measured the gradient only on its way to clip by norm: there is no record of
    // the norm after clipping by value alone.
    let by_value_alone = (c.has("clip_value") && !c.has("clip_norm")).then(|| c.f32("clip_value"));
    for g in c.f32s("gradients").chunks_exact(n) {
        assert_eq!(call!(optimizer_step(optimizer.state, g.as_ptr())), 0);
        rates.push(optimizer.state().current_lr);
        let norm = optimizer.state().gradient_norm;
        match by_value_alone {
            None => gradients.push(norm),
            Some(limit) => {
                let squares = g.iter().map(|x| f64::from(x.clamp(-limit, limit)).powi(2));
                let want = squares.sum::<f64>().sqrt();
                assert!((f64::from(norm) - want).abs() <= 1e-5 * want, "{norm}, not {want}");
            }
        }
        parameters.push(optimizer.state().parameter_norm);
    }
    let mut results = optimizer.results();
    if by_value_alone.is_none() {
        results.push(("gradient_norm", floats(&gradients)));
    }
    let s = optimizer.state();
    results.extend([
        ("learning_rate", floats(&rates)),
        ("parameter_norm", floats(&parameters)),
        ("step", integers(&[s.step])),
        ("updates_applied", integers(&[s.updates_applied])),
    ]);
    results
}

fn reset(c: &Case) -> Results {
    let mut optimizer = Optimizer::new(c);
    let after: usize = c.int("reset_after");
    let n = optimizer.parameters.len();
    let gradients = c.f32s("gradients");
    let calls = gradients.chunks_exact(n);
    if after == 0 {
        call!(optimizer_reset(optimizer.state));
    }
    for (i, g) in calls.enumerate() {
        assert_eq!(call!(optimizer_step(optimizer.state, g.as_ptr())), 0);
        if i + 1 == after {
            call!(optimizer_reset(optimizer.state));
        }
    }
    let mut results = optimizer.results();
    let s = optimizer.state();
    // SAFETY: the gradient of an optimizer has n values.
    let gradient = unsafe { std::slice::from_raw_parts(s.gradients, n) };
    results.extend([
        ("gradients", floats(gradient)),
        ("learning_rate", float(s.current_lr)),
        ("gradient_norm", float(s.gradient_norm)),
        ("parameter_norm", float(s.parameter_norm)),
        ("step", integers(&[s.step])),
        ("updates_applied", integers(&[s.updates_applied])),
    ]);
    results
}

fn update_rate(c: &Case) -> Results {
    let config = configuration(c);
    let mut parameter = [0.0f32];
    let state = call!(optimizer_create(&config, parameter.as_mut_ptr(), 1));
    assert!(!state.is_null());
    let rate = |step| {
        // SAFETY: made above.
        unsafe { (*state).step = step };
        call!(optimizer_update_learning_rate(state))
    };
    let rates: Vec<_> = c.i32s("steps").into_iter().map(rate).collect();
    call!(optimizer_free(state));
    vec![("learning_rate", floats(&rates))]
}

fn defaults(c: &Case) -> Results {
    let d = optimizer_default_config(c.int("type"));
    let flag = |x: cllm::border::ctypes::CBool| integers(&[i32::from(x.get())]);
    let mut results = vec![
        ("use_nesterov", flag(d.use_nesterov)),
        ("amsgrad", flag(d.amsgrad)),
        ("decoupled_weight_decay", flag(d.decoupled_weight_decay)),
        ("use_gradient_clipping", flag(d.use_gradient_clipping)),
        ("type", integers(&[d.r#type])),
        ("scheduler", integers(&[d.scheduler])),
    ];
    macro_rules! push {
        ($make:ident: $($field:ident)*) => {
            $(results.push((stringify!($field), $make(&[d.$field])));)*
        };
    }
    push!(floats: learning_rate min_lr max_lr momentum beta1 beta2 epsilon weight_decay clip_value
        clip_norm decay_rate);
    push!(integers: warmup_steps total_steps decay_steps cycle_steps);
    results
}

/// A rate for each of the steps.
fn rates(c: &Case, rate: impl Fn(i32) -> f32) -> Results {
    let rates: Vec<_> = c.i32s("steps").into_iter().map(rate).collect();
    vec![("learning_rate", floats(&rates))]
}

/// Clipped in place by value.
fn by_value(c: &Case) -> Results {
    let mut g = c.f32s("gradients");
    call!(optimizer_clip_gradients_by_value(g.as_mut_ptr(), g.len(), c.f32("clip_value")));
    vec![("gradients", floats(&g))]
}

fn by_norm(c: &Case) -> Results {
    let mut g = c.f32s("gradients");
    let max_norm = c.f32("max_norm");
    let norm = call!(optimizer_clip_gradients_by_norm(g.as_mut_ptr(), g.len(), max_norm));
    vec![("norm", float(norm)), ("gradients", floats(&g))]
}

fn norm(c: &Case, name: &str, f: unsafe extern "C" fn(*const f32, usize) -> f32) -> Results {
    let x = c.f32s(name);
    vec![("norm", float(call!(f(x.as_ptr(), x.len()))))]
}

pub fn handler(name: &str) -> Option<Handler> {
    Some(match name {
        "optimizer_step" => step,
        "optimizer_reset" => reset,
        "optimizer_sgd_step" => |c| rule(c, optimizer_sgd_step),
        "optimizer_sgd_momentum_step" => |c| rule(c, optimizer_sgd_momentum_step),
        "optimizer_sgd_nesterov_step" => |c| rule(c, optimizer_sgd_nesterov_step),
        "optimizer_adam_step" => |c| rule(c, optimizer_adam_step),
        "optimizer_adamw_step" => |c| rule(c, optimizer_adamw_step),
        "optimizer_rmsprop_step" => |c| rule(c, optimizer_rmsprop_step),
        "optimizer_adagrad_step" => |c| rule(c, optimizer_adagrad_step),
        "optimizer_update_learning_rate" => update_rate,
        "optimizer_default_config" => defaults,
        "optimizer_validate_config" => |c| {
            let config = configuration(c);
            let valid = call!(optimizer_validate_config(&config));
            vec![("valid", Got::Integers(vec![valid.into()]))]
        },
        "optimizer_clip_gradients_by_value" => by_value,
        "optimizer_clip_gradients_by_norm" => by_norm,
        "optimizer_compute_gradient_norm" => {
            |c| norm(c, "gradients", optimizer_compute_gradient_norm)
        }
        "optimizer_compute_parameter_norm" => {
            |c| norm(c, "parameters", optimizer_compute_parameter_norm)
        }
        "optimizer_warmup_lr" => |c| {
            let (warmup, lr) = (c.int("warmup_steps"), c.f32("initial_lr"));
            rates(c, |step| optimizer_warmup_lr(step, warmup, lr))
        },
        "optimizer_linear_decay_lr" => |c| {
            let (total, lr, min) = (c.int("total_steps"), c.f32("initial_lr"), c.f32("min_lr"));
            rates(c, |step| optimizer_linear_decay_lr(step, total, lr, min))
        },
        "optimizer_cosine_annealing_lr" => |c| {
            let (total, lr, min) = (c.int("total_steps"), c.f32("initial_lr"), c.f32("min_lr"));
            rates(c, |step| optimizer_cosine_annealing_lr(step, total, lr, min))
        },
        "optimizer_step_decay_lr" => |c| {
            let (n, lr) = (c.int("decay_steps"), c.f32("initial_lr"));
            let (r, min) = (c.f32("decay_rate"), c.f32("min_lr"));
            rates(c, |step| optimizer_step_decay_lr(step, n, lr, r, min))
        },
        "optimizer_exponential_decay_lr" => |c| {
            let (n, lr) = (c.int("decay_steps"), c.f32("initial_lr"));
            let (r, min) = (c.f32("decay_rate"), c.f32("min_lr"));
            rates(c, |step| optimizer_exponential_decay_lr(step, n, lr, r, min))
        },
        "optimizer_cyclic_lr" => |c| {
            let (n, min, max) = (c.int("cycle_steps"), c.f32("min_lr"), c.f32("max_lr"));
            rates(c, |step| optimizer_cyclic_lr(step, n, min, max))
        },
        _ => return None,
    })
}
