//! Where pieces end, for 64 bytes at a time. A byte is a bit in masks of classes, and the ends of pieces are
//! a few operations on the masks: nothing is decided byte by byte, so no branch has to be guessed. What
//! is said of a block holds whatever follows it; the rest of a text, and pieces longer than a block, are left to
//! [`piece_end`](super::scan::piece_end).

use super::Rule;
use super::scan::{DIGIT, LETTER, MARK, SPACE, contraction, other_class};
use cllm_kernels::ascii::Classes;

pub(super) use cllm_kernels::ascii::BLOCK;

/// Bytes behind the beginning of a piece that decide whether it is one, at most: a character of white space
/// and the first byte of the next.
const AHEAD: u32 = 5;
/// Characters outside ASCII that are looked up for a block. Texts that have more of them have long pieces,
/// of which a block is a part.
const OTHERS: u32 = 8;

/// The classes of 64 bytes: those of a character have its class.
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

impl Masks {
    #[inline(always)]
    fn new(text: &[u8], block: &[u8; BLOCK], at: usize) -> Self {
        let ascii = Classes::of(block);
        let mut masks = Self {
            letter: ascii.letter,
            digit: ascii.digit,
            mark: 0,
            blank: ascii.space | ascii.control,
            line: ascii.line,
            space: ascii.space,
            apostrophe: ascii.apostrophe,
            inside: 0,
            len: BLOCK as u32,
        };
        if ascii.beyond != 0 {
            masks.others(text, at, ascii.beyond);
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
