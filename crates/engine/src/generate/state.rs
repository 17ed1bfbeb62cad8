//! The state of a generation as bytes: everything that its continuation depends on besides the
//! model. Keys and values are part of it: computed again in one pass instead of one by one, they
//! would differ in their last bits, and in rare cases the text with them.
//!
//! `docs/FORMAT.md` specifies the layout: `CLLMGEN1`; CRC-32 of all that follows; settings;
//! generator (seed, stream, position); V, d, L and version of the weights; the sequence (count, ids);
//! the cached tokens (count, ids) and for each layer their keys and values, and what they leave for the
//! keys of the next token.
//!
//! The version of the weights counts the heads of each layer, since keys and values mean another
//! thing with other heads. States of releases before that are still read, unless the weights are
//! others: whether the heads are the same, they can't tell.

use super::session::Session;
use super::{GeneratorConfig, Sampler};
use crate::error::{Error, Result};
use crate::file::Problem;
use crate::file::bytes::{Parser, bytes_to_floats};
use crate::model::{Network, Weight};
use crate::nn::cache::KvCache;
use crate::rng::Rng;
use cllm_kernels::memory::filled;
use rand::SeedableRng;

const MAGIC: &[u8; 8] = b"CLLMGEN1";

/// What a state holds.
pub(super) struct State<'a> {
    /// Without the lists of tokens.
    pub config: &'a GeneratorConfig,
    pub sampler: &'a Sampler,
    pub sequence: &'a [u32],
    pub session: &'a Session,
}

/// What was read from one.
pub(super) struct Restored {
    pub config: GeneratorConfig,
    pub sampler: Sampler,
    pub sequence: Vec<u32>,
    pub session: Session,
}

/// The bytes of a state.
pub(super) fn encode(state: &State, model: &Network<impl Weight>) -> Result<Vec<u8>> {
    let version = model.weights_version();
    let cache = state.session.content(version).filter(|cache| !cache.is_empty());
    let cached = cache.map_or(&[][..], KvCache::tokens);
    let floats = cache.map_or(0, |_| KvCache::floats(model, cached.len()));
    let size = 256 + 4 * (state.sequence.len() + cached.len() + floats);
    let mut out = Vec::new();
    out.try_reserve_exact(size).map_err(|_| Error::memory("the state", size))?;
    out.extend(MAGIC);
    out.extend([0; 4]);
    let c = state.config;
    for x in [c.temperature, c.top_p, c.min_p, c.repetition_penalty] {
        out.extend(x.to_le_bytes());
    }
    out.extend(u32::try_from(c.top_k).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(i32::try_from(c.max_tokens).unwrap_or(i32::MAX).to_le_bytes());
    out.extend(u32::from(c.greedy).to_le_bytes());
    let rng = &state.sampler.rng;
    out.extend(rng.get_seed());
    out.extend(rng.get_stream().to_le_bytes());
    out.extend(rng.get_word_pos().to_le_bytes());
    for n in [model.vocab, model.dim, model.params.layers.len()] {
        out.extend((n as u64).to_le_bytes());
    }
    out.extend(version.portable().to_le_bytes());
    for ids in [state.sequence, cached] {
        out.extend((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| out.extend(id.to_le_bytes()));
    }
    for part in cache.into_iter().flat_map(|c| c.parts()) {
        part.iter().for_each(|x| out.extend(x.to_le_bytes()));
    }
    let sum = crc32fast::hash(&out[12..]).to_le_bytes();
    out[8..12].copy_from_slice(&sum);
    Ok(out)
}

/// What [`encode`] wrote, for the same model. An error where the bytes are damaged or were written
/// with other weights.
pub(super) fn decode(bytes: &[u8], model: &Network<impl Weight>) -> Result<Restored, Problem> {
    let mut parser = Parser::new("the state", bytes);
    if &parser.array::<8>()? != MAGIC {
        return Err(Problem::content("not a state of a generation"));
    }
    let sum = parser.u32()?;
    if bytes.get(12..).map(crc32fast::hash) != Some(sum) {
        return Err(Problem::content("the state is damaged: its CRC-32 does not match"));
    }
    let [temperature, top_p, min_p, repetition_penalty] = parser.f32s()?;
    let [top_k, max_tokens, greedy] = parser.u32s()?;
    let mut rng = Rng::from_seed(parser.array()?);
    rng.set_stream(parser.u64()?);
    rng.set_word_pos(u128::from_le_bytes(parser.array()?));
    for (what, n) in [
        ("vocabulary", model.vocab),
        ("width", model.dim),
        ("number of layers", model.params.layers.len()),
    ] {
        let saved = parser.u64()?;
        if saved != n as u64 {
            return Err(Problem::content(format!(
                "the state belongs to another model: its {what} was {saved}, this one's is {n}"
            )));
        }
    }
    let version = model.weights_version();
    let saved = parser.u64()?;
    if saved != version.portable() && saved != model.weights_version_without_heads() {
        return Err(Problem::content(
            "the state belongs to a model with other weights, or with other heads",
        ));
    }
    let sequence = ids(&mut parser, model)?;
    let cached = ids(&mut parser, model)?;
    let mut cache = KvCache::default();
    if !cached.is_empty() {
        // Nothing is allocated that the bytes do not fill.
        if parser.left() != KvCache::floats(model, cached.len()).saturating_mul(4) {
            return Err(Problem::content("the state's keys and values have another size"));
        }
        cache.restore(model, &cached, |part| {
            bytes_to_floats(parser.take(4 * part.len())?, part);
            Ok::<_, Problem>(())
        })?;
    }
    parser.end()?;
    let config = GeneratorConfig {
        temperature,
        top_k: top_k as usize,
        top_p,
        min_p,
        repetition_penalty,
        greedy: greedy != 0,
        max_tokens: usize::try_from(max_tokens.cast_signed()).unwrap_or(0),
        ..GeneratorConfig::default()
    };
    let session = Session::with_content(cache, version);
    Ok(Restored { config, sampler: rng.into(), sequence, session })
}

fn ids(parser: &mut Parser, model: &Network<impl Weight>) -> Result<Vec<u32>, Problem> {
    let count = parser.u64()?;
    let count = usize::try_from(count).ok().filter(|n| n.saturating_mul(4) <= parser.left());
    let count = count.ok_or_else(|| Problem::content("the state ends early"))?;
    let mut ids = filled("the sequence", count)?;
    for id in &mut ids {
        *id = parser.u32()?;
        if *id as usize >= model.vocab {
            return Err(Problem::content(format!("the state holds the unknown token {id}")));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelRef;
    use crate::model::{Attention, AttentionLayout, Layer, Layers, Norm, Params, Scores};

    /// A model of width 4 with one layer of so many heads.
    fn model(heads: usize) -> ModelRef<'static> {
        const VALUES: [f32; 16] =
            [0.1, -0.3, 0.5, 0.2, 0.7, -0.9, 0.4, 0.3, -0.2, 0.8, 0.6, -0.5, 0.9, 0.0, 0.1, 1.0];
        let attention = Attention {
            heads,
            head_dim: 4 / heads,
            layout: AttentionLayout::Full,
            qkv: [&VALUES[..]; 3],
            joined: None,
            output: None,
            scores: Scores::default(),
        };
        let layer = Layer {
            norm1: Norm::default(),
            attention: Some(attention),
            norm2: Norm::default(),
            feed_forward: None,
        };
        let layers = Layers::from_iter([layer]);
        let params = Params { embeddings: &VALUES[..12], layers, learned: None, head: None };
        ModelRef { version: 0, vocab: 3, dim: 4, max_length: 0, spiral: None, params }
    }

    /// States of releases that did not look at the heads are read still.
    #[test]
    fn states_without_heads() {
        let (config, sampler) = (GeneratorConfig::default(), Sampler::new(1));
        let session = Session::default();
        let state =
            State { config: &config, sampler: &sampler, sequence: &[1, 2], session: &session };
        let two = model(2);
        let mut bytes = encode(&state, &two).unwrap();
        assert_eq!(decode(&bytes, &two).map(|s| s.sequence).unwrap(), [1, 2]);
        assert!(decode(&bytes, &model(4)).is_err());
        bytes[120..128].copy_from_slice(&two.weights_version_without_heads().to_le_bytes());
        let sum = crc32fast::hash(&bytes[12..]).to_le_bytes();
        bytes[8..12].copy_from_slice(&sum);
        assert_eq!(decode(&bytes, &two).map(|s| s.sequence).unwrap(), [1, 2]);
        assert_eq!(decode(&bytes, &model(4)).map(|s| s.sequence).unwrap(), [1, 2]);
    }
}
