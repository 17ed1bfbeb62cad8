//! Moments that are divided among ranks (the first stage of Rajbhandari et al., "ZeRO: Memory optimizations
//! toward training trillion parameter models", 2020): each rank keeps those of its part of the parameters
//! and updates that part, and the updated weights go to everybody. The sums of a window's gradients stay
//! with the owners of the parts, so that an update moves as many bytes as without.

use super::optimizer::{self, CHUNK, Update};
use super::ranks::Link;
use super::reduction::{Buffers, Parts, Place, Width, write_bytes};
use super::shared::Shared;
use super::slots::within;
use super::trainer::Trainer;
use super::weights::Weights;
use crate::error::{Error, Result};
use cllm_kernels::Pool;
use cllm_kernels::memory::{grow, reserve_more};
use std::ops::Range;

const WHAT: &str = "the divided moments";

/// Values of one request, about, and bytes that it takes.
const REQUESTED: usize = 1 << 16;
const REQUEST: usize = 17;

/// Parts that cut no chunk of the norm. They differ by a chunk at most.
fn parts(weights: &mut dyn Weights, ranks: usize) -> Result<Parts> {
    let (mut ends, mut all) = (Vec::new(), 0usize);
    weights.visit(&mut |t| {
        all += t.weights.len();
        reserve_more(WHAT, &mut ends, 1)?;
        ends.push(all);
        Ok(())
    })?;
    Parts::new(ranks, |rank| {
        let wanted = (all as u128 * rank as u128 / ranks as u128) as usize;
        let tensor = ends.partition_point(|&end| end <= wanted);
        let start = if tensor == 0 { 0 } else { ends[tensor - 1] };
        start + (wanted - start) / CHUNK * CHUNK
    })
}

/// Chunks of the norm in `range`.
fn chunks(weights: &mut dyn Weights, range: &Range<usize>) -> Result<usize> {
    let (mut start, mut count) = (0, 0);
    weights.visit(&mut |t| {
        count += within(range, start, t.weights.len()).len().div_ceil(CHUNK);
        start += t.weights.len();
        Ok(())
    })?;
    Ok(count)
}

impl Trainer {
    /// Divides the optimizer's moments among the ranks of the
    /// [communicator](Self::set_communicator): each keeps those of an equal part of the parameters, and
    /// updates that part alone, so that AdamW takes 8/R bytes for each parameter in the place of 8. All
    /// that is computed stays the same to the bit, and an update moves as many bytes as without. What
    /// the moments were stays; new ones are zero. With `divided` false everybody gets all of them. All
    /// ranks make the same call; with one rank, or where it is so already, it does nothing.
    ///
    /// While they are divided, the gradients of a window's end are on each rank those of its part;
    /// [`step`](Self::step) and all else that updates one rank's weights is refused; a
    /// [checkpoint](super::checkpoint::save) is saved by all ranks together, and the file is the same.
    ///
    /// # Errors
    /// Memory on any rank, those of the communicator, and steps of a window that are computed and not
    /// taken yet: nothing has changed then, on any rank.
    pub fn divide_moments(&mut self, weights: &mut dyn Weights, divided: bool) -> Result<()> {
        self.check_whole()?;
        let Some(shared) = &mut self.shared else { return Ok(()) };
        let Shared { link, buffers, division, compared, .. } = &mut **shared;
        if link.ranks == 1 || divided == division.is_some() {
            return Ok(());
        }
        *compared = None;
        // No rank changes anything before all have the memory for it.
        let Some(parts) = division else {
            let ready = parts(weights, link.ranks).and_then(|parts| {
                let room = weights.moments_room(parts.of(link.rank))?;
                Ok((parts, room))
            });
            let (parts, room) = link.all_well(ready)?;
            weights.hold_moments(room)?;
            *division = Some(parts);
            return Ok(());
        };
        let ready = check(parts, weights, link.rank)
            .and_then(|()| parts.reserve(link, buffers))
            .and_then(|()| weights.moments_room(0..usize::MAX));
        let room = link.all_well(ready)?;
        weights.hold_moments(room)?;
        let mut places = [Place::Moment1, Place::Moment2].into_iter();
        let gathered =
            places.try_for_each(|place| parts.gather(weights, link, buffers, place, Width::Whole));
        if let Err(error) = gathered {
            // The ranks have lost each other. This one's part is as it was, and alone again.
            let room = weights.moments_room(parts.of(link.rank))?;
            weights.hold_moments(room)?;
            return Err(error);
        }
        *division = None;
        Ok(())
    }

    /// Whether the moments are [divided](Self::divide_moments) among several ranks.
    pub fn divides_moments(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.division.is_some())
    }

    /// Moments for a checkpoint: on the first rank, or on any where they are not divided. The other ranks
    /// give the first one theirs, piece by piece as it asks for them, until it is done; then there is
    /// nothing for them to write.
    pub(super) fn all_moments(
        &mut self,
        weights: &mut dyn Weights,
    ) -> Result<Option<AllMoments<'_>>> {
        let here = AllMoments { shared: None };
        let Some(shared) = &mut self.shared else { return Ok(Some(here)) };
        let Shared { link, buffers, division: Some(parts), .. } = &mut **shared else {
            return Ok(Some(here));
        };
        let step = self.counters.step.to_string();
        let ready = check(parts, weights, link.rank)
            .and_then(|()| Ok(grow(WHAT, &mut buffers.bytes, 4 * REQUESTED)?));
        link.all_well(ready)?;
        link.same(&[("the step of a checkpoint", step)])?;
        if link.rank == 0 {
            return Ok(Some(AllMoments { shared: Some((link, &mut buffers.bytes, parts)) }));
        }
        give(parts, weights, link, buffers)?;
        link.all_well(Ok(()))?;
        Ok(None)
    }

    /// What came of the files of a [checkpoint](super::checkpoint::prepare). Where the moments are divided
    /// all ranks make this call, and what failed on the first one, which writes the files, failed on all of
    /// them.
    ///
    /// # Errors
    /// That of `here` or of another rank, and those of the communicator.
    pub fn all_saved(&mut self, here: Result<()>) -> Result<()> {
        match &mut self.shared {
            Some(shared) if shared.division.is_some() => shared.link.all_well(here),
            _ => here,
        }
    }
}

/// An error where the moments that are here are not those of this rank's part.
pub(super) fn check(parts: &Parts, weights: &mut dyn Weights, rank: usize) -> Result<()> {
    let (mut start, range) = (0, parts.of(rank));
    let mut fits = true;
    weights.visit(&mut |t| {
        fits &= t.held == within(&range, start, t.weights.len());
        start += t.weights.len();
        Ok(())
    })?;
    if fits && start == parts.of(parts.ranks() - 1).end {
        return Ok(());
    }
    Err(Error::state("the moments are no longer divided as they were among the ranks"))
}

/// The moments of this rank, as the first one asks for them.
fn give(
    parts: &Parts,
    weights: &mut dyn Weights,
    link: &mut Link,
    buffers: &mut Buffers,
) -> Result<()> {
    let own = parts.of(link.rank);
    loop {
        let mut request = [0; REQUEST];
        link.exchange(0, &[], 0, &mut request)?;
        let number = |at: usize| {
            let bytes = request[at..].first_chunk().copied().unwrap_or_default();
            usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (start, end) = (number(1), number(9));
        let place = match request[0] {
            0 => return Ok(()),
            1 => Place::Moment1,
            _ => Place::Moment2,
        };
        if start > end || start < own.start || end > own.end || end - start > REQUESTED {
            return Err(Error::state("the first rank asks for moments of others"));
        }
        let bytes = &mut buffers.bytes[..4 * (end - start)];
        write_bytes(weights, place, start..end, Width::Whole, bytes)?;
        link.exchange(0, bytes, 0, &mut [])?;
    }
}

/// Moments, those of other ranks included.
#[derive(Debug)]
pub(super) struct AllMoments<'a> {
    /// Where they are divided.
    shared: Option<(&'a mut Link, &'a mut Vec<u8>, &'a Parts)>,
}

impl AllMoments<'_> {
    /// Whether they are divided.
    pub fn divided(&self) -> bool {
        self.shared.is_some()
    }

    /// Fills `out` with the moments of `place` from parameter `start` on, counted through all tensors;
    /// `here` has those of this rank's part.
    pub fn read(
        &mut self,
        place: Place,
        start: usize,
        out: &mut [f32],
        here: impl Fn(Range<usize>, &mut [f32]),
    ) -> Result<()> {
        let Some((link, bytes, parts)) = &mut self.shared else {
            here(start..start + out.len(), out);
            return Ok(());
        };
        for rank in 0..link.ranks {
            let wanted = within(&parts.of(rank), start, out.len());
            let (mut at, part) = (start + wanted.start, &mut out[wanted]);
            if rank == link.rank {
                if !part.is_empty() {
                    here(at..at + part.len(), part);
                }
                continue;
            }
            for values in part.chunks_mut(REQUESTED) {
                let end = at + values.len();
                link.exchange(rank, &request(place, at..end), rank, &mut [])?;
                let bytes = &mut bytes[..4 * values.len()];
                link.exchange(rank, &[], rank, bytes)?;
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
                at = end;
            }
        }
        Ok(())
    }

    /// Lets the other ranks go on: `done`, which they hear of.
    pub fn end<T>(self, done: Result<T>) -> Result<T> {
        let Some((link, ..)) = self.shared else { return done };
        let here = match &done {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::state(error.to_string())),
        };
        let told = (1..link.ranks)
            .try_for_each(|rank| link.exchange(rank, &[0; REQUEST], rank, &mut []))
            .and_then(|()| link.all_well(here));
        let done = done?;
        told.map(|()| done)
    }
}

fn request(place: Place, range: Range<usize>) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[0] = if place == Place::Moment1 { 1 } else { 2 };
    request[1..9].copy_from_slice(&(range.start as u64).to_le_bytes());
    request[9..].copy_from_slice(&(range.end as u64).to_le_bytes());
    request
}

impl Shared {
    /// An update by all ranks, each of its part, from the gradient that the owners of the parts have; its
    /// norm.
    pub(super) fn update(
        &mut self,
        parts: &Parts,
        pool: &Pool,
        weights: &mut dyn Weights,
        update: &Update,
        partials: &mut Vec<f64>,
    ) -> Result<f64> {
        let Self { link, buffers, norm, .. } = self;
        let own = parts.of(link.rank);
        let size = optimizer::size(weights)?;
        let ready = parts.reserve(link, buffers).and_then(|()| {
            norm.reserve(weights, link, parts)?;
            pool.step(size, |pool| optimizer::square_sums(pool, weights, &own, partials))
        });
        let count = link.all_well(ready)?;
        let norm = norm.of(weights, link, parts, &partials[..count])?;
        pool.step(size, |pool| optimizer::apply_here(pool, weights, update, norm))?;
        if norm.is_finite() {
            parts.gather(weights, link, buffers, Place::Weights, Width::Whole)?;
        }
        Ok(norm)
    }
}

/// Memory for the norm of a gradient of which each rank has a part.
#[derive(Debug, Default)]
pub(super) struct Norm {
    sums: Vec<f64>,
    bytes: Vec<u8>,
    /// Chunks of the longest part.
    most: usize,
}

impl Norm {
    fn reserve(&mut self, weights: &mut dyn Weights, link: &mut Link, parts: &Parts) -> Result<()> {
        let (mut most, mut all) = (0, 0);
        for rank in 0..parts.ranks() {
            let count = chunks(weights, &parts.of(rank))?;
            most = count.max(most);
            all += count;
        }
        self.most = most;
        grow(WHAT, &mut self.sums, all)?;
        grow(WHAT, &mut self.bytes, 8 * most)?;
        link.reserve(8 * most)
    }

    /// That of the sums of squares of all ranks' chunks, of which this one has `here`.
    fn of(
        &mut self,
        weights: &mut dyn Weights,
        link: &mut Link,
        parts: &Parts,
        here: &[f64],
    ) -> Result<f64> {
        let mine = &mut self.bytes[..8 * self.most];
        for (bytes, sum) in mine.as_chunks_mut::<8>().0.iter_mut().zip(here) {
            *bytes = sum.to_le_bytes();
        }
        let (gathered, mut all) = (link.gather(mine)?, 0);
        for (rank, bytes) in gathered.chunks((8 * self.most).max(1)).enumerate() {
            let sums = &mut self.sums[all..][..chunks(weights, &parts.of(rank))?];
            for (sum, bytes) in sums.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *sum = f64::from_le_bytes(*bytes);
            }
            all += sums.len();
        }
        optimizer::norm(weights, &self.sums[..all])
    }
}
