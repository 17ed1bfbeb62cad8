//! Special and other added tokens: found in a text before it is cut into pieces.

use super::{normal, quote, wrong};
use crate::error::{Error, Result};
use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::noncontiguous::NFA;
use aho_corasick::{Input, MatchKind};
use unicode_general_category::{GeneralCategory, get_general_category};

/// A token that stands beside the merges: found in a text as it is spelled, the longest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: u32,
    /// Its spelling.
    pub content: String,
    /// Found only where a caller asks for special tokens; left out of decoded text.
    pub special: bool,
    /// Takes the white space before it along.
    pub lstrip: bool,
    /// Takes the white space behind it along.
    pub rstrip: bool,
    /// Found only between characters that are no part of a word.
    pub single_word: bool,
    /// Looked for after the text was normalised.
    pub normalized: bool,
}

impl Added {
    /// A special token like all others.
    pub(super) fn special(id: u32, content: String) -> Self {
        Self {
            id,
            content,
            special: true,
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
        }
    }
}

/// A stretch of a text: an added token or what stands between two.
pub(super) enum Part<'t> {
    Token(u32),
    Text(&'t [u8]),
}

/// Finds added tokens: of all kinds, or of those that are not special; before a text is normalised
/// or after.
pub(super) struct Matcher {
    /// `[with specials][normalized]`.
    finders: [[Option<Finder>; 2]; 2],
}

struct Finder {
    // The crate's choice of several machines is larger than all else that reads text here.
    search: NFA,
    added: Vec<Added>,
}

impl Matcher {
    pub(super) fn new(added: &[Added], nfc: bool) -> Result<Self> {
        for token in added {
            if token.content.is_empty() {
                return Err(wrong(format_args!("the added token {} has no content", token.id)));
            }
            if nfc
                && token.normalized
                && *normal::nfc(token.content.as_bytes())? != *token.content.as_bytes()
            {
                let name = quote(&token.content);
                return Err(wrong(format_args!("the added token {name} is not in NFC")));
            }
        }
        let finder = |special: bool, normalized: bool| {
            let fits = |a: &&Added| (special || !a.special) && a.normalized == normalized;
            let added: Vec<Added> = added.iter().filter(fits).cloned().collect();
            if added.is_empty() {
                return Ok::<_, Error>(None);
            }
            let search = NFA::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .prefilter(false)
                .build(added.iter().map(|a| &a.content))
                .map_err(|error| wrong(format_args!("the added tokens: {error}")))?;
            Ok(Some(Finder { search, added }))
        };
        let both = |special| Ok::<_, Error>([finder(special, false)?, finder(special, true)?]);
        Ok(Self { finders: [both(false)?, both(true)?] })
    }

    /// Whether there are tokens to look for.
    pub(super) fn finds(&self, specials: bool, normalized: bool) -> bool {
        self.finders[usize::from(specials)][usize::from(normalized)].is_some()
    }

    /// Gives the parts of `text` to `take`, in order.
    pub(super) fn split<'t>(
        &self,
        text: &'t [u8],
        specials: bool,
        normalized: bool,
        mut take: impl FnMut(Part<'t>) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        let finder = self.finders[usize::from(specials)][usize::from(normalized)].as_ref();
        if let Some(finder) = finder {
            let found = finder.search.try_find_iter(Input::new(text));
            for found in found.map_err(|error| wrong(format_args!("the added tokens: {error}")))? {
                let token = &finder.added[found.pattern().as_usize()];
                let (mut start, mut end) = (found.start(), found.end());
                if start < done
                    || token.single_word && (word_before(&text[..start]) || word_at(&text[end..]))
                {
                    continue;
                }
                if token.lstrip {
                    start = text[..start].trim_unicode_end().max(done);
                }
                if token.rstrip {
                    end = text.len() - text[end..].trim_unicode_start();
                }
                if done < start {
                    take(Part::Text(&text[done..start]))?;
                }
                take(Part::Token(token.id))?;
                done = end;
            }
        }
        if done < text.len() { take(Part::Text(&text[done..])) } else { Ok(()) }
    }
}

/// `\w` of a regular expression (annex C of UTS #18), by which the `tokenizers` package tells words.
fn is_word(c: char) -> bool {
    use GeneralCategory as G;
    const JOINERS: [char; 2] = ['\u{200C}', '\u{200D}'];
    c.is_alphabetic()
        || JOINERS.contains(&c)
        || matches!(
            get_general_category(c),
            G::NonspacingMark
                | G::SpacingMark
                | G::EnclosingMark
                | G::DecimalNumber
                | G::ConnectorPunctuation
        )
}

fn last_char(text: &[u8]) -> Option<char> {
    let start = text.len() - text.len().min(4);
    (start..text.len()).find_map(|at| {
        let mut chars = std::str::from_utf8(&text[at..]).ok()?.chars();
        chars.next_back()
    })
}

fn first_char(text: &[u8]) -> Option<char> {
    (1..=text.len().min(4)).find_map(|len| std::str::from_utf8(&text[..len]).ok()?.chars().next())
}

fn word_before(text: &[u8]) -> bool {
    last_char(text).is_some_and(is_word)
}

fn word_at(text: &[u8]) -> bool {
    first_char(text).is_some_and(is_word)
}

trait Trim {
    /// The length without the white space at the end.
    fn trim_unicode_end(&self) -> usize;
    /// The length without the white space at the start.
    fn trim_unicode_start(&self) -> usize;
}

impl Trim for [u8] {
    fn trim_unicode_end(&self) -> usize {
        let mut len = self.len();
        while let Some(c) = last_char(&self[..len]).filter(|c| c.is_whitespace()) {
            len -= c.len_utf8();
        }
        len
    }

    fn trim_unicode_start(&self) -> usize {
        let mut at = 0;
        while let Some(c) = first_char(&self[at..]).filter(|c| c.is_whitespace()) {
            at += c.len_utf8();
        }
        self.len() - at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `tokenizers` 0.23.3 finds of "<x>" in such texts.
    #[test]
    fn words_are_told_by_letters_marks_digits_and_joiners() {
        let token = Added { single_word: true, ..Added::special(7, "<x>".to_owned()) };
        let matcher = Matcher::new(&[token], false).unwrap();
        for (text, found) in [
            ("<x>", true),
            ("- <x>\n", true),
            ("\u{BD}<x>\u{B2}", true),
            ("\u{200B}<x>", true),
            ("a<x>", false),
            ("<x>_", false),
            ("\u{663}<x>", false),
            ("\u{2167}<x>", false),
            ("e\u{301}<x>", false),
            ("<x>\u{20DD}", false),
            ("\u{200D}<x>", false),
            ("<x>\u{203F}", false),
        ] {
            let mut tokens = 0;
            let count = |part: Part| {
                tokens += usize::from(matches!(part, Part::Token(7)));
                Ok(())
            };
            matcher.split(text.as_bytes(), true, false, count).unwrap();
            assert_eq!(tokens, usize::from(found), "{text:?}");
        }
    }
}
