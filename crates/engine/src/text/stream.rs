//! Whole UTF-8 characters from a stream of bytes.

/// Takes bytes piece by piece and gives them on up to the last whole character. Bytes that can't
/// become a character pass through as they are, as soon as that is known.
///
/// ```
/// use cllm_engine::text::Utf8Stream;
///
/// let mut stream = Utf8Stream::default();
/// assert_eq!(stream.push(b"a\xE2\x82"), b"a");
/// assert_eq!(stream.push(b"\xAC!\xC3"), "€!".as_bytes());
/// assert_eq!(stream.push(b"("), b"\xC3(");
/// assert_eq!(stream.push(b"\xF0\x9F"), b"");
/// assert_eq!(stream.finish(), b"\xF0\x9F");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    bytes: Vec<u8>,
    given: usize,
}

impl Utf8Stream {
    /// Adds bytes; gives what is complete now.
    pub fn push(&mut self, bytes: &[u8]) -> &[u8] {
        self.bytes.drain(..self.given);
        self.bytes.extend_from_slice(bytes);
        self.given = self.bytes.len() - incomplete(&self.bytes);
        &self.bytes[..self.given]
    }

    /// What was held back at the end of the stream: at most three bytes. The stream is empty then.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.given);
        *self = Self::default();
        rest
    }
}

/// Bytes at the end that begin a character and may still become a whole one.
fn incomplete(bytes: &[u8]) -> usize {
    let possible = 1..=bytes.len().min(3);
    let begins = |&len: &usize| {
        let tail = &bytes[bytes.len() - len..];
        // `error_len` is none where the text ends too early.
        std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
    };
    possible.rev().find(begins).unwrap_or(0)
}
