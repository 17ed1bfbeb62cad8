//! Windows whose batches are divided among ranks. Each computes the gradients of some batches that follow
//! each other; their sum is that of [`super::tree`], and so everything after it is the same to the bit on
//! one rank and on many.
//! [`super::reduction`] makes it.

use super::batch::Corpus;
use super::division::{self, Norm};
use super::ranks::{Communicator, Link, Traffic};
use super::reduction::{Buffers, Parts, Place, Portion, Sum};
use super::run::Position;
use super::trainer::{Outcome, Step, Trainer, TrainerConfig};
use super::tree::{self, Forest, Leaves};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::file::crc::add_words;
use crate::train::Counters;
use cllm_kernels::memory::reserve;
use cllm_kernels::{Pool, arch::InstructionSet};
use std::collections::VecDeque;

const WHAT: &str = "the gradients of the ranks";

/// What a trainer keeps to train with other ranks.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    /// Who keeps the moments of which parameters, where they are divided.
    pub(super) division: Option<Parts>,
    /// Losses of steps whose gradients are computed and which are not taken yet, and whether the last
    /// one closes the window.
    losses: VecDeque<f32>,
    closes: bool,
    /// Where the run stood after the latest steps, and over which ids: what else is there was compared
    /// then.
    pub(super) compared: Option<(Counters, (usize, usize))>,
    pub(super) buffers: Buffers,
    pub(super) norm: Norm,
}

impl Trainer {
    /// Trains together with other ranks from now on, or, with `None`, alone. A window of
    /// [`TrainerConfig::window`] batches is divided among them at the first of its steps
    /// ([`next_step`](Self::next_step), [`run`](Self::run), [`epoch`](Self::epoch)); weights, losses and
    /// all else come out the same to the bit for any number of ranks, and of threads on each. Ranks that
    /// get no batch take part in the rest. All of them begin with the same weights and counters, make the
    /// same calls with the same settings and ids, and find out before they train if they do not.
    /// [`step`](Self::step) and what it is made of stay this rank's own: all make the same ones.
    ///
    /// ```
    /// use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingWeights, ranks};
    /// use cllm_engine::{Model, ModelConfig, Pool};
    /// use std::ops::ControlFlow;
    ///
    /// let losses = std::thread::scope(|scope| {
    ///     let ranks: Vec<_> = ranks::threads(2).into_iter().map(|rank| scope.spawn(|| {
    ///         let config = ModelConfig { vocab: 4, dim: 8, layers: 1, heads: 2, ..Default::default() };
    ///         let mut weights = TrainingWeights::new(Model::new(&config, 1).unwrap());
    ///         let mut trainer = Trainer::new(TrainerConfig { window: 3, ..Default::default() });
    ///         trainer.set_communicator(Some(Box::new(rank))).unwrap();
    ///         let ids: Vec<u32> = (0..65).map(|i| i % 4).collect();
    ///         let corpus = Corpus::new(&ids, 2, 4).unwrap();
    ///         let watch = |_: &_| ControlFlow::Continue(());
    ///         trainer.epoch(&Pool::serial(), &mut weights, &corpus, watch).unwrap().mean_loss()
    ///     })).collect();
    ///     ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    /// });
    /// assert_eq!(losses[0], losses[1]);
    /// ```
    ///
    /// # Errors
    /// A rank that is not below the number of ranks, steps of a window that are computed and not
    /// taken yet, or moments that are [divided](Self::divide_moments) among the ranks that there are.
    pub fn set_communicator(&mut self, communicator: Option<Box<dyn Communicator>>) -> Result<()> {
        self.check_whole()?;
        if self.divides_moments() {
            return Err(Error::state("the moments are divided among the ranks"));
        }
        self.shared = match communicator {
            None => None,
            Some(communicator) => Some(Box::new(Shared {
                link: Link::new(communicator)?,
                division: None,
                losses: VecDeque::new(),
                closes: false,
                compared: None,
                buffers: Buffers::default(),
                norm: Norm::default(),
            })),
        };
        Ok(())
    }

    /// What this rank has sent so far; `None` where it trains alone.
    pub fn traffic(&self) -> Option<Traffic> {
        self.shared.as_ref().map(|shared| shared.link.traffic)
    }

    /// An error in the middle of a window that is computed by several ranks: there, no rank has all of
    /// the sum that a checkpoint would need.
    ///
    /// # Errors
    /// That.
    pub fn check_whole(&self) -> Result<()> {
        match self.shared.as_ref().map_or(0, |shared| shared.losses.len()) {
            0 => Ok(()),
            left => Err(Error::state(format!(
                "the ranks are in the middle of a window, {left} steps before its end"
            ))),
        }
    }

    /// Whether a loop over steps that this rank wants to `stop` ends here; `None` where that can't be
    /// said yet, because steps are left that are computed already. Several ranks stop together: all of
    /// them where one wants to.
    ///
    /// # Errors
    /// Those of [`Communicator::exchange`].
    pub fn settle(&mut self, stop: bool) -> Result<Option<bool>> {
        match &mut self.shared {
            None => Ok(Some(stop)),
            Some(shared) if !shared.losses.is_empty() => Ok(None),
            Some(shared) => shared.link.any(stop).map(Some),
        }
    }

    /// [`next_step`](Self::next_step) over the ranks, of at most `most` steps that follow.
    pub(super) fn next_shared_step(
        &mut self,
        shared: &mut Shared,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        learning_rate: f32,
        most: usize,
    ) -> Result<Option<(Step, Position)>> {
        if shared.losses.is_empty() {
            let count = self.portion(corpus, most);
            if count == 0 {
                return Ok(None);
            }
            shared.compute(self, pool, weights, corpus, count)?;
        }
        let Some(loss) = shared.losses.pop_front() else { return Ok(None) };
        let outcome = if shared.losses.is_empty() && shared.closes {
            self.counters.accumulated = 0;
            match shared.division.clone() {
                None => self.update(pool, weights, self.config.optimizer, learning_rate)?,
                Some(parts) => {
                    let optimizer = self.config.optimizer;
                    self.update_by(optimizer, learning_rate, |update, partials| {
                        shared.update(&parts, pool, weights, update, partials)
                    })?
                }
            }
        } else {
            self.counters.accumulated += 1;
            Outcome::Accumulated
        };
        let step = self.count_step(loss, learning_rate, outcome);
        let position = self.advance(corpus);
        if shared.losses.is_empty() {
            shared.compared = Some((self.counters, place(corpus)));
        }
        Ok(Some((step, position)))
    }

    /// How many steps the ranks compute at once: to the end of the window or of the epoch.
    fn portion(&self, corpus: &Corpus, most: usize) -> u32 {
        let window = self.config.window.max(1);
        let left = window.saturating_sub(self.counters.accumulated).max(1) as usize;
        let offset = |batch: usize| {
            let tokens = batch.checked_mul(corpus.rows())?;
            self.counters.offset.checked_add(tokens)
        };
        let there = |batch: &usize| offset(*batch).is_some_and(|offset| corpus.has_batch(offset));
        (0..left.min(most.max(1))).take_while(there).count() as u32
    }

    /// What has to be the same on all ranks, by name. `all`: also what takes a look at every id and
    /// every weight.
    fn fields(
        &self,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        count: u32,
        all: bool,
        division: Option<&Parts>,
    ) -> Result<Vec<(&'static str, String)>> {
        let TrainerConfig {
            optimizer,
            schedule,
            weight_decay,
            clip,
            window,
            beta2,
            dropout,
            short_windows,
            seed,
            precision,
            bfloat16_sums,
        } = self.config;
        let c = &self.counters;
        let place = (c.epoch, c.offset, c.accumulated, count);
        let (mut parameters, mut hasher) = (0, crc32fast::Hasher::new());
        weights.visit(&mut |t| {
            parameters += t.weights.len();
            // Of divided moments each rank has others.
            let moments = [t.moment1, t.moment2].into_iter().filter(|_| division.is_none());
            for values in std::iter::once(t.weights).chain(moments).filter(|_| all) {
                add_words(&mut hasher, values, f32::to_le_bytes);
            }
            Ok(())
        })?;
        let of_all = |value: u32| if all { format!("{value:08x}") } else { String::new() };
        let ids = if all { corpus.ids().checksum() } else { 0 };
        let shape = (corpus.sequences(), corpus.positions());
        Ok(vec![
            ("the instruction set (CLLM_SIMD)", format!("{:?}", InstructionSet::in_use())),
            ("the number of parameters", parameters.to_string()),
            ("the number of training ids", corpus.ids().len().to_string()),
            ("the training ids (CRC-32)", of_all(ids)),
            ("batch size and sequence length", format!("{shape:?}")),
            ("the short windows", format!("{short_windows:?}")),
            ("the order of the batches", format!("{:?}", corpus.seed())),
            ("the batches of an update", window.to_string()),
            ("the optimizer", format!("{optimizer:?}")),
            ("the schedule", format!("{schedule:?}")),
            ("the weight decay", weight_decay.to_string()),
            ("the clipping", clip.to_string()),
            ("beta2", beta2.to_string()),
            ("the dropout", dropout.to_string()),
            ("the seed", seed.to_string()),
            ("the precision", precision.arithmetic()),
            ("the rounding of the sums", bfloat16_sums.to_string()),
            ("the division of the moments", division.is_some().to_string()),
            ("the step", c.step.to_string()),
            ("epoch, offset, open batches and steps to take", format!("{place:?}")),
            ("the number of updates", c.updates.to_string()),
            ("weights and moments (CRC-32)", of_all(hasher.finalize())),
        ])
    }
}

/// Where the ids lie.
fn place(corpus: &Corpus) -> (usize, usize) {
    (corpus.ids().place(), corpus.ids().len())
}

impl Shared {
    /// Computes the next `count` steps up to the sum of their gradients.
    fn compute(
        &mut self,
        trainer: &mut Trainer,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        count: u32,
    ) -> Result<()> {
        let new = self.compared != Some((trainer.counters, place(corpus)));
        let (division, rank) = (self.division.as_ref(), self.link.rank);
        let rounded = trainer.config.bfloat16_sums;
        let fits = division.map_or(Ok(()), |parts| division::check(parts, weights, rank));
        let fields = fits.and_then(|()| trainer.fields(weights, corpus, count, false, division));
        // What is new on one rank, for its ids lie somewhere else, has all of them look at everything.
        let (mut fields, all) = self.link.all_well_and_any(fields, new)?;
        if all {
            let fields_of_all = trainer.fields(weights, corpus, count, true, division);
            fields = self.link.all_well(fields_of_all)?;
        }
        self.link.same(&fields)?;

        let first = trainer.counters.accumulated;
        let (end, window) = (first.saturating_add(count), trainer.config.window.max(1));
        let portion = Portion { first, count, leaves: Leaves { count: end, all: end >= window } };
        let prepared = Sum::new(portion, weights, self.link.ranks, self.division.as_ref(), rounded);
        let prepared = prepared.and_then(|sum| {
            sum.reserve(weights, &mut self.link, &mut self.buffers)?;
            let (losses, places) = self.leaves(trainer, pool, weights, corpus, portion)?;
            Ok((sum, losses, places))
        });
        let (sum, losses, places) = self.link.all_well(prepared)?;

        let ranks = self.link.ranks;
        let most = (count as usize).div_ceil(ranks);
        let mut mine = Vec::new();
        reserve(WHAT, &mut mine, 4 * most)?;
        losses.iter().for_each(|loss| mine.extend(loss.to_le_bytes()));
        mine.resize(4 * most, 0);
        let gathered = self.link.gather(&mine)?;
        for (rank, losses) in gathered.chunks(4 * most).enumerate() {
            let there = portion.share(rank, ranks).len();
            let losses = losses.as_chunks::<4>().0[..there].iter();
            self.losses.extend(losses.map(|bytes| f32::from_le_bytes(*bytes)));
        }
        let mean = 1.0 / window as f32;
        let summed = sum.run(weights, &mut self.link, &mut self.buffers, &places, mean);
        if summed.is_err() {
            self.losses.clear();
        }
        self.closes = portion.leaves.all;
        summed
    }

    /// Losses and gradients of this rank's batches, these added up as far as they are neighbours in the
    /// tree.
    fn leaves(
        &mut self,
        trainer: &mut Trainer,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        portion: Portion,
    ) -> Result<(Vec<f32>, Vec<Place>)> {
        let share = portion.share(self.link.rank, self.link.ranks);
        let (open, rounded) = (tree::open_sums(portion.first), trainer.config.bfloat16_sums);
        let mut forest = Forest::new(portion.leaves);
        let (mut losses, mut places) = (Vec::new(), Vec::new());
        for leaf in share.clone() {
            let loss =
                trainer.pass_ahead(pool, weights, corpus, (leaf - portion.first) as usize)?;
            losses.push(loss);
            if rounded {
                tree::round_gradient(weights)?;
            }
            let there = open + forest.nodes().len();
            let merged = forest.add_leaf(leaf);
            places.truncate(there - open - merged);
            // The last one stays where it is, if nothing is added to it.
            if merged == 0 && leaf + 1 == share.end {
                places.push(Place::Gradient);
            } else {
                tree::add_gradient(weights, there, merged, rounded)?;
                places.push(Place::Sum(there - merged));
            }
        }
        Ok((losses, places))
    }
}
