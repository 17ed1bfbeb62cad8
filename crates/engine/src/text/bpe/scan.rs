//! Text is cut into pieces before merging; no merge crosses a cut. One scanner does it for all
//! rules. It walks over bytes: a byte that begins no whole UTF-8 character is a character of its
//! own, of no class (like a punctuation mark).

use cllm_kernels::ascii::letters_of;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use unicode_general_category::{GeneralCategory, get_general_category};

/// What stands before merging: where a text is cut. Each rule is a regular expression, run by a
/// scanner written by hand; [`Rule::pattern`] is its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No cut: the whole text is one piece.
    Whole,
    /// The rule of vocabularies that this library trains: words with the space before them,
    /// combining marks being part of words; digits in groups of up to three; English contractions;
    /// runs of punctuation with the space before them; line breaks apart from all else.
    Words,
    /// That of GPT-2.
    Gpt2,
    /// That of Llama 3 (and of OpenAI's cl100k).
    Llama3,
    /// That of Qwen 2: as Llama 3, each digit alone.
    Qwen,
}

/// Regular expressions with one meaning, the first of a rule being the one that is written.
const PATTERNS: [(Rule, &str); 6] = [
    (
        Rule::Words,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)| ?[\p{L}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|[\r\n]+|[^\S\r\n]+(?!\S)|[^\S\r\n]+",
    ),
    (Rule::Gpt2, r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    (
        Rule::Llama3,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        Rule::Llama3,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    (
        Rule::Llama3,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    (
        Rule::Qwen,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
];

impl Rule {
    /// The regular expression (in the syntax of Oniguruma) that cuts in the same places; none for
    /// [`Rule::Whole`].
    pub fn pattern(self) -> Option<&'static str> {
        PATTERNS.iter().find(|(rule, _)| *rule == self).map(|(_, pattern)| *pattern)
    }

    /// The rule of a regular expression, if its text is one of those that are known.
    pub fn of_pattern(pattern: &str) -> Option<Self> {
        PATTERNS.iter().find(|(_, known)| *known == pattern).map(|(rule, _)| *rule)
    }
}

/// Classes of characters, as bits.
pub(super) const LETTER: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const SPACE: u8 = 4;
const BREAK: u8 = 8 | SPACE;
pub(super) const MARK: u8 = 16;
const OTHER: u8 = 32;

const fn ascii_classes() -> [u8; 128] {
    let mut classes = [OTHER; 128];
    let mut i = 0;
    while i < 128 {
        let byte = i as u8;
        if byte.is_ascii_alphabetic() {
            classes[i] = LETTER;
        } else if byte.is_ascii_digit() {
            classes[i] = DIGIT;
        } else if byte == b'\n' || byte == b'\r' {
            classes[i] = BREAK;
        } else if byte == b' ' || (byte >= 9 && byte <= 12) {
            classes[i] = SPACE;
        }
        i += 1;
    }
    classes
}

static ASCII: [u8; 128] = ascii_classes();

/// The character that `text` starts with, and its length; `text` does not start with ASCII.
#[inline]
pub(super) fn char_at(text: &[u8]) -> Option<(char, usize)> {
    let next = |at: usize| text.get(at).filter(|&&byte| byte & 0xC0 == 0x80).copied();
    let bits = |byte: u8| u32::from(byte & 0x3F);
    let (code, len) = match *text.first()? {
        first @ 0xC2..=0xDF => (u32::from(first & 0x1F) << 6 | bits(next(1)?), 2),
        first @ 0xE0..=0xEF => {
            let code = u32::from(first & 0x0F) << 12 | bits(next(1)?) << 6 | bits(next(2)?);
            (Some(code).filter(|&code| code >= 0x800)?, 3)
        }
        first @ 0xF0..=0xF4 => {
            let high = u32::from(first & 0x07) << 18 | bits(next(1)?) << 12;
            let code = high | bits(next(2)?) << 6 | bits(next(3)?);
            (Some(code).filter(|&code| code >= 0x1_0000)?, 4)
        }
        _ => return None,
    };
    // No surrogate, nothing beyond the last character.
    Some((char::from_u32(code)?, len))
}

/// Classes of the first two planes as far as they were asked for; 0 is none yet.
static KNOWN: [AtomicU8; 0x2_0000] = [const { AtomicU8::new(0) }; 0x2_0000];

#[inline]
pub(super) fn other_class(text: &[u8]) -> (u8, usize) {
    let Some((c, len)) = char_at(text) else {
        return (OTHER, 1);
    };
    let Some(known) = KNOWN.get(c as usize) else {
        return (class_of(c), len);
    };
    let mut class = known.load(Relaxed);
    if class == 0 {
        class = class_of(c);
        known.store(class, Relaxed);
    }
    (class, len)
}

#[cold]
fn class_of(c: char) -> u8 {
    use GeneralCategory as G;
    match get_general_category(c) {
        G::UppercaseLetter
        | G::LowercaseLetter
        | G::TitlecaseLetter
        | G::ModifierLetter
        | G::OtherLetter => LETTER,
        G::DecimalNumber | G::LetterNumber | G::OtherNumber => DIGIT,
        G::NonspacingMark | G::SpacingMark | G::EnclosingMark => MARK,
        _ if c.is_whitespace() => SPACE,
        _ => OTHER,
    }
}

/// Class and length of the character at `at`; no class at the end.
#[inline]
fn class(text: &[u8], at: usize) -> (u8, usize) {
    match text.get(at) {
        None => (0, 0),
        Some(&byte) if byte < 128 => (ASCII[usize::from(byte)], 1),
        Some(_) => other_class(&text[at..]),
    }
}

/// The end of the run of characters of three bytes, as most of those of Asia have, that starts at `at`, as far as
/// their classes are known to be of `classes`.
#[inline(always)]
fn run_of_three(text: &[u8], mut at: usize, classes: u8) -> usize {
    while let Some(&[first, second, third]) = text.get(at..).and_then(|tail| tail.first_chunk()) {
        let bits = |byte: u8| usize::from(byte & 0x3F);
        let code = usize::from(first & 0x0F) << 12 | bits(second) << 6 | bits(third);
        let whole = first & 0xF0 == 0xE0 && second & 0xC0 == 0x80 && third & 0xC0 == 0x80;
        // Nothing is known of a surrogate.
        let known = whole && code >= 0x800 && KNOWN[code].load(Relaxed) & classes != 0;
        if !known {
            break;
        }
        at += 3;
    }
    at
}

/// The end of the run of characters of `classes` that starts at `at`.
#[inline]
fn run(text: &[u8], mut at: usize, classes: u8) -> usize {
    loop {
        if classes & LETTER != 0 {
            while let Some(chunk) = text.get(at..).and_then(|tail| tail.first_chunk()) {
                let letters = letters_of(*chunk);
                at += letters;
                if letters < 8 {
                    break;
                }
            }
        }
        at = run_of_three(text, at, classes);
        let (class, len) = class(text, at);
        if class & classes == 0 {
            return at;
        }
        at += len;
    }
}

/// The length of the contraction at the start of `text`, which begins with an apostrophe.
pub(super) fn contraction(text: &[u8], any_case: bool) -> Option<usize> {
    let letter = |at: usize| {
        let byte = *text.get(at)?;
        // U+017F is an s to those that compare without case.
        if any_case && byte == 0xC5 && text.get(at + 1) == Some(&0xBF) {
            return Some((b's', 2));
        }
        Some((if any_case { byte.to_ascii_lowercase() } else { byte }, 1))
    };
    let (first, len) = letter(1)?;
    match first {
        b's' | b't' | b'm' | b'd' => Some(1 + len),
        b'r' | b'v' if letter(2)?.0 == b'e' => Some(3),
        b'l' if letter(2)?.0 == b'l' => Some(3),
        _ => None,
    }
}

/// The end of the white space at `at`, the last character of it left to what follows where it has
/// company: `\s+(?!\S)|\s+`, where `classes` says what `\s` is.
fn blanks(text: &[u8], at: usize, classes: impl Fn(u8) -> bool) -> usize {
    let (mut end, mut last) = (at, at);
    loop {
        let (class, len) = class(text, end);
        if class == 0 || (class & SPACE != 0 && !classes(class)) {
            return end;
        }
        if !classes(class) {
            return if last > at { last } else { end };
        }
        last = end;
        end += len;
    }
}

/// The end of the piece that starts at `at`, which is inside the text. Always beyond `at`.
#[inline]
pub(super) fn piece_end(rule: Rule, text: &[u8], at: usize) -> usize {
    match rule {
        Rule::Whole => text.len(),
        Rule::Words => words(text, at),
        Rule::Gpt2 => gpt2(text, at),
        Rule::Llama3 => llama(text, at, 3),
        Rule::Qwen => llama(text, at, 1),
    }
}

/// The first class after the space at `at`, if there is one, and where.
#[inline]
fn after_space(text: &[u8], at: usize) -> (u8, usize, usize) {
    let start = at + usize::from(text[at] == b' ');
    let (class, len) = class(text, start);
    (class, start, len)
}

#[inline]
fn words(text: &[u8], at: usize) -> usize {
    if text[at] == b'\''
        && let Some(len) = contraction(&text[at..], true)
    {
        return at + len;
    }
    let (next, start, len) = after_space(text, at);
    if next & (LETTER | MARK) != 0 {
        return run(text, start + len, LETTER | MARK);
    }
    if next & OTHER != 0 {
        return run(text, start + len, OTHER);
    }
    match class(text, at).0 {
        DIGIT => digits(text, at, 3),
        BREAK => run(text, at, BREAK & !SPACE),
        _ => blanks(text, at, |class| class == SPACE),
    }
}

#[inline]
fn gpt2(text: &[u8], at: usize) -> usize {
    if text[at] == b'\''
        && let Some(len) = contraction(&text[at..], false)
    {
        return at + len;
    }
    let (next, start, len) = after_space(text, at);
    match next {
        LETTER => run(text, start + len, LETTER),
        DIGIT => run(text, start + len, DIGIT),
        OTHER | MARK => run(text, start + len, OTHER | MARK),
        _ => blanks(text, at, |class| class & SPACE != 0),
    }
}

#[inline]
fn llama(text: &[u8], at: usize, most: usize) -> usize {
    if text[at] == b'\''
        && let Some(len) = contraction(&text[at..], true)
    {
        return at + len;
    }
    let (first, len) = class(text, at);
    match first {
        LETTER => return run(text, at + len, LETTER),
        DIGIT => return digits(text, at, most),
        BREAK => {}
        _ => {
            let (second, more) = class(text, at + len);
            if second == LETTER {
                return run(text, at + len + more, LETTER);
            }
        }
    }
    let (next, start, len) = after_space(text, at);
    if next & (OTHER | MARK) != 0 {
        let end = run(text, start + len, OTHER | MARK);
        return run(text, end, BREAK & !SPACE);
    }
    // White space up to its last line break.
    let (mut end, mut line) = (at, None);
    loop {
        let (class, len) = class(text, end);
        if class & SPACE == 0 {
            break;
        }
        end += len;
        if class == BREAK {
            line = Some(end);
        }
    }
    line.unwrap_or_else(|| blanks(text, at, |class| class & SPACE != 0))
}

#[inline]
fn digits(text: &[u8], at: usize, most: usize) -> usize {
    let mut end = at;
    for _ in 0..most {
        let (class, len) = class(text, end);
        if class != DIGIT {
            break;
        }
        end += len;
    }
    end
}

/// Where a long text may be cut for several threads: a place not before `at` that every rule but
/// [`Rule::Whole`] cuts at, whatever stands around it. No piece goes from a letter or digit on to
/// white space.
pub(super) fn safe_cut(text: &[u8], at: usize) -> usize {
    let tail = text.get(at..).unwrap_or_default();
    let pairs = tail.windows(2);
    let found = pairs.into_iter().position(|pair| {
        pair[0].is_ascii_alphanumeric() && matches!(pair[1], b' ' | b'\n' | b'\r' | b'\t')
    });
    found.map_or(text.len(), |found| at + found + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(rule: Rule, text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let end = piece_end(rule, text.as_bytes(), at);
            all.push(&text[at..end]);
            at = end;
        }
        all
    }

    #[test]
    fn characters_are_those_of_the_standard_library() {
        let ends = [0x7F, 0x80, 0xBF, 0xC0, 0xFF];
        let mut seen = 0;
        for first in 0x80..=0xFF {
            for second in 0x70..=0xD0 {
                for (third, fourth) in ends.into_iter().flat_map(|a| ends.map(|b| (a, b))) {
                    let text = [first, second, third, fourth];
                    let chunk = text.utf8_chunks().next().unwrap();
                    let whole = chunk.valid().chars().next().map(|c| (c, c.len_utf8()));
                    assert_eq!(char_at(&text), whole, "{text:X?}");
                    seen += usize::from(whole.is_some());
                }
            }
        }
        assert!(seen > 10_000, "{seen}");
        for len in 1..4 {
            assert_eq!(char_at(&"\u{1F600}".as_bytes()[..len]), None);
        }
        for _ in 0..2 {
            let classes = ["\u{4f60}", "\u{663}", "\u{301}", "\u{3000}", "\u{1F600}", "\u{20000}"];
            assert_eq!(
                classes.map(|c| other_class(c.as_bytes()).0),
                [LETTER, DIGIT, MARK, SPACE, OTHER, LETTER]
            );
        }
    }

    #[test]
    fn pieces_of_each_rule() {
        let text = "He'LL say:  12345 \n\n  x\u{301}y";
        assert_eq!(
            pieces(Rule::Words, text),
            ["He", "'LL", " say", ":", " ", " ", "123", "45", " ", "\n\n", " ", " x\u{301}y"]
        );
        assert_eq!(
            pieces(Rule::Gpt2, text),
            ["He", "'", "LL", " say", ":", " ", " 12345", " \n\n ", " x", "\u{301}", "y"]
        );
        assert_eq!(
            pieces(Rule::Llama3, text),
            ["He", "'LL", " say", ":", " ", " ", "123", "45", " \n\n", " ", " x", "\u{301}y"]
        );
        assert_eq!(pieces(Rule::Qwen, "a 12!\r\n"), ["a", " ", "1", "2", "!\r\n"]);
        assert_eq!(pieces(Rule::Whole, text), [text]);
    }

    /// Characters that are gone over in the quick way, their classes being known, and what breaks them.
    #[test]
    fn a_run_is_its_characters_one_by_one() {
        let mut state = 3u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % end
        };
        let chars =
            ["日", "本", "한", "あ", "\u{fffd}", "\u{3000}", "\u{6857}", "é", "a", "7", "😀"];
        // An overlong é, a surrogate, half a character, an "a" where 桗 has its second byte.
        let broken: [&[u8]; 4] = [b"\xE0\x83\xA9", b"\xED\xA0\x80", b"\xE6\x97", b"\xE6a\x97"];
        let mut long = 0;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..below(8) {
                match below(12) {
                    0 => text.extend_from_slice(broken[below(broken.len())]),
                    1..4 => text.extend_from_slice(chars[below(chars.len())].as_bytes()),
                    _ => text.extend_from_slice(chars[below(4)].as_bytes()),
                }
            }
            for classes in [LETTER, LETTER | MARK, SPACE, OTHER] {
                let mut end = 0;
                while end < text.len() && class(&text, end).0 & classes != 0 {
                    end += class(&text, end).1;
                }
                assert_eq!(run(&text, 0, classes), end, "{text:X?} {classes}");
                long += usize::from(end > 6);
            }
        }
        assert!(long > 10_000, "{long}");
    }

    #[test]
    fn a_pattern_of_each_rule() {
        for (rule, pattern) in PATTERNS {
            assert_eq!(Rule::of_pattern(pattern), Some(rule));
            assert_eq!(Rule::of_pattern(rule.pattern().unwrap()), Some(rule));
        }
        assert_eq!(Rule::Whole.pattern(), None);
        assert_eq!(Rule::of_pattern(r"\s+"), None);
    }
}
