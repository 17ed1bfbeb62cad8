//! Tokens already processed, their keys and values, so that a new token costs one position.

use crate::error::{Error, Result};
use crate::limits::CACHE_AHEAD;
use crate::model::{Network, Weight};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::{product, reserve};

/// The key/value cache of one sequence.
#[derive(Debug, Default)]
pub struct KvCache {
    /// Keys then values of each layer, `[capacity + ahead][d]` each; one block, which huge pages can hold.
    tables: Floats,
    layers: usize,
    capacity: usize,
    dim: usize,
    /// 1 where keys are of the token before: what a token leaves for the next one stands in its row.
    ahead: usize,
    /// What the cache holds, with room for the capacity.
    tokens: Vec<u32>,
}

impl KvCache {
    /// Positions in the cache.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens whose keys and values are there.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether it holds no position.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Forgets the positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
    }

    /// Rows of a table of `model` beyond the tokens'.
    pub(crate) fn ahead(model: &Network<impl Weight>) -> usize {
        usize::from(model.some_attention(|w| w.scores.shifted > 0))
    }

    /// Floats of one table.
    fn table_len(&self) -> usize {
        (self.capacity + self.ahead) * self.dim
    }

    /// Keys, then values, of each layer: `[len][d]` each, and the row of the next token where keys are of
    /// the token before.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &[f32]> {
        let n = (self.len() + self.ahead) * self.dim;
        self.tables.chunks_exact(self.table_len().max(1)).map(move |table| &table[..n])
    }

    /// Makes `tokens` of `model` the content; `fill` gets each table that
    /// [`KvCache::tables`] gives, in its order.
    pub(crate) fn restore<E: From<Error>>(
        &mut self,
        model: &Network<impl Weight>,
        tokens: &[u32],
        mut fill: impl FnMut(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.tokens.clear();
        self.reserve(model, tokens.len())?;
        let n = (tokens.len() + self.ahead) * self.dim;
        let table_len = self.table_len().max(1);
        for table in self.tables.chunks_exact_mut(table_len) {
            fill(&mut table[..n])?;
        }
        self.advance(tokens);
        Ok(())
    }

    /// Makes room for `more` positions of `model`.
    pub(crate) fn reserve(&mut self, model: &Network<impl Weight>, more: usize) -> Result<()> {
        const WHAT: &str = "the key/value cache";
        let layers = model.params.layers.len();
        let ahead = Self::ahead(model);
        if (self.dim, self.layers, self.ahead) != (model.dim, layers, ahead) {
            *self = Self { dim: model.dim, layers, ahead, ..Self::default() };
        }
        let need = self.len().saturating_add(more);
        if need <= self.capacity {
            return Ok(());
        }
        // Memory for the whole context at once where it is no more than the weights, of which only
        // the pages in use are ever touched; else growing by half again keeps the copying linear in
        // the length of the sequence.
        let position = product(WHAT, &[2 * layers, self.dim])?;
        let cheap = model.weights().max(CACHE_AHEAD) / position.max(1);
        let grown = need.max(self.capacity + self.capacity / 2).max(cheap);
        let capacity = if need <= model.max_length { grown.min(model.max_length) } else { grown };
        reserve(WHAT, &mut self.tokens, capacity)?;
        let mut tables = Floats::new();
        tables.grow(WHAT, product(WHAT, &[capacity.saturating_add(ahead), position])?)?;
        let table_len = (capacity + ahead) * self.dim;
        for (new, old) in tables.chunks_exact_mut(table_len.max(1)).zip(self.tables()) {
            new[..old.len()].copy_from_slice(old);
        }
        self.tables = tables;
        self.capacity = capacity;
        Ok(())
    }

    /// Appends the keys and values of new rows of `qkv` `[rows][3d]`; all keys and values of the
    /// layer, the new ones included. Of a key, `own` components are the token's; the others are for the next
    /// token. [`KvCache::advance`] makes them part of the sequence.
    pub(crate) fn append(
        &mut self,
        layer: usize,
        qkv: &[f32],
        d: usize,
        own: usize,
    ) -> (&[f32], &[f32]) {
        let n = self.table_len();
        let (keys, values) = self.tables[2 * layer * n..][..2 * n].split_at_mut(n);
        if self.tokens.is_empty() && own < d {
            keys[own..d].fill(0.0);
        }
        let rows = qkv.chunks_exact(3 * d);
        for (i, row) in rows.enumerate() {
            let at = (self.tokens.len() + i) * d;
            let (key, for_next) = row[d..2 * d].split_at(own);
            keys[at..at + own].copy_from_slice(key);
            if own < d {
                keys[at + d + own..at + 2 * d].copy_from_slice(for_next);
            }
            values[at..at + d].copy_from_slice(&row[2 * d..]);
        }
        (keys, values)
    }

    /// The appended rows of all layers now count: they are those of `tokens`, for which there is room.
    pub(crate) fn advance(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelRef;
    use crate::model::{Attention, AttentionLayout, Layer, Norm, Params, Scores};

    /// Two heads, of which so many are shifted.
    fn model(dim: usize, max_length: usize, shifted: usize) -> ModelRef<'static> {
        let attention = Attention {
            heads: 2,
            head_dim: dim / 2,
            layout: AttentionLayout::Full,
            qkv: [&[][..]; 3],
            joined: None,
            output: None,
            scores: Scores { shifted, ..Scores::default() },
        };
        let layer = Layer {
            norm1: Norm::default(),
            attention: Some(attention),
            norm2: Norm::default(),
            feed_forward: None,
        };
        let layers = [layer.clone(), layer].into_iter().collect();
        let params = Params { embeddings: &[][..], layers, learned: None, head: None };
        ModelRef { version: 0, vocab: 0, dim, max_length, spiral: None, params }
    }

    /// One position: keys `10·position + layer`, values with half a unit more.
    fn add(cache: &mut KvCache, model: &ModelRef, position: usize) {
        let d = model.dim;
        cache.reserve(model, 1).unwrap();
        for layer in 0..2 {
            let key = (10 * position + layer) as f32;
            let qkv: Vec<f32> = (0..3 * d).map(|i| key + (i / d) as f32 / 2.0 - 0.5).collect();
            let own = model.params.layers[layer].attention.as_ref().unwrap().own_components();
            cache.append(layer, &qkv, d, own);
        }
        cache.advance(&[position as u32]);
    }

    #[test]
    fn growing_keeps_what_is_there() {
        (0..2).for_each(growing_keeps);
    }

    fn growing_keeps(shifted: usize) {
        // Two positions are within the limit; from there on it grows while it is filled.
        let wide = model(CACHE_AHEAD / 8, 1000, shifted);
        let mut cache = KvCache::default();
        let mut capacities = Vec::new();
        for position in 0..8 {
            add(&mut cache, &wide, position);
            capacities.push(cache.capacity);
        }
        assert_eq!(capacities, [2, 2, 3, 4, 6, 6, 9, 9]);
        for (t, table) in cache.tables().enumerate() {
            assert_eq!(table.len(), (8 + shifted) * wide.dim);
            let is = |part: &[f32], value: f32| part.iter().all(|&x| x == value);
            let of = |position: usize| (10 * position + t / 2) as f32 + (t % 2) as f32 / 2.0;
            for (position, row) in table.chunks(wide.dim).take(8).enumerate() {
                let (first, second) = row.split_at(wide.dim / 2);
                let before = position.checked_sub(1).map_or(0.0, of);
                let second_is = if shifted == 1 && t % 2 == 0 { before } else { of(position) };
                assert!(is(first, of(position)), "table {t}, position {position}");
                assert!(is(second, second_is), "table {t}, position {position}");
            }
        }
        // Another model starts anew.
        add(&mut cache, &model(8, 4, 0), 0);
        assert_eq!((cache.len(), cache.capacity), (1, 4));
    }

    #[test]
    fn no_layers_have_no_tables() {
        let mut bare = model(1, 4, 0);
        bare.params.layers.clear();
        let mut cache = KvCache::default();
        cache.reserve(&bare, 3).unwrap();
        cache.advance(&[7; 3]);
        assert_eq!((cache.len(), cache.tables().count()), (3, 0));
    }

    #[test]
    fn a_context_that_fits_is_reserved_at_once() {
        let small = model(8, 4, 0);
        let mut cache = KvCache::default();
        add(&mut cache, &small, 0);
        assert_eq!(cache.capacity, 4);
        (1..5).for_each(|position| add(&mut cache, &small, position));
        assert!(cache.capacity >= 5);
        assert_eq!(cache.tables().next().unwrap()[4 * 8], 40.0);
    }
}
