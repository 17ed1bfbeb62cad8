//! The record of a run that was written as CSV, and its picture.

pub mod chart;
pub mod history;
