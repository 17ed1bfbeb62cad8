//! Tokens for human eyes: one line of printable text each, from which the bytes can be read back.

use crate::error::Result;
use cllm_kernels::memory::reserve;
use std::str::Chars;
use unicode_general_category::{GeneralCategory, get_general_category};

/// The readable form of a token's bytes: printable characters as they are; a space as `␣`; line
/// feed, carriage return, tab and backslash as `\n`, `\r`, `\t`, `\\`; every other byte, and those of
/// a `␣`, as `\xHH`. No two tokens look the same.
pub fn shown(token: &[u8]) -> String {
    let mut text = String::new();
    let hex = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    };
    for chunk in token.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' => text.push('␣'),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                c if is_printable(c) && c != '␣' => text.push(c),
                c => hex(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text
}

fn is_printable(c: char) -> bool {
    use GeneralCategory as G;
    !matches!(
        get_general_category(c),
        G::Control
            | G::Format
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::SpaceSeparator
            | G::Surrogate
            | G::PrivateUse
            | G::Unassigned
    )
}

/// The bytes of a token that [`shown`] made readable; none if the text has an escape that it does
/// not write.
///
/// # Errors
/// No memory.
pub fn read_shown(text: &str) -> Result<Option<Vec<u8>>> {
    let mut token = Vec::new();
    // No character is shorter than what it stands for.
    reserve("a token", &mut token, text.len())?;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '␣' => token.push(b' '),
            '\\' => match escaped(&mut chars) {
                Some(byte) => token.push(byte),
                None => return Ok(None),
            },
            c => token.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(Some(token))
}

/// The byte of an escape, behind its backslash.
fn escaped(chars: &mut Chars) -> Option<u8> {
    Some(match chars.next()? {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '\\' => b'\\',
        'x' => {
            let (high, low) = (chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?);
            u8::try_from(high * 16 + low).ok()?
        }
        _ => return None,
    })
}
