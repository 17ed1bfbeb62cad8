//! Prime numbers: testing, listing, counting.

use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_COUNTED_BELOW;
use once_cell::sync::Lazy;
use std::sync::{Arc, PoisonError, RwLock};

/// The table of primes grows to this bound, 1 MiB of bits and half as much of counts. Beyond it
/// counting by [`count_by_sieving_roots`] takes less than a millisecond to start with.
const TABLE_LIMIT: u64 = 1 << 24;
/// The first table, enough for a vocabulary of 6500.
const FIRST_TABLE: u64 = 1 << 16;

/// Primes below a bound: one bit per odd number, with running counts.
struct Table {
    /// The table covers 0..limit.
    limit: u64,
    /// Bit i of word w says that 2·(64w + i) + 1 is prime; the bit of 1 stands for the prime 2,
    /// which keeps the counts right.
    bits: Vec<u64>,
    /// Primes in the words before each word.
    before: Vec<u32>,
}

impl Table {
    /// `limit` is a multiple of 128 from 128 to [`TABLE_LIMIT`].
    fn new(limit: u64) -> Self {
        let words = (limit / 128) as usize;
        let mut bits = vec![!0u64; words];
        let odd = (limit / 2) as usize;
        let mut i = 1;
        while 2 * i * (i + 1) < odd {
            if bits[i / 64] >> (i % 64) & 1 == 1 {
                // Multiples of p = 2i + 1 from p² on: index (p² − 1) / 2, in steps of p.
                for j in (2 * i * (i + 1)..odd).step_by(2 * i + 1) {
                    bits[j / 64] &= !(1 << (j % 64));
                }
            }
            i += 1;
        }
        let before = bits
            .iter()
            .scan(0, |sum, word| {
                let before = *sum;
                *sum += word.count_ones();
                Some(before)
            })
            .collect();
        Self { limit, bits, before }
    }

    /// Primes below `n`, for `n` up to the limit.
    fn count_below(&self, n: u64) -> u64 {
        if n <= 2 {
            return 0;
        }
        // Odd numbers below n have indices below n / 2.
        let index = (n / 2) as usize;
        match (self.bits.get(index / 64), self.before.get(index / 64)) {
            (Some(word), Some(&before)) => {
                let mask = (1u64 << (index % 64)) - 1;
                u64::from(before) + u64::from((word & mask).count_ones())
            }
            _ => self.total(),
        }
    }

    fn total(&self) -> u64 {
        let last = self.bits.last().map_or(0, |word| word.count_ones());
        u64::from(self.before.last().copied().unwrap_or(0)) + u64::from(last)
    }

    /// The primes of one word, in order.
    fn word(&self, w: usize) -> Option<impl Iterator<Item = u64> + use<>> {
        let mut word = *self.bits.get(w)?;
        let base = 128 * w as u64;
        Some(std::iter::from_fn(move || {
            if word == 0 {
                return None;
            }
            let bit = u64::from(word.trailing_zeros());
            word &= word - 1;
            let odd = base + 2 * bit + 1;
            Some(if odd == 1 { 2 } else { odd })
        }))
    }
}

static TABLE: Lazy<RwLock<Arc<Table>>> =
    Lazy::new(|| RwLock::new(Arc::new(Table::new(FIRST_TABLE))));

/// The table, grown to cover 0..`limit` (at most [`TABLE_LIMIT`]).
fn table(limit: u64) -> Arc<Table> {
    let limit = limit.min(TABLE_LIMIT);
    let current = Arc::clone(&TABLE.read().unwrap_or_else(PoisonError::into_inner));
    if current.limit >= limit {
        return current;
    }
    let mut slot = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    if slot.limit < limit {
        *slot = Arc::new(Table::new(limit.next_power_of_two()));
    }
    Arc::clone(&slot)
}

/// How many primes are below `n`; an error above [`MAX_COUNTED_BELOW`].
pub fn count_below(n: u64) -> Result<u64> {
    if n <= TABLE_LIMIT {
        Ok(table(n).count_below(n))
    } else if n <= MAX_COUNTED_BELOW {
        Ok(count_by_sieving_roots(n - 1))
    } else {
        Err(Error::argument(
            "prime",
            n,
            "at most 1000000000000, beyond which primes can't be counted in reasonable time",
        ))
    }
}

/// π(n), the primes up to `n` ≥ 16, in O(n^¾ / log n) time and O(√n) memory.
///
/// Legendre's recurrence over the numbers ⌊n/i⌋ as Lucy_Hedgehog arranged it, kept for odd i
/// without small factors only, up to n^¼; the pairs of larger primes are then counted at once.
fn count_by_sieving_roots(n: u64) -> u64 {
    let root = n.isqrt() as usize;
    let half = |x: u64| (x.saturating_sub(1) >> 1) as usize;
    let mut s = root.div_ceil(2);
    // small[i]: how many of 3..=2i+1 survive; rough: the surviving odd numbers up to √n;
    // large[k]: how many of 3..=n/rough[k] survive.
    let mut small: Vec<u32> = (0..s as u32).collect();
    let mut rough: Vec<u32> = (0..s as u32).map(|i| 2 * i + 1).collect();
    let mut large: Vec<i64> = (0..s as u64).map(|i| ((n / (2 * i + 1) - 1) / 2) as i64).collect();
    let mut skip = vec![false; root + 1];
    let mut primes = 0usize;
    for p in (3..=root).step_by(2) {
        if skip[p] {
            continue;
        }
        let square = p * p;
        if (square as u64) * (square as u64) > n {
            break;
        }
        skip[p] = true;
        for multiple in (square..=root).step_by(2 * p) {
            skip[multiple] = true;
        }
        let mut kept = 0;
        for k in 0..s {
            let i = rough[k] as usize;
            if skip[i] {
                continue;
            }
            let d = i * p;
            let struck = if d <= root {
                large[small[d >> 1] as usize - primes]
            } else {
                i64::from(small[half(n / d as u64)])
            };
            large[kept] = large[k] - struck + primes as i64;
            rough[kept] = i as u32;
            kept += 1;
        }
        s = kept;
        let mut i = half(root as u64);
        let mut j = (root / p - 1) | 1;
        while j >= p {
            let struck = small[j >> 1] - primes as u32;
            let end = (j * p) >> 1;
            while i >= end {
                small[i] -= struck;
                i -= 1;
            }
            j -= 2;
        }
        primes += 1;
    }
    let (s, pc) = (s as i64, primes as i64);
    let mut total = large[0] + (s + 2 * (pc - 1)) * (s - 1) / 2;
    total -= large[1..s as usize].iter().sum::<i64>();
    for l in 1..s as usize {
        let q = u64::from(rough[l]);
        let m = n / q;
        let e = small[half(m / q)] as usize - primes;
        if e < l + 1 {
            break;
        }
        let pairs: i64 =
            rough[l + 1..=e].iter().map(|&r| i64::from(small[half(m / u64::from(r))])).sum();
        total += pairs - (e - l) as i64 * (pc + l as i64 - 1);
    }
    (total + 1) as u64
}

/// All primes in order, from 2 on. Needs a MiB or two of memory however far it goes.
pub fn primes() -> impl Iterator<Item = u64> {
    from_table().chain(beyond_table())
}

/// The primes below [`TABLE_LIMIT`]; the table grows as the iterator does.
fn from_table() -> impl Iterator<Item = u64> {
    let mut current = table(FIRST_TABLE);
    (0..(TABLE_LIMIT / 128) as usize)
        .map_while(move |w| {
            if 128 * w as u64 >= current.limit {
                current = table(2 * current.limit);
            }
            current.word(w)
        })
        .flatten()
}

/// The primes from [`TABLE_LIMIT`] on, by segments of a sieve.
fn beyond_table() -> impl Iterator<Item = u64> {
    /// Odd numbers in a segment: half a MiB of bytes, which stays in a second-level cache.
    const SEGMENT: u64 = 1 << 19;
    (0..).map(|segment: u64| TABLE_LIMIT + 2 * SEGMENT * segment).flat_map(|start| {
        let end = start + 2 * SEGMENT;
        let mut composite = vec![false; SEGMENT as usize];
        for p in from_or_beyond(end.isqrt()).skip(1) {
            // The first odd multiple of p in the segment, p² at least.
            let first = (p * p).max(start.next_multiple_of(p));
            let first = if first.is_multiple_of(2) { first + p } else { first };
            for multiple in (first..end).step_by(2 * p as usize) {
                composite[((multiple - start) / 2) as usize] = true;
            }
        }
        (0..SEGMENT)
            .zip(composite)
            .filter(|&(_, composite)| !composite)
            .map(move |(i, _)| start + 2 * i + 1)
    })
}

/// The primes up to `limit`, without recursion into segments where the table has them (to 2⁴⁸).
fn from_or_beyond(limit: u64) -> impl Iterator<Item = u64> {
    from_table().take_while(move |&p| p <= limit)
}

/// The `n`-th prime, counted from 0: 2, 3, 5, …
pub fn nth(n: u64) -> Option<u64> {
    let rest = usize::try_from(n).ok()?;
    primes().nth(rest)
}

/// Whether `n` is prime: the test of Miller and Rabin with bases that decide every number below
/// 4 759 123 141 (Jaeschke, 1993) and every 64-bit number (Sorenson and Webster, 2015).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for p in BASES {
        if n.is_multiple_of(p) {
            return n == p;
        }
    }
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    let bases: &[u64] = if n < 4_759_123_141 { &[2, 7, 61] } else { &BASES };
    bases.iter().all(|&base| {
        if n == base {
            return true;
        }
        let mut x = power(base, odd, n);
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = multiply(x, x, n);
            x == n - 1
        })
    })
}

fn multiply(a: u64, b: u64, modulus: u64) -> u64 {
    if modulus <= 1 << 32 {
        return a * b % modulus;
    }
    (u128::from(a) * u128::from(b) % u128::from(modulus)) as u64
}

fn power(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut product = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = multiply(product, base, modulus);
        }
        base = multiply(base, base, modulus);
        exponent >>= 1;
    }
    product
}

/// The smallest prime that is `n` or more; `None` above 2⁶⁴ − 59, the largest 64-bit prime.
pub fn at_least(n: u64) -> Option<u64> {
    if n <= 2 {
        return Some(2);
    }
    let mut candidate = n | 1;
    while !is_prime(candidate) {
        candidate = candidate.checked_add(2)?;
    }
    Some(candidate)
}

/// The prime that stands for token `id`: 2 for token 0, else the smallest prime from
/// id·⌊ln(id + 1) + 1⌋ on. Never decreases; several tokens may share one.
pub fn of_token(id: u32) -> u64 {
    let factor = ((f64::from(id) + 1.0).ln() + 1.0).floor() as u64;
    // Below 2³⁷, where there is always a next prime.
    at_least(u64::from(id) * factor).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_division(n: u64) -> bool {
        n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
    }

    #[test]
    fn testing_agrees_with_trial_division() {
        for n in (0..20_000).chain(1 << 32..(1 << 32) + 300) {
            assert_eq!(is_prime(n), by_division(n), "{n}");
        }
        // Strong pseudoprimes to many bases, and the ends of the range.
        for n in [2047, 3_215_031_751, 3_825_123_056_546_413_051, u64::MAX] {
            assert!(!is_prime(n), "{n}");
        }
        assert!(is_prime(18_446_744_073_709_551_557));
        assert!(is_prime(18_446_744_073_709_551_533));
    }

    #[test]
    fn next_primes() {
        assert_eq!(at_least(0), Some(2));
        assert_eq!(at_least(2), Some(2));
        assert_eq!(at_least(8), Some(11));
        assert_eq!(at_least(u64::MAX - 100), Some(18_446_744_073_709_551_521));
        assert_eq!(at_least(u64::MAX - 58), Some(u64::MAX - 58));
        assert_eq!(at_least(u64::MAX - 57), None);
        assert_eq!(at_least(u64::MAX), None);
    }

    #[test]
    fn counts_below_small_numbers() {
        let mut count = 0;
        for n in 0..70_000 {
            assert_eq!(count_below(n).unwrap(), count, "{n}");
            count += u64::from(by_division(n));
        }
    }

    #[test]
    fn counting_agrees_with_the_table_and_with_published_values() {
        let all = table(TABLE_LIMIT);
        for n in (16..5000).chain((5000..TABLE_LIMIT - 1).step_by(99_991)) {
            assert_eq!(count_by_sieving_roots(n), all.count_below(n + 1), "{n}");
        }
        assert_eq!(count_below(TABLE_LIMIT).unwrap(), 1_077_871);
        assert_eq!(count_below(TABLE_LIMIT + 1).unwrap(), 1_077_871);
        // A006880.
        for (n, count) in [
            (1_000_000, 78_498),
            (100_000_000, 5_761_455),
            (1_000_000_000, 50_847_534),
            (10_000_000_000, 455_052_511),
            (100_000_000_000, 4_118_054_813),
            (MAX_COUNTED_BELOW, 37_607_912_018),
        ] {
            assert_eq!(count_below(n).unwrap(), count, "{n}");
        }
        assert!(count_below(MAX_COUNTED_BELOW + 1).is_err());
        assert!(count_below(u64::MAX).is_err());
    }

    #[test]
    fn squares_of_primes_are_counted_right() {
        // Where ⌊√n⌋ changes the pairs change too.
        for p in [4099u64, 5003, 65_537, 999_983] {
            for n in p * p - 2..=p * p + 2 {
                let got = count_by_sieving_roots(n) - count_by_sieving_roots(n - 1);
                assert_eq!(got, u64::from(is_prime(n)), "{n}");
            }
        }
    }

    #[test]
    fn listing() {
        assert!(primes().take(6).eq([2, 3, 5, 7, 11, 13]));
        assert_eq!(nth(0), Some(2));
        assert_eq!(nth(49_999), Some(611_953));
        // Across the end of the table and of a segment.
        let from = 1_077_871 - 5;
        for (i, p) in (from..).zip(primes().skip(from).take(80_000)) {
            if i % 7919 == 0 || p < TABLE_LIMIT + 100 {
                assert!(is_prime(p), "{p}");
                assert_eq!(count_below(p).unwrap(), i as u64, "{p}");
            }
        }
    }

    #[test]
    fn tokens() {
        let first: Vec<_> = (0..12).map(of_token).collect();
        assert_eq!(first, [2, 2, 5, 7, 11, 11, 13, 23, 29, 29, 31, 37]);
        assert_eq!(of_token(1000), 7001);
        assert_eq!(of_token(50_000), 550_007);
        assert_eq!(of_token(u32::MAX), at_least(u64::from(u32::MAX) * 23).unwrap());
        let repeats = (0..50_000u32).map(of_token).collect::<Vec<_>>();
        assert!(repeats.is_sorted());
        let same = repeats.windows(2).filter(|w| w[0] == w[1]).count();
        assert_eq!(same, 18_063);
    }
}
