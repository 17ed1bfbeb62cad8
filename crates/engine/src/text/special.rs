//! Special words and text. A text is text: no word of it stands for a special word, whatever it
//! spells. `<EOS>` in a text is the ordinary word `<eos>`: in lower case, also where other words
//! keep their case, so that its spelling can't meet that of the special word. The ids of special
//! words come from programs alone.

use super::index::{Words, ids};
use super::split::is_placeholder;
use super::{Bpe, EOS, SPECIALS};

/// The place in [`SPECIALS`] of the word that `word` spells, in any letter case.
fn place(word: &[u8]) -> Option<usize> {
    SPECIALS.iter().position(|s| s.eq_ignore_ascii_case(word))
}

/// Whether `word` is the `<UNK_digits>` of a slot that holds no word.
fn is_unused(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"<UNK_").and_then(|rest| rest.strip_suffix(b">"));
    digits.is_some_and(|d| !d.is_empty() && d.iter().all(u8::is_ascii_digit))
}

/// Whether a word of a text spells a special word or an unused slot, in any letter case: such a
/// word is looked up and learnt in lower case only.
pub fn spells_special(word: &[u8]) -> bool {
    word.first() == Some(&b'<') && (place(word).is_some() || is_unused(&word.to_ascii_uppercase()))
}

/// Whether a slot is that of a special word: the first one that spells it, in any letter case. A
/// later one with such a spelling is a word of a text.
fn special(words: &(impl Words + ?Sized), id: u32) -> Option<usize> {
    let place_of = |id: u32| words.get(id).and_then(place);
    let special = place_of(id)?;
    let first = ids(words).find(|&id| place_of(id) == Some(special));
    (first == Some(id)).then_some(special)
}

/// Whether a slot holds no word of a text, but a special word or the `<UNK_digits>` of an unused
/// slot: not shown, and not found in a text.
pub fn is_special(words: &(impl Words + ?Sized), id: u32) -> bool {
    words.get(id).is_some_and(is_unused) || special(words, id).is_some()
}

/// Whether the slot is that of `<EOS>`, at which a generation ends.
pub fn is_end(words: &(impl Words + ?Sized), id: u32) -> bool {
    special(words, id) == Some(EOS as usize)
}

/// The slot of `<EOS>`.
pub fn end(words: &(impl Words + ?Sized)) -> Option<u32> {
    ids(words).find(|&id| words.get(id).and_then(place) == Some(EOS as usize))
}

/// The ids that a generation of text leaves out, in a vocabulary of words: all special words, but
/// an `<EOS>` that training has met; slots without a word. `met` says how often training met a
/// token, as far as that is known: where it met none at all, nothing is known.
///
/// Nothing is left out where nothing else would be left.
pub fn never_drawn(words: &(impl Words + ?Sized), met: impl Fn(u32) -> f32) -> Vec<u32> {
    let counts_known = ids(words).any(|id| met(id) > 0.0);
    let left_out = |&id: &u32| {
        let Some(word) = words.get(id).filter(|word| !word.is_empty()) else {
            return true;
        };
        match special(words, id) {
            Some(place) if place == EOS as usize => counts_known && met(id) <= 0.0,
            Some(_) => true,
            None => is_unused(word) || is_placeholder(word, id as usize),
        }
    };
    let found: Vec<u32> = ids(words).filter(left_out).collect();
    if found.len() >= words.count() { Vec::new() } else { found }
}

/// [`never_drawn`] for subwords: the special tokens, but an end token that training has met, or may
/// have met.
pub fn never_drawn_subwords(bpe: &Bpe, met: impl Fn(u32) -> f32) -> Vec<u32> {
    let counts_known = (0..bpe.len() as u32).any(|id| met(id) > 0.0);
    let ends = |id: u32| bpe.end() == Some(id) && (!counts_known || met(id) > 0.0);
    let specials = bpe.added().iter().filter(|added| added.special).map(|added| added.id);
    specials.filter(|&id| !ends(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for word in ["<PAD>", "<unk>", "<Bos>", "<EOS>", "<mask>", "<UNK_0>", "<unk_12>"] {
            assert!(spells_special(word.as_bytes()), "{word}");
        }
        for word in ["<html>", "PAD", "<UNK_>", "<UNK_1x>", "<UNK_1", "", "<UNK", "<PAD> "] {
            assert!(!spells_special(word.as_bytes()), "{word}");
        }
    }

    #[test]
    fn the_first_slot_is_the_special_word() {
        let words = ["<pad>", "<unk>", "<EOS>", "<eos>", "<html>", "<UNK_5>", "<unk_5>"];
        let special: Vec<u32> = (0..9).filter(|&id| is_special(&words[..], id)).collect();
        assert_eq!(special, [0, 1, 2, 5]);
        assert!(is_end(&words[..], 2) && !is_end(&words[..], 3) && !is_end(&words[..], 99));
        assert_eq!(
            (end(&words[..]), end(&words[3..4]), end(&words[4..])),
            (Some(2), Some(0), None)
        );
    }

    #[test]
    fn what_is_never_drawn() {
        let words = ["<PAD>", "<UNK>", "<BOS>", "<EOS>", "<MASK>", "the", "<eos>", "", "token_8"];
        let met = |counts: [f32; 9]| move |id: u32| counts[id as usize];
        let trained = [0.0, 7.0, 0.0, 0.0, 0.0, 3.0, 1.0, 0.0, 0.0];
        assert_eq!(never_drawn(&words[..], met(trained)), [0, 1, 2, 3, 4, 7, 8]);
        let with_end = [0.0, 0.0, 0.0, 2.0, 0.0, 3.0, 1.0, 0.0, 0.0];
        assert_eq!(never_drawn(&words[..], met(with_end)), [0, 1, 2, 4, 7, 8]);
        // Without counts `<EOS>` may have been trained.
        assert_eq!(never_drawn(&words[..], met([0.0; 9])), [0, 1, 2, 4, 7, 8]);
        // A vocabulary of nothing else.
        assert_eq!(never_drawn(&words[..3], |_| 0.0), [0u32; 0]);

        let bytes = Bpe::bytes().unwrap();
        assert_eq!(never_drawn_subwords(&bytes, |_| 0.0), [0, 1, 2, 4]);
        let met = |ids: &'static [u32]| move |id| f32::from(u8::from(ids.contains(&id)));
        assert_eq!(never_drawn_subwords(&bytes, met(&[70])), [0, 1, 2, 3, 4]);
        assert_eq!(never_drawn_subwords(&bytes, met(&[70, 3])), [0, 1, 2, 4]);
    }
}
