//! Training over several ranks: the bits of one, whoever computes what.

#[path = "ranks/failures.rs"]
mod failures;

use cllm_engine::error::Result;
use cllm_engine::train::ranks::{self, Threads};
use cllm_engine::train::{
    Checkpoint, Corpus, Optimizer, Progress, Schedule, ShortWindows, Trainer, TrainerConfig,
    TrainingWeights, Weights, checkpoint,
};
use cllm_engine::{Model, ModelConfig};
use cllm_kernels::Pool;
use std::ops::ControlFlow;

fn model(seed: u64) -> Model {
    let sizes = ModelConfig { vocab: 11, dim: 8, layers: 2, heads: 2, ..ModelConfig::modern() };
    Model::new(&ModelConfig { hidden: 16, context: 8, ..sizes }, seed).unwrap()
}

fn ids(n: u32) -> Vec<u32> {
    (0..n).map(|i| i * i * 7 % 11).collect()
}

fn config(window: u32) -> TrainerConfig {
    TrainerConfig {
        schedule: Schedule::cosine(1e-2, 3, 40),
        window,
        dropout: 0.1,
        short_windows: ShortWindows { positions: 2, part: 0.5 },
        seed: 5,
        clip: 0.5,
        ..TrainerConfig::default()
    }
}

/// A run that stands somewhere.
struct Run {
    trainer: Trainer,
    weights: TrainingWeights<Model>,
    losses: Vec<u32>,
}

/// Everything that a run is, as bits: losses, weights, moments, counters.
type Bits = (Vec<u32>, Vec<u32>, String);

impl Run {
    fn new(config: TrainerConfig) -> Self {
        let weights = TrainingWeights::new(model(3));
        Self { trainer: Trainer::new(config), weights, losses: Vec::new() }
    }

    fn join(mut self, rank: Threads) -> Self {
        self.trainer.set_communicator(Some(Box::new(rank))).unwrap();
        self
    }

    /// With each rank's share of the moments.
    fn divided(mut self, divided: bool) -> Self {
        self.trainer.divide_moments(&mut self.weights, divided).unwrap();
        self
    }

    /// How many moments are kept here.
    fn moments(&mut self) -> usize {
        let mut count = 0;
        self.weights
            .visit(&mut |t| {
                assert_eq!((t.held.len(), t.moment2.len()), (t.moment1.len(), t.moment1.len()));
                count += t.held.len();
                Ok(())
            })
            .unwrap();
        count
    }

    /// So many steps, through the ends of epochs.
    fn steps(&mut self, corpus: &Corpus, threads: usize, steps: usize) -> Result<()> {
        let (pool, mut done) = (Pool::start(threads), 0);
        while done < steps {
            let watch = |progress: &Progress| {
                self.losses.push(progress.step.loss.to_bits());
                ControlFlow::Continue(())
            };
            let Self { trainer, weights, .. } = self;
            done += trainer.run(&pool, weights, corpus, Some(steps - done), watch)?.steps;
        }
        Ok(())
    }

    fn bits(&mut self) -> Bits {
        let mut bits = Vec::new();
        self.weights
            .visit(&mut |t| {
                for values in [t.weights, t.moment1, t.moment2] {
                    bits.extend(values.iter().map(|x| x.to_bits()));
                }
                Ok(())
            })
            .unwrap();
        (self.losses.clone(), bits, format!("{:?}", self.trainer.counters))
    }
}

/// What `work` returns on each of several ranks.
fn on_ranks<T: Send>(count: usize, work: impl Fn(Threads) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> =
            ranks::threads(count).into_iter().map(|rank| scope.spawn(|| work(rank))).collect();
        all.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn any_number_of_ranks_and_threads_trains_to_the_same_bits() {
    let ids = ids(300);
    let corpus = Corpus::new(&ids, 2, 4).unwrap().shuffled(9);
    for window in [1, 2, 3, 4, 6, 7, 8, 13] {
        let plain = (Optimizer::AdamW, false);
        for (optimizer, bfloat16_sums) in [plain, (Optimizer::Descent, false), (plain.0, true)] {
            let config = TrainerConfig { optimizer, bfloat16_sums, ..config(window) };
            // Through the end of an epoch, at which a window is open, to no end of a window.
            let steps = 45;
            let mut alone = Run::new(config);
            alone.steps(&corpus, 1, steps).unwrap();
            let alone = alone.bits();
            for (ranks, threads) in [(1, 2), (2, 1), (3, 2), (4, 1), (7, 1)] {
                for (bits, divided) in on_ranks(ranks, |rank| {
                    let mut run = Run::new(config).join(rank);
                    run.steps(&corpus, threads, steps).unwrap();
                    run.bits()
                })
                .into_iter()
                .zip(on_ranks(ranks, |rank| {
                    let mut run = Run::new(config).join(rank).divided(true);
                    run.steps(&corpus, threads, steps).unwrap();
                    run.divided(false).bits()
                })) {
                    assert!(bits == alone, "{window} batches, {ranks} ranks");
                    assert!(divided == alone, "{window} batches, {ranks} ranks with parts");
                }
            }
        }
    }
}

#[test]
fn a_checkpoint_goes_on_with_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    // In the middle of a window, with one, two and three open sums; at its end; in a later epoch.
    for (window, before) in [(8, 3), (8, 7), (4, 8), (7, 6), (5, 31)] {
        let bfloat16_sums = window == 7;
        let config = |window| TrainerConfig { bfloat16_sums, ..config(window) };
        let mut alone = Run::new(config(window));
        alone.steps(&corpus, 1, before + 20).unwrap();
        let alone = alone.bits();
        for (saving, resuming) in [(1, 3), (3, 1), (2, 7), (4, 2)] {
            let path = dir.path().join(format!("{window}_{before}_{saving}"));
            let losses = on_ranks(saving, |rank| {
                let first = ranks::Communicator::rank(&rank) == 0;
                let mut run = Run::new(config(window)).join(rank);
                run.steps(&corpus, 1, before).unwrap();
                if first {
                    let Run { trainer, weights, .. } = &mut run;
                    checkpoint::save(&path, trainer, weights, Some(&corpus)).unwrap();
                }
                run.losses
            });
            // Divided moments make the same file.
            let second = path.with_extension("divided");
            on_ranks(saving, |rank| {
                let mut run = Run::new(config(window)).join(rank).divided(true);
                run.steps(&corpus, 1, before).unwrap();
                let Run { trainer, weights, .. } = &mut run;
                checkpoint::save(&second, trainer, weights, Some(&corpus)).unwrap();
            });
            assert!(std::fs::read(&path).unwrap() == std::fs::read(&second).unwrap());
            for bits in on_ranks(resuming, |rank| {
                let mut run = Run::new(config(window));
                run.weights = TrainingWeights::new(model(4));
                run = run.join(rank).divided(before % 2 == 0);
                let mut saved = Checkpoint::open(&path).unwrap();
                run.trainer.counters = saved.restore(&mut run.weights).unwrap();
                run.losses.clone_from(&losses[0]);
                run.steps(&corpus, 1, 20).unwrap();
                run.divided(false).bits()
            }) {
                assert!(bits == alone, "{window} {before}: {saving} ranks, then {resuming}");
            }
        }
    }
}

#[test]
fn updates_that_are_left_out_are_left_out_everywhere() {
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let config = TrainerConfig { schedule: Schedule::constant(1e30), clip: 0.0, ..config(3) };
    let mut alone = Run::new(config);
    alone.steps(&corpus, 1, 12).unwrap();
    assert!(alone.trainer.counters.skipped > 0);
    let (losses, weights, _) = alone.bits();
    for ranks in [2, 3] {
        for mut run in on_ranks(ranks, |rank| {
            let divided = ranks == 3;
            let mut run = Run::new(config).join(rank).divided(divided);
            run.steps(&corpus, 1, 12).unwrap();
            run.divided(false)
        }) {
            assert_eq!(run.trainer.counters.skipped, alone.trainer.counters.skipped);
            assert!((losses.clone(), weights.clone()) == (run.losses.clone(), run.bits().1));
        }
    }
}

#[test]
fn they_stop_together() {
    let ids = ids(300);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    for (window, wanted, stopped) in [(4, 6, 8), (4, 8, 8), (1, 5, 5)] {
        for (count, steps) in on_ranks(3, |rank| {
            let impatient = ranks::Communicator::rank(&rank) == 2;
            let mut run = Run::new(config(window)).join(rank);
            let Run { trainer, weights, .. } = &mut run;
            let done = trainer.run(&Pool::serial(), weights, &corpus, None, |progress| {
                match impatient && progress.step.number == wanted {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            let done = done.unwrap();
            assert!(done.stopped);
            (trainer.counters.step, done.steps)
        }) {
            assert_eq!((count, steps), (stopped, stopped as usize), "{window}");
        }
    }
}

#[test]
fn in_the_middle_of_a_window_nothing_is_whole() {
    let ids = ids(100);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    on_ranks(2, |rank| {
        let mut run = Run::new(config(4)).join(rank);
        for left in [3, 2, 1, 0] {
            let Run { trainer, weights, .. } = &mut run;
            trainer.next_step(&Pool::serial(), weights, &corpus, 0.01).unwrap().unwrap();
            match left {
                0 => trainer.check_whole().unwrap(),
                _ => {
                    let text = trainer.check_whole().unwrap_err().to_string();
                    assert!(text.contains(&format!("{left} steps before its end")), "{text}");
                    assert!(trainer.set_communicator(None).is_err());
                }
            }
        }
        // The last of them sums over what all have computed: a quarter of the bytes each.
        assert!(run.trainer.traffic().unwrap().bytes > 0);
    });
}

#[test]
fn what_differs_is_found_before_the_first_step() {
    let (ids, mut other_ids) = (ids(100), ids(100));
    other_ids[50] ^= 1;
    let told = |change: &(dyn Fn(&mut Run) -> bool + Sync)| {
        let texts = on_ranks(3, |rank| {
            let odd = ranks::Communicator::rank(&rank) == 1;
            let mut run = Run::new(config(2)).join(rank);
            let before = run.bits();
            let others = odd && change(&mut run);
            let corpus = Corpus::new(if others { &other_ids } else { &ids }, 2, 4).unwrap();
            let text = run.steps(&corpus, 1, 4).unwrap_err().to_string();
            assert!(run.losses.is_empty());
            if !odd {
                assert!(run.bits() == before);
            }
            text
        });
        assert!(texts[1..].iter().all(|text| *text == texts[0]), "{texts:?}");
        texts.into_iter().next().unwrap()
    };
    let text = told(&|run| {
        run.trainer.config.clip = 2.0;
        false
    });
    assert_eq!(text, "the ranks differ in the clipping: 0.5 on rank 0, 2 on rank 1");
    assert!(told(&|_| true).starts_with("the ranks differ in the training ids (CRC-32): "));
    let text = told(&|run| {
        run.weights = TrainingWeights::new(model(4));
        false
    });
    assert!(text.starts_with("the ranks differ in weights and moments"), "{text}");
    let text = told(&|run| {
        run.trainer.counters.step = 1;
        false
    });
    assert_eq!(text, "the ranks differ in the step: 0 on rank 0, 1 on rank 1");
}

#[test]
fn each_rank_keeps_its_part_of_the_moments() {
    let ids = ids(100);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    // A tensor of several chunks, through which parts end.
    let large = |rank: Option<Threads>| {
        let sizes =
            ModelConfig { vocab: 11, dim: 64, layers: 1, heads: 2, ..ModelConfig::modern() };
        let model = Model::new(&ModelConfig { hidden: 640, context: 8, ..sizes }, 1).unwrap();
        let mut run = Run::new(config(2));
        run.weights = TrainingWeights::new(model);
        rank.into_iter().fold(run, Run::join)
    };
    let mut alone = large(None);
    alone.steps(&corpus, 1, 5).unwrap();
    let all = alone.moments();
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    checkpoint::save(&whole, &mut alone.trainer, &mut alone.weights, None).unwrap();
    for ranks in [2, 3, 5] {
        let (bits, kept): (Vec<_>, Vec<_>) = on_ranks(ranks, |rank| {
            // From whole moments to parts, and back.
            let mut run = large(Some(rank));
            run.steps(&corpus, 1, 2).unwrap();
            run = run.divided(true);
            run.steps(&corpus, 1, 2).unwrap();
            let kept = run.moments();
            run = run.divided(false).divided(true);
            assert!(run.trainer.divides_moments() && run.trainer.set_communicator(None).is_err());
            run.steps(&corpus, 1, 1).unwrap();
            checkpoint::save(&parts, &mut run.trainer, &mut run.weights, None).unwrap();
            // And back, for each its part.
            run.weights
                .visit(&mut |t| {
                    t.moment1.fill(7.0);
                    t.moment2.fill(7.0);
                    Ok(())
                })
                .unwrap();
            Checkpoint::open(&whole).unwrap().restore(&mut run.weights).unwrap();
            (run.divided(false).bits(), kept)
        })
        .into_iter()
        .unzip();
        assert!(std::fs::read(&whole).unwrap() == std::fs::read(&parts).unwrap());
        let (_, all_bits, counters) = alone.bits();
        assert!(bits.iter().all(|bits| (&bits.1, &bits.2) == (&all_bits, &counters)), "{ranks}");
        assert_eq!(kept.iter().sum::<usize>(), all);
        assert!(kept.iter().all(|&kept| kept.abs_diff(all / ranks) <= 1 << 14), "{kept:?}");
    }
}

#[test]
fn rounded_sums_take_half_of_the_bytes() {
    let ids = ids(100);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let run = |divided, bfloat16_sums| {
        let done = on_ranks(2, |rank| {
            let config = TrainerConfig { bfloat16_sums, ..config(2) };
            let mut run = Run::new(config).join(rank).divided(divided);
            run.steps(&corpus, 1, 2).unwrap();
            let first = run.trainer.traffic().unwrap().bytes;
            run.steps(&corpus, 1, 2).unwrap();
            let sent = run.trainer.traffic().unwrap().bytes - first;
            let weights = run.divided(false).bits().1;
            (sent, weights)
        });
        done.into_iter().next().unwrap()
    };
    let mut parameters = 0;
    model(3).view().params.visit(|_, _, t| parameters += t.len() as u64);
    let ((whole, exact), (halves, rounded)) = (run(false, false), run(false, true));
    assert_ne!(exact, rounded);
    // Half of the parameters in each of two directions, and some bytes of agreement; of divided moments
    // the weights come back as they are.
    let near = |sent: u64, expected: u64| assert!(sent.abs_diff(expected) < 1000, "{sent}");
    near(whole, 4 * parameters);
    near(halves, 2 * parameters);
    // Parts end where chunks of the norm do, so that these are not equal; what goes out is padded.
    let ((parts, same), (half_parts, same_rounded)) = (run(true, false), run(true, true));
    assert!((same, same_rounded) == (exact, rounded));
    assert!(half_parts < parts && parts < whole + 4 * parameters / 2, "{half_parts} {parts}");
}

#[test]
fn divided_moments_are_nobodys_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ids = ids(100);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let nowhere = dir.path().join("none/state");
    let texts = on_ranks(3, |rank| {
        let mut run = Run::new(config(2)).join(rank).divided(true);
        run.steps(&corpus, 1, 2).unwrap();
        let Run { trainer, weights, .. } = &mut run;
        // A file that can't be written is an error of all, and costs nothing else.
        let failed = checkpoint::save(&nowhere, trainer, weights, None).unwrap_err();
        let alone = trainer.update(&Pool::serial(), weights, Optimizer::AdamW, 0.1).unwrap_err();
        assert!(alone.to_string().contains("divided among the ranks"), "{alone}");
        run.steps(&corpus, 1, 2).unwrap();
        let Run { mut trainer, mut weights, .. } = run;
        // Another trainer has parts before it, and this one weights with all moments.
        let mut other = Trainer::new(config(1));
        let error = other.update(&Pool::serial(), &mut weights, Optimizer::AdamW, 0.1).unwrap_err();
        assert_eq!(error.to_string(), "the moments are divided among ranks");
        let mut whole = TrainingWeights::new(model(3));
        let error = trainer.next_step(&Pool::serial(), &mut whole, &corpus, 0.1).unwrap_err();
        assert!(error.to_string().contains("no longer divided"), "{error}");
        failed.to_string()
    });
    assert!(texts[0].contains("none"), "{texts:?}");
    assert!(texts[1..].iter().all(|text| *text == format!("rank 0: {}", texts[0])), "{texts:?}");
}

#[test]
fn a_rank_that_dies_ends_the_others() {
    let ids = ids(300);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    for text in on_ranks(3, |rank| {
        let dies = ranks::Communicator::rank(&rank) == 1;
        let mut run = Run::new(config(3)).join(rank).divided(true);
        run.steps(&corpus, 1, 6).unwrap();
        (!dies).then(|| run.steps(&corpus, 1, 6).unwrap_err().to_string())
    })
    .into_iter()
    .flatten()
    {
        assert!(text.ends_with(" is gone"), "{text}");
    }
}
