//! The closed formulas: lattice, symmetry, positions, embeddings, losses, gradients, rates, halves.

use crate::case::{Case, Got, Handler, Results, float, floats, integers};
use cllm::headers::cllm::{CLLMLatticePoint, CLLMToken, PositionalEncoding};
use cllm::headers::cllm_format::lattice::*;
use cllm::headers::cllm_fp16::*;
use cllm::headers::cllm_inference::{
    activations::*, embedding::*, lattice::*, positions::*, symmetry::*,
};
use cllm::headers::cllm_training::{CLLMTraining, gradients::*, losses::*, schedule::*};
use std::ffi::{CStr, CString, c_char};

/// Calls an exported function with arrays of the sizes that it documents.
macro_rules! call {
    ($f:ident($($arg:expr),* $(,)?)) => {
        // SAFETY: each handler passes pointers to as many values as the function is told of.
        unsafe { $f($($arg),*) }
    };
}

/// A C struct of numbers and pointers, all zero.
fn zeroed<T: Copy>() -> T {
    // SAFETY: used for plain C structs, of which all-zero is a value.
    unsafe { std::mem::zeroed() }
}

/// `name`: an array that the function changes in place.
fn in_place(c: &Case, name: &'static str, f: impl Fn(*mut f32, i32)) -> Results {
    let mut x = c.f32s(name);
    f(x.as_mut_ptr(), x.len() as i32);
    vec![(name, floats(&x))]
}

fn table(c: &Case, f: unsafe extern "C" fn(*mut PositionalEncoding)) -> Results {
    let (rows, dim): (usize, usize) = (c.int("max_length"), c.int("embedding_dim"));
    let mut table = vec![0f32; rows * dim];
    let mut pe: PositionalEncoding = zeroed();
    pe.max_length = rows as u32;
    pe.embedding_dim = dim as u32;
    // The function takes its own one of the four.
    pe.spiral_positions = table.as_mut_ptr();
    pe.clock_positions = table.as_mut_ptr();
    pe.prime_positions = table.as_mut_ptr();
    pe.learned_positions = table.as_mut_ptr();
    call!(f(&mut pe));
    vec![("positions", floats(&table))]
}

type Loss = unsafe extern "C" fn(*mut f32, *mut u32, i32, i32) -> f32;

fn rows(c: &Case, count: &str, result: &'static str, f: Loss) -> Results {
    let (mut logits, mut targets) = (c.f32s("logits"), c.u32s("targets"));
    let (rows, vocab) = (c.int(count), c.int("vocab_size"));
    let value = call!(f(logits.as_mut_ptr(), targets.as_mut_ptr(), rows, vocab));
    vec![(result, float(value))]
}

fn point(id: u32, coords: &[f32]) -> CLLMLatticePoint {
    let mut point: CLLMLatticePoint = zeroed();
    point.point_id = id;
    point.coords.copy_from_slice(coords);
    point
}

fn chars(field: &[c_char]) -> String {
    // SAFETY: the field ends with a NUL.
    unsafe { CStr::from_ptr(field.as_ptr()) }.to_str().unwrap().to_string()
}

pub fn handler(name: &str) -> Option<Handler> {
    lattice(name)
        .or_else(|| symmetry(name))
        .or_else(|| vectors(name))
        .or_else(|| losses(name))
        .or_else(|| gradients(name))
}

fn lattice(name: &str) -> Option<Handler> {
    Some(match name {
        "cllm_compute_spiral_position" => |c| {
            let (mut angle, mut radius) = (0.0, 0.0);
            call!(cllm_compute_spiral_position(c.int("prime"), &mut angle, &mut radius));
            vec![("angle", float(angle)), ("radius", float(radius))]
        },
        "cllm_map_token_to_lattice" => |c| {
            let mut xyz = [0.0; 3];
            let (id, prime) = (c.int("token_id"), c.int("prime"));
            call!(cllm_map_token_to_lattice(id, prime, xyz.as_mut_ptr()));
            vec![("coords", floats(&xyz))]
        },
        "cllm_generate_lattice_embedding" => |c| {
            let dim: u32 = c.int("embedding_dim");
            let mut out = vec![0.0; dim as usize];
            let (id, prime) = (c.int("token_id"), c.int("prime"));
            call!(cllm_generate_lattice_embedding(id, prime, dim, out.as_mut_ptr()));
            vec![("embedding", floats(&out))]
        },
        "cllm_generate_lattice_transform" => |c| {
            let dim: i32 = c.int("dim");
            let mut out = vec![9.0; (dim * dim) as usize];
            call!(cllm_generate_lattice_transform(out.as_mut_ptr(), dim));
            vec![("transform", floats(&out))]
        },
        "cllm_lattice_token_distance" => |c| {
            let distance = cllm_lattice_token_distance(
                c.int("token1_id"),
                c.int("prime1"),
                c.int("token2_id"),
                c.int("prime2"),
            );
            vec![("distance", float(distance))]
        },
        "cllm_find_lattice_neighbors" => |c| {
            let (mut ids, mut primes) = (c.u32s("all_tokens"), c.u64s("all_primes"));
            let k: i32 = c.int("k");
            let mut out = vec![u32::MAX; k as usize];
            call!(cllm_find_lattice_neighbors(
                c.int("token_id"),
                c.int("prime"),
                ids.as_mut_ptr(),
                primes.as_mut_ptr(),
                ids.len() as u32,
                k,
                out.as_mut_ptr(),
            ));
            vec![("neighbors", integers(&out))]
        },
        "cllm_generate_spiral_encoding" => |c| table(c, cllm_generate_spiral_encoding),
        "cllm_generate_clock_encoding" => |c| table(c, cllm_generate_clock_encoding),
        "cllm_generate_prime_encoding" => |c| table(c, cllm_generate_prime_encoding),
        "cllm_initialize_learned_encoding" => |c| table(c, cllm_initialize_learned_encoding),
        "cllm_nearest_prime" => |c| {
            let primes = c.u64s("n").into_iter().map(|n| cllm_nearest_prime(n));
            vec![("prime", integers(&primes.collect::<Vec<_>>()))]
        },
        "cllm_token_to_prime" => |c| {
            let primes = c.u32s("token_id").into_iter().map(|n| cllm_token_to_prime(n));
            vec![("prime", integers(&primes.collect::<Vec<_>>()))]
        },
        "cllm_prime_to_lattice" => |c| {
            let (mut xyz, mut angle, mut radius) = ([0.0; 3], 0.0, 0.0);
            let prime = c.int("prime");
            call!(cllm_prime_to_lattice(prime, xyz.as_mut_ptr(), &mut angle, &mut radius));
            vec![("coords", floats(&xyz)), ("angle", float(angle)), ("radius", float(radius))]
        },
        "cllm_token_create" => |c| {
            let mut t: CLLMToken = zeroed();
            let text = CString::new(c.text("token_str")).unwrap();
            call!(cllm_token_create(&mut t, c.int("token_id"), text.as_ptr()));
            vec![
                ("token_id", integers(&[t.token_id])),
                ("prime_encoding", integers(&[t.prime_encoding])),
                ("lattice_coords", floats(&t.lattice_coords)),
                ("token_str", Got::Text(chars(&t.token_str))),
                ("frequency", float(t.frequency)),
                ("symmetry_group", integers(&[t.symmetry_group])),
                ("spiral_angle", float(t.spiral_angle)),
                ("radial_distance", float(t.radial_distance)),
            ]
        },
        "cllm_lattice_point_create" => |c| {
            let mut p: CLLMLatticePoint = zeroed();
            let (x, y, z) = (c.f32("x"), c.f32("y"), c.f32("z"));
            call!(cllm_lattice_point_create(&mut p, c.int("point_id"), x, y, z, c.int("prime")));
            vec![
                ("point_id", integers(&[p.point_id])),
                ("coords", floats(&p.coords)),
                ("prime_factor", integers(&[p.prime_factor])),
                ("symmetry_group", integers(&[p.symmetry_group])),
                ("resonance", float(p.resonance)),
                ("num_neighbors", integers(&[p.num_neighbors])),
                ("neighbor_count", integers(&[p.neighbor_count])),
            ]
        },
        "cllm_lattice_distance" => |c| {
            let (a, b) = (point(1, &c.f32s("p1")), point(2, &c.f32s("p2")));
            vec![("distance", float(call!(cllm_lattice_distance(&a, &b))))]
        },
        "cllm_lattice_find_neighbors" => |c| {
            let mut from = point(c.int("point_id"), &c.f32s("point"));
            let (ids, coords) = (c.u32s("all_ids"), c.f32s("all_coords"));
            let points = ids.iter().zip(coords.chunks_exact(3));
            let mut all: Vec<_> = points.map(|(&id, xyz)| point(id, xyz)).collect();
            let (n, max) = (all.len() as i32, c.f32("max_distance"));
            call!(cllm_lattice_find_neighbors(&mut from, all.as_mut_ptr(), n, max));
            let count = from.neighbor_count;
            vec![
                ("neighbor_count", integers(&[count])),
                ("neighbors", integers(&from.neighbors[..count as usize])),
            ]
        },
        _ => return None,
    })
}

fn symmetry(name: &str) -> Option<Handler> {
    Some(match name {
        "cllm_compute_symmetry_group" => |c| {
            let groups = c.u64s("prime").into_iter().map(|p| cllm_compute_symmetry_group(p));
            vec![("group", integers(&groups.collect::<Vec<_>>()))]
        },
        "cllm_apply_symmetry_transform" => |c| {
            let group = c.int("symmetry_group");
            in_place(c, "embedding", |x, n| call!(cllm_apply_symmetry_transform(x, group, n)))
        },
        "cllm_apply_inverse_symmetry_transform" => |c| {
            let group = c.int("symmetry_group");
            in_place(c, "embedding", |x, n| {
                call!(cllm_apply_inverse_symmetry_transform(x, group, n))
            })
        },
        "cllm_apply_equivariant_transform" => |c| {
            let group = c.int("symmetry_group");
            let mut matrix = c.f32s("transform");
            let matrix = matrix.as_mut_ptr();
            in_place(c, "embedding", |x, n| {
                call!(cllm_apply_equivariant_transform(x, group, matrix, n))
            })
        },
        "cllm_compute_symmetry_invariants" => |c| {
            let mut x = c.f32s("embedding");
            let count: i32 = c.int("num_features");
            let mut out = vec![0.0; count.min(8) as usize];
            let n = x.len() as i32;
            call!(cllm_compute_symmetry_invariants(x.as_mut_ptr(), n, out.as_mut_ptr(), count));
            vec![("features", floats(&out))]
        },
        "cllm_symmetry_compatibility" => |c| {
            let (mut a, mut b) = (c.f32s("embedding1"), c.f32s("embedding2"));
            let value = call!(cllm_symmetry_compatibility(
                a.as_mut_ptr(),
                c.int("symmetry1"),
                b.as_mut_ptr(),
                c.int("symmetry2"),
                a.len() as i32,
            ));
            vec![("compatibility", float(value))]
        },
        "cllm_generate_symmetry_attention_mask" => |c| {
            let mut groups = c.i32s("symmetry_groups");
            let n = groups.len();
            let mut mask = vec![0.0; n * n];
            call!(cllm_generate_symmetry_attention_mask(
                groups.as_mut_ptr(),
                n as i32,
                mask.as_mut_ptr(),
            ));
            vec![("mask", floats(&mask))]
        },
        _ => return None,
    })
}

fn vectors(name: &str) -> Option<Handler> {
    Some(match name {
        "cllm_activation_gelu" => |c| in_place(c, "x", |x, n| call!(cllm_activation_gelu(x, n))),
        "cllm_activation_relu" => |c| in_place(c, "x", |x, n| call!(cllm_activation_relu(x, n))),
        "cllm_softmax" => |c| {
            let mut x = c.f32s("logits");
            call!(cllm_softmax(x.as_mut_ptr(), x.len() as i32));
            vec![("probs", floats(&x))]
        },
        "cllm_apply_temperature" => |c| {
            let t = c.f32("temperature");
            in_place(c, "logits", |x, n| call!(cllm_apply_temperature(x, n, t)))
        },
        "cllm_apply_lattice_transform" => |c| {
            let mut matrix = c.f32s("transform");
            let matrix = matrix.as_mut_ptr();
            in_place(c, "embedding", |x, n| call!(cllm_apply_lattice_transform(x, matrix, n)))
        },
        "cllm_embedding_norm" => |c| {
            let mut x = c.f32s("embedding");
            let norm = call!(cllm_embedding_norm(x.as_mut_ptr(), x.len() as i32));
            vec![("norm", float(norm))]
        },
        "cllm_normalize_embedding" => {
            |c| in_place(c, "embedding", |x, n| call!(cllm_normalize_embedding(x, n)))
        }
        "fp32_to_fp16" => |c| {
            let x: Vec<_> = c.u32s("bits").into_iter().map(f32::from_bits).collect();
            let mut out = vec![0; x.len()];
            call!(fp32_to_fp16(out.as_mut_ptr(), x.as_ptr(), x.len()));
            vec![("bits", Got::Half(out))]
        },
        "fp16_to_fp32" => |c| {
            let x: Vec<_> = c.u32s("bits").into_iter().map(|b| b as u16).collect();
            let mut out = vec![0.0f32; x.len()];
            call!(fp16_to_fp32(out.as_mut_ptr(), x.as_ptr(), x.len()));
            vec![("bits", Got::Single(out.into_iter().map(f32::to_bits).collect()))]
        },
        _ => return None,
    })
}

fn losses(name: &str) -> Option<Handler> {
    Some(match name {
        "cllm_compute_cross_entropy_loss" => |c| {
            let mut x = c.f32s("logits");
            let n = x.len() as i32;
            let loss = call!(cllm_compute_cross_entropy_loss(x.as_mut_ptr(), c.int("target"), n));
            vec![("loss", float(loss))]
        },
        "cllm_compute_loss_gradient" => |c| {
            let mut x = c.f32s("logits");
            let mut grad = vec![0.0; x.len()];
            let (n, target) = (x.len() as i32, c.int("target"));
            call!(cllm_compute_loss_gradient(x.as_mut_ptr(), target, grad.as_mut_ptr(), n));
            vec![("grad", floats(&grad))]
        },
        "cllm_compute_label_smoothing_loss" => |c| {
            let mut x = c.f32s("logits");
            let (n, s) = (x.len() as i32, c.f32("smoothing"));
            let target = c.int("target");
            let loss = call!(cllm_compute_label_smoothing_loss(x.as_mut_ptr(), target, n, s));
            vec![("loss", float(loss))]
        },
        "cllm_compute_kl_divergence" => |c| {
            let (mut x, mut q) = (c.f32s("logits"), c.f32s("target_dist"));
            let n = x.len() as i32;
            let kl = call!(cllm_compute_kl_divergence(x.as_mut_ptr(), q.as_mut_ptr(), n));
            vec![("kl", float(kl))]
        },
        "cllm_compute_perplexity" => |c| {
            let values = c.f32s("loss").into_iter().map(|x| cllm_compute_perplexity(x));
            vec![("perplexity", floats(&values.collect::<Vec<_>>()))]
        },
        "cllm_compute_batch_loss" => |c| rows(c, "batch_size", "loss", cllm_compute_batch_loss),
        "cllm_compute_sequence_loss" => |c| rows(c, "seq_len", "loss", cllm_compute_sequence_loss),
        "cllm_compute_accuracy" => |c| rows(c, "batch_size", "accuracy", cllm_compute_accuracy),
        "cllm_compute_top_k_accuracy" => |c| {
            let (mut x, mut targets) = (c.f32s("logits"), c.u32s("targets"));
            let accuracy = call!(cllm_compute_top_k_accuracy(
                x.as_mut_ptr(),
                targets.as_mut_ptr(),
                c.int("batch_size"),
                c.int("vocab_size"),
                c.int("k"),
            ));
            vec![("accuracy", float(accuracy))]
        },
        _ => return None,
    })
}

fn gradients(name: &str) -> Option<Handler> {
    Some(match name {
        "cllm_apply_gradient_clipping" => |c| {
            let max = c.f32("max_norm");
            in_place(c, "gradients", |x, n| call!(cllm_apply_gradient_clipping(x, n as usize, max)))
        },
        "cllm_clip_gradients_by_value" => |c| {
            let max = c.f32("clip_value");
            in_place(c, "gradients", |x, n| call!(cllm_clip_gradients_by_value(x, n as usize, max)))
        },
        "cllm_scale_gradients" => |c| {
            let scale = c.f32("scale");
            in_place(c, "gradients", |x, n| call!(cllm_scale_gradients(x, n as usize, scale)))
        },
        "cllm_compute_gradient_norm" => |c| {
            let mut x = c.f32s("gradients");
            let norm = call!(cllm_compute_gradient_norm(x.as_mut_ptr(), x.len()));
            vec![("norm", float(norm))]
        },
        "cllm_accumulate_gradients" => |c| {
            let mut current = c.f32s("current");
            let current = current.as_mut_ptr();
            in_place(c, "accumulated", |x, n| {
                call!(cllm_accumulate_gradients(x, current, n as usize))
            })
        },
        "cllm_apply_weight_decay" => |c| {
            let (decay, rate) = (c.f32("weight_decay"), c.f32("learning_rate"));
            in_place(c, "weights", |x, n| {
                call!(cllm_apply_weight_decay(x, n as usize, decay, rate))
            })
        },
        "cllm_update_ema_weights" => |c| {
            let mut current = c.f32s("current");
            let (current, decay) = (current.as_mut_ptr(), c.f32("decay"));
            in_place(c, "ema", |x, n| call!(cllm_update_ema_weights(x, current, n as usize, decay)))
        },
        "cllm_update_learning_rate" => |c| {
            let mut t: CLLMTraining = zeroed();
            for (field, byte) in
                t.config.lr_scheduler.iter_mut().zip(c.text("lr_scheduler").bytes())
            {
                *field = byte as c_char;
            }
            t.config.initial_learning_rate = c.f32("initial_learning_rate");
            t.config.min_lr = c.f32("min_lr");
            t.config.warmup_steps = c.int("warmup_steps");
            t.config.max_steps = c.int("max_steps");
            t.config.lr_decay_factor = c.f32("lr_decay_factor");
            t.config.lr_decay_steps = c.int("lr_decay_steps");
            let mut rates = Vec::new();
            for step in c.i32s("steps") {
                t.current_step = step;
                call!(cllm_update_learning_rate(&mut t));
                rates.push(t.config.learning_rate);
            }
            vec![("learning_rate", floats(&rates))]
        },
        _ => return None,
    })
}
