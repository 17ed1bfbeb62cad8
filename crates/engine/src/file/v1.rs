//! Files of the original library: a header, floats, and nothing that says how wide the
//! feed-forward layers are.

use super::Problem;
use super::header::{HEADER_BYTES, Header};
use crate::limits::{self, MAX_FILE_VERSION};
use crate::model::{
    Architecture, AttentionLayout, LayerShape, ModelShape, NormShape, Precision, Table,
};

/// Heads that the original wrote, whatever was true.
const CONSTANT_HEADS: u32 = 8;

/// The sizes of a v1 file, from its header and its length.
pub(super) fn shape(header: &Header, file_len: u64) -> Result<ModelShape, Problem> {
    if !(1..=MAX_FILE_VERSION).contains(&header.version) {
        return Err(Problem::content(format!(
            "the header states version {} (byte 8), not 1 to {MAX_FILE_VERSION}",
            header.version
        )));
    }
    let range = |name, value, most| {
        if (1..=most).contains(&value) {
            return Ok(value as usize);
        }
        Err(Problem::content(format!("the header states {name} {value}, not 1 to {most}")))
    };
    let vocab = range("vocab_size", header.vocab_size, limits::MAX_V1_VOCAB)?;
    let dim = range("embedding_dim", header.embedding_dim, limits::MAX_V1_EMBEDDING)?;
    let layers = range("num_layers", header.num_layers, limits::MAX_V1_LAYERS)?;
    let heads = heads(header.num_heads, dim)?;
    let (hidden, transforms) = hidden(header, file_len, vocab, dim, layers)?;

    let layer =
        LayerShape { heads, hidden, attention: true, feed_forward: true, bias1: true, bias2: true };
    let norm = NormShape { gamma: false, beta: false, ..NormShape::FULL };
    let shape = ModelShape {
        vocab,
        dim,
        max_length: header.context_length as usize,
        layout: AttentionLayout::PerHead,
        architecture: Architecture::ORIGINAL,
        precision: Precision::F32,
        embeddings: true,
        layers: vec![layer; layers],
        norms: vec![norm; layers],
        tables: [Table::Zero; 4],
        transforms: [transforms > 0, transforms > 1],
    };
    shape
        .check_for_file()
        .map_err(|e| Problem::content(format!("the header states wrong sizes: {e}")))?;
    Ok(shape)
}

/// The number of heads. A file of the original says 8 even where that does not divide the width;
/// the largest divisor up to 8 stands for it then.
fn heads(stated: u32, dim: usize) -> Result<usize, Problem> {
    let heads = stated as usize;
    if heads > 0 && dim.is_multiple_of(heads) {
        return Ok(heads);
    }
    if stated == CONSTANT_HEADS {
        return Ok((1..=8).rev().find(|&h| dim.is_multiple_of(h)).unwrap_or(1));
    }
    Err(Problem::content(format!(
        "the header states {stated} heads (byte 1352), which do not divide the width {dim}"
    )))
}

/// The feed-forward width, and how many transforms stand after the embeddings. The width 4d is
/// tried first, then the one that `total_params` implies. Only where that field implies none is
/// any width taken that fits the length: otherwise a file that was cut short could pass for
/// another model.
fn hidden(
    header: &Header,
    file_len: u64,
    vocab: usize,
    dim: usize,
    layers: usize,
) -> Result<(usize, usize), Problem> {
    let body = file_len.saturating_sub(HEADER_BYTES as u64);
    if !body.is_multiple_of(4) {
        return Err(Problem::content(format!(
            "has {body} bytes after its header, not a whole number of floats: it is cut short"
        )));
    }
    let (v, d, l) = (vocab as i128, dim as i128, layers as i128);
    let floats = i128::from(body / 4);
    let fixed = v * d + l * (3 * d * d + d);
    let step = l * (2 * d + 1);
    let fits = |f: i128, t: i128| fixed + step * f + t * d * d == floats;
    if fits(4 * d, 0) {
        return Ok((4 * dim, 0));
    }

    let feed_forward = i128::from(header.total_params) - v * d - l * (3 * d * d + 5 * d);
    let stated = (feed_forward > 0 && feed_forward % step == 0).then(|| feed_forward / step);
    let found = match stated {
        Some(f) => (0..=2).find(|&t| fits(f, t)).map(|t| (f, t)),
        None => (0..=2).find_map(|t| {
            let rest = floats - fixed - t * d * d;
            (rest > 0 && rest % step == 0).then(|| (rest / step, t))
        }),
    };
    match found {
        Some((f, t)) if f <= i128::from(u32::MAX) => Ok((f as usize, t as usize)),
        _ => {
            let expected = (fixed + step * stated.unwrap_or(4 * d)) * 4 + HEADER_BYTES as i128;
            Err(Problem::content(format!(
                "is {file_len} bytes long; {vocab} tokens, width {dim} and {layers} layers make \
                 {expected}: it is cut short, or not a model file"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(v: u64, d: u64, l: u64) -> Header {
        Header {
            vocab_size: v,
            embedding_dim: d,
            num_layers: l,
            num_heads: 8,
            context_length: 512,
            ..Header::default()
        }
    }

    fn len(floats: u64) -> u64 {
        1576 + 4 * floats
    }

    #[test]
    fn width_and_transforms_from_the_length() {
        // V 27, d 32, L 1: the file of the original's smallest run.
        let mut h = header(27, 32, 1);
        h.total_params = 12416;
        let s = shape(&h, 50728).unwrap();
        assert_eq!((s.layers[0].hidden, s.transforms, s.heads()), (128, [false; 2], 8));
        for (transforms, t) in [([true, false], 1), ([true, true], 2)] {
            let s = shape(&h, len(12288 + t * 1024)).unwrap();
            assert_eq!((s.layers[0].hidden, s.transforms), (128, transforms));
        }
        // Another width, as total_params says; and without that, from the length alone.
        let floats = |f: u64| 27 * 32 + 3 * 32 * 32 + 32 + 65 * f;
        h.total_params = floats(50) + 4 * 32;
        assert_eq!(shape(&h, len(floats(50))).unwrap().layers[0].hidden, 50);
        h.total_params = 0;
        assert_eq!(shape(&h, len(floats(51))).unwrap().layers[0].hidden, 51);
    }

    #[test]
    fn a_shorter_file_is_not_another_model() {
        let mut h = header(27, 32, 1);
        h.total_params = 12416;
        for cut in 1..50728 {
            let problem = shape(&h, cut).unwrap_err().to_string();
            assert!(problem.contains("cut short"), "{cut}: {problem}");
        }
    }

    #[test]
    fn heads_that_are_not_evidence() {
        let heads = |n, d| super::heads(n, d).ok();
        assert_eq!(heads(8, 30), Some(6));
        assert_eq!(heads(8, 7), Some(7));
        assert_eq!(heads(8, 11), Some(1));
        assert_eq!(heads(3, 30), Some(3));
        assert_eq!(heads(7, 30), None);
        assert_eq!(heads(0, 30), None);
    }

    #[test]
    fn sizes_out_of_range() {
        for (v, d, l) in [
            (0, 8, 1),
            (1_000_001, 8, 1),
            (8, 0, 1),
            (8, 10_001, 1),
            (8, 8, 0),
            (8, 8, 101),
            (u64::MAX, u64::MAX, u64::MAX),
        ] {
            assert!(shape(&header(v, d, l), len(1 << 20)).is_err());
        }
        let mut h = header(27, 32, 1);
        h.context_length = u32::MAX;
        let problem = shape(&h, 50728).unwrap_err().to_string();
        assert!(problem.contains("position tables"), "{problem}");
        h.context_length = 512;
        h.version = 101;
        assert!(shape(&h, 50728).is_err());
    }
}
