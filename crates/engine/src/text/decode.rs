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
                return Err(no_text(nuls as u64, bytes.len() as u64));
            }
            Ok(bytes)
        }
        Encoding::Utf8Mark => {
            bytes.drain(..UTF8_MARK.len());
            Ok(bytes)
        }
        encoding => {
            let mut text = Vec::new();
            Decoder::new(encoding).push(&bytes, true, &mut text)?;
            Ok(text)
        }
    }
}

/// [`decode`] for a file that is read in pieces, whose [`encoding`] is known.
pub struct Decoder {
    encoding: Encoding,
    /// Bytes of the file that have become text, or are no part of it.
    done: u64,
    /// What came after them: the beginning of a character.
    begun: Vec<u8>,
    nuls: u64,
}

impl Decoder {
    /// At the beginning of a file.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, done: 0, begun: Vec::new(), nuls: 0 }
    }

    /// Appends the text of the next bytes of the file to `text`; `last`: the file ends with them. The
    /// error is that of [`decode`].
    pub fn push(&mut self, bytes: &[u8], last: bool, text: &mut Vec<u8>) -> Result<(), String> {
        let no_memory = |bytes| Error::memory("a text", bytes).to_string();
        text.try_reserve(bytes.len()).map_err(|_| no_memory(bytes.len()))?;
        let unit = match self.encoding {
            Encoding::Bytes => {
                self.nuls += bytes.iter().filter(|&&byte| byte == 0).count() as u64;
                self.done += bytes.len() as u64;
                text.extend_from_slice(bytes);
                return self.check_nuls(last);
            }
            Encoding::Utf8Mark => {
                // The mark may come in pieces too.
                let mark = (UTF8_MARK.len() as u64).saturating_sub(self.done);
                text.extend_from_slice(&bytes[bytes.len().min(mark as usize)..]);
                self.done += bytes.len() as u64;
                return Ok(());
            }
            Encoding::Utf16(_) => 2,
            Encoding::Utf32(_) => 4,
        };
        let mut all = std::mem::take(&mut self.begun);
        all.try_reserve(bytes.len()).map_err(|_| no_memory(bytes.len()))?;
        all.extend_from_slice(bytes);
        let mut at = 0;
        let marked = matches!(self.encoding, Encoding::Utf16(o) | Encoding::Utf32(o) if o.marked);
        if marked && self.done == 0 && all.len() >= unit {
            at = unit;
        }
        let mut buffer = [0; 4];
        while all.len() - at >= unit {
            let Some(found) = self.character(&all[at..], last) else { break };
            let c = found.ok_or_else(|| self.damage(at))?;
            let utf8 = c.encode_utf8(&mut buffer).as_bytes();
            text.try_reserve(utf8.len()).map_err(|_| no_memory(text.len()))?;
            text.extend_from_slice(utf8);
            at += if unit == 4 { 4 } else { 2 * c.len_utf16() };
        }
        if last && at < all.len() {
            return Err(self.damage(at));
        }
        self.done += at as u64;
        all.drain(..at);
        self.begun = all;
        Ok(())
    }

    /// The character that `bytes`, a unit or more, begin with; `Some(None)` where it is damaged, `None`
    /// where its second half is still to come.
    fn character(&self, bytes: &[u8], last: bool) -> Option<Option<char>> {
        match self.encoding {
            Encoding::Utf16(order) => {
                let unit = |at: usize| Some(order.u16([*bytes.get(at)?, *bytes.get(at + 1)?]));
                let first = unit(0)?;
                if !(0xD800..0xDC00).contains(&first) {
                    return Some(char::from_u32(u32::from(first)));
                }
                match unit(2) {
                    None if !last => None,
                    None => Some(None),
                    Some(second) => {
                        Some(char::decode_utf16([first, second]).next().and_then(Result::ok))
                    }
                }
            }
            Encoding::Utf32(order) => {
                Some(bytes.first_chunk().and_then(|&quad| char::from_u32(order.u32(quad))))
            }
            Encoding::Bytes | Encoding::Utf8Mark => None,
        }
    }

    fn check_nuls(&self, last: bool) -> Result<(), String> {
        if last && self.done >= LEAST_REFUSED as u64 && self.nuls >= self.done / 4 {
            return Err(no_text(self.nuls, self.done));
        }
        Ok(())
    }

    /// What is wrong with the character at byte `at` of what is still to be decoded.
    fn damage(&self, at: usize) -> String {
        let encoding =
            if matches!(self.encoding, Encoding::Utf32(_)) { "UTF-32" } else { "UTF-16" };
        let at = self.done + at as u64;
        format!("is {encoding} with a damaged character at byte {at}: convert it to UTF-8")
    }
}

fn no_text(nuls: u64, bytes: u64) -> String {
    format!(
        "is no text: {nuls} of {bytes} bytes are NUL; if it is UTF-16 or UTF-32, convert it to UTF-8"
    )
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
    fn pieces_of_any_length_are_the_whole() {
        let marked = format!("\u{FEFF}{}", TEXT.repeat(3));
        let mut files = vec![marked.clone().into_bytes(), b"plain \0 \xFF bytes".to_vec()];
        for big in [false, true] {
            files.extend([utf16(&marked, big), utf32(&marked, big), utf16(TEXT, big)]);
        }
        files.extend([
            utf16(TEXT, false)[1..].to_vec(),
            vec![0; 40],
            b"\xFF\xFEa\0\x3D\xD8".to_vec(),
        ]);
        for file in files {
            let whole = decode(file.clone());
            for length in [1, 2, 3, 5, 7, 64] {
                let mut decoder = Decoder::new(encoding(&file));
                let (mut text, mut pieces) = (Vec::new(), file.chunks(length).peekable());
                let mut pushed = Ok(());
                while let (Some(piece), Ok(())) = (pieces.next(), &pushed) {
                    pushed = decoder.push(piece, pieces.peek().is_none(), &mut text);
                }
                assert_eq!(pushed.map(|()| text), whole, "{file:02x?} by {length}");
            }
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
