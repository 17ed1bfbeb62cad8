//! Where a text may be cut so that the ids of its parts, one after the other, are those of the whole.

use super::scan::piece_end;
use super::{Bpe, Rule};

/// Bytes that a rule looks ahead of a piece at most, white space aside: two characters.
const AHEAD: usize = 8;

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The last place in `text`, the beginning of a longer one, where `rule` cuts whatever follows; `None`
/// where there is none.
pub fn last_cut(rule: Rule, text: &[u8]) -> Option<usize> {
    if rule == Rule::Whole {
        return None;
    }
    after_word(text, is_blank).or_else(|| between_pieces(rule, text))
}

/// The last letter or digit of ASCII with white space after it: every rule cuts there, whatever stands
/// around it.
fn after_word(text: &[u8], blank: impl Fn(u8) -> bool) -> Option<usize> {
    let pair = text.windows(2).rposition(|two| two[0].is_ascii_alphanumeric() && blank(two[1]));
    pair.map(|at| at + 1)
}

/// The end of the last piece but two. A piece depends on what follows it by two characters, and by the
/// white space there, which is two pieces at most.
fn between_pieces(rule: Rule, text: &[u8]) -> Option<usize> {
    let (mut at, mut ends) = (0, [0; 3]);
    while at < text.len() {
        at = piece_end(rule, text, at);
        if at + AHEAD > text.len() {
            break;
        }
        ends = [ends[1], ends[2], at];
    }
    Some(ends[0]).filter(|&end| end > 0)
}

impl Bpe {
    /// The last place in `text`, the beginning of a longer one, where it can be cut: the ids of the two
    /// parts, one after the other, are those of the whole, whatever follows. `None` where there is no
    /// such place, or the tokenizer does not allow any.
    pub fn last_cut(&self, text: &[u8]) -> Option<usize> {
        let parts = &self.0.parts;
        let mut added = self.added().iter().filter(|added| !added.special).peekable();
        let plain = added.peek().is_none() && !parts.nfc && !parts.add_prefix_space;
        // Neither may an added token lie over the cut, nor take white space away over it, nor be told
        // by what stands before it.
        let lies_over = added.any(|added| {
            let content = added.content.as_bytes();
            after_word(content, |byte| byte.is_ascii_whitespace()).is_some()
                || added.rstrip && content.last().is_some_and(u8::is_ascii_alphanumeric)
                || added.single_word && content.first().is_some_and(u8::is_ascii_whitespace)
        });
        match self.rule() {
            _ if plain && parts.merges.is_empty() && !parts.ignore_merges => Some(text.len()),
            Rule::Whole => None,
            _ if lies_over => None,
            rule if plain => last_cut(rule, text),
            // A part that begins with a space gets no other one.
            _ if parts.add_prefix_space => after_word(text, |byte| byte == b' '),
            _ => after_word(text, is_blank),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::bpe::{PieceCounter, Settings};
    use proptest::prelude::*;
    use std::ops::ControlFlow;

    const RULES: [Rule; 4] = [Rule::Words, Rule::Gpt2, Rule::Llama3, Rule::Qwen];

    fn pieces(rule: Rule, text: &[u8]) -> Vec<usize> {
        let mut ends = vec![0];
        while *ends.last().unwrap() < text.len() {
            ends.push(piece_end(rule, text, *ends.last().unwrap()));
        }
        ends
    }

    /// A tokenizer of a rule, that has learnt something.
    fn tokenizer(rule: Rule) -> Bpe {
        let mut counter = PieceCounter::new(rule);
        counter.add("the cat's 123 cats, 日本 日本  \n the\n\n cat ".repeat(3).as_bytes()).unwrap();
        Bpe::train_from(&counter, Settings::new(300), |_| ControlFlow::Continue(())).unwrap()
    }

    proptest! {
        /// Cutting at the place that the beginning of a text gives changes no piece of the whole.
        #[test]
        fn no_rule_joins_what_was_cut(
            text in "[ab 1\n\r\t'’.!sSlL日本́\u{A0}\u{2028}]{0,60}",
            known in 0usize..200,
        ) {
            let text = text.as_bytes();
            let head = &text[..known.min(text.len())];
            for rule in RULES {
                for cut in [last_cut(rule, head), between_pieces(rule, head)].into_iter().flatten() {
                    prop_assert!(0 < cut && cut <= head.len());
                    let whole = pieces(rule, text);
                    prop_assert!(whole.contains(&cut), "{rule:?} {text:?} at {cut}: {whole:?}");
                }
            }
        }
    }

    #[test]
    fn parts_have_the_ids_of_the_whole() {
        let text = "the cat's 日本日本、cat  \n\n  12345 the\tcats".repeat(20);
        let text = text.as_bytes();
        for bpe in RULES.map(tokenizer) {
            for length in [40, 64, 150] {
                let (mut ids, mut rest) = (Vec::new(), text);
                while rest.len() > length {
                    let cut = bpe.last_cut(&rest[..length]).unwrap();
                    ids.extend(bpe.encode(&rest[..cut]).unwrap());
                    rest = &rest[cut..];
                }
                ids.extend(bpe.encode(rest).unwrap());
                assert_eq!(ids, bpe.encode(text).unwrap(), "{:?} by {length}", bpe.rule());
            }
        }
        assert_eq!(last_cut(Rule::Whole, text), None);
        assert_eq!(last_cut(Rule::Words, &[b'x'; 100]), None);
    }

    #[test]
    fn added_tokens_are_not_cut() {
        let with = |added: &str| {
            let bpe = tokenizer(Rule::Gpt2);
            let other = format!(r#",{{"id":{},"content":{added}}}],"normalizer""#, bpe.len());
            let json = bpe.to_tokenizer_json().replacen(r#"],"normalizer""#, &other, 1);
            assert!(json.contains(&other));
            Bpe::from_tokenizer_json(json.as_bytes()).unwrap()
        };
        let flags = |l, r, w| {
            format!(
                r#""single_word":{w},"lstrip":{l},"rstrip":{r},"normalized":false,"special":false"#
            )
        };
        let text = b"the cat the dog the ";
        let allowed = with(&format!(r#""<x>",{}"#, flags(true, true, true)));
        assert_eq!(allowed.last_cut(text), Some(19));
        for (content, flags) in [
            ("he cat", flags(false, false, false)),
            ("zat", flags(false, true, false)),
            (" dog", flags(false, false, true)),
        ] {
            assert_eq!(with(&format!(r#""{content}",{flags}"#)).last_cut(text), None, "{content}");
        }
    }
}
