//! The characters that stand for bytes in files of byte-level BPE: printable bytes of Latin-1 stand
//! for themselves, the others for U+0100 and up, in their order.

use std::sync::OnceLock;

fn is_itself(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

fn table() -> &'static [char; 256] {
    static TABLE: OnceLock<[char; 256]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut next = 0u8..;
        std::array::from_fn(|byte| {
            let byte = byte as u8;
            if is_itself(byte) {
                char::from(byte)
            } else {
                let place = u32::from(next.next().unwrap_or_default());
                char::from_u32(256 + place).unwrap_or_default()
            }
        })
    })
}

/// The characters of a token.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| table()[usize::from(byte)]).collect()
}

/// The bytes of a token's characters; none where a character stands for no byte.
pub(super) fn to_bytes(chars: &str) -> Option<Vec<u8>> {
    static BYTES: OnceLock<[Option<u8>; 324]> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut bytes = [None; 324];
        for (byte, &c) in (0..=u8::MAX).zip(table()) {
            bytes[c as usize] = Some(byte);
        }
        bytes
    });
    chars.chars().map(|c| bytes.get(c as usize).copied().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(to_bytes(&of_bytes(&all)), Some(all));
        assert_eq!(of_bytes(b" a\n\x00\xFF\xAD"), "ĠaĊĀÿŃ");
        assert_eq!(to_bytes("a b"), None);
    }
}
