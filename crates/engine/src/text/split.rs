//! Where words begin and end: the same in texts, vocabularies and prompts.

use super::decode::without_mark;

/// White space of C's locale "C", which separates words: space, tab, line feed, vertical tab, form
/// feed, carriage return.
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The marks that `cllm_tokenize_with_vocab` drops.
pub fn is_mark(byte: u8) -> bool {
    matches!(byte, b'.' | b',' | b'!' | b'?')
}

/// The words of `text`: its longest runs without separators.
pub fn words(text: &[u8], separates: fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    text.split(move |&byte| separates(byte)).filter(|word| !word.is_empty())
}

/// The words of a text. A byte order mark at its beginning is no part of the first.
pub fn text_words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    words(without_mark(text), is_blank)
}

/// `word` in lower case (ASCII only), in a buffer that is used again and again.
pub fn lower<'a>(word: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    buffer.clear();
    buffer.extend_from_slice(word);
    buffer.make_ascii_lowercase();
    buffer
}

/// The longest beginning of `text` of at most `room` bytes that cuts no UTF-8 character in two.
/// Where the bytes around the cut are no UTF-8, exactly `room`.
pub fn cut(text: &[u8], room: usize) -> &[u8] {
    if text.len() <= room {
        return text;
    }
    // A continuation byte has the form 10xxxxxx, and a character has at most three of them.
    let boundary = (room.saturating_sub(3)..=room)
        .rev()
        .find(|&at| text.get(at).is_some_and(|byte| byte & 0xC0 != 0x80));
    &text[..boundary.unwrap_or(room)]
}

/// Whether `word` is `token_<id>` in decimal: what stands in a slot without a string of its own.
pub fn is_placeholder(word: &[u8], id: usize) -> bool {
    let Some(digits) = word.strip_prefix(b"token_") else {
        return false;
    };
    let canonical = digits.len() == 1 || digits.first() != Some(&b'0');
    let value = digits.iter().try_fold(0usize, |n, d| {
        let digit = d.is_ascii_digit().then(|| usize::from(d - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    });
    canonical && !digits.is_empty() && value == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_between_separators() {
        let split = |text| text_words(text).collect::<Vec<_>>();
        assert_eq!(split(b" a\tb\r\nc.d  "), [&b"a"[..], b"b", b"c.d"]);
        assert_eq!(split(b"page\x0Cchapter\x0Btwo"), [&b"page"[..], b"chapter", b"two"]);
        assert_eq!(split(b"\xEF\xBB\xBFa \xEF\xBB\xBFb"), [&b"a"[..], b"\xEF\xBB\xBFb"]);
        assert_eq!(words(b"a.,b!?", is_mark).collect::<Vec<_>>(), [&b"a"[..], b"b"]);
        assert_eq!(text_words(b"").count(), 0);
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut(b"abc", 3), b"abc");
        assert_eq!(cut(b"abcd", 3), b"abc");
        assert_eq!(cut("aé".as_bytes(), 2), b"a");
        assert_eq!(cut("aéb".as_bytes(), 3), "aé".as_bytes());
        assert_eq!(cut("a😀".as_bytes(), 4), b"a");
        assert_eq!(cut(&[0x80; 9], 7), [0x80; 7]);
        assert_eq!(cut("é".as_bytes(), 0), b"");
        assert_eq!(cut(&[0x80; 9], 2), [0x80; 2]);
    }

    #[test]
    fn placeholders() {
        assert!(is_placeholder(b"token_0", 0));
        assert!(is_placeholder(b"token_120", 120));
        for (word, id) in [("token_1", 2), ("token_01", 1), ("token_", 0), ("token_x", 0)] {
            assert!(!is_placeholder(word.as_bytes(), id), "{word}");
        }
        assert!(!is_placeholder(b"token_99999999999999999999999", 1));
    }
}
