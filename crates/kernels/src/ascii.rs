//! The classes of characters of ASCII, for 64 bytes at a time: a byte is a bit in the mask of its class. The
//! first step of cutting a text into pieces; no numbers are computed here, and it is one of the loops that
//! users wait for.
//!
//! ```
//! use cllm_kernels::ascii::{BLOCK, Classes};
//!
//! let mut block = [0xFF; BLOCK];
//! block[..6].copy_from_slice(b"it's 7");
//! let classes = Classes::of(&block);
//! assert_eq!((classes.letter, classes.apostrophe, classes.space, classes.digit), (0b1011, 0b100, 1 << 4, 1 << 5));
//! assert_eq!(classes.beyond, !0b11_1111);
//! ```

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// Bit i stands for byte i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// `A` to `Z` and `a` to `z`.
    pub letter: u64,
    /// `0` to `9`.
    pub digit: u64,
    /// The byte 0x20 alone.
    pub space: u64,
    /// 0x09 to 0x0D: all other white space.
    pub control: u64,
    /// Line feeds and carriage returns, which are in `control` too.
    pub line: u64,
    /// `'`
    pub apostrophe: u64,
    /// Bytes that are not ASCII: 0x80 and above.
    pub beyond: u64,
}

impl Classes {
    /// The classes of a block.
    #[inline(always)]
    pub fn of(block: &[u8; BLOCK]) -> Self {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        // SAFETY: every processor of this target has SSE2.
        return unsafe { sse2::classes(block) };
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
        portable::classes(block)
    }
}

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = EACH << 7;

/// The highest bit of each of eight bytes that is `from` to `to`, for bytes below 128; the other bits are of
/// no meaning.
#[inline(always)]
fn between(low: u64, from: u8, to: u8) -> u64 {
    // No sum carries into the next byte.
    let (from, beyond) = (u64::from(0x80 - from), u64::from(0x7F - to));
    (low + EACH * from) & !(low + EACH * beyond)
}

/// How many letters, `A` to `Z` and `a` to `z`, eight bytes begin with.
///
/// ```
/// assert_eq!(cllm_kernels::ascii::letters_of(*b"it's 7 o"), 2);
/// ```
#[inline]
pub fn letters_of(bytes: [u8; 8]) -> usize {
    let bytes = u64::from_le_bytes(bytes);
    let letters = between(bytes & !HIGH | EACH << 5, b'a', b'z') & !bytes;
    (!letters & HIGH).trailing_zeros() as usize / 8
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
mod portable {
    use super::{BLOCK, Classes, EACH, HIGH, between};

    /// The highest bits of eight bytes, side by side.
    #[inline(always)]
    fn gather(flags: u64) -> u64 {
        (flags & HIGH).wrapping_mul(0x0002_0408_1020_4081) >> 56
    }

    #[inline(always)]
    pub(super) fn classes(block: &[u8; BLOCK]) -> Classes {
        let mut classes = Classes::default();
        for (part, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*bytes);
            let (low, ascii) = (bytes & !HIGH, !bytes);
            let put = |mask: &mut u64, flags: u64| *mask |= gather(flags & ascii) << (part * 8);
            put(&mut classes.letter, between(low | EACH << 5, b'a', b'z'));
            put(&mut classes.digit, between(low, b'0', b'9'));
            put(&mut classes.space, between(low, b' ', b' '));
            put(&mut classes.control, between(low, b'\t', b'\r'));
            put(&mut classes.line, between(low, b'\n', b'\n') | between(low, b'\r', b'\r'));
            put(&mut classes.apostrophe, between(low, b'\'', b'\''));
            classes.beyond |= gather(bytes) << (part * 8);
        }
        classes
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2 {
    use super::{BLOCK, Classes};
    use std::arch::x86_64::*;

    /// Sixteen bytes, compared as signed ones: those that are not ASCII are below all others.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn between(bytes: __m128i, from: u8, to: u8) -> u64 {
        let over = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(from as i8 - 1));
        let beyond = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(to as i8));
        bits(_mm_andnot_si128(beyond, over))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(bytes: __m128i) -> u64 {
        u64::from(_mm_movemask_epi8(bytes) as u16)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn classes(block: &[u8; BLOCK]) -> Classes {
        let mut classes = Classes::default();
        for (part, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
            let whole = u128::from_le_bytes(*bytes);
            let bytes = _mm_set_epi64x((whole >> 64) as i64, whole as i64);
            let put = |mask: &mut u64, bits: u64| *mask |= bits << (part * 16);
            // Capitals become small letters; what is not ASCII stays that.
            let small = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
            put(&mut classes.letter, between(small, b'a', b'z'));
            put(&mut classes.digit, between(bytes, b'0', b'9'));
            put(&mut classes.space, bits(equal(bytes, b' ')));
            put(&mut classes.control, between(bytes, b'\t', b'\r'));
            let line = _mm_or_si128(equal(bytes, b'\n'), equal(bytes, b'\r'));
            put(&mut classes.line, bits(line));
            put(&mut classes.apostrophe, bits(equal(bytes, b'\'')));
            put(&mut classes.beyond, bits(bytes));
        }
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_all_bytes() {
        for byte in 0..=255u8 {
            for at in 0..BLOCK {
                // Its neighbours do not disturb it.
                for around in [b'z', 0xFF, 0] {
                    let mut block = [around; BLOCK];
                    block[at] = byte;
                    let classes = Classes::of(&block);
                    assert_eq!(classes, portable::classes(&block), "{byte} at {at}");
                    let is = |mask: u64| mask >> at & 1 == 1;
                    assert_eq!(is(classes.letter), byte.is_ascii_alphabetic(), "{byte}");
                    assert_eq!(is(classes.digit), byte.is_ascii_digit(), "{byte}");
                    assert_eq!(is(classes.space), byte == b' ', "{byte}");
                    assert_eq!(is(classes.control), matches!(byte, 9..=13), "{byte}");
                    assert_eq!(is(classes.line), matches!(byte, b'\n' | b'\r'), "{byte}");
                    assert_eq!(is(classes.apostrophe), byte == b'\'', "{byte}");
                    assert_eq!(is(classes.beyond), !byte.is_ascii(), "{byte}");
                }
            }
        }
    }

    #[test]
    fn letters_at_the_start() {
        for byte in 0..=255u8 {
            for at in 0..8 {
                for around in [b'a', b'Z', 0xFF, b'@'] {
                    let mut bytes = [around; 8];
                    bytes[at] = byte;
                    let letters = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic());
                    assert_eq!(letters_of(bytes), letters.count(), "{bytes:?}");
                }
            }
        }
    }
}
