//! Reading the record of a run: comma-separated values under a line of column names.

use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use crate::text::files;
use std::path::Path;

/// The first line of a record of epochs, as `save_metrics_csv` of the C library writes it; by this
/// such a file is known.
pub const EPOCHS_HEAD: &str = "epoch,train_loss,val_loss,learning_rate";

/// A value at a step, or an epoch.
pub type Point = (f64, f64);

/// What a record says, as far as it is finite, in the order of the file.
#[derive(Debug, Default, PartialEq)]
pub struct History {
    /// Whether the points lie at epochs, in a file without steps.
    pub by_epoch: bool,
    /// Training loss.
    pub training: Vec<Point>,
    /// Loss of the held-out text.
    pub validation: Vec<Point>,
    /// Learning rate.
    pub learning_rate: Vec<Point>,
    /// Training loss in bits per byte of the text.
    pub training_bits: Vec<Point>,
    /// Loss of the held-out text, likewise.
    pub validation_bits: Vec<Point>,
    /// The order-0 entropy of the held-out text, in bits per byte: what a byte costs where nothing is
    /// known but how often each comes.
    pub order0: Option<f64>,
}

/// Where the columns stand; only the first and the loss must be there.
struct Columns {
    x: usize,
    training: usize,
    validation: Option<usize>,
    learning_rate: Option<usize>,
    training_bits: Option<usize>,
    validation_bits: Option<usize>,
    order0: Option<usize>,
}

/// Reads the columns `step` (or else `epoch`), `train_loss`, `val_loss`, `learning_rate`,
/// `train_bits_per_byte`, `val_bits_per_byte` and `order0_bits_per_byte` (whose last value counts), found
/// by their names; others are left alone. A value that is empty or not finite is no point. A last line
/// without its end was cut off and does not count.
pub fn read(path: &Path) -> Result<History> {
    let bytes = files::read_text(path, MAX_TEXT_BYTES)?;
    parse(&bytes).map_err(|problem| match problem {
        Problem::Content(text) => Error::file(path, text),
        Problem::Memory(error) => error,
    })
}

enum Problem {
    Content(String),
    Memory(Error),
}

fn parse(bytes: &[u8]) -> Result<History, Problem> {
    let mut lines = bytes.split_inclusive(|&b| b == b'\n').filter_map(|l| l.strip_suffix(b"\n"));
    let head = lines.next().unwrap_or_default();
    let names: Vec<&[u8]> = cells(head).collect();
    let find = |name: &str| names.iter().position(|cell| *cell == name.as_bytes());
    let step = find("step");
    let columns =
        step.or_else(|| find("epoch")).zip(find("train_loss")).map(|(x, training)| Columns {
            x,
            training,
            validation: find("val_loss"),
            learning_rate: find("learning_rate"),
            training_bits: find("train_bits_per_byte"),
            validation_bits: find("val_bits_per_byte"),
            order0: find("order0_bits_per_byte"),
        });
    let Some(columns) = columns else {
        let text = "line 1 does not name the columns step (or epoch) and train_loss";
        return Err(Problem::Content(text.into()));
    };
    let mut history = History { by_epoch: step.is_none(), ..History::default() };
    for (i, line) in lines.enumerate() {
        row(line, &columns, &mut history).map_err(|problem| match problem {
            Problem::Content(text) => Problem::Content(format!("line {}: {text}", i + 2)),
            memory => memory,
        })?;
    }
    Ok(history)
}

fn cells(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

fn row(line: &[u8], columns: &Columns, history: &mut History) -> Result<(), Problem> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let cell = |column: usize| cells(line).nth(column).unwrap_or_default();
    // Numbers are those of C's int and float, so that no picture has to span more.
    let x: i32 =
        number(cell(columns.x))?.ok_or_else(|| Problem::Content("the step is missing".into()))?;
    let add = |points: &mut Vec<Point>, column: Option<usize>| {
        let value = column.map_or(Ok(None), |column| number::<f32>(cell(column)))?;
        if let Some(y) = value.filter(|y| y.is_finite()) {
            points
                .try_reserve(1)
                .map_err(|_| Problem::Memory(Error::memory("the record of a run", 16)))?;
            points.push((f64::from(x), f64::from(y)));
        }
        Ok(())
    };
    add(&mut history.training, Some(columns.training))?;
    add(&mut history.validation, columns.validation)?;
    add(&mut history.learning_rate, columns.learning_rate)?;
    add(&mut history.training_bits, columns.training_bits)?;
    add(&mut history.validation_bits, columns.validation_bits)?;
    if let Some(column) = columns.order0 {
        let value = number::<f32>(cell(column))?.filter(|bits| bits.is_finite());
        history.order0 = value.map(f64::from).or(history.order0);
    }
    Ok(())
}

/// The number in a cell; `None` where it is empty.
fn number<T: std::str::FromStr>(cell: &[u8]) -> Result<Option<T>, Problem> {
    if cell.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(cell);
    let short: String = text.chars().take(40).collect();
    text.parse().map(Some).map_err(|_| Problem::Content(format!("'{short}' is not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match parse(text.as_bytes()) {
            Err(Problem::Content(text)) => text,
            _ => panic!("accepted: {text}"),
        }
    }

    fn history(text: &str) -> History {
        parse(text.as_bytes()).unwrap_or_else(|_| panic!("refused: {text}"))
    }

    #[test]
    fn columns_are_found_by_name() {
        let read = history(
            "step,epoch,train_loss,learning_rate,gradient_norm,val_loss\n\
             1,1,9.5,0.001,3.5,\r\n2,1,8.25,0.002,nan,8.5\n\n",
        );
        assert_eq!(read.training, [(1.0, 9.5), (2.0, 8.25)]);
        assert_eq!(read.validation, [(2.0, 8.5)]);
        assert_eq!(read.learning_rate.len(), 2);
        assert!(!read.by_epoch && read.training_bits.is_empty());
        let read = history(
            "step,train_loss,val_loss,train_bits_per_byte,val_bits_per_byte\n1,4,,3,\n2,4,5,3,3.5\n",
        );
        assert_eq!(read.training_bits, [(1.0, 3.0), (2.0, 3.0)]);
        assert_eq!(read.validation_bits, [(2.0, 3.5)]);
        assert_eq!(read.order0, None);
        let read = history("step,train_loss,order0_bits_per_byte\n1,4,\n2,4,4.75\n3,4,\n4,4,nan\n");
        assert_eq!(read.order0, Some(4.75));
        let read = history("epoch,train_loss,val_loss\n1,2.5,inf\n");
        assert!(read.by_epoch && read.validation.is_empty() && read.learning_rate.is_empty());
        assert_eq!(read.training, [(1.0, 2.5)]);
    }

    #[test]
    fn what_is_not_finite_or_cut_off_is_no_point() {
        let read = history("step,train_loss\n1,nan\n2,1e99\n3,\n4,2.5\n5,2");
        assert_eq!(read.training, [(4.0, 2.5)]);
        assert_eq!(history("step,train_loss\n").training, []);
        // A row may lack cells at its end.
        assert_eq!(history("step,train_loss\n7\n").training, []);
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        assert!(problem("").contains("line 1"));
        assert!(problem("step,train_loss").contains("line 1"));
        assert!(problem("a,b\n1,2\n").contains("train_loss"));
        assert_eq!(problem("step,train_loss\n1,2\nx,3\n"), "line 3: 'x' is not a number");
        assert_eq!(problem("step,train_loss\n1,2 3\n"), "line 2: '2 3' is not a number");
        assert_eq!(problem("step,train_loss\n,2\n"), "line 2: the step is missing");
        assert!(problem("step,train_loss\n99999999999,2\n").contains("99999999999"));
    }
}
