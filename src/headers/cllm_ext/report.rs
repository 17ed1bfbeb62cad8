//! Pictures of a run.

use crate::border::ffi;
use cllm_engine::report::{chart, history};
use cllm_engine::system::atomic;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Draws the record of a training run as an SVG picture: training and validation loss over the steps,
/// in bits per byte where the record has them and in nats per token, the best held-out loss, and the
/// learning rate below. The picture needs no other file.
///
/// @param csv_path  comma-separated values, at most 1 GiB, under a line that names the columns:
///                  `step` (or `epoch`) and `train_loss`; `val_loss`, `learning_rate`,
///                  `train_bits_per_byte` and `val_bits_per_byte` are drawn where they are there, and
///                  the last `order0_bits_per_byte` as a mark beside 8; other columns are left alone. Steps are whole numbers.
///                  Values that are empty or not finite are left out, and so is a last line
///                  without its end. The files of train_model and of save_metrics_csv are such.
/// @param svg_path  the picture; appears whole or not at all, and replaces one that is there.
/// @return 0; -1 where the record can't be read, is something else or has no loss, or the picture
///         can't be written: an old one is then still there.
///
/// From any thread; the time grows with the record, the size of the picture does not.
///
/// ```c
/// if (cllm_plot_metrics("checkpoints/metrics.csv", "loss.svg") != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// The paths are NULL or C strings.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_plot_metrics(
    csv_path: *const c_char,
    svg_path: *const c_char,
) -> c_int {
    let (csv, svg) = (ffi::path(csv_path, "csv_path")?, ffi::path(svg_path, "svg_path")?);
    let picture = chart::svg(&history::read(csv)?)?;
    atomic::write(svg, |file| file.write_all(picture.as_bytes()))?;
    Ok(0)
}
