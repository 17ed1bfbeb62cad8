//! Putting values in order where nobody waits for it. The sorts of the standard library are faster, by
//! code that is several kilobytes long for each type and each order; this is a few hundred bytes.

use std::cmp::Ordering;

/// Puts the first `n` values of the order at the front, in order; the others follow in any. Equal values come
/// in any order: where that shows, `order` tells them apart. In time N + n log N for N values.
///
/// By a heap (Williams, "Algorithm 232: Heapsort", 1964) whose root is the first of the order.
///
/// ```
/// use cllm_engine::order::first_by;
///
/// let mut values = [5, 1, 4, 2, 3];
/// first_by(&mut values, 2, |a, b| a.cmp(b));
/// assert_eq!(values[..2], [1, 2]);
/// ```
pub fn first_by<T>(values: &mut [T], n: usize, order: impl Fn(&T, &T) -> Ordering) {
    let order = &order;
    for at in (0..values.len() / 2).rev() {
        sink(values, at, order);
    }
    // Roots go to the end, the first one last.
    let mut heap = values.len();
    for _ in 0..n.min(values.len()) {
        heap -= 1;
        values.swap(0, heap);
        sink(&mut values[..heap], 0, order);
    }
    values.reverse();
}

/// All values in order, as [`first_by`].
pub fn sort_by<T>(values: &mut [T], order: impl Fn(&T, &T) -> Ordering) {
    first_by(values, values.len(), order);
}

/// Lets the value at `at` sink until none of the two below it comes first.
fn sink<T>(heap: &mut [T], mut at: usize, order: &dyn Fn(&T, &T) -> Ordering) {
    loop {
        let mut below = 2 * at + 1;
        if below >= heap.len() {
            return;
        }
        if below + 1 < heap.len() && order(&heap[below + 1], &heap[below]).is_lt() {
            below += 1;
        }
        if order(&heap[at], &heap[below]).is_le() {
            return;
        }
        heap.swap(at, below);
        at = below;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_the_standard_library(mut values in proptest::collection::vec(0u8..50, 0..200), n in 0usize..210) {
            let mut expected = values.clone();
            expected.sort_unstable();
            first_by(&mut values, n, |a, b| a.cmp(b));
            let n = n.min(values.len());
            prop_assert_eq!(&values[..n], &expected[..n]);
            let mut rest = values[n..].to_vec();
            rest.sort_unstable();
            prop_assert_eq!(&rest[..], &expected[n..]);
            sort_by(&mut values, |a, b| b.cmp(a));
            expected.reverse();
            prop_assert_eq!(values, expected);
        }
    }
}
