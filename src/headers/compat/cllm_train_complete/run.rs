//! The run.

use super::CompleteTrainingConfig;
use crate::border::ffi::{self, report};
use crate::headers::cllm_production::{Validation, checkpoints, metrics};
use crate::headers::cllm_training::state::{TRAININGS, with_training};
use crate::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig, loops};
use crate::headers::cllm_training_parallel::optimal;
use cllm_compat::metrics::{Metrics, Record};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_EPOCHS;
use cllm_engine::train::{Decay, EarlyStopping, Schedule};
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The settings of a run, checked and free of pointers.
struct Settings {
    epochs: c_int,
    warmup_epochs: Option<c_int>,
    validation: Option<Validation>,
    validation_interval: c_int,
    stopping: Option<EarlyStopping>,
    checkpoints: Option<PathBuf>,
    checkpoint_interval: c_int,
    metrics_path: Option<PathBuf>,
    pool: Arc<Pool>,
}

/// The path of a string that may be NULL or empty.
///
/// # Safety
/// As [`ffi::path`].
unsafe fn optional_path(pointer: *const c_char) -> Option<PathBuf> {
    ffi::path(pointer, "a path").ok().map(Path::to_path_buf)
}

/// Whether something that happens every `interval` epochs happens after this one.
fn due(epoch: c_int, interval: c_int) -> bool {
    interval > 0 && epoch % interval == 0
}

impl Settings {
    /// # Safety
    /// Non-NULL paths of the configuration are C strings.
    unsafe fn new(c: &mut CompleteTrainingConfig, applied: &CLLMTrainingConfig) -> Result<Self> {
        let (validation_path, folder, metrics_path) = (
            optional_path(c.val_data_path),
            optional_path(c.checkpoint_dir),
            optional_path(c.metrics_path),
        );
        let mut validation = None;
        if c.use_validation != 0 {
            let path = validation_path.ok_or_else(|| Error::null("config->val_data_path"));
            let read = |path: PathBuf| {
                Validation::read(&path, applied.batch_size, applied.sequence_length)
            };
            match path.and_then(read) {
                Ok(set) => validation = Some(set),
                Err(error) => {
                    report(format_args!("no validation: {error}"));
                    c.use_validation = 0;
                }
            }
        }
        let patience = c.early_stop_patience;
        let stopping = EarlyStopping::new(f32::INFINITY, patience);
        let wants_checkpoints = c.use_checkpoints != 0 && c.checkpoint_interval > 0;
        let threads = usize::try_from(c.num_threads).ok().filter(|&n| n > 0);
        Ok(Self {
            epochs: c.num_epochs,
            warmup_epochs: (c.use_lr_schedule != 0).then_some(c.warmup_epochs.max(0)),
            validation,
            validation_interval: c.val_interval,
            stopping: (c.use_early_stopping != 0).then_some(stopping),
            checkpoints: folder.filter(|_| wants_checkpoints),
            checkpoint_interval: c.checkpoint_interval,
            metrics_path: metrics_path.filter(|_| c.use_metrics != 0),
            pool: Pool::shared(threads.unwrap_or(0)),
        })
    }
}

/// Puts the settings of a run into a training object's configuration.
fn apply(config: &mut CLLMTrainingConfig, c: &CompleteTrainingConfig) {
    if c.batch_size > 0 {
        config.batch_size = c.batch_size;
    }
    if c.sequence_length > 0 {
        config.sequence_length = c.sequence_length;
    }
    if c.learning_rate > 0.0 {
        config.learning_rate = c.learning_rate;
        config.initial_learning_rate = c.learning_rate;
    }
    if c.use_grad_clip != 0 {
        config.gradient_clip = c.grad_clip_norm;
    }
}

/// Gives the fields that a run changes their old values back, but the learning rate.
fn restore(config: &mut CLLMTrainingConfig, old: &CLLMTrainingConfig) {
    config.batch_size = old.batch_size;
    config.sequence_length = old.sequence_length;
    config.initial_learning_rate = old.initial_learning_rate;
    config.gradient_clip = old.gradient_clip;
}

/// The learning rates of a run, or `None` to leave them to the object's own schedule.
fn schedule(t: &CLLMTraining, settings: &Settings) -> Option<Schedule> {
    let warmup_epochs = u64::from(settings.warmup_epochs?.unsigned_abs());
    let rows = t.config.batch_size as u64 * t.config.sequence_length as u64;
    let batches = (t.num_tokens as u64).saturating_sub(1) / rows.max(1);
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let total = batches.saturating_mul(u64::from(settings.epochs.unsigned_abs()));
    let base = t.config.initial_learning_rate;
    Some(Schedule {
        decay: Decay::Cosine,
        base,
        floor: 0.01 * base,
        warmup: narrow(batches.saturating_mul(warmup_epochs)),
        // The last batch has the lowest rate.
        end: narrow(total.saturating_sub(1)),
        ..Schedule::default()
    })
}

/// All epochs. Files that can't be written don't end the run; the first such error is returned.
///
/// # Safety
/// As [`train_complete`].
unsafe fn epochs(
    training: *mut CLLMTraining,
    settings: &mut Settings,
    record: &mut Metrics,
) -> Result<()> {
    let mut unwritten = Ok(());
    if let Some(folder) = &settings.checkpoints
        && let Err(source) = fs::create_dir_all(folder)
    {
        unwritten = Err(Error::io(folder)(source));
        settings.checkpoints = None;
    }
    let rates = with_training(training, |t, _| Ok(schedule(t, settings)))?;
    let mut batch = 0;
    for epoch in 0..settings.epochs {
        let number = epoch + 1;
        with_training(training, |t, _| {
            t.current_epoch = epoch;
            t.current_batch_offset = 0;
            Ok(())
        })?;
        let run = loops::run_at(training, &settings.pool, None, || {
            let rate = rates.map(|rates| rates.rate(batch).max(f32::MIN_POSITIVE));
            batch = batch.saturating_add(1);
            rate
        })?;
        let mut stop = run.stopped;
        let mut validation_loss = f32::INFINITY;
        if let Some(set) =
            settings.validation.as_ref().filter(|_| due(number, settings.validation_interval))
        {
            match with_training(training, |t, _| set.evaluate(t, &settings.pool)) {
                Ok(loss) => {
                    validation_loss = loss;
                    stop |= settings.stopping.as_mut().is_some_and(|s| s.check(loss));
                }
                Err(error) => report(format_args!("no validation: {error}")),
            }
        }
        with_training(training, |t, _| {
            record.record(Record {
                epoch: number,
                train_loss: run.mean_loss(),
                validation_loss,
                learning_rate: t.config.learning_rate,
            })
        })?;
        if due(number, settings.checkpoint_interval) {
            let name = format!("checkpoint_epoch_{number}.ckpt");
            unwritten = unwritten.and(checkpoint(training, settings, &name));
        }
        if stop {
            break;
        }
    }
    unwritten.and(checkpoint(training, settings, "final_checkpoint.ckpt"))
}

/// # Safety
/// As [`train_complete`].
unsafe fn checkpoint(training: *mut CLLMTraining, settings: &Settings, name: &str) -> Result<()> {
    let Some(folder) = &settings.checkpoints else { return Ok(()) };
    with_training(training, |t, state| checkpoints::save(t, state, &folder.join(name)))
}

/// # Safety
/// As [`train_complete`].
unsafe fn run(training: *mut CLLMTraining, c: &mut CompleteTrainingConfig) -> Result<()> {
    let epoch_count = ffi::len(c.num_epochs, "num_epochs")?;
    if epoch_count > MAX_EPOCHS {
        return Err(Error::argument("num_epochs", epoch_count, "at most 1000000"));
    }
    if c.use_lll != 0 {
        report("use_lll has no effect: the model keeps its width");
    }
    let (old, applied) = with_training(training, |t, _| {
        let old = t.config;
        apply(&mut t.config, c);
        Ok((old, t.config))
    })?;
    let mut record = Metrics::new(epoch_count);
    let outcome = Settings::new(c, &applied).and_then(|mut settings| {
        let trained = epochs(training, &mut settings, &mut record);
        // A run that did not begin leaves the record of an earlier one.
        let path = settings.metrics_path.filter(|_| trained.is_ok() || !record.is_empty());
        let written = path.map_or(Ok(()), |path| metrics::write_csv(&record, &path));
        trained.and(written)
    });
    with_training(training, |t, _| {
        restore(&mut t.config, &old);
        Ok(())
    })?;
    outcome
}

const VALIDATION_PATH: *const c_char = c"data/training/validation.txt".as_ptr();
const CHECKPOINT_DIR: *const c_char = c"checkpoints".as_ptr();
const METRICS_PATH: *const c_char = c"training_metrics.csv".as_ptr();

fn defaults() -> CompleteTrainingConfig {
    CompleteTrainingConfig {
        num_epochs: 100,
        batch_size: 4,
        sequence_length: 32,
        learning_rate: 0.001,
        num_threads: c_int::try_from(optimal()).unwrap_or(1),
        use_lll: 1,
        lll_target_dim: 64,
        use_advanced_crystalline: 1,
        use_lr_schedule: 1,
        warmup_epochs: 5,
        use_grad_clip: 1,
        grad_clip_norm: 1.0,
        use_validation: 1,
        val_data_path: VALIDATION_PATH,
        val_interval: 5,
        use_early_stopping: 1,
        early_stop_patience: 10,
        use_checkpoints: 1,
        checkpoint_dir: CHECKPOINT_DIR,
        checkpoint_interval: 10,
        use_metrics: 1,
        metrics_path: METRICS_PATH,
    }
}

/// The default settings of a run: 100 epochs, batches of 4 sequences of 32 tokens, learning rate
/// 0.001 with a schedule (5 warm-up epochs), clipping at 1.0, validation on
/// `data/training/validation.txt` every 5 epochs, early stopping after 10 evaluations without
/// improvement, a checkpoint in `checkpoints` every 10 epochs, metrics in `training_metrics.csv`,
/// and a thread for each processor but one.
///
/// @return the settings; their strings are static.
#[unsafe(no_mangle)]
#[c_api(defaults())]
pub extern "C" fn create_default_complete_config() -> CompleteTrainingConfig {
    Ok(defaults())
}

/// Trains for `config->num_epochs` epochs over `training->tokens`, as cllm_train_epoch does,
/// with everything around it:
///
/// - batch size, sequence length and learning rate of `config`, where positive, and clipping,
///   apply to `training->config` during the run. At the end it has its old values back, but for
///   `learning_rate`, which stays that of the last batch.
/// - use_lr_schedule: a linear warm-up over warmup_epochs, then a cosine from the learning rate to
///   1 % of it at the last batch, batch by batch, counted from the start of the run. Without it,
///   the schedule of `training->config` applies.
/// - use_validation: after every val_interval epochs the mean loss on val_data_path, as
///   evaluate_validation computes it. A file that can't be read sets `config->use_validation` to 0.
/// - use_early_stopping: ends the run after early_stop_patience evaluations in a row that do not
///   improve the validation loss by a thousandth; that epoch is recorded and saved like the others.
/// - use_checkpoints: `<checkpoint_dir>/checkpoint_epoch_<n>.ckpt` after every
///   checkpoint_interval epochs and `<checkpoint_dir>/final_checkpoint.ckpt` at the end, for
///   load_checkpoint. The folder is made.
/// - use_metrics: one record for each epoch, numbered from 1, validation loss `inf` where it was not
///   run, written to metrics_path as save_metrics_csv does.
///
/// `current_epoch` is set to the epoch's index before each epoch. A progress callback that returns
/// false ends the run after the record and the checkpoint of its epoch.
///
/// @param training from cllm_training_init, with tokens.
/// @param config   the settings; only `use_validation` may be changed.
/// @return 0; -1 on NULL, a number of epochs outside 0 to 1000000, no tokens, or if a checkpoint or the
///         metrics could not be written: training is then completed all the same.
///
/// # Safety
/// As cllm_train_epoch; `config` is NULL or points to settings whose strings are NULL or C strings.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn train_complete(
    training: *mut CLLMTraining,
    config: *mut CompleteTrainingConfig,
) -> c_int {
    run(training, ffi::get_mut(config, "config")?)?;
    Ok(0)
}

/// train_complete with the default settings, except for the number of epochs, and batch size,
/// sequence length and learning rate, which are those of `training->config`. Writes into
/// `checkpoints` and `training_metrics.csv` of the working directory.
///
/// @param num_epochs 0 to 1000000.
/// @return as train_complete.
///
/// # Safety
/// As cllm_train_epoch.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn train_quick(training: *mut CLLMTraining, num_epochs: c_int) -> c_int {
    TRAININGS.get(training)?;
    let mut config = CompleteTrainingConfig {
        num_epochs,
        batch_size: 0,
        sequence_length: 0,
        learning_rate: 0.0,
        // Nobody asked for what has no effect: no message about it.
        use_lll: 0,
        ..defaults()
    };
    // The strings are static.
    run(training, &mut config)?;
    Ok(0)
}
