//! Tokens already processed, their keys and values, so that a new token costs one position.

use crate::error::{Error, Result};
use crate::limits::CACHE_AHEAD;
use crate::model::{Network, Weight};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::{product, reserve};
use std::ops::Range;

/// The key/value cache of one sequence.
#[derive(Debug, Default)]
pub struct KvCache {
    /// Keys then values of each layer, `[capacity][d]` each, and a row more where a layer has keys of the
    /// token before; one block, which huge pages can hold.
    tables: Floats,
    capacity: usize,
    dim: usize,
    /// For each layer, how many components of a key, the last ones, are of the token before. What a token
    /// leaves for the next one stands in the row of that one.
    shifted: Vec<usize>,
    /// What the cache holds, with room for the capacity.
    tokens: Vec<u32>,
}

/// [`KvCache::shifted`] of a model.
fn shifted(model: &Network<impl Weight>) -> impl Iterator<Item = usize> {
    let attention = model.params.layers.iter().map(|layer| layer.attention.as_ref());
    attention.map(|attention| attention.map_or(0, |a| a.scores.shifted * a.head_dim))
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

    /// Floats of one table with room for so many positions.
    fn table_len(&self, capacity: usize) -> usize {
        (capacity + usize::from(self.shifted.iter().any(|&n| n > 0))) * self.dim
    }

    /// Where `len` positions of a layer stand in tables with room for `capacity`: keys, values, and what the
    /// last token leaves for the keys of the next one.
    fn ranges(&self, layer: usize, capacity: usize, len: usize) -> [Range<usize>; 3] {
        let n = self.table_len(capacity);
        let keys = 2 * layer * n..2 * layer * n + len * self.dim;
        let values = keys.start + n..keys.end + n;
        let next = match self.shifted[layer] {
            0 => 0..0,
            shifted => keys.end + self.dim - shifted..keys.end + self.dim,
        };
        [keys, values, next]
    }

    /// All that the cache holds, for each layer its keys `[len][d]`, its values `[len][d]`, and what the last
    /// token leaves for the keys of the next one, which is nothing in most layers.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[f32]> {
        let ranges =
            (0..self.shifted.len()).flat_map(|l| self.ranges(l, self.capacity, self.len()));
        ranges.map(|range| &self.tables[range])
    }

    /// The floats of [`KvCache::parts`] of `model` behind `len` tokens.
    pub(crate) fn floats(model: &Network<impl Weight>, len: usize) -> usize {
        let layer = len.saturating_mul(2).saturating_mul(model.dim);
        shifted(model).fold(0, |all: usize, n| all.saturating_add(layer).saturating_add(n))
    }

    /// Makes `tokens` of `model` the content; `fill` gets each part that
    /// [`KvCache::parts`] gives, in its order.
    pub(crate) fn restore<E: From<Error>>(
        &mut self,
        model: &Network<impl Weight>,
        tokens: &[u32],
        mut fill: impl FnMut(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.tokens.clear();
        self.reserve(model, tokens.len())?;
        for layer in 0..self.shifted.len() {
            for range in self.ranges(layer, self.capacity, tokens.len()) {
                fill(&mut self.tables[range])?;
            }
        }
        self.advance(tokens);
        Ok(())
    }

    /// Makes room for `more` positions of `model`.
    pub(crate) fn reserve(&mut self, model: &Network<impl Weight>, more: usize) -> Result<()> {
        const WHAT: &str = "the key/value cache";
        let layers = model.params.layers.len();
        if self.dim != model.dim || !shifted(model).eq(self.shifted.iter().copied()) {
            let mut of_layers = Vec::new();
            reserve(WHAT, &mut of_layers, layers)?;
            of_layers.extend(shifted(model));
            *self = Self { dim: model.dim, shifted: of_layers, ..Self::default() };
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
        product(WHAT, &[capacity.saturating_add(1), position])?;
        tables.grow(WHAT, 2 * layers * self.table_len(capacity))?;
        if !self.is_empty() {
            for layer in 0..layers {
                let old = self.ranges(layer, self.capacity, self.len());
                for (new, old) in self.ranges(layer, capacity, self.len()).into_iter().zip(old) {
                    tables[new].copy_from_slice(&self.tables[old]);
                }
            }
        }
        self.tables = tables;
        self.capacity = capacity;
        Ok(())
    }

    /// Appends the keys and values of new rows of `qkv` `[rows][3d]`; all keys and values of the
    /// layer, the new ones included. [`KvCache::advance`] makes them part of the sequence.
    pub(crate) fn append(&mut self, layer: usize, qkv: &[f32]) -> (&[f32], &[f32]) {
        let (d, n, own) = (self.dim, self.table_len(self.capacity), self.dim - self.shifted[layer]);
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
            cache.append(layer, &qkv);
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
        let parts: Vec<_> = cache.parts().collect();
        let (d, half) = (wide.dim, wide.dim / 2);
        let is = |part: &[f32], value: usize| part.iter().all(|&x| x == value as f32);
        for (layer, parts) in parts.chunks(3).enumerate() {
            let [keys, values, next] = *parts else { panic!("no keys, values and next keys") };
            assert_eq!((keys.len(), values.len(), next.len()), (8 * d, 8 * d, shifted * half));
            let of = |position: usize| 10 * position + layer;
            for position in 0..8 {
                let (own, last) = keys[position * d..][..d].split_at(half);
                let before = position.checked_sub(1).map_or(0, of);
                assert!(is(own, of(position)), "layer {layer}, position {position}");
                assert!(is(last, if shifted == 1 { before } else { of(position) }));
                let doubled: Vec<_> = values[position * d..][..d].iter().map(|x| 2.0 * x).collect();
                assert!(is(&doubled, 2 * of(position) + 1), "layer {layer}, position {position}");
            }
            assert!(is(next, of(7)), "layer {layer}");
        }
        assert_eq!(KvCache::floats(&wide, 8), parts.concat().len());
        // Another model starts anew.
        add(&mut cache, &model(8, 4, 0), 0);
        assert_eq!((cache.len(), cache.capacity), (1, 4));
    }

    #[test]
    fn what_was_there_before_is_no_part_of_it() {
        let model = model(8, 20, 1);
        let (mut once, mut again) = (KvCache::default(), KvCache::default());
        (0..3).for_each(|position| add(&mut once, &model, position));
        (0..6).for_each(|position| add(&mut again, &model, position));
        again.truncate(3);
        assert!(once.parts().eq(again.parts()));
    }

    #[test]
    fn no_layers_have_no_tables() {
        let mut bare = model(1, 4, 0);
        bare.params.layers.clear();
        let mut cache = KvCache::default();
        cache.reserve(&bare, 3).unwrap();
        cache.advance(&[7; 3]);
        assert_eq!((cache.len(), cache.parts().count()), (3, 0));
    }

    #[test]
    fn a_context_that_fits_is_reserved_at_once() {
        let small = model(8, 4, 0);
        let mut cache = KvCache::default();
        add(&mut cache, &small, 0);
        assert_eq!(cache.capacity, 4);
        (1..5).for_each(|position| add(&mut cache, &small, position));
        assert!(cache.capacity >= 5);
        assert_eq!(cache.parts().next().unwrap()[4 * 8], 40.0);
    }
}
