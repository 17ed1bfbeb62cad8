//! Bytes of a file to text: byte order marks, UTF-16 and UTF-32. Everything else stays as it is.

use crate::error::{Error, Result};

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How much of a file without a mark is looked at to tell its encoding: a multiple of 4.
const PROBE: usize = 8192;
/// Below this length nothing is refused: NUL bytes of a short text are blanks.
const LEAST_REFUSED: usize = 32;

/// How the characters of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes that are text already: UTF-8, or any other in which ASCII is ASCII.
    Bytes,
    /// The same after a mark.
    Utf8Mark,
    /// UTF-16.
    Utf16(Order),
    /// UTF-32.
    Utf32(Order),
}

/// Which byte of a unit comes first, and whether a mark says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    big: bool,
    marked: bool,
}

impl Order {
    fn u16(self, unit: [u8; 2]) -> u16 {
        if self.big { u16::from_be_bytes(unit) } else { u16::from_le_bytes(unit) }
    }

    fn u32(self, unit: [u8; 4]) -> u32 {
        if self.big { u32::from_be_bytes(unit) } else { u32::from_le_bytes(unit) }
    }
}

/// `text` without a UTF-8 byte order mark at its beginning, which is no part of its first word.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(UTF8_MARK).unwrap_or(text)
}

/// The encoding of a file by its beginning: by its mark or, where there is none, by the characters
/// that each encoding would make of it. UTF-16 and UTF-32 without a mark are recognised only where
/// their characters are those of a text.
pub fn encoding(head: &[u8]) -> Encoding {
    let order = |big| Order { big, marked: true };
    // The mark of UTF-32, little-endian, begins with that of UTF-16.
    if head.starts_with(b"\xFF\xFE\0\0") {
        return Encoding::Utf32(order(false));
    }
    if head.starts_with(b"\0\0\xFE\xFF") {
        return Encoding::Utf32(order(true));
    }
    if head.starts_with(b"\xFF\xFE") {
        return Encoding::Utf16(order(false));
    }
    if head.starts_with(b"\xFE\xFF") {
        return Encoding::Utf16(order(true));
    }
    if head.starts_with(UTF8_MARK) {
        return Encoding::Utf8Mark;
    }
    let head = &head[..head.len().min(PROBE)];
    if !head.contains(&0) {
        return Encoding::Bytes;
    }
    unmarked(head)
}

fn unmarked(head: &[u8]) -> Encoding {
    let orders = [false, true].map(|big| Order { big, marked: false });
    let (quads, rest) = head.as_chunks::<4>();
    for order in orders {
        let text = |quad: &[u8; 4]| char::from_u32(order.u32(*quad)).is_some_and(of_text);
        if quads.len() > 1 && whole(rest, head) && quads.iter().all(text) {
            return Encoding::Utf32(order);
        }
    }
    // Every pair of ASCII text is a Chinese character when its bytes are swapped: what decides is
    // which order has the ASCII characters, blanks at least.
    let ascii = orders.map(|order| ascii_of_text(head, order));
    for (order, mine, other) in [(orders[0], ascii[0], ascii[1]), (orders[1], ascii[1], ascii[0])] {
        if let Some(n) = mine
            && n > 1
            && n / 8 >= other.unwrap_or(0)
        {
            return Encoding::Utf16(order);
        }
    }
    Encoding::Bytes
}

/// Whether nothing is left over, or so little of so much that a file was cut: an error of its reader.
fn whole(rest: &[u8], head: &[u8]) -> bool {
    rest.is_empty() || head.len() >= LEAST_REFUSED
}

/// The number of ASCII characters of `head` taken as UTF-16, or `None` where it is no text.
fn ascii_of_text(head: &[u8], order: Order) -> Option<usize> {
    let (pairs, rest) = head.as_chunks::<2>();
    if !whole(rest, head) {
        return None;
    }
    let mut ascii = 0;
    let units = pairs.iter().map(|&pair| order.u16(pair));
    let mut characters = char::decode_utf16(units).peekable();
    while let Some(character) = characters.next() {
        match character {
            Ok(c) if of_text(c) => ascii += usize::from(c.is_ascii()),
            // The probe may end in the middle of a character.
            Err(_) if characters.peek().is_none() && head.len() == PROBE => {}
            _ => return None,
        }
    }
    Some(ascii)
}

/// Whether a text may hold the character.
fn of_text(c: char) -> bool {
    !c.is_control() || matches!(c, '\t'..='\r' | '\u{85}')
}

/// The text of a file's bytes: UTF-8 where they were UTF-16 or UTF-32, without a byte order mark.
/// An error says what is wrong with them: a damaged character, or so many NUL bytes that they are
/// no text in any encoding that is known here.
pub fn decode(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match encoding(&bytes) {
        Encoding::Bytes => {
            let nuls = bytes.iter().filter(|&&byte| byte == 0).count();
            if bytes.len() >= LEAST_REFUSED && nuls >= bytes.len() / 4 {
                return Err(format!(
                    "is no text: {nuls} of {} bytes are NUL; if it is UTF-16 or UTF-32, convert it \
                     to UTF-8",
                    bytes.len()
                ));
            }
            Ok(bytes)
        }
        Encoding::Utf8Mark => {
            bytes.drain(..UTF8_MARK.len());
            Ok(bytes)
        }
        Encoding::Utf16(order) => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let damaged = |at| damage("UTF-16", at * 2);
            if !rest.is_empty() {
                return Err(damaged(pairs.len()));
            }
            let pairs = &pairs[usize::from(order.marked)..];
            let mut at = usize::from(order.marked);
            let characters = char::decode_utf16(pairs.iter().map(|&pair| order.u16(pair)));
            utf8(
                bytes.len(),
                characters.map(|character| {
                    let c = character.map_err(|_| damaged(at))?;
                    at += c.len_utf16();
                    Ok(c)
                }),
            )
        }
        Encoding::Utf32(order) => {
            let (quads, rest) = bytes.as_chunks::<4>();
            let damaged = |at| damage("UTF-32", at * 4);
            if !rest.is_empty() {
                return Err(damaged(quads.len()));
            }
            let first = usize::from(order.marked);
            utf8(
                bytes.len(),
                quads
                    .iter()
                    .enumerate()
                    .skip(first)
                    .map(|(at, &quad)| char::from_u32(order.u32(quad)).ok_or_else(|| damaged(at))),
            )
        }
    }
}

fn damage(encoding: &str, at: usize) -> String {
    format!("is {encoding} with a damaged character at byte {at}: convert it to UTF-8")
}

fn utf8(
    len: usize,
    characters: impl Iterator<Item = Result<char, String>>,
) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    for character in characters {
        let mut buffer = [0; 4];
        let bytes = character?.encode_utf8(&mut buffer).as_bytes();
        text.try_reserve(bytes.len())
            .map_err(|_| Error::Memory { what: "a text", bytes: len }.to_string())?;
        text.extend_from_slice(bytes);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "the cat — “Кот” 😀 日本\r\n";

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn utf32(text: &str, big: bool) -> Vec<u8> {
        let bytes = |c| if big { u32::to_be_bytes(c) } else { u32::to_le_bytes(c) };
        text.chars().map(u32::from).flat_map(bytes).collect()
    }

    #[test]
    fn every_dress_is_the_same_text() {
        for mark in ["", "\u{FEFF}"] {
            let marked = format!("{mark}{TEXT}");
            let mut dresses = vec![marked.clone().into_bytes()];
            for big in [false, true] {
                dresses.extend([utf16(&marked, big), utf32(&marked, big)]);
            }
            for dress in dresses {
                assert_eq!(decode(dress.clone()).unwrap(), TEXT.as_bytes(), "{dress:02x?}");
            }
        }
        // Little ASCII: the spaces of a Russian text decide, its letters don't.
        let russian = "кот сидел на коврике и смотрел на собаку";
        for big in [false, true] {
            assert_eq!(decode(utf16(russian, big)).unwrap(), russian.as_bytes());
        }
    }

    #[test]
    fn bytes_stay_bytes() {
        for text in [&b""[..], b"a", b"ab\0cd", b"\xFF\x00ab", b"caf\xE9", b"a\0", b"\0\0\0\0"] {
            assert_eq!(decode(text.to_vec()).unwrap(), text);
        }
        let latin: Vec<u8> = (1..=255).collect();
        assert_eq!(decode(latin.clone()).unwrap(), latin);
        // A mark counts at the beginning only, and once.
        assert_eq!(decode(b"a\xEF\xBB\xBFb".to_vec()).unwrap(), b"a\xEF\xBB\xBFb");
        assert_eq!(without_mark(b"\xEF\xBB\xBFa"), b"a");
        assert_eq!(without_mark(b"\xEF\xBBa"), b"\xEF\xBBa");
    }

    #[test]
    fn long_texts_are_told_by_their_beginning() {
        // An emoji of two units lies across the end of the probe.
        let text = format!("{}😀{}", "a".repeat(PROBE / 2 - 1), " word".repeat(9000));
        for big in [false, true] {
            assert_eq!(decode(utf16(&text, big)).unwrap(), text.as_bytes());
            assert_eq!(decode(utf32(&text, big)).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        let mut half = utf16(&format!("\u{FEFF}{TEXT}"), false);
        half.pop();
        assert!(decode(half.clone()).unwrap_err().starts_with("is UTF-16 with a damaged"));
        // Half of a surrogate pair, at byte 6.
        let alone = b"\xFF\xFEa\0b\0\x3D\xD8c\0".to_vec();
        assert!(decode(alone).unwrap_err().contains("damaged character at byte 6"));
        let mut long = utf32("\u{FEFF}ab", true);
        long[4] = 1;
        assert!(decode(long).unwrap_err().contains("UTF-32 with a damaged character at byte 4"));
        assert!(decode(vec![0; 4096]).unwrap_err().starts_with("is no text: 4096 of 4096"));
        // UTF-16 without a mark that lost a byte is not taken for letters with blanks between.
        for text in [TEXT.repeat(9), "the cat sat on the mat ".repeat(9)] {
            for lost in [0, 100, 2 * text.chars().count() - 1] {
                let mut cut = utf16(&text, false);
                cut.remove(lost);
                let problem = decode(cut).unwrap_err();
                assert!(
                    problem.contains("damaged") || problem.starts_with("is no text"),
                    "{problem}"
                );
            }
        }
    }
}
