//! Normal form C (Unicode Standard Annex 15), over the tables of `unicode-normalization`. The iterator of
//! that crate holds the tables of compatibility too, 60 KB that no normal form here needs, and asks for
//! memory that must not be refused.

use super::no_memory;
use crate::error::Result;
use crate::order;
use std::borrow::Cow;
use unicode_normalization::char::{canonical_combining_class, compose, decompose_canonical};

const WHAT: &str = "the normal form of a text";

/// The text with its valid stretches in normal form C.
///
/// # Errors
/// No memory.
pub(super) fn nfc(text: &[u8]) -> Result<Cow<'_, [u8]>> {
    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    let mut composer = Composer::default();
    room(&mut composer.out, text.len())?;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut done = Ok(());
            decompose_canonical(c, |part| {
                if done.is_ok() {
                    done = composer.put(part);
                }
            });
            done?;
        }
        composer.end()?;
        room(&mut composer.out, chunk.invalid().len())?;
        composer.out.extend_from_slice(chunk.invalid());
    }
    Ok(Cow::Owned(composer.out))
}

/// Room for `more` values, growing in proportion.
fn room<T>(values: &mut Vec<T>, more: usize) -> Result<()> {
    let len = values.len().saturating_add(more);
    values.try_reserve(more).map_err(|_| no_memory::<T>(WHAT, len))
}

/// Characters of a canonical decomposition, put together again.
#[derive(Default)]
struct Composer {
    out: Vec<u8>,
    /// The last character of combining class 0: what follows may become one with it.
    starter: Option<char>,
    /// What stood behind it.
    marks: Vec<Mark>,
}

/// A character of another combining class than 0.
struct Mark {
    class: u8,
    place: usize,
    character: char,
}

impl Composer {
    fn put(&mut self, c: char) -> Result<()> {
        let class = canonical_combining_class(c);
        if class != 0 {
            room(&mut self.marks, 1)?;
            self.marks.push(Mark { class, place: self.marks.len(), character: c });
            return Ok(());
        }
        self.compose_marks();
        let both = match self.starter {
            Some(starter) if self.marks.is_empty() => compose(starter, c),
            _ => None,
        };
        if both.is_none() {
            self.write()?;
        }
        self.starter = both.or(Some(c));
        Ok(())
    }

    /// Marks in canonical order, those of one class as they came; and those that nothing of their class
    /// or a higher one keeps from the starter become one with it, where there is such a character.
    fn compose_marks(&mut self) {
        if !self.marks.is_sorted_by_key(|mark| mark.class) {
            order::sort_by(&mut self.marks, |a, b| (a.class, a.place).cmp(&(b.class, b.place)));
        }
        let Some(mut starter) = self.starter else { return };
        let mut last = 0;
        self.marks.retain(|mark| {
            if last < mark.class
                && let Some(both) = compose(starter, mark.character)
            {
                starter = both;
                return false;
            }
            last = mark.class;
            true
        });
        self.starter = Some(starter);
    }

    /// What was put so far goes out: nothing that follows changes it.
    fn write(&mut self) -> Result<()> {
        let mut buffer = [0; 4];
        let marks = self.marks.drain(..).map(|mark| mark.character);
        for c in self.starter.take().into_iter().chain(marks) {
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            room(&mut self.out, bytes.len())?;
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// The end of a stretch of text.
    fn end(&mut self) -> Result<()> {
        self.compose_marks();
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    fn is_as_expected(text: &str) {
        let expected = text.nfc().collect::<String>();
        assert_eq!(nfc(text.as_bytes()).unwrap(), expected.as_bytes(), "{text:?}");
    }

    /// Alone, decomposed, and between others: a letter that composes, marks of classes 230 and 220, and
    /// the parts of a Hangul syllable.
    #[test]
    fn every_character() {
        let mut between = String::new();
        for c in '\0'..=char::MAX {
            is_as_expected(c.encode_utf8(&mut [0; 4]));
            between.extend(c.nfd());
            for other in ['A', '\u{301}', '\u{323}', '\u{1100}', '\u{1161}', '\u{11a8}'] {
                between.push(other);
                between.push(c);
            }
            if between.len() > 1 << 16 {
                is_as_expected(&between);
                between.clear();
            }
        }
        is_as_expected(&between);
    }

    #[test]
    fn long_runs_of_marks_and_bytes_that_are_no_text() {
        is_as_expected(&"\u{301}\u{323}\u{334}".repeat(20_000));
        is_as_expected(&format!("e{}", "\u{323}\u{301}".repeat(20_000)));
        // What is no text stays, and lies between a letter and its mark.
        assert_eq!(*nfc(b"e\xcc\x81\xffe\xff\xcc\x81").unwrap(), *b"\xc3\xa9\xffe\xff\xcc\x81");
    }

    proptest! {
        #[test]
        fn any_order(text in "[aeAoYs\u{300}-\u{32f}\u{338}\u{345}\u{5b0}-\u{5bd}\u{93c}\u{9be}\u{9c7}\u{9d7}\u{1100}-\u{1102}\u{1161}-\u{1163}\u{11a7}-\u{11aa}가각é한\u{fb1d}\u{1d15e}]{0,40}") {
            is_as_expected(&text);
        }
    }
}
