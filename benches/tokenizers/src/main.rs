//! `cargo run --release -- [MEGABYTES [ROUNDS [FILE]]]`: encoding, decoding, training and worst
//! cases of the byte-level BPE of `cllm-engine`, beside `tokenizers` and `tiktoken-rs` with the same
//! merges on the same text. `cargo run --release -- made [MEGABYTES]`: the same text on every machine
//! (100 megabytes), encoded and decoded once by each. What one thread does is given in processor time. 8 megabytes, 5 rounds; FILE is a text to train on instead of a made one.

mod contenders;
mod long;
mod natural;
mod texts;

use cllm_engine::text::Bpe;
use cllm_engine::text::bpe::{PieceCounter, Rule, Settings};
use cllm_kernels::Pool;
use contenders::{Contender, Result};
use rayon::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashSet;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer};

/// Tokens of the vocabulary that all encode with.
const SIZE: usize = 16_384;
/// Documents, above which a slow contender gets only some.
const MANY: usize = 256;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "made").is_some() {
        return long::run(arguments.next().map_or(Ok(100), |text| text.parse())?);
    }
    if arguments.next_if(|first| first == "worst").is_some() {
        return worst_cases(&vocabulary(&long::documents(8)?)?);
    }
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (megabytes, rounds) = (number(8)?, number(5)?.max(1));
    let file = arguments.next();
    let kinds = natural::mixed(megabytes << 20)?;
    let documents: Vec<Vec<u8>> = kinds.iter().flat_map(|k| k.documents.clone()).collect();
    let bpe = vocabulary(&documents)?;
    exact(&bpe, &documents)?;
    // The yardsticks take UTF-8 only.
    let utf8 = |documents: &[Vec<u8>]| -> Vec<String> {
        documents.iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect()
    };
    let documents = utf8(&documents);
    let all = contenders::all(&bpe)?;
    compare_ids(&bpe, &all, &documents)?;
    compare_speed(&all, &documents, rounds)?;
    println!("\nencoding, 1 thread, by kind");
    for kind in &kinds {
        compare_kind(&all, kind.name, &utf8(&kind.documents), rounds)?;
    }
    let text = match &file {
        Some(path) => std::fs::read_to_string(path)?,
        None => texts::play(1_115_394),
    };
    compare_training(&text, rounds)?;
    worst_cases(&bpe)
}

fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let made = work()?;
    Ok((start.elapsed().as_secs_f64(), made))
}

/// Seconds of processor time, which other programs disturb less: for work of one thread.
fn processor<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let now = || {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
    };
    let start = now();
    let made = work()?;
    Ok((now() - start, made))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Learnt from at most about 8 MiB of the text, spread over it.
fn vocabulary(documents: &[Vec<u8>]) -> Result<Bpe> {
    let mut counter = PieceCounter::new(Rule::Gpt2);
    let step = documents.len().div_ceil(128).max(1);
    documents.iter().step_by(step).try_for_each(|text| counter.add(text))?;
    let (took, bpe) = seconds(|| {
        Ok(Bpe::train_from(&counter, Settings::new(SIZE), |_| ControlFlow::Continue(()))?)
    })?;
    println!("{} tokens of {} different pieces in {took:.2} s", bpe.len(), counter.len());
    Ok(bpe)
}

/// Every byte comes back, by one thread and by two with the same ids.
fn exact(bpe: &Bpe, documents: &[Vec<u8>]) -> Result<()> {
    let text = documents.concat();
    let megabytes = text.len() as f64 / 1e6;
    let (alone, ids) = processor(|| Ok(bpe.encode(&text)?))?;
    let pool = Pool::start(2);
    let (together, same) = seconds(|| Ok(bpe.encode_in(&text, false, &pool)?))?;
    let (back, decoded) = processor(|| Ok(bpe.decode(&ids)?))?;
    println!(
        "{megabytes:.1} MB as one text: 1 thread {:.1} MB/s, 2 threads {:.1} MB/s, decoding {:.1} MB/s; {} tokens; ids of 1 and 2 threads {}, text after decoding {}",
        megabytes / alone,
        megabytes / together,
        megabytes / back,
        ids.len(),
        if ids == same { "equal" } else { "DIFFERENT" },
        if decoded == text { "equal" } else { "DIFFERENT" },
    );
    if ids != same || decoded != text {
        return Err("the text does not come back".into());
    }
    Ok(())
}

/// The documents that a contender gets: not all where there are many and it is slow.
fn some<'d>(who: &dyn Contender, documents: &'d [String]) -> Vec<&'d str> {
    let step = if documents.len() > MANY { who.one_of() } else { 1 };
    documents.iter().step_by(step).map(String::as_str).collect()
}

/// Where a contender takes what spells a special token for one, it is compared with this library
/// asked to do so too.
fn compare_ids(bpe: &Bpe, all: &[Box<dyn Contender>], documents: &[String]) -> Result<()> {
    for other in &all[1..] {
        let texts = some(&**other, documents);
        let (mut total, mut same, mut equal) = (0, 0, 0);
        for text in &texts {
            let ours = if other.finds_specials() {
                bpe.encode_with_specials(text.as_bytes())?
            } else {
                bpe.encode(text.as_bytes())?
            };
            let ids = other.encode(text)?;
            equal += usize::from(ids == ours);
            same += ids.iter().zip(&ours).take_while(|(a, b)| a == b).count();
            total += ours.len();
            if other.decode(&ids)? != text.as_bytes() {
                println!("{}: a text does not come back", other.name());
            }
        }
        println!(
            "ids beside {}: {equal} of {} documents equal; {same} of {total} ids before a first difference",
            other.name(),
            texts.len()
        );
    }
    Ok(())
}

/// Seconds per byte of each contender in each round, one after the other within a round.
fn compare_speed(all: &[Box<dyn Contender>], documents: &[String], rounds: usize) -> Result<()> {
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build();
    let pools = [pool(1)?, pool(2)?];
    let mut times = vec![[const { Vec::new() }; 3]; all.len()];
    for _ in 0..rounds {
        for (who, times) in all.iter().zip(&mut times) {
            let texts = some(&**who, documents);
            let bytes: usize = texts.iter().map(|text| text.len()).sum();
            let encode = |text: &&str| who.encode(text).map(|ids| drop(black_box(ids)));
            let work =
                |pool: &rayon::ThreadPool| pool.install(|| texts.par_iter().try_for_each(encode));
            times[0].push(processor(|| work(&pools[0]))?.0 / bytes as f64);
            times[1].push(seconds(|| work(&pools[1]))?.0 / bytes as f64);
            let ids = texts.iter().map(|text| all[0].encode(text)).collect::<Result<Vec<_>>>()?;
            let decode = |ids: &Vec<u32>| who.decode(ids).map(|text| drop(black_box(text)));
            times[2].push(processor(|| ids.iter().try_for_each(decode))?.0 / bytes as f64);
        }
    }
    println!(
        "\n{:<20}{:>13} {:>13} {:>13}   MB/s, median of {rounds} rounds; (time / ours)",
        "", "1 thread", "2 threads", "decoding"
    );
    for (who, theirs) in all.iter().zip(&times) {
        print!("{:<20}", who.name());
        for (theirs, ours) in theirs.iter().zip(&times[0]) {
            let ratio = median(theirs.iter().zip(ours).map(|(a, b)| a / b).collect());
            print!("{:>8.1}({ratio:>4.2})", 1e-6 / median(theirs.clone()));
        }
        println!();
    }
    Ok(())
}

/// Encoding by one thread: MB/s of ours, and the time of each contender divided by ours.
fn compare_kind(
    all: &[Box<dyn Contender>],
    name: &str,
    documents: &[String],
    rounds: usize,
) -> Result<()> {
    let total: usize = documents.iter().map(String::len).sum();
    let mut times = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (who, times) in all.iter().zip(&mut times) {
            let texts = some(&**who, documents);
            let bytes: usize = texts.iter().map(|text| text.len()).sum();
            let encode = |text: &&str| who.encode(text).map(|ids| drop(black_box(ids)));
            times.push(processor(|| texts.iter().try_for_each(encode))?.0 / bytes.max(1) as f64);
        }
    }
    print!(
        "{name:<16}{:>7.1} MB {:>7.1} MB/s",
        total as f64 / 1e6,
        1e-6 / median(times[0].clone())
    );
    for (who, theirs) in all.iter().zip(&times).skip(1) {
        let ratio = median(theirs.iter().zip(&times[0]).map(|(a, b)| a / b).collect());
        print!("  {} {ratio:.2}", who.name());
    }
    println!();
    Ok(())
}

/// 4,096 tokens of a play, cut by GPT-2's rule.
fn compare_training(text: &str, rounds: usize) -> Result<()> {
    const TOKENS: usize = 4096;
    let ours = || {
        let mut counter = PieceCounter::new(Rule::Gpt2);
        counter.add(text.as_bytes())?;
        Ok(Bpe::train_from(&counter, Settings::new(TOKENS), |_| ControlFlow::Continue(()))?)
    };
    let pre = ByteLevel::new(false, true, true);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let theirs = || {
        let mut trainer = BpeTrainer::builder()
            .vocab_size(TOKENS - 5) // no special tokens
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        trainer.feed(std::iter::once(text), |text| {
            let mut cut = PreTokenizedString::from(text);
            pre.pre_tokenize(&mut cut)?;
            let pieces = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
            Ok(pieces.into_iter().map(|(piece, ..)| piece.to_owned()).collect())
        })?;
        let mut model = BPE::default();
        trainer.train(&mut model)?;
        Ok(model)
    };
    let mut times = [Vec::new(), Vec::new()];
    let mut tokens = [HashSet::new(), HashSet::new()];
    for _ in 0..rounds {
        let (took, bpe) = processor(ours)?;
        times[0].push(took);
        let json = tokenizers::Tokenizer::from_bytes(bpe.to_tokenizer_json().as_bytes())?;
        tokens[0] = json.get_vocab(false).into_keys().collect();
        let (took, model) = alone.install(|| processor(theirs))?;
        times[1].push(took);
        tokens[1] = tokenizers::Model::get_vocab(&model).into_keys().collect();
    }
    let ratio = median(times[1].iter().zip(&times[0]).map(|(a, b)| a / b).collect());
    println!(
        "\ntraining {TOKENS} tokens of {:.2} MB, 1 thread: cllm {:.3} s, tokenizers 0.23 {:.3} s ({ratio:.2}); {} of their {} tokens are in ours",
        text.len() as f64 / 1e6,
        median(times[0].clone()),
        median(times[1].clone()),
        tokens[1].intersection(&tokens[0]).count(),
        tokens[1].len(),
    );
    Ok(())
}

/// The time of a text four times as long, which would be 16 times that of the short one if
/// the time grew with the square.
fn worst_cases(mixed: &Bpe) -> Result<()> {
    let long: Vec<u8> = texts::worst(4096).into_iter().flat_map(|(_, text)| text).collect();
    let mut counter = PieceCounter::new(Rule::Whole);
    (0..4).try_for_each(|_| counter.add(&long))?;
    let settings = Settings::new(2048);
    let runs = Bpe::train_from(&counter, settings, |_| ControlFlow::Continue(()))?;
    println!(
        "\nworst cases, 1 thread: MB/s of 1 MiB; time of a byte of 4 and of 16 MiB / that of 1 MiB"
    );
    let sizes = [1 << 20, 4 << 20, 16 << 20].map(texts::worst);
    for (name, bpe) in [("mixed merges", mixed), ("merges of runs, uncut", &runs)] {
        for (kind, _) in &sizes[0] {
            let mut each = [const { Vec::new() }; 3];
            // The sizes take turns, as the machine is not equally fast at all times.
            for _ in 0..3 {
                for (each, texts) in each.iter_mut().zip(&sizes) {
                    let text = texts.iter().find(|(other, _)| other == kind);
                    let (_, text) = text.ok_or("a kind of text has one size only")?;
                    let (took, ids) = processor(|| Ok(bpe.encode(text)?))?;
                    black_box(ids);
                    each.push(took / text.len() as f64);
                }
            }
            let [once, four, sixteen] = each.map(median);
            let speed = 1e-6 / once;
            println!(
                "{name:<22} {kind:<18}{speed:>8.1} {:>6.2} {:>6.2}",
                four / once,
                sixteen / once
            );
        }
    }
    Ok(())
}
