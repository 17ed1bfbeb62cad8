//! Which values a training pass leaves out.

use super::rows::{Pass, TASK_ROWS};
use crate::rng::mix;
use cllm_kernels::dropout::{Rate, apply};
use cllm_kernels::vector::add_assign;

/// Dropout of one pass (Srivastava et al., 2014): of the embedded input, and of what attention and
/// the feed-forward sublayers add to the stream. What is left out follows from `key` and the place of
/// a value: the backward pass makes the same choices again, with any number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: Rate,
    key: u64,
}

/// A place in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The embedded input.
    Input,
    /// What the attention of a layer adds.
    Attention(usize),
    /// What the feed-forward sublayer of a layer adds.
    FeedForward(usize),
}

impl Dropout {
    /// Leaves out each value with probability `share`, 0 to below 1; `None` for 0, and for what is
    /// no such number. `key` is another one for each pass.
    pub fn new(share: f32, key: u64) -> Option<Self> {
        Some(Self { rate: Rate::new(share)?, key })
    }

    /// The key of batch `step` of a run with a seed.
    pub fn key(seed: u64, step: u64) -> u64 {
        mix(mix(seed) ^ step)
    }

    /// x becomes x + bias (where there is one) with values left out, and the others divided by what
    /// is not.
    pub fn apply(&self, pass: &Pass, site: Site, x: &mut [f32], bias: Option<&[f32]>) {
        let d = pass.d;
        let number = match site {
            Site::Input => 0,
            Site::Attention(layer) => 1 + 2 * layer as u64,
            Site::FeedForward(layer) => 2 + 2 * layer as u64,
        };
        let key = mix(self.key ^ mix(number));
        pass.pool.chunks((&mut x[..pass.values()], TASK_ROWS * d), |task, x| {
            if let Some(bias) = bias {
                x.chunks_exact_mut(d).for_each(|row| add_assign(row, bias));
            }
            apply(x, task * TASK_ROWS * d, key, self.rate);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cllm_kernels::Pool;

    fn mask(pool: &Pool, key: u64, site: Site) -> Vec<f32> {
        let mut x = vec![1.0; 100 * 7];
        let pass = Pass { batch: 4, ..Pass::one(pool, 25, 7) };
        Dropout::new(0.25, key).unwrap().apply(&pass, site, &mut x, Some(&[1.0; 7]));
        x
    }

    #[test]
    fn keys_and_sites_choose_and_threads_do_not() {
        let sites = [Site::Input, Site::Attention(0), Site::FeedForward(0), Site::Attention(1)];
        let keys = [Dropout::key(0, 0), Dropout::key(0, 1), Dropout::key(1, 0)];
        let mut seen = Vec::new();
        for site in sites {
            for key in keys {
                let x = mask(&Pool::serial(), key, site);
                assert_eq!(x, mask(&Pool::start(3), key, site));
                assert!(x.iter().all(|&x| x == 0.0 || (x - 2.0 / 0.75).abs() < 1e-6));
                assert!(!seen.contains(&x), "{site:?} {key}");
                seen.push(x);
            }
        }
        assert_eq!(Dropout::new(0.0, 1), None);
    }
}
