//! Texts of every kind, the same in every run.

/// A generator of numbers (G. Steele et al., SplitMix64, 2014).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Below `end`, small ones more often: the logarithm is spread evenly, nearly Zipf's law.
    fn rank(&mut self, end: usize) -> usize {
        let even = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((end as f64 + 1.0).powf(even) - 1.0) as usize % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Words made of syllables; those at the front are short.
pub struct Words(Vec<String>);

impl Words {
    pub fn new(count: usize) -> Self {
        const STARTS: [&str; 24] = [
            "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "th", "st",
            "ch", "pr", "tr", "", "br", "sh", "gr",
        ];
        const MIDDLES: [&str; 10] = ["a", "e", "i", "o", "u", "ea", "ou", "ai", "y", "ee"];
        const ENDS: [&str; 14] =
            ["", "", "n", "r", "s", "t", "d", "l", "nd", "ng", "st", "m", "ck", "\u{e9}"];
        let mut numbers = Numbers::new(7);
        let word = |i: usize| {
            let syllables = 1 + (i > 60) as usize + (i > 2_000) as usize * numbers.below(3);
            let mut word = String::new();
            for _ in 0..syllables {
                let parts = [numbers.pick(&STARTS), numbers.pick(&MIDDLES), numbers.pick(&ENDS)];
                word.extend(parts);
            }
            word
        };
        Self((0..count).map(word).collect())
    }

    fn word(&self, numbers: &mut Numbers) -> &str {
        &self.0[numbers.rank(self.0.len())]
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn sentence(numbers: &mut Numbers, words: &Words, text: &mut String) {
    text.push_str(&capital(words.word(numbers)));
    for _ in 0..4 + numbers.below(14) {
        text.push_str(numbers.pick(&[" ", " ", " ", " ", " ", " ", ", ", " - ", "'s ", "; "]));
        text.push_str(words.word(numbers));
    }
    text.push_str(numbers.pick(&[". ", ". ", ". ", "? ", "! ", ".\n\n"]));
}

fn code(numbers: &mut Numbers, words: &Words, text: &mut String) {
    let [a, b, c] = std::array::from_fn(|_| words.word(numbers).to_owned());
    let n = numbers.below(4096);
    text.push_str(&format!(
        "/* {a} {b} */\nstatic int {a}_{b}(struct {c} *{a}, size_t n_{b})\n{{\n    for (size_t i = 0; i < n_{b}; i++) {{\n        if ({a}->{c}[i] != 0x{n:04X})\n            return -{n};\n\t\t{a}->{b} += {c}_{b}({a}, i * {n});\n    }}\n    return 0;\n}}\n\n"
    ));
}

fn log(numbers: &mut Numbers, words: &Words, text: &mut String) {
    let level = numbers.pick(&["INFO", "INFO", "INFO", "WARN", "ERROR", "DEBUG"]);
    let [a, b] = std::array::from_fn(|_| words.word(numbers).to_owned());
    let [h, m, s, ms, ip, n] = [24, 60, 60, 1000, 256, 1 << 20].map(|end| numbers.below(end));
    let id = numbers.next();
    text.push_str(&format!(
        "2026-11-27T{h:02}:{m:02}:{s:02}.{ms:03}Z {level} [{a}-{n}] {b}: request {id:016x} from 10.0.{ip}.{m} took {n} us\n"
    ));
}

fn chinese(numbers: &mut Numbers, text: &mut String) {
    for _ in 0..8 + numbers.below(30) {
        let place = numbers.rank(3_500) as u32;
        // Common characters are spread over the block.
        text.extend(char::from_u32(0x4E00 + place * 5_639 % 20_000));
    }
    text.push_str(numbers.pick(&["\u{ff0c}", "\u{3002}", "\u{3002}\n", "\u{ff1f}"]));
}

fn emoji(numbers: &mut Numbers, words: &Words, text: &mut String) {
    text.push_str(words.word(numbers));
    text.push(' ');
    for _ in 0..1 + numbers.below(4) {
        text.extend(char::from_u32(0x1F300 + numbers.rank(700) as u32));
        text.push_str(numbers.pick(&["", "", "\u{200d}", "\u{fe0f}", " "]));
    }
    text.push('\n');
}

/// A play: what tinyshakespeare looks like.
pub fn play(bytes: usize) -> String {
    let (mut numbers, words) = (Numbers::new(3), Words::new(25_000));
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&words.word(&mut numbers).to_uppercase());
        text.push_str(":\n");
        for _ in 0..1 + numbers.below(4) {
            sentence(&mut numbers, &words, &mut text);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// Code, prose, logs, Chinese, emoji and random bytes, in documents of about 64 KiB.
pub fn mixed(bytes: usize) -> Vec<Vec<u8>> {
    let (mut numbers, words) = (Numbers::new(1), Words::new(40_000));
    let mut documents = Vec::new();
    let mut total = 0;
    while total < bytes {
        let mut text = String::new();
        let kind = documents.len() % 8;
        let size = (64 << 10).min(bytes - total);
        if kind == 7 {
            let block = (0..size).map(|_| numbers.next() as u8).collect::<Vec<_>>();
            total += block.len();
            documents.push(block);
            continue;
        }
        while text.len() < size {
            match kind {
                0 | 4 => code(&mut numbers, &words, &mut text),
                1 | 5 => sentence(&mut numbers, &words, &mut text),
                2 => log(&mut numbers, &words, &mut text),
                3 => chinese(&mut numbers, &mut text),
                _ => emoji(&mut numbers, &words, &mut text),
            }
        }
        total += text.len();
        documents.push(text.into_bytes());
    }
    documents
}

/// Texts that are hard for those who merge naively.
pub fn worst(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let digits = (0u8..10).map(|d| b'0' + d * 7 % 10).cycle();
    vec![
        ("one letter", vec![b'a'; bytes]),
        ("spaces", vec![b' '; bytes]),
        ("line breaks", vec![b'\n'; bytes]),
        ("\"ab\" repeated", b"ab".iter().copied().cycle().take(bytes).collect()),
        ("digits", digits.take(bytes).collect()),
        ("one character", "\u{4f60}".bytes().cycle().take(bytes).collect()),
    ]
}
