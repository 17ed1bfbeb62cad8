//! CRC-32 of values of four bytes, as they lie in files.

use crc32fast::Hasher;

/// Goes on with `values`, each as its `bytes`.
pub(crate) fn add_words<T: Copy>(hasher: &mut Hasher, values: &[T], bytes: impl Fn(T) -> [u8; 4]) {
    let mut buffer = [0; 4096];
    for values in values.chunks(buffer.len() / 4) {
        for (slot, value) in buffer.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *slot = bytes(*value);
        }
        hasher.update(&buffer[..4 * values.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_all_bytes_in_their_order() {
        for len in [0, 1, 1023, 1024, 1025, 5000] {
            let words: Vec<u32> = (0..len).map(|i: u32| i.wrapping_mul(0x9E37_79B9)).collect();
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let mut hasher = Hasher::new();
            add_words(&mut hasher, &words, u32::to_le_bytes);
            assert_eq!(hasher.finalize(), crc32fast::hash(&bytes), "{len} words");
        }
    }
}
