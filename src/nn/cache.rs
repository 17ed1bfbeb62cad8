//! Keys and values of the positions already processed, so that a new token costs one position.

use crate::error::{Error, Result};
use crate::kernels::floats::Floats;
use crate::limits::{MAX_CACHE_AHEAD, product};
use crate::nn::model::Model;

/// The key/value cache of one sequence.
#[derive(Debug, Default)]
pub struct KvCache {
    /// Keys then values of each layer, `[capacity][d]` each.
    layers: Vec<(Floats, Floats)>,
    len: usize,
    dim: usize,
}

impl KvCache {
    /// Positions in the cache.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no position.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Keys, then values, of each layer: `[len][d]` each.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &[f32]> {
        let n = self.len * self.dim;
        self.layers.iter().flat_map(move |(keys, values)| [&keys[..n], &values[..n]])
    }

    /// Makes `len` positions of `model` the content; `fill` gets each table that
    /// [`KvCache::tables`] gives, in its order.
    pub(crate) fn restore<E: From<Error>>(
        &mut self,
        model: &Model,
        len: usize,
        mut fill: impl FnMut(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.len = 0;
        self.reserve(model, len)?;
        let n = len * self.dim;
        for (keys, values) in &mut self.layers {
            fill(&mut keys[..n])?;
            fill(&mut values[..n])?;
        }
        self.len = len;
        Ok(())
    }

    /// Makes room for `more` positions of `model`.
    pub(crate) fn reserve(&mut self, model: &Model, more: usize) -> Result<()> {
        const WHAT: &str = "the key/value cache";
        if self.dim != model.dim || self.layers.len() != model.params.layers.len() {
            *self = Self { dim: model.dim, ..Self::default() };
            self.layers.resize_with(model.params.layers.len(), Default::default);
        }
        let need = product(WHAT, &[self.len.saturating_add(more), self.dim])?;
        let present = self.layers.first().map_or(0, |(keys, _)| keys.len());
        if present >= need {
            return Ok(());
        }
        // Memory for the whole context at once, of which only what is in use is ever touched; beyond
        // it, growing by half again keeps the copying linear in the length of the sequence.
        let context = model.max_length.saturating_mul(self.dim);
        let ahead = (need..=MAX_CACHE_AHEAD).contains(&context);
        let room = if ahead { context } else { need.max(present + present / 2) };
        for (keys, values) in &mut self.layers {
            for table in [keys, values] {
                table.reserve(WHAT, room)?;
                table.grow(WHAT, need)?;
            }
        }
        Ok(())
    }

    /// Appends the keys and values of new rows of `qkv` `[rows][3d]`; all keys and values of the
    /// layer, the new ones included. [`KvCache::advance`] makes them part of the sequence.
    pub(crate) fn append(&mut self, layer: usize, qkv: &[f32], d: usize) -> (&[f32], &[f32]) {
        let (keys, values) = &mut self.layers[layer];
        let rows = qkv.chunks_exact(3 * d);
        for (i, row) in rows.enumerate() {
            let at = (self.len + i) * d..(self.len + i + 1) * d;
            keys[at.clone()].copy_from_slice(&row[d..2 * d]);
            values[at].copy_from_slice(&row[2 * d..]);
        }
        (keys, values)
    }

    /// The appended rows of all layers now count.
    pub(crate) fn advance(&mut self, rows: usize) {
        self.len += rows;
    }
}
