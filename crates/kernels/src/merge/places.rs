//! Where pairs of each rank stand in a long piece.

use super::{NONE, WHAT};
use crate::memory::reserve;
use crate::{Error, Result};

/// A list of places for each rank.
#[derive(Default)]
pub(super) struct Places {
    /// The entry of the last one of each rank; [`NONE`] without.
    last: Vec<u32>,
    /// Places, and the entries before them.
    entries: Vec<(u32, u32)>,
    /// The last entry that is free again.
    free: u32,
    spare: Vec<u32>,
}

impl Places {
    pub(super) fn clear(&mut self, ranks: usize) -> Result<()> {
        *self = Self { free: NONE, ..Self::default() };
        reserve(WHAT, &mut self.last, ranks)?;
        self.last.resize(ranks, NONE);
        Ok(())
    }

    /// Puts a [`candidate`] into the list of its rank.
    #[inline]
    pub(super) fn put(&mut self, made: u64) -> Result<()> {
        let last = &mut self.last[(made >> 32) as usize];
        let entry = (made as u32, *last);
        if let Some(place) = self.entries.get_mut(self.free as usize) {
            *last = std::mem::replace(&mut self.free, place.1);
            *place = entry;
        } else {
            let bytes = self.entries.len().saturating_mul(size_of::<(u32, u32)>());
            let more = self.entries.try_reserve(1);
            more.map_err(|_| Error::Memory { what: WHAT, bytes })?;
            *last = self.entries.len() as u32;
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The places of a rank, in order; its list is empty then.
    pub(super) fn take(&mut self, rank: u32, places: &mut Vec<u32>) -> Result<()> {
        places.clear();
        let mut next = std::mem::replace(&mut self.last[rank as usize], NONE);
        while let Some(entry) = self.entries.get_mut(next as usize) {
            let bytes = places.len().saturating_mul(size_of::<u32>());
            places.try_reserve(1).map_err(|_| Error::Memory { what: WHAT, bytes })?;
            places.push(entry.0);
            let free = std::mem::replace(&mut self.free, next);
            next = std::mem::replace(&mut entry.1, free);
        }
        // Those of each merge came in order: the list is that backwards, or a few such parts.
        places.reverse();
        if !places.is_sorted() {
            self.sort(places)?;
        }
        Ok(())
    }

    /// By their digits, the last one first: linear.
    fn sort(&mut self, places: &mut Vec<u32>) -> Result<()> {
        const FEW: usize = 1 << 12;
        const BITS: u32 = 11;
        if places.len() <= FEW {
            places.sort_unstable();
            return Ok(());
        }
        self.spare.clear();
        reserve(WHAT, &mut self.spare, places.len())?;
        self.spare.resize(places.len(), 0);
        for shift in [0, BITS, 2 * BITS] {
            let digit = |at: u32| (at >> shift) as usize & ((1 << BITS) - 1);
            let mut starts = [0usize; 1 << BITS];
            places.iter().for_each(|&at| starts[digit(at)] += 1);
            let mut sum = 0;
            starts.iter_mut().for_each(|start| sum += std::mem::replace(start, sum));
            for &at in places.iter() {
                let start = &mut starts[digit(at)];
                self.spare[*start] = at;
                *start += 1;
            }
            std::mem::swap(places, &mut self.spare);
        }
        Ok(())
    }
}
