//! Products of rows with matrices of 8-bit weights.

use super::blocks;
use super::inputs::{Inputs, STACK};
use super::lanes::{HIGHEST, Lanes, Part, Portable, part};
use super::matrix::{GROUP, Line, Matrix};
use crate::arch::InstructionSet;
use crate::threads::Pool;
use once_cell::sync::Lazy;
use std::cell::RefCell;

/// Bytes of weights of one task, about.
const TASK: usize = 1 << 17;
/// The same where the rows are many: they stay in the second cache, for all rows of the task.
const TASK_OF_MANY: usize = 1 << 16;
/// Rows of a task where there are many; whole tiles of all ways.
const TASK_ROWS: usize = 9 * STACK;

const _: () = assert!(TASK_ROWS.is_multiple_of(HIGHEST));

/// From so many rows on [`way_of_many`] is the faster one: two stacks, for one row more costs as much as
/// a whole one.
const MANY: usize = 32;

/// Computes a part of a product.
pub(super) type Run = unsafe fn(Part);

/// # Safety
/// All of the part is there.
unsafe fn portable(of: Part) {
    // SAFETY: the caller's promise; every processor has these.
    unsafe { part::<Portable, { Portable::WIDE }>(of) }
}

/// The ways that this processor has, best first, of those that an instruction set allows.
pub(super) fn ways(allowed: InstructionSet) -> impl Iterator<Item = Run> {
    #[cfg(target_arch = "x86_64")]
    let found = super::x86::found(allowed);
    #[cfg(target_arch = "aarch64")]
    let found = super::neon::found(allowed);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = {
        _ = allowed;
        std::iter::empty()
    };
    found.chain([portable as Run])
}

fn in_use() -> Run {
    static IN_USE: Lazy<Run> =
        Lazy::new(|| ways(InstructionSet::in_use()).next().unwrap_or(portable));
    *IN_USE
}

/// The way for many rows, where there is another one, of what an instruction set allows. The first call
/// may change a setting of the process (`arch::amx::found`).
pub(super) fn way_of_many(allowed: InstructionSet) -> Option<Run> {
    #[cfg(target_arch = "x86_64")]
    if allowed == InstructionSet::Avx512 {
        return super::amx::way();
    }
    _ = allowed;
    None
}

fn in_use_of_many() -> Run {
    static IN_USE: Lazy<Run> =
        Lazy::new(|| way_of_many(InstructionSet::in_use()).unwrap_or_else(in_use));
    *IN_USE
}

thread_local! {
    /// What the calling thread multiplies, kept from call to call.
    static INPUTS: RefCell<Inputs> = RefCell::default();
}

/// out = x·Wᵀ: `[rows][outputs]` for x `[rows][columns]`, which may be longer. Several matrices are one
/// with the rows of the first, then those of the second, and so on.
///
/// # Panics
/// If there are fewer values in x, the matrices have different numbers of columns, or `out` is of
/// another size; where there is no memory.
pub fn linear(pool: &Pool, out: &mut [f32], x: &[f32], rows: usize, matrices: &[&Matrix]) {
    linear_then(pool, out, x, rows, matrices, |_, _| ());
}

/// [`linear`], then `finish(j, part)` for parts of rows of the result while they are in the cache,
/// each element once: `part` is what some row has from column j on.
///
/// # Panics
/// As [`linear`].
pub fn linear_then(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    rows: usize,
    matrices: &[&Matrix],
    finish: impl Fn(usize, &mut [f32]) + Sync,
) {
    let columns = matrices.first().map_or(0, |w| w.columns());
    INPUTS.with_borrow_mut(|inputs| {
        // A panic becomes an error of the call; growing without asking would end the process.
        if let Err(error) = inputs.reserve(rows, columns) {
            panic!("{error}");
        }
        inputs.quantize(pool, x, rows, columns);
        let run = if rows >= MANY { in_use_of_many() } else { in_use() };
        multiply(run, pool, out, inputs, matrices, &finish);
    });
}

/// Where tasks write disjoint parts of a result.
struct Target(*mut f32);

// SAFETY: tasks write disjoint parts of what is behind the pointer.
unsafe impl Sync for Target {}

impl Target {
    fn at(&self, i: usize) -> *mut f32 {
        self.0.wrapping_add(i)
    }
}

/// [`linear_then`] with the instructions given.
pub(super) fn multiply(
    run: Run,
    pool: &Pool,
    out: &mut [f32],
    x: &Inputs,
    matrices: &[&Matrix],
    finish: &(impl Fn(usize, &mut [f32]) + Sync),
) {
    let (n, columns) = (x.rows(), x.columns());
    let outputs: usize = matrices.iter().map(|w| w.rows()).sum();
    assert!(matrices.iter().all(|w| w.columns() == columns), "matrices of other rows");
    assert!(out.len() == n * outputs, "{} values for {n}×{outputs}", out.len());
    if out.is_empty() {
        return;
    }
    let target = Target(out.as_mut_ptr());
    let group_bytes = columns.max(1) * GROUP;
    let bytes = if n > HIGHEST { TASK_OF_MANY } else { TASK };
    // Four groups are the widest tile.
    let groups = (bytes / group_bytes).next_multiple_of(4).max(4);
    let down = n.div_ceil(TASK_ROWS);
    let across = |w: &Matrix| w.rows().div_ceil(groups * GROUP);
    let tasks: usize = matrices.iter().map(|w| across(w)).sum();
    pool.for_each(tasks * down, |task| {
        // Which matrix, and which of its groups.
        let (mut place, mut column) = (task / down, 0);
        for w in matrices {
            if place >= across(w) {
                place -= across(w);
                column += w.rows();
                continue;
            }
            let first = place * groups;
            let top = task % down * TASK_ROWS;
            let rows = TASK_ROWS.min(n - top);
            let width = (groups * GROUP).min(w.rows() - first * GROUP);
            let column = column + first * GROUP;
            let lines: &[Line] = &w.lines()[first * w.lines_of_group()..];
            let of = Part {
                inputs: x.integers(top / STACK).as_ptr().cast(),
                input_row: x.width(),
                input_scales: x.scales(top / STACK).as_ptr(),
                shifts: x.shifts(top / STACK).as_ptr(),
                first_row: 0,
                lines: lines.as_ptr(),
                scales: w.scales()[first * blocks(columns) * GROUP..].as_ptr(),
                group_lines: w.lines_of_group(),
                blocks: blocks(columns),
                rows,
                columns: width,
                out: target.at(top * outputs + column),
                out_row: outputs,
            };
            // SAFETY: the instructions were found on this processor. Rows top.. of x and groups first..
            // of w are there, as their sizes say, which agree by the checks above; these outputs are
            // inside and this task's alone.
            unsafe { run(of) };
            for i in top..top + rows {
                // SAFETY: likewise.
                let part = unsafe {
                    std::slice::from_raw_parts_mut(target.at(i * outputs + column), width)
                };
                finish(column, part);
            }
            return;
        }
    });
}
