//! Training checkpoints: all that a run needs to go on as if it had not been interrupted, bit for
//! bit. `docs/FORMAT.md` has the bytes; the same files are written and read by the C library.

use super::batch::Corpus;
use super::best::{Array, Best};
use super::division::AllMoments;
pub use super::notes::{DataMark, Notes, checksum, words_checksum};
pub use super::prefix::Prefix;
use super::prefix::narrow;
use super::reduction::Place;
use super::trainer::{Counters, Trainer};
use super::tree;
use super::weights::{Tensor, Weights};
use crate::error::{Error, Result};
use crate::file::container::{self, Container, Entries};
use crate::file::{self, Problem};
use crate::model::{ModelRef, Part};
use crate::nn::products::TrainingPrecision;
use crate::system::atomic::{self, Pending};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Writes a checkpoint in the form of `<model>.state`: to a temporary file in the same folder,
/// flushed to the disk, renamed. `corpus` is what the run is over, so that a run that goes on over
/// other data can be told. Ranks that [divide](Trainer::divide_moments) the moments make this call
/// together: the first one writes the file, and the others return when it has what it needs of them.
///
/// # Errors
/// The file can't be written: one that stood there is still the old one. Memory, and those of the
/// weights. Of divided moments, those of all ranks and of their communicator.
pub fn save(
    path: &Path,
    trainer: &mut Trainer,
    weights: &mut dyn Weights,
    corpus: Option<&Corpus>,
) -> Result<()> {
    let (data, precision) = (corpus.map(DataMark::of), trainer.config.precision);
    let (arithmetic, bfloat16_sums) = (precision.arithmetic(), trainer.config.bfloat16_sums);
    let notes = Notes { data, precision, arithmetic, bfloat16_sums, ..Notes::default() };
    let prepared = prepare(path, Prefix::State, trainer, &notes, None, weights)?;
    trainer.all_saved(prepared.map_or(Ok(()), Pending::commit))
}

/// [`save`], in any form, with any notes and the best weights so far, up to the point where the file
/// appears; `None` on ranks that gave the first one their moments. What becomes of the file they hear by
/// [`Trainer::all_saved`].
///
/// # Errors
/// As [`save`].
pub fn prepare(
    path: &Path,
    prefix: Prefix,
    trainer: &mut Trainer,
    notes: &Notes,
    best: Option<&Best>,
    weights: &mut dyn Weights,
) -> Result<Option<Pending>> {
    let counters = trainer.counters;
    let Some(mut moments) = trainer.all_moments(weights)? else { return Ok(None) };
    let mut content = |entries: &mut Entries| {
        entries_of(entries, &counters, notes, weights, &mut moments)?;
        best.map_or(Ok(()), |best| best_entries(entries, best))
    };
    let written = write(path, &prefix.bytes(&counters), &mut content);
    moments.end(written).map(Some)
}

fn write(
    path: &Path,
    prefix: &[u8],
    content: &mut dyn FnMut(&mut Entries) -> Result<(), Problem>,
) -> Result<Pending> {
    let mut inner = None;
    let written = atomic::prepare(path, |out| {
        container::write(out, prefix, content).map_err(|problem| match problem {
            Problem::Io(error) => error,
            other => {
                let text = other.to_string();
                inner = Some(Problem::at(path)(other));
                io::Error::other(text)
            }
        })
    });
    inner.map_or(written, Err)
}

fn key(what: &str, part: Part, layer: usize) -> String {
    format!("{what}/{}/{layer}", part.name())
}

/// The sums of an open window, the largest first.
fn sum_key(index: usize, part: Part, layer: usize) -> String {
    match index {
        0 => key("acc", part, layer),
        _ => key(&format!("acc{index}"), part, layer),
    }
}

fn entries_of(
    e: &mut Entries,
    c: &Counters,
    notes: &Notes,
    weights: &mut dyn Weights,
    moments: &mut AllMoments,
) -> Result<(), Problem> {
    let (model, _) = weights.pass()?;
    e.u64("vocab", model.vocab as u64)?;
    e.u64("dim", model.dim as u64)?;
    e.u64("layers", model.params.layers.len() as u64)?;
    e.u64("max_length", model.max_length as u64)?;
    e.u64("updates", c.updates)?;
    e.u64("skipped", c.skipped)?;
    e.f64("gradient_norm", c.gradient_norm)?;
    e.i32("accumulation_step", narrow(c.accumulated))?;
    e.i32("current_batch_offset", narrow(c.offset))?;
    e.i32("total_batches", notes.total_batches)?;
    e.f32("current_loss", c.loss)?;
    e.f32("learning_rate", c.learning_rate)?;
    e.f32("loss_scale", notes.loss_scale)?;
    e.i32("loss_scale_steps", notes.loss_scale_steps)?;
    if !notes.config.is_empty() {
        e.bytes("config", &notes.config)?;
    }
    if !notes.options.is_empty() {
        e.bytes("options", &notes.options)?;
    }
    if notes.precision != TrainingPrecision::F32 {
        e.bytes("precision", notes.precision.name().as_bytes())?;
        e.bytes("arithmetic", notes.arithmetic.as_bytes())?;
    }
    if notes.bfloat16_sums {
        e.bytes("sums", SUMS)?;
    }
    e.bytes("heads", &heads(&model))?;
    if i32::try_from(c.offset).is_err() {
        e.u64("far_batch_offset", c.offset as u64)?;
    }
    if let Some(data) = &notes.data {
        e.u64("ids", data.ids)?;
        e.u64("ids_crc32", u64::from(data.checksum))?;
        e.u64("batch_size", data.sequences)?;
        e.u64("sequence_length", data.positions)?;
        if let Some(seed) = data.seed {
            e.u64("window_seed", seed)?;
        }
        if let Some(words) = data.words {
            e.u64("words_crc32", u64::from(words))?;
        }
    }
    e.floats("spiral", model.spiral)?;
    drop(model);
    let (mut failed, mut start) = (Ok(()), 0);
    weights.visit(&mut |t| {
        if failed.is_ok() {
            let open = tree::open_sums(c.accumulated).min(t.accumulated.len());
            let sums = t.accumulated[..open].iter().map(|sum| Some(&**sum));
            // Without an open window the first one has an entry all the same, with no value.
            let sums = sums.chain((open == 0).then_some(None)).enumerate();
            failed = e
                .floats(&key("w", t.part, t.layer), Some(t.weights))
                .and_then(|()| moment_entries(e, &t, moments, start))
                .and_then(|()| {
                    let mut sums = sums;
                    sums.try_for_each(|(i, sum)| e.floats(&sum_key(i, t.part, t.layer), sum))
                });
            start += t.weights.len();
        }
        Ok(())
    })?;
    failed
}

/// The moments of a tensor that begins at parameter `start`, whoever has them.
fn moment_entries(
    e: &mut Entries,
    t: &Tensor,
    moments: &mut AllMoments,
    start: usize,
) -> Result<(), Problem> {
    let arrays = [("m1", Place::Moment1, &*t.moment1), ("m2", Place::Moment2, &*t.moment2)];
    arrays.into_iter().try_for_each(|(what, place, here)| {
        let key = key(what, t.part, t.layer);
        if !moments.divided() {
            return e.floats(&key, Some(here));
        }
        let first = start + t.held.start;
        e.floats_by(&key, t.weights.len(), |at, out| {
            let held = |range: Range<usize>, out: &mut [f32]| {
                out.copy_from_slice(&here[range.start - first..range.end - first]);
            };
            Ok(moments.read(place, start + at, out, held)?)
        })
    })
}

/// How sums that are rounded to bfloat16 are noted.
const SUMS: &[u8] = b"bf16";

fn best_entries(e: &mut Entries, best: &Best) -> Result<(), Problem> {
    let Some((step, loss)) = best.record() else { return Ok(()) };
    e.u64("best_step", u64::from(step))?;
    e.f64("best_held_out_loss", loss)?;
    best.arrays().iter().try_for_each(|a| e.floats(&key("best", a.part, a.layer), Some(&a.values)))
}

/// Heads of each layer, 0 without attention, as little-endian words.
fn heads(model: &ModelRef) -> Vec<u8> {
    let heads = |attention: Option<u32>| attention.unwrap_or(0).to_le_bytes();
    let layers = model.params.layers.iter();
    layers.flat_map(|l| heads(l.attention.as_ref().map(|a| a.heads as u32))).collect()
}

/// A checkpoint of this library's, read through once: its checksum holds.
pub struct Checkpoint {
    path: PathBuf,
    saved: Container<BufReader<File>>,
    counters: Counters,
    notes: Notes,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut f = f.debug_struct("Checkpoint");
        f.field("path", &self.path).field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// What a checkpoint file is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Opened {
    /// One of this library's.
    Checkpoint(Checkpoint),
    /// One that the original library wrote, or no checkpoint at all: the counters of its prefix,
    /// and what follows that.
    Original(Counters, Vec<u8>),
}

/// Opens a checkpoint file of any of its forms.
///
/// # Errors
/// A file that can't be read, is shorter than its prefix, or has a block that is damaged.
pub fn open(path: &Path, prefix: Prefix) -> Result<Opened> {
    let (file, len) = file::open(path)?;
    let mut file = BufReader::new(file);
    let mut bytes = [0; 40];
    let bytes = &mut bytes[..prefix.len()];
    let counters = file.read_exact(bytes).ok().and_then(|()| prefix.counters(bytes));
    let Some(counters) = counters else {
        let n = prefix.len();
        let problem = format!("shorter than the {n} bytes of its counters");
        return Err(Error::file(path, problem));
    };
    if !container::begins_here(&mut file).map_err(Error::io(path))? {
        let mut rest = Vec::new();
        let left = usize::try_from(len).unwrap_or(usize::MAX) - prefix.len();
        cllm_kernels::memory::reserve("a checkpoint", &mut rest, left)?;
        file.take(left as u64).read_to_end(&mut rest).map_err(Error::io(path))?;
        return Ok(Opened::Original(counters, rest));
    }
    let read = || -> Result<Checkpoint, Problem> {
        let mut saved = Container::open(file, prefix.len(), len)?;
        let counters = counters_of(&mut saved, counters)?;
        let notes = notes_of(&mut saved)?;
        Ok(Checkpoint { path: path.to_path_buf(), saved, counters, notes })
    };
    read().map(Opened::Checkpoint).map_err(Problem::at(path))
}

fn counters_of<R: Read + Seek>(
    saved: &mut Container<R>,
    prefix: Counters,
) -> Result<Counters, Problem> {
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    let offset = if saved.contains("far_batch_offset") {
        let offset = saved.u64("far_batch_offset")?;
        usize::try_from(offset).map_err(|_| Problem::content("its offset is no array size"))?
    } else {
        count(saved.i32("current_batch_offset")?) as usize
    };
    Ok(Counters {
        offset,
        accumulated: count(saved.i32("accumulation_step")?),
        updates: saved.u64("updates")?,
        skipped: saved.u64("skipped")?,
        gradient_norm: saved.f64("gradient_norm")?,
        learning_rate: saved.f32("learning_rate")?,
        loss: saved.f32("current_loss")?,
        ..prefix
    })
}

fn notes_of<R: Read + Seek>(saved: &mut Container<R>) -> Result<Notes, Problem> {
    // Checkpoints of older versions say nothing of the data.
    let data = match saved.contains("ids") {
        false => None,
        true => Some(DataMark {
            ids: saved.u64("ids")?,
            checksum: saved.u64("ids_crc32")? as u32,
            sequences: saved.u64("batch_size")?,
            positions: saved.u64("sequence_length")?,
            seed: match saved.contains("window_seed") {
                true => Some(saved.u64("window_seed")?),
                false => None,
            },
            words: match saved.contains("words_crc32") {
                true => Some(saved.u64("words_crc32")? as u32),
                false => None,
            },
        }),
    };
    let precision = match saved.contains("precision") {
        false => TrainingPrecision::F32,
        true => TrainingPrecision::named(&saved.bytes("precision")?).ok_or_else(|| {
            Problem::content("its precision is one that this version does not know")
        })?,
    };
    let bfloat16_sums = saved.contains("sums");
    if bfloat16_sums && saved.bytes("sums")? != SUMS {
        return Err(Problem::content("its sums are of a kind that this version does not know"));
    }
    Ok(Notes {
        data,
        precision,
        arithmetic: match saved.contains("arithmetic") {
            true => String::from_utf8_lossy(&saved.bytes("arithmetic")?).into_owned(),
            false => String::new(),
        },
        bfloat16_sums,
        total_batches: saved.i32("total_batches")?,
        loss_scale: saved.f32("loss_scale")?,
        loss_scale_steps: saved.i32("loss_scale_steps")?,
        config: match saved.contains("config") {
            true => saved.bytes("config")?,
            false => Vec::new(),
        },
        options: match saved.contains("options") {
            true => saved.bytes("options")?,
            false => Vec::new(),
        },
    })
}

impl Checkpoint {
    /// Opens a checkpoint that [`save`] or the C library's `cllm_save_checkpoint` wrote.
    ///
    /// # Errors
    /// A file that can't be read, is damaged, or was written by the original library.
    pub fn open(path: &Path) -> Result<Self> {
        match open(path, Prefix::State)? {
            Opened::Checkpoint(checkpoint) => Ok(checkpoint),
            Opened::Original(..) => Err(Error::file(path, "is not a checkpoint of this library")),
        }
    }

    /// How far the run was.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What else it holds.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Puts weights, moments and open sums where they belong; the counters to go on with. The
    /// arrays go one by one from the file to their places: no second copy of them is made.
    ///
    /// # Errors
    /// A model of other sizes, heads or parts than that of the checkpoint, or no memory: nothing
    /// has changed then. An error of the file system while the arrays are read leaves the weights
    /// unusable until a checkpoint is restored.
    pub fn restore(&mut self, weights: &mut dyn Weights) -> Result<Counters> {
        let restored = self.check(weights).and_then(|()| self.fill(weights));
        restored.map_err(Problem::at(&self.path))?;
        Ok(self.counters)
    }

    /// The best weights of the run; those of none where it kept none. To be called before
    /// [`restore`](Self::restore), whose failure leaves all as it was.
    ///
    /// # Errors
    /// Arrays of other lengths than those of `weights`, or no memory.
    pub fn best(&mut self, weights: &mut dyn Weights) -> Result<Best> {
        self.read_best(weights).map_err(Problem::at(&self.path))
    }

    fn read_best(&mut self, weights: &mut dyn Weights) -> Result<Best, Problem> {
        let saved = &mut self.saved;
        if !saved.contains("best_step") {
            return Ok(Best::default());
        }
        let step = saved.u64("best_step")?;
        let step = u32::try_from(step)
            .map_err(|_| Problem::content(format!("its best step, {step}, is no step")))?;
        let loss = saved.f64("best_held_out_loss")?;
        let mut arrays = Vec::new();
        for (part, layer, t) in weights.pass()?.0.params.tensors() {
            let name = key("best", part, layer);
            if !saved.has_floats(&name, t.len())? {
                return Err(Problem::content(format!("the array {name} is missing")));
            }
            let mut array = Array::new(part, layer, t.len())?;
            saved.read_floats(&name, &mut array.values)?;
            arrays.push(array);
        }
        Ok(Best::kept(step, loss, arrays))
    }

    /// Whether it has exactly the arrays of this model, and the memory for them is there.
    fn check(&mut self, weights: &mut dyn Weights) -> Result<(), Problem> {
        let saved = &mut self.saved;
        let (model, _) = weights.pass()?;
        for (name, here) in [
            ("vocab", model.vocab),
            ("dim", model.dim),
            ("layers", model.params.layers.len()),
            ("max_length", model.max_length),
        ] {
            let there = saved.u64(name)?;
            if there != here as u64 {
                return Err(Problem::content(format!("{name} is {there}, the model's is {here}")));
            }
        }
        if saved.contains("heads") {
            let (there, here) = (saved.bytes("heads")?, heads(&model));
            let differs = |(a, b): (&[u8; 4], &[u8; 4])| (a != b).then_some((*a, *b));
            let mut pairs = there.as_chunks::<4>().0.iter().zip(here.as_chunks::<4>().0);
            if let Some((a, b)) = pairs.find_map(differs) {
                let (there, here) = (u32::from_le_bytes(a), u32::from_le_bytes(b));
                return Err(Problem::content(format!(
                    "it was trained with {there} heads, the model has {here}"
                )));
            }
        }
        let spiral = model.spiral.map_or(0, <[f32]>::len);
        if saved.has_floats("spiral", spiral)? != model.spiral.is_some() {
            return Err(Problem::content("spiral positions are in one of file and model only"));
        }
        drop(model);
        let (mut count, mut fits) = (0, Ok(()));
        let open = tree::open_sums(self.counters.accumulated);
        weights.visit(&mut |t| {
            count += 1;
            let len = t.weights.len();
            if fits.is_ok() {
                fits = fitting(saved, t.part, t.layer, len);
            }
            // No memory where there is nothing to put into it. Versions that added up one after the
            // other have one sum, to which zeros are added then.
            if matches!(has_sum(saved, 0, t.part, t.layer, len), Ok(true)) {
                tree::reserve_sums(t.accumulated, open.max(1), len)?;
            }
            Ok(())
        })?;
        fits?;
        let there = saved.keys().filter(|key| key.starts_with("w/")).count();
        if there != count {
            return Err(Problem::content(format!("{there} weight arrays, the model has {count}")));
        }
        Ok(())
    }

    /// Fills every array; one that the checkpoint has not becomes zero.
    fn fill(&mut self, weights: &mut dyn Weights) -> Result<(), Problem> {
        let saved = &mut self.saved;
        if let Some(spiral) = weights.spiral_mut()? {
            saved.read_floats("spiral", spiral)?;
        }
        let mut filled = Ok(());
        weights.visit(&mut |t| {
            let (part, layer) = (t.part, t.layer);
            let len = t.weights.len();
            let moments = [("m1", t.moment1), ("m2", t.moment2)];
            let moments = moments.map(|(what, out)| (key(what, part, layer), t.held.start, out));
            let weights = (key("w", part, layer), 0, t.weights);
            let sums = t.accumulated.iter_mut().enumerate();
            let sums = sums.map(|(i, out)| (sum_key(i, part, layer), 0, &mut out[..len]));
            for (name, at, out) in [weights].into_iter().chain(moments).chain(sums) {
                if filled.is_ok() {
                    let there = saved.contains(&name);
                    let read = if there { saved.read_part(&name, len, at, out) } else { Ok(false) };
                    filled = read.map(|there| {
                        if !there {
                            out.fill(0.0);
                        }
                    });
                }
            }
            Ok(())
        })?;
        filled
    }
}

/// Whether the arrays of one tensor are there in its length.
fn fitting<R: Read + Seek>(
    saved: &Container<R>,
    part: Part,
    layer: usize,
    len: usize,
) -> Result<(), Problem> {
    let weights = key("w", part, layer);
    if !saved.has_floats(&weights, len)? {
        return Err(Problem::content(format!(
            "the checkpoint was made without the array {weights}"
        )));
    }
    for what in ["m1", "m2"] {
        saved.has_floats(&key(what, part, layer), len)?;
    }
    (0..=u32::BITS as usize).try_for_each(|i| has_sum(saved, i, part, layer, len).map(drop))
}

/// Whether a sum of an open window is there. All but the first have no entry where there is none.
fn has_sum<R: Read + Seek>(
    saved: &Container<R>,
    index: usize,
    part: Part,
    layer: usize,
    len: usize,
) -> Result<bool, Problem> {
    let name = sum_key(index, part, layer);
    Ok((index == 0 || saved.contains(&name)) && saved.has_floats(&name, len)?)
}
