//! Where pieces end, for 64 bytes at a time. A byte is a bit in masks of classes, and the ends of pieces are
//! a few operations on the masks: nothing is decided byte by byte, so no branch has to be guessed. What
//! is said of a block holds whatever follows it; the rest of a text, and pieces longer than a block, are left to
//! [`piece_end`](super::scan::piece_end).

use super::Rule;
use super::scan::{DIGIT, LETTER, MARK, SPACE, contraction, other_class};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// Bytes behind the beginning of a piece that decide whether it is one, at most: a character of white space
/// and the first byte of the next.
const AHEAD: u32 = 5;
/// Characters outside ASCII that are looked up for a block. Texts that have more of them have long pieces,
/// of which a block is a part.
const OTHERS: u32 = 8;

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = EACH << 7;

/// The classes of 64 bytes: those of a character have its class.
#[derive(Default)]
struct Masks {
    letter: u64,
    digit: u64,
    mark: u64,
    /// White space, line breaks included.
    blank: u64,
    /// Line feeds and carriage returns.
    line: u64,
    /// The byte 0x20.
    space: u64,
    apostrophe: u64,
    /// Bytes of a character but the first.
    inside: u64,
    /// Bytes of whole characters.
    len: u32,
}

/// The highest bits of eight bytes, side by side.
#[inline(always)]
fn gather(flags: u64) -> u64 {
    (flags & HIGH).wrapping_mul(0x0002_0408_1020_4081) >> 56
}

/// The highest bit of each byte below 128 that is `from` to `to`.
#[inline(always)]
fn between(low: u64, from: u8, to: u8) -> u64 {
    // No sum carries into the next byte.
    let (from, beyond) = (u64::from(0x80 - from), u64::from(0x7F - to));
    (low + EACH * from) & !(low + EACH * beyond)
}

impl Masks {
    #[inline(always)]
    fn new(text: &[u8], block: &[u8; BLOCK], at: usize) -> Self {
        let mut masks = Self { len: BLOCK as u32, ..Self::default() };
        let (mut high, mut breaks) = (0, 0);
        for (part, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*bytes);
            let (low, ascii) = (bytes & !HIGH, !bytes);
            let put = |mask: &mut u64, flags: u64| *mask |= gather(flags & ascii) << (part * 8);
            put(&mut masks.letter, between(low | EACH << 5, b'a', b'z'));
            put(&mut masks.digit, between(low, b'0', b'9'));
            put(&mut masks.space, between(low, b' ', b' '));
            put(&mut breaks, between(low, b'\t', b'\r'));
            put(&mut masks.apostrophe, between(low, b'\'', b'\''));
            put(&mut masks.line, between(low, b'\n', b'\n') | between(low, b'\r', b'\r'));
            high |= gather(bytes) << (part * 8);
        }
        masks.blank = masks.space | breaks;
        if high != 0 {
            masks.others(text, at, high);
        }
        masks
    }

    /// The characters outside ASCII, whose bytes are `high`.
    #[inline(always)]
    fn others(&mut self, text: &[u8], at: usize, mut high: u64) {
        // By the place of the class' lowest bit.
        let mut of_class = [0; 8];
        let mut left = OTHERS;
        while high != 0 {
            let place = high.trailing_zeros();
            let (class, len) = other_class(&text[at + place as usize..]);
            if place as usize + len > BLOCK || left == 0 {
                self.len = place;
                break;
            }
            let bytes = ((1u64 << len) - 1) << place;
            of_class[class.trailing_zeros() as usize % 8] |= bytes;
            self.inside |= bytes & bytes << 1 & !(1 << place);
            high &= !bytes;
            left -= 1;
        }
        self.letter |= of_class[LETTER.trailing_zeros() as usize];
        self.digit |= of_class[DIGIT.trailing_zeros() as usize];
        self.blank |= of_class[SPACE.trailing_zeros() as usize];
        self.mark |= of_class[MARK.trailing_zeros() as usize];
    }

    /// The first bytes of characters whose last ones, of three bytes at most, are `last`.
    #[inline(always)]
    fn first(&self, last: u64) -> u64 {
        let back = |bytes: u64| (bytes & !self.inside) | (bytes & self.inside) >> 1;
        back(back(last))
    }
}

/// Bytes of the class of the byte before them.
#[inline(always)]
fn goes_on(class: u64) -> u64 {
    class & class << 1
}

/// The ends of the pieces that `at` begins, as bits: bit i is an end at `at + i`. None are known where
/// the rule is cut by [`piece_end`](super::scan::piece_end) alone, less than a block is left of the text, the
/// piece begins outside ASCII, or it is as long as a block.
#[inline]
pub(super) fn ends(rule: Rule, text: &[u8], at: usize) -> u64 {
    let Some(block) = text.get(at..).and_then(|tail| tail.first_chunk()) else { return 0 };
    match rule {
        _ if !block[0].is_ascii() => 0,
        Rule::Words => words(&Masks::new(text, block, at), text, at),
        Rule::Gpt2 => gpt2(&Masks::new(text, block, at), text, at),
        Rule::Whole | Rule::Llama3 | Rule::Qwen => 0,
    }
}

/// ` ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: a piece begins where the class changes; the last
/// white space before something else begins one too, which a space shares with what follows.
#[inline(always)]
fn gpt2(masks: &Masks, text: &[u8], at: usize) -> u64 {
    let &Masks { letter, digit, blank, space, .. } = masks;
    let other = !(letter | digit | blank);
    let same = goes_on(letter) | goes_on(digit) | goes_on(other) | goes_on(blank);
    let joined = !blank & space << 1;
    let last = blank & !blank >> 1;
    let starts = !same & !joined | masks.first(last);
    contractions(masks, starts, masks.len, text, at, false)
}

/// ` ?[\p{L}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|[\r\n]+|[^\S\r\n]+(?!\S)|[^\S\r\n]+`
#[inline(always)]
fn words(masks: &Masks, text: &[u8], at: usize) -> u64 {
    let &Masks { letter, digit, mark, blank, line, space, inside, .. } = masks;
    let (letter, white) = (letter | mark, blank & !line);
    let other = !(letter | digit | blank);
    let same = goes_on(letter) | goes_on(digit) | goes_on(other) | goes_on(white) | goes_on(line);
    let joined = (letter | other) & space << 1;
    let last = white & !blank >> 1;
    let mut starts = !same & !joined | masks.first(last);
    // Every fourth digit of a run begins another piece. Digits of several bytes are not counted here.
    let mut group = starts & digit;
    while group != 0 {
        let second = group << 1 & digit;
        group = (second << 1 & digit) << 1 & digit;
        starts |= group;
    }
    let known = masks.len.min((digit & inside).trailing_zeros() + AHEAD);
    contractions(masks, starts, known, text, at, true)
}

/// The ends that are sure where the first `known` bytes are classed, with contractions as pieces of their own.
#[inline(always)]
fn contractions(
    masks: &Masks,
    mut starts: u64,
    known: u32,
    text: &[u8],
    at: usize,
    any_case: bool,
) -> u64 {
    // Neither is all of the block, so the shift is one.
    let sure = (1u64 << known.saturating_sub(AHEAD)) - 1;
    starts |= 1;
    let mut marks = masks.apostrophe & starts & sure;
    while marks != 0 {
        let place = marks.trailing_zeros();
        marks &= marks - 1;
        if let Some(len) = contraction(&text[at + place as usize..], any_case) {
            // Three bytes at most; the place is no later than AHEAD before the end.
            starts = starts & !(((1 << len) - 2) << place) | 1 << (place as usize + len);
        }
    }
    starts & sure & !1
}

#[cfg(test)]
mod tests {
    use super::super::scan::piece_end;
    use super::*;
    use proptest::prelude::*;

    const RULES: [Rule; 2] = [Rule::Words, Rule::Gpt2];

    /// The ends that blocks say are those of the pieces one by one; how many blocks there were.
    fn check(text: &[u8]) -> usize {
        let mut blocks = 0;
        for rule in RULES {
            let mut at = 0;
            while at < text.len() {
                let mut found = ends(rule, text, at);
                blocks += usize::from(found != 0);
                let start = at;
                while found != 0 {
                    let end = start + found.trailing_zeros() as usize;
                    assert_eq!(
                        end,
                        piece_end(rule, text, at),
                        "{rule:?} {at} {:?}",
                        text.escape_ascii().to_string()
                    );
                    found &= found - 1;
                    at = end;
                }
                if at == start {
                    at = piece_end(rule, text, at);
                }
            }
        }
        blocks
    }

    #[test]
    fn classes_of_all_bytes() {
        for byte in 0..128u8 {
            let block = [byte; BLOCK];
            let masks = Masks::new(&block, &block, 0);
            let all = |is: bool| if is { u64::MAX } else { 0 };
            assert_eq!(masks.letter, all(byte.is_ascii_alphabetic()), "{byte}");
            assert_eq!(masks.digit, all(byte.is_ascii_digit()), "{byte}");
            assert_eq!(masks.blank, all(matches!(byte, b'\t'..=b'\r' | b' ')), "{byte}");
            assert_eq!(masks.line, all(matches!(byte, b'\n' | b'\r')), "{byte}");
            assert_eq!(masks.space, all(byte == b' '), "{byte}");
            assert_eq!(masks.apostrophe, all(byte == b'\''), "{byte}");
            assert_eq!((masks.mark, masks.inside, masks.len), (0, 0, 64));
        }
        // A byte and its neighbours do not disturb each other.
        for (at, byte) in (0..BLOCK).flat_map(|at| (0..=255u8).map(move |byte| (at, byte))) {
            let mut block = [b'z'; BLOCK];
            block[at] = byte;
            assert_eq!(
                Masks::new(&block, &block, 0).letter,
                u64::MAX ^ u64::from(!byte.is_ascii_alphabetic()) << at
            );
        }
    }

    #[test]
    fn lines_of_all_kinds() {
        let text = "fn main() {\n    let x = \"it's 12345 o'clock\";\r\n\r\n\t\tnaïve café\u{301} \u{a0}\u{3000}x 7٣٤٥٦٧ 日本語 \n  \n}\n";
        let text = text.repeat(40);
        for skip in (0..200).filter(|&skip| text.is_char_boundary(skip)) {
            assert!(check(&text.as_bytes()[skip..]) > 50);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn ends_are_those_of_pieces_one_by_one(
            parts in proptest::collection::vec(prop_oneof![
                8 => "[ab 1\n\r\t'.!sSlLdrevm]{1,12}",
                4 => "[ a1]{1,8}",
                2 => "'(s|ll|LL|ve|Re|\u{17f}|x)",
                1 => "[é日\u{301}\u{663}\u{a0}\u{2028}\u{3000}\u{17f}😀]{1,3}",
                1 => " {1,9}|[0-9]{1,14}|[\r\n]{1,5}",
            ], 0..50),
            broken in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut text = parts.concat().into_bytes();
            if !text.is_empty() {
                broken.iter().for_each(|(at, byte)| *at.get_mut(&mut text[..]) = *byte);
            }
            check(&text);
        }
    }
}
