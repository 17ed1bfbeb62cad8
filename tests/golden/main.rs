//! Runs every recorded vector under `tests/data/golden` through the exported functions. The README
//! there says what the files hold and how numbers compare.

#![allow(unsafe_code)]

mod case;
mod functions;
mod layers;
mod optimizer;
mod prime;

use case::Case;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The files that must be there; fewer mean that some were lost.
const FUNCTIONS: usize = 109;

#[test]
fn every_golden_vector() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let (mut cases, mut numbers, mut failures) = (0, 0, Vec::new());
    for path in &files {
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let function = file["function"].as_str().unwrap();
        let handler = functions::handler(function)
            .or_else(|| layers::handler(function))
            .or_else(|| optimizer::handler(function))
            .or_else(|| prime::handler(function));
        let Some(handler) = handler else {
            failures.push(format!("{function}: no handler"));
            continue;
        };
        for (i, value) in file["cases"].as_array().unwrap().iter().enumerate() {
            let case = Case::new(value);
            cases += 1;
            match case.compare(&handler(&case)) {
                Ok(n) => numbers += n,
                Err(problem) => failures.push(format!("{function}, case {i}: {problem}")),
            }
        }
    }
    println!(
        "golden: {} functions, {cases} cases, {numbers} values, {} failures",
        files.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(files.len() >= FUNCTIONS, "only {} files", files.len());
}
