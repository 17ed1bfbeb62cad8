//! Texts that are made, the same in every run: their numbers begin at [`SEED`].

/// Where the numbers of [`made`] begin.
pub const SEED: u64 = 1;

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
    const WHO: [&str; 12] = [
        "我们",
        "他",
        "这位老师",
        "李明",
        "王小姐",
        "孩子们",
        "公司的经理",
        "我的朋友",
        "研究人员",
        "当地居民",
        "一名记者",
        "那个学生",
    ];
    const WHEN: [&str; 10] = [
        "今天早上",
        "去年夏天",
        "周末",
        "昨天晚上",
        "每年春天",
        "不久以前",
        "下个月",
        "会议结束后",
        "吃完饭以后",
        "下雨的时候",
    ];
    const WHERE: [&str; 10] = [
        "在北京",
        "在图书馆",
        "在上海的一家医院",
        "在河边",
        "在办公室",
        "在火车上",
        "在大学里",
        "在市中心",
        "在山脚下的村庄",
        "在网上",
    ];
    const WHAT: [&str; 16] = [
        "讨论了新的计划",
        "看了一本很有意思的书",
        "遇到了多年没见的同学",
        "学习怎样使用计算机",
        "买了一些水果和蔬菜",
        "发表了一篇关于气候变化的文章",
        "等了两个小时也没有等到公共汽车",
        "发现这个问题比想象的复杂得多",
        "认真地准备考试",
        "谈起了过去的生活",
        "听说经济增长的速度有所放缓",
        "希望能够得到更多的支持",
        "解决了系统里的一个错误",
        "拍了很多照片",
        "决定重新开始",
        "喝茶聊天",
    ];
    text.push_str(numbers.pick(&WHEN));
    text.push_str(numbers.pick(&["，", ""]));
    for part in [&WHO[..], &WHERE, &WHAT] {
        text.push_str(numbers.pick(part));
    }
    if numbers.below(3) == 0 {
        text.push_str(&format!("，一共有{}个人参加", 2 + numbers.rank(400)));
    }
    if numbers.below(2) == 0 {
        text.push_str(numbers.pick(&["，因为", "，但是", "，所以", "；后来"]));
        text.push_str(numbers.pick(&WHO));
        text.push_str(numbers.pick(&WHAT));
    }
    text.push_str(numbers.pick(&["。", "。", "。", "！", "？", "。\n"]));
}

const FACES: [&str; 16] = [
    "\u{1f602}",
    "\u{2764}\u{fe0f}",
    "\u{1f44d}",
    "\u{1f44d}\u{1f3fd}",
    "\u{1f64f}",
    "\u{1f60a}",
    "\u{1f525}",
    "\u{1f389}",
    "\u{1f914}",
    "\u{1f605}",
    "\u{2728}",
    "\u{1f680}",
    "\u{1f62d}",
    "\u{1f937}\u{200d}\u{2642}\u{fe0f}",
    "\u{1f1e9}\u{1f1ea}",
    "\u{1f440}",
];

fn chat(numbers: &mut Numbers, words: &Words, text: &mut String) {
    for _ in 0..2 + numbers.below(9) {
        text.push_str(words.word(numbers));
        text.push(' ');
    }
    for _ in 0..1 + numbers.below(3) {
        text.push_str(FACES[numbers.rank(FACES.len())]);
    }
    text.push('\n');
}

/// A line of a program, with indents and names of several words.
fn code(numbers: &mut Numbers, words: &Words, text: &mut String) {
    let indent = " ".repeat(4 * numbers.below(4));
    let [a, b, c] = std::array::from_fn(|_| {
        let name = [words.word(numbers), words.word(numbers)].map(str::to_owned);
        match numbers.below(3) {
            0 => format!("{}_{}", name[0], name[1]),
            1 => format!("{}{}", name[0], capital(&name[1])),
            _ => name.into_iter().next().unwrap_or_default(),
        }
    });
    let n = numbers.rank(100_000);
    let line = match numbers.below(7) {
        0 => format!("{indent}if ({a} != NULL && {b}[{n}] < {c}->len) {{\n"),
        1 => format!("{indent}return {a}({b}, {c} + {n});\n"),
        2 => format!("{indent}for (int i = 0; i < {a}; i++) {b}[i] += {c}[i] * 0.{n}f;\n"),
        3 => format!("{indent}def {a}(self, {b}: int = {n}) -> \"{c}\":\n"),
        4 => format!("{indent}let {a} = {b}.iter().map(|{c}| {c} << {}).sum::<u64>();\n", n % 64),
        5 => format!("{indent}// {a} {b} {c}\n"),
        _ => format!("{indent}}}\n\n"),
    };
    text.push_str(&line);
}

/// Any bytes, zeros and small numbers more often, as in programs and pictures.
fn binary(numbers: &mut Numbers, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| numbers.rank(256) as u8).collect()
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

/// What texts of one kind are made of: sentence by sentence, or line by line.
pub fn made(kind: &str, bytes: usize) -> Vec<u8> {
    let (mut numbers, words) = (Numbers::new(SEED), Words::new(40_000));
    if kind == "binary" {
        return binary(&mut numbers, bytes);
    }
    let mut text = String::new();
    while text.len() < bytes {
        match kind {
            "code" => code(&mut numbers, &words, &mut text),
            "logs" => log(&mut numbers, &words, &mut text),
            "Chinese" => chinese(&mut numbers, &mut text),
            "chat" => chat(&mut numbers, &words, &mut text),
            _ => sentence(&mut numbers, &words, &mut text),
        }
    }
    text.into_bytes()
}

/// Texts that are hard for those who merge naively.
pub fn worst(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut numbers = Numbers::new(11);
    let mut random = |from: &[&str]| {
        let mut text = String::new();
        while text.len() < bytes {
            text.push_str(numbers.pick(from));
        }
        text.into_bytes()
    };
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let letters = random(&letters.iter().map(String::as_str).collect::<Vec<_>>());
    let characters: Vec<String> = ('\u{4e00}'..'\u{5e00}').map(String::from).collect();
    let characters = random(&characters.iter().map(String::as_str).collect::<Vec<_>>());
    let digits = random(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let mut numbers = Numbers::new(12);
    let unblank = (0..bytes).map(|_| 0x21 + numbers.below(0xDF) as u8).collect();
    vec![
        ("one letter", vec![b'a'; bytes]),
        ("spaces", vec![b' '; bytes]),
        ("line breaks", vec![b'\n'; bytes]),
        ("\"ab\" repeated", b"ab".iter().copied().cycle().take(bytes).collect()),
        ("random letters", letters),
        ("random digits", digits),
        ("emoji", random(&FACES)),
        ("one character", "\u{4f60}".bytes().cycle().take(bytes).collect()),
        ("random characters", characters),
        ("bytes, no blanks", unblank),
    ]
}
