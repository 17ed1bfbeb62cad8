//! Documents: texts as the data loader keeps them.

use super::decode::without_mark;
use super::split::is_blank;
use crate::error::{Error, Result};

/// What is changed in a document besides its white space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// ASCII letters to lower case.
    pub lowercase: bool,
    /// ASCII punctuation is dropped.
    pub remove_punctuation: bool,
    /// ASCII digits are dropped.
    pub remove_numbers: bool,
}

/// White space; NUL, which a C string can't hold, counts as such.
fn is_space(byte: u8) -> bool {
    is_blank(byte) || byte == 0
}

/// A cleaned copy: every run of white space is one space, also at the beginning and at the end; a
/// byte order mark at the beginning is dropped. Other bytes above 127 stay as they are.
pub fn clean(text: &[u8], cleaning: Cleaning) -> Result<Vec<u8>> {
    let text = without_mark(text);
    let mut out = Vec::new();
    out.try_reserve_exact(text.len()).map_err(|_| Error::memory("a document", text.len()))?;
    let mut after_space = false;
    for &byte in text {
        let dropped = (cleaning.remove_punctuation && byte.is_ascii_punctuation())
            || (cleaning.remove_numbers && byte.is_ascii_digit());
        if is_space(byte) {
            if !after_space {
                out.push(b' ');
            }
            after_space = true;
        } else if !dropped {
            after_space = false;
            out.push(if cleaning.lowercase { byte.to_ascii_lowercase() } else { byte });
        }
    }
    Ok(out)
}

/// Line feeds in a text.
pub fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &[u8], lowercase: bool, punctuation: bool, numbers: bool) -> Vec<u8> {
        let cleaning =
            Cleaning { lowercase, remove_punctuation: punctuation, remove_numbers: numbers };
        clean(text, cleaning).unwrap()
    }

    #[test]
    fn each_option() {
        let text = b"  It's 4\t\n\x0B\x0C\r PM,\0ok \xC9\xE9. ";
        assert_eq!(cleaned(text, false, false, false), b" It's 4 PM, ok \xC9\xE9. ");
        assert_eq!(cleaned(text, true, false, false), b" it's 4 pm, ok \xC9\xE9. ");
        assert_eq!(cleaned(text, false, true, false), b" Its 4 PM ok \xC9\xE9 ");
        assert_eq!(cleaned(text, false, false, true), b" It's PM, ok \xC9\xE9. ");
        assert_eq!(cleaned(b"", true, true, true), b"");
        assert_eq!(cleaned(b"a - b", false, true, false), b"a b");
        assert_eq!(cleaned(b"\xEF\xBB\xBFa", false, false, false), b"a");
    }

    #[test]
    fn newlines_of_the_source() {
        assert_eq!(lines(b"a\n\nb\r\nc"), 3);
        assert_eq!(lines(b""), 0);
    }
}
