//! The tokenizer as a whole.

use super::*;
use crate::text::SPECIALS;
use cllm_kernels::Pool;
use proptest::prelude::*;
use std::ops::ControlFlow;

const TEXT: &str = "the cat sat on the mat, the hat's that; caf\u{e9} \u{4f60}\u{597d} 12345\n\n";

fn trained() -> Bpe {
    Bpe::train([TEXT.repeat(3).as_bytes()], 320).unwrap()
}

#[test]
fn the_layout_of_a_vocabulary() {
    let bytes = Bpe::bytes().unwrap();
    assert_eq!((bytes.len(), bytes.merges()), (261, 0));
    for (id, special) in (0..).zip(SPECIALS) {
        assert_eq!((bytes.token(id), bytes.id(special)), (Some(special), Some(id)));
        assert!(bytes.is_special(id));
    }
    assert_eq!((bytes.end(), bytes.unknown()), (Some(3), Some(1)));
    assert_eq!(bytes.encode(&[0, 65, 255]).unwrap(), [5, 70, 260]);
    assert_eq!(bytes.token(261), None);
    assert!(!bytes.is_special(5) && !bytes.is_special(999));
}

#[test]
fn merges_come_by_count_then_by_ids() {
    let id = |byte: u8| 5 + u32::from(byte);
    // "ab" and "cd" twice each: the smaller pair first; "ef" once is not merged.
    let bpe = Bpe::train([&b"cd\nab\nef\ncd\nab"[..]], 300).unwrap();
    assert_eq!(
        (bpe.token(261), bpe.token(262), bpe.len()),
        (Some(&b"ab"[..]), Some(&b"cd"[..]), 263)
    );
    assert_eq!(bpe.encode(b"abef").unwrap(), [261, id(b'e'), id(b'f')]);
    // Leftmost first in a run of one letter.
    let bpe = Bpe::train([&b"aaaa aaaa"[..]], 262).unwrap();
    assert_eq!(bpe.encode(b"aaa").unwrap(), [261, id(b'a')]);
    for wrong in [260, 0, usize::MAX] {
        assert!(Bpe::train([&b"a"[..]], wrong).unwrap_err().to_string().starts_with("size is"));
    }
}

#[test]
fn training_can_be_stopped() {
    let mut counter = PieceCounter::new(Rule::Words);
    counter.add(TEXT.repeat(3).as_bytes()).unwrap();
    let mut seen = Vec::new();
    let bpe = Bpe::train_from(&counter, Settings::new(320), |at| {
        seen.push((at.tokens, at.size, at.count));
        if at.tokens == 270 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!((bpe.len(), seen.len(), seen[0].1), (270, 9, 320));
    assert!(seen.windows(2).all(|two| two[0].2 >= two[1].2));
    let whole = trained();
    assert!((0..270).all(|id| whole.token(id) == bpe.token(id)));
}

#[test]
fn specials_are_text_unless_asked_for() {
    let bpe = trained();
    let ids = bpe.encode(b"a<EOS>b").unwrap();
    assert!(ids.iter().all(|&id| !bpe.is_special(id)));
    assert_eq!(bpe.decode(&ids).unwrap(), b"a<EOS>b");
    let ids = bpe.encode_with_specials(b"a<EOS>b").unwrap();
    assert_eq!(ids, [5 + u32::from(b'a'), 3, 5 + u32::from(b'b')]);
    assert_eq!(bpe.decode(&ids).unwrap(), b"ab");
    assert_eq!(bpe.decode_with(&ids, true).unwrap(), b"a<EOS>b");
    assert_eq!(bpe.decode(&[u32::MAX, 70]).unwrap(), b"A");
}

#[test]
fn files_and_back() {
    let bpe = trained();
    let again = Bpe::from_bytes(&bpe.to_bytes()).unwrap();
    assert_eq!(again, bpe);
    assert_eq!(again.end(), Some(3));
    assert_ne!(again, Bpe::bytes().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    bpe.write_tokenizer_json(&path).unwrap();
    assert_eq!(Bpe::read_tokenizer_json(&path).unwrap(), bpe);
    let (vocab, merges) = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
    assert!(bpe.write_gpt2(&vocab, &merges).is_err());
    std::fs::write(&path, b"{").unwrap();
    let error = Bpe::read_tokenizer_json(&path).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: ") && error.contains("cut"), "{error}");
}

#[test]
fn a_megabyte_of_one_letter() {
    let bpe = Bpe::train([&[b'a'; 200][..]; 2], 266).unwrap();
    let text = vec![b'a'; 1 << 20];
    let ids = bpe.encode(&text).unwrap();
    assert!(ids.len() < text.len() / 16);
    assert_eq!(bpe.decode(&ids).unwrap(), text);
}

#[test]
fn equal_ids_by_any_number_of_threads() {
    let bpe = trained();
    let text = TEXT.repeat((2 << 20) / TEXT.len());
    let alone = bpe.encode(text.as_bytes()).unwrap();
    for threads in [2, 3] {
        let pool = Pool::start(threads);
        assert_eq!(bpe.encode_in(text.as_bytes(), false, &pool).unwrap(), alone);
    }
}

#[test]
fn readable_tokens() {
    for (bytes, text) in [
        (&b" the"[..], "\u{2423}the"),
        (b"\n\r\t\\n", "\\n\\r\\t\\\\n"),
        (b"\xFF\0", "\\xFF\\x00"),
        ("\u{2423}\u{e9}\u{200b}".as_bytes(), "\\xE2\\x90\\xA3\u{e9}\\xE2\\x80\\x8B"),
    ] {
        assert_eq!(shown(bytes), text);
        assert_eq!(read_shown(text).unwrap().as_deref(), Some(bytes));
    }
    for wrong in ["\\", "\\q", "\\x1", "\\xZZ"] {
        assert_eq!(read_shown(wrong).unwrap(), None);
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Whole),
        Just(Rule::Words),
        Just(Rule::Gpt2),
        Just(Rule::Llama3),
        Just(Rule::Qwen)
    ]
}

/// Bytes with many characters that rules look at.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        "[ \\t\\r\\n'sdlrevLEA19.\u{17f}\u{301}]{0,8}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn text_comes_back_as_it_was(text in texts(), more in texts(), rule in rules()) {
        let mut counter = PieceCounter::new(rule);
        counter.add(&text).unwrap();
        counter.add(&text).unwrap();
        let bpe = Bpe::train_from(&counter, Settings::new(400), |_| ControlFlow::Continue(())).unwrap();
        for text in [&text, &more] {
            let ids = bpe.encode(text).unwrap();
            prop_assert_eq!(&bpe.decode(&ids).unwrap(), text);
        }
        let again = Bpe::from_bytes(&bpe.to_bytes()).unwrap();
        prop_assert_eq!(again.encode(&more).unwrap(), bpe.encode(&more).unwrap());
    }

    #[test]
    fn readable_tokens_can_be_read(bytes in texts()) {
        let text = shown(&bytes);
        prop_assert!(!text.contains(['\t', '\n', '\r', ' ']));
        prop_assert_eq!(read_shown(&text).unwrap(), Some(bytes));
    }
}
