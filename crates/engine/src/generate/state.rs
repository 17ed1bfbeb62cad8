//! The state of a generation as bytes: everything that its continuation depends on besides the
//! model. Keys and values are part of it: computed again in one pass instead of one by one, they
//! would differ in their last bits, and in rare cases the text with them.
//!
//! Layout, little-endian: `CLLMGEN1`; CRC-32 of all that follows; settings; generator (seed,
//! stream, position); V, d, L and fingerprint of the model; the sequence (count, ids); the cached
//! tokens (count, ids) and for each layer their keys and values.

use super::sampler::Settings;
use super::session::Session;
use crate::error::{Error, Result};
use crate::file::Problem;
use crate::file::bytes::{Parser, bytes_to_floats};
use crate::nn::cache::KvCache;
use crate::nn::model::ModelRef;
use crate::rng::Rng;
use cllm_kernels::memory::filled;
use rand::SeedableRng;

const MAGIC: &[u8; 8] = b"CLLMGEN1";

/// What is saved besides the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// How tokens are chosen; `top_k` 0 for all.
    pub settings: Settings,
    /// Always the likeliest token.
    pub greedy: bool,
    /// Tokens that a call adds.
    pub max_tokens: i32,
    /// The generator, at its position.
    pub rng: Rng,
    /// The whole sequence: prompt and continuation.
    pub sequence: Vec<u32>,
}

/// The bytes of a state. `stamp` is what the session takes for the present state of the weights.
pub fn encode(saved: &Saved, session: &Session, model: &ModelRef, stamp: u64) -> Result<Vec<u8>> {
    let (tokens, cache) = session.content(stamp).unzip();
    let tokens = tokens.unwrap_or_default();
    let floats: usize = cache.map_or(0, |c: &KvCache| c.tables().map(<[f32]>::len).sum());
    let size = 256 + 4 * (saved.sequence.len() + tokens.len() + floats);
    let mut out = Vec::new();
    out.try_reserve_exact(size).map_err(|_| Error::Memory { what: "the state", bytes: size })?;
    out.extend(MAGIC);
    out.extend([0; 4]);
    let s = &saved.settings;
    for x in [s.temperature, s.top_p, s.min_p, s.repetition_penalty] {
        out.extend(x.to_le_bytes());
    }
    out.extend(u32::try_from(s.top_k).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(saved.max_tokens.to_le_bytes());
    out.extend(u32::from(saved.greedy).to_le_bytes());
    out.extend(saved.rng.get_seed());
    out.extend(saved.rng.get_stream().to_le_bytes());
    out.extend(saved.rng.get_word_pos().to_le_bytes());
    for n in [model.vocab, model.dim, model.params.layers.len()] {
        out.extend((n as u64).to_le_bytes());
    }
    out.extend(model.fingerprint().to_le_bytes());
    for ids in [&saved.sequence[..], tokens] {
        out.extend((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| out.extend(id.to_le_bytes()));
    }
    for table in cache.into_iter().flat_map(|c| c.tables()) {
        table.iter().for_each(|x| out.extend(x.to_le_bytes()));
    }
    let sum = crc32fast::hash(&out[12..]).to_le_bytes();
    out[8..12].copy_from_slice(&sum);
    Ok(out)
}

/// What [`encode`] wrote, for the same model. An error where the bytes are damaged or were written
/// with other weights.
pub fn decode(bytes: &[u8], model: &ModelRef, stamp: u64) -> Result<(Saved, Session), Problem> {
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
    let top_k = top_k as usize;
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
    if parser.u64()? != model.fingerprint() {
        return Err(Problem::content("the state belongs to a model with other weights"));
    }
    let sequence = ids(&mut parser, model)?;
    let tokens = ids(&mut parser, model)?;
    let mut cache = KvCache::default();
    if !tokens.is_empty() {
        // Nothing is allocated that the bytes do not fill.
        let floats = tokens.len().saturating_mul(model.dim * 2 * model.params.layers.len());
        if parser.left() != floats.saturating_mul(4) {
            return Err(Problem::content("the state's keys and values have another size"));
        }
        cache.restore(model, tokens.len(), |table| {
            bytes_to_floats(parser.take(4 * table.len())?, table);
            Ok::<_, Problem>(())
        })?;
    }
    parser.end()?;
    let settings = Settings { temperature, top_k, top_p, min_p, repetition_penalty };
    let max_tokens = max_tokens.cast_signed();
    let saved = Saved { settings, greedy: greedy != 0, max_tokens, rng, sequence };
    Ok((saved, Session::with_content(tokens, cache, stamp)))
}

fn ids(parser: &mut Parser, model: &ModelRef) -> Result<Vec<u32>, Problem> {
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
