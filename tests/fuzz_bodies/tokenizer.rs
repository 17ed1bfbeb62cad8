//! The body for tokenizers of subwords. It goes to the engine, which does all of the reading.

use cllm_engine::text::Bpe;

/// A `tokenizer.json` is refused with a reason, or becomes a tokenizer that is the same after it
/// was written and read again; one that is exact gives every text back.
pub fn tokenizer(data: &[u8]) {
    let bpe = match Bpe::from_tokenizer_json(data) {
        Ok(bpe) => bpe,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let again = Bpe::from_bytes(&bpe.to_bytes()).unwrap();
    assert!(again == bpe);
    for text in [&b"abab caf\xC3\xA9 \xFF 12\n\n <EOS>"[..], &data[..data.len().min(256)]] {
        let ids = bpe.encode(text).unwrap();
        assert!(ids.iter().all(|&id| (id as usize) < bpe.len()));
        assert_eq!(again.encode(text).unwrap(), ids);
        if bpe.is_exact() && bpe.added().iter().all(|added| added.special) {
            assert_eq!(bpe.decode(&ids).unwrap(), text);
        }
    }
}
