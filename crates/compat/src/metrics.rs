//! The record of a run, epoch by epoch.

use cllm_engine::error::{Error, Result};
use cllm_engine::report::history::EPOCHS_HEAD;
use std::fmt::Write;

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Its number.
    pub epoch: i32,
    /// Mean training loss.
    pub train_loss: f32,
    /// Validation loss; infinite where there was none.
    pub validation_loss: f32,
    /// Learning rate at its end.
    pub learning_rate: f32,
}

/// At most a fixed number of records.
#[derive(Debug, Default)]
pub struct Metrics {
    capacity: usize,
    records: Vec<Record>,
}

impl Metrics {
    /// With room for so many; memory is taken as they come.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, records: Vec::new() }
    }

    /// Appends a record; one too many is left out.
    pub fn record(&mut self, record: Record) -> Result<()> {
        if self.records.len() < self.capacity {
            self.records
                .try_reserve(1)
                .map_err(|_| Error::memory("the metrics", size_of::<Record>()))?;
            self.records.push(record);
        }
        Ok(())
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// As comma-separated values, numbers as C's `%.6f` writes them.
    pub fn csv(&self) -> String {
        let mut text = format!("{EPOCHS_HEAD}\n");
        for r in &self.records {
            let values = [r.train_loss, r.validation_loss, r.learning_rate].map(decimal);
            let _ = writeln!(text, "{},{}", r.epoch, values.join(","));
        }
        text
    }
}

fn decimal(x: f32) -> String {
    if x.is_nan() { "nan".into() } else { format!("{:.6}", f64::from(x)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_as_c_prints_it() {
        let mut metrics = Metrics::new(3);
        assert_eq!(metrics.csv(), "epoch,train_loss,val_loss,learning_rate\n");
        let record = |epoch, train_loss, validation_loss, learning_rate| Record {
            epoch,
            train_loss,
            validation_loss,
            learning_rate,
        };
        metrics.record(record(1, 5.25, f32::INFINITY, 1e-3)).unwrap();
        metrics.record(record(-2, f32::NAN, f32::NEG_INFINITY, 4e-7)).unwrap();
        metrics.record(record(3, 0.1234565, 1e10, 0.0)).unwrap();
        metrics.record(record(4, 1.0, 1.0, 1.0)).unwrap();
        let expected = "epoch,train_loss,val_loss,learning_rate\n1,5.250000,inf,0.001000\n\
                        -2,nan,-inf,0.000000\n3,0.123457,10000000000.000000,0.000000\n";
        assert_eq!(metrics.csv(), expected);
    }
}
