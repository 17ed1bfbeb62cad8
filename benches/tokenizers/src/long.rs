//! A long text that is the same on every machine, once through everyone.

use crate::contenders::{self, Contender, Result};
use crate::{exact, processor, texts, vocabulary};

/// A document is a part of a text, of this many bytes.
const DOCUMENT: usize = 64 << 10;
/// Documents that one contender gets before it is the next one's turn.
const TURN: usize = 32;
/// One of how many turns the slow contender gets.
const SLOW: usize = 16;
/// Kinds and their shares in percent.
const KINDS: [(&str, usize); 6] =
    [("code", 35), ("prose", 25), ("logs", 15), ("Chinese", 12), ("chat", 8), ("binary", 5)];

/// The text as documents, those of each kind spread over it.
pub fn documents(megabytes: usize) -> Result<Vec<Vec<u8>>> {
    let bytes = megabytes.checked_mul(1_000_000).ok_or("too many megabytes")?;
    let mut all = Vec::new();
    for (kind, share) in KINDS {
        let text = texts::made(kind, bytes / 100 * share);
        let documents: Vec<Vec<u8>> = text.chunks(DOCUMENT).map(<[u8]>::to_vec).collect();
        let count = documents.len();
        all.extend(documents.into_iter().enumerate().map(|(i, d)| (i as f64 / count as f64, d)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(all.into_iter().map(|(_, document)| document).collect())
}

#[derive(Default)]
struct Sum {
    bytes: usize,
    documents: usize,
    encoding: f64,
    /// What ours took for the same documents.
    ours: f64,
    decoding: f64,
    same_ids: usize,
    same_text: usize,
}

/// Encodes and decodes `megabytes`, the contenders taking turns.
pub fn run(megabytes: usize) -> Result<()> {
    let documents = documents(megabytes)?;
    let kinds: Vec<String> =
        KINDS.iter().map(|(kind, share)| format!("{kind} {share} %")).collect();
    println!("made text, seed {}: {}", texts::SEED, kinds.join(", "));
    let bpe = vocabulary(&documents)?;
    exact(&bpe, &documents)?;
    let all = contenders::all(&bpe)?;
    let mut sums: Vec<Sum> = all.iter().map(|_| Sum::default()).collect();
    for (turn, documents) in documents.chunks(TURN).enumerate() {
        // The yardsticks take UTF-8 only.
        let texts: Vec<String> =
            documents.iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect();
        let encode = |who: &dyn Contender| {
            processor(|| texts.iter().map(|text| who.encode(text)).collect::<Result<Vec<_>>>())
        };
        let (ours, ids) = encode(&*all[0])?;
        for (place, (who, sum)) in all.iter().zip(&mut sums).enumerate() {
            if who.one_of() > 1 && turn % SLOW > 0 {
                continue;
            }
            let (took, found) = if place == 0 { (ours, ids.clone()) } else { encode(&**who)? };
            let decode = || ids.iter().map(|ids| who.decode(ids)).collect::<Result<Vec<_>>>();
            let (back, decoded) = processor(decode)?;
            sum.bytes += texts.iter().map(String::len).sum::<usize>();
            sum.documents += texts.len();
            (sum.encoding, sum.ours) = (sum.encoding + took, sum.ours + ours);
            sum.decoding += back;
            sum.same_ids += found.iter().zip(&ids).filter(|(a, b)| a == b).count();
            let text = decoded.iter().zip(&texts);
            sum.same_text += text.filter(|(a, b)| a[..] == *b.as_bytes()).count();
        }
    }
    println!(
        "\n{:<20}{:>8} {:>9} {:>14} {:>9}   MB, MB/s of processor time, 1 thread (time / ours)",
        "", "MB", "encoding", "", "decoding"
    );
    for (who, sum) in all.iter().zip(&sums) {
        let megabytes = sum.bytes as f64 / 1e6;
        println!(
            "{:<20}{megabytes:>8.1} {:>9.1} ({:>5.2}) {:>13.1}   ids equal in {} of {} documents, text after decoding in {}",
            who.name(),
            megabytes / sum.encoding,
            sum.encoding / sum.ours,
            megabytes / sum.decoding,
            sum.same_ids,
            sum.documents,
            sum.same_text,
        );
    }
    Ok(())
}
