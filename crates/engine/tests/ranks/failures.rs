//! What fails on one rank: an error of all of them, after which all is as it was.

use super::{Run, config, ids, on_ranks};
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{ModelRef, Params};
use cllm_engine::train::ranks::{Communicator, Threads};
use cllm_engine::train::slots::Room;
use cllm_engine::train::weights::Tensor;
use cllm_engine::train::{Corpus, TrainingWeights, Weights, checkpoint};
use cllm_engine::{Model, ModelConfig};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Weights of a rank that has no memory for other moments, if it is poor.
struct Rank<'a> {
    weights: &'a mut TrainingWeights<Model>,
    poor: bool,
}

impl Weights for Rank<'_> {
    fn pass(&mut self) -> Result<(ModelRef<'_>, Params<&mut [f32]>)> {
        self.weights.pass()
    }

    fn visit(&mut self, visitor: &mut dyn FnMut(Tensor<'_>) -> Result<()>) -> Result<()> {
        self.weights.visit(visitor)
    }

    fn moments_room(&mut self, range: Range<usize>) -> Result<Room> {
        if self.poor {
            return Err(Error::shape("no memory here"));
        }
        self.weights.moments_room(range)
    }

    fn hold_moments(&mut self, room: Room) -> Result<()> {
        self.weights.hold_moments(room)
    }

    fn spiral_mut(&mut self) -> Result<Option<&mut [f32]>> {
        self.weights.spiral_mut()
    }
}

#[test]
fn moments_stay_where_they_are_as_long_as_a_rank_has_no_memory() {
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let mut alone = Run::new(config(2));
    alone.steps(&corpus, 1, 14).unwrap();
    for poor in 0..3 {
        for bits in on_ranks(3, |rank| {
            let poor = rank.rank() == poor;
            let mut run = Run::new(config(2)).join(rank);
            run.steps(&corpus, 1, 2).unwrap();
            for divided in [true, false, true] {
                let before = run.bits();
                let mut weights = Rank { weights: &mut run.weights, poor };
                let error = run.trainer.divide_moments(&mut weights, divided).unwrap_err();
                assert!(error.to_string().ends_with(": no memory here"), "{error}");
                assert_eq!(run.trainer.divides_moments(), !divided);
                assert!(run.bits() == before);
                run.steps(&corpus, 1, 2).unwrap();
                run = run.divided(divided);
                run.steps(&corpus, 1, 2).unwrap();
            }
            run.divided(false).bits()
        }) {
            assert!(bits == alone.bits(), "without memory on rank {poor}");
        }
    }
}

/// A rank where something happens before each exchange.
struct Before<F> {
    rank: Threads,
    happens: F,
}

impl<F> std::fmt::Debug for Before<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Before").field("rank", &self.rank).finish_non_exhaustive()
    }
}

impl<F: FnMut() -> Result<()> + Send + Sync> Communicator for Before<F> {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn ranks(&self) -> usize {
        self.rank.ranks()
    }

    fn exchange(&mut self, to: usize, send: &[u8], from: usize, receive: &mut [u8]) -> Result<()> {
        (self.happens)()?;
        self.rank.exchange(to, send, from, receive)
    }
}

#[test]
fn parts_stay_parts_where_the_ranks_lose_each_other() {
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    // What one says to the other: whether there is memory, first moments, second moments.
    for exchanges in 0..3 {
        on_ranks(2, |rank| {
            let first = rank.rank() == 0;
            let left = Arc::new(AtomicUsize::new(usize::MAX));
            let mut run = Run::new(config(2));
            let counted = left.clone();
            let happens = move || match counted.fetch_sub(1, SeqCst) {
                0 => Err(Error::state("out of reach")),
                _ => Ok(()),
            };
            run.trainer.set_communicator(Some(Box::new(Before { rank, happens }))).unwrap();
            let mut run = run.divided(true);
            run.steps(&corpus, 1, 4).unwrap();
            let before = run.bits();
            if first {
                left.store(exchanges, SeqCst);
            }
            let error = run.trainer.divide_moments(&mut run.weights, false).unwrap_err();
            let expected = if first { "out of reach" } else { "rank 0 is gone" };
            assert_eq!(error.to_string(), expected, "{exchanges}");
            assert!(run.trainer.divides_moments() && run.bits() == before, "{exchanges}");
        });
    }
}

#[test]
fn a_checkpoint_that_does_not_appear_is_an_error_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let ids = ids(100);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let name = dir.path().join("taken");
    let texts = on_ranks(3, |rank| {
        let mut run = Run::new(config(2));
        let taken = name.clone();
        // Somebody makes a folder of a file's name while the file is being written.
        let happens = move || {
            let mut there = std::fs::read_dir(taken.parent().unwrap()).unwrap();
            if there.next().is_some() && !taken.exists() {
                std::fs::create_dir(&taken).unwrap();
            }
            Ok(())
        };
        let communicator: Box<dyn Communicator> = match rank.rank() {
            0 => Box::new(Before { rank, happens }),
            _ => Box::new(rank),
        };
        run.trainer.set_communicator(Some(communicator)).unwrap();
        let mut run = run.divided(true);
        run.steps(&corpus, 1, 2).unwrap();
        let Run { trainer, weights, .. } = &mut run;
        let error = checkpoint::save(&name, trainer, weights, None).unwrap_err().to_string();
        checkpoint::save(&dir.path().join("free"), trainer, weights, None).unwrap();
        run.steps(&corpus, 1, 2).unwrap();
        error
    });
    assert!(texts[0].contains("taken") && texts[0].starts_with("rank 0: "), "{texts:?}");
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn where_the_ids_lie_is_no_difference() {
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let mut alone = Run::new(config(2));
    alone.steps(&corpus, 1, 8).unwrap();
    for run in on_ranks(3, |rank| {
        let moves = rank.rank() == 1;
        let mut run = Run::new(config(2)).join(rank);
        run.steps(&corpus, 1, 4).unwrap();
        let copy = ids.clone();
        let moved = Corpus::new(&copy, 2, 4).unwrap();
        run.steps(if moves { &moved } else { &corpus }, 1, 4).unwrap();
        let bits = run.bits();
        // Others at another place are found, if one rank alone looks somewhere else.
        let mut differs = ids.clone();
        differs[150] = (ids[150] + 1) % 11;
        let other = Corpus::new(&differs, 2, 4).unwrap();
        let error = run.steps(if moves { &other } else { &corpus }, 1, 4).unwrap_err();
        assert!(error.to_string().contains("the training ids (CRC-32)"), "{error}");
        bits
    }) {
        assert!(run == alone.bits());
    }
}

#[test]
fn memory_for_the_moments_of_another_model_is_refused() {
    let small = ModelConfig { vocab: 5, dim: 8, layers: 1, heads: 2, ..ModelConfig::modern() };
    let mut small = TrainingWeights::new(Model::new(&small, 1).unwrap());
    let mut run = Run::new(config(1));
    let before = run.bits();
    let room = small.moments_room(0..10).unwrap();
    let error = run.weights.hold_moments(room).unwrap_err().to_string();
    assert!(error.contains("of another model") && run.bits() == before, "{error}");
}
