//! Matrix products: the one door to the register tiles.
//!
//! Every element of a result is a sum over k in an order that depends on k alone, so it has the
//! same bits however the work is cut, however many threads share it, and whatever the registers are:
//! chains of fused multiply-adds over `DEPTH` products each, added up from the first to the last.
//! Few rows with a matrix that lies transposed are products of vectors instead ([`dot`]).

use super::tile::{DEPTH, Panel, Tile, Tiles};
use super::vector::{dot, dots};
use crate::memory::scratch::{self, Buffer};
use crate::threads::pool::Pool;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// Rows of a task, about: with one depth of the left matrix they stay in the second cache.
const BLOCK_ROWS: usize = 192;

/// Elements of the result of a task, about: they stay in the second cache from depth to depth.
const BLOCK: usize = 1 << 16;

/// Rows up to which a product with a transposed matrix reads that matrix where it lies, since
/// rearranging it would cost more than multiplying.
const FEW_ROWS: usize = 8;

/// Work below which a product is not worth handing to other threads, in multiply-adds.
const TASK_WORK: usize = 1 << 18;

/// What becomes of the values that a result finds in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// They are overwritten, and not read before.
    Replace,
    /// The result is added to them.
    Add,
}

/// out = a·b, or out += a·b, for out `[m][n]`, a `[m][k]`, b `[k][n]`. `a` and `b` may have any
/// strides that are not negative.
///
/// # Panics
/// If the shapes don't fit together, the columns of `out` don't lie side by side, or `a` or `b`
/// runs backwards.
pub fn matmul(
    pool: &Pool,
    out: ArrayViewMut2<f32>,
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    accumulate: Accumulate,
) {
    multiply(pool, out, None, a, b, accumulate, &|_, _, _: &mut [f32], _: &mut [f32]| ());
}

/// out = a·b as in [`matmul`], then `finish(i, j, part, also)` for parts of rows of the result while
/// they are in the cache, each element once: `part` is what row i has from column j on, `also` the
/// same part of the second matrix, if there is one.
///
/// # Panics
/// As [`matmul`]; the second matrix has to fit as `out` does.
pub fn matmul_then(
    pool: &Pool,
    out: ArrayViewMut2<f32>,
    also: Option<ArrayViewMut2<f32>>,
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    finish: impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync,
) {
    multiply(pool, out, also, a, b, Accumulate::Replace, &finish);
}

/// out_o = w_o · x for the rows w_o of a row-major matrix `[out.len()][x.len()]`.
///
/// # Panics
/// If `w` is not of that size.
pub fn matvec(pool: &Pool, out: &mut [f32], w: &[f32], x: &[f32]) {
    let (n, k) = (out.len(), x.len());
    assert!(w.len() == n * k, "{} weights for {n}×{k}", w.len());
    let rows = |data| Rows { data, stride: k, len: k };
    let target = Target { start: out.as_mut_ptr(), row: n };
    few_rows(pool, target, rows(x), rows(w), [1, n, k], Accumulate::Replace, &|_, _, _| ());
}

/// A left matrix: element (i, p) is at `start + i*row + p*step`.
#[derive(Clone, Copy)]
struct Left {
    start: *const f32,
    row: usize,
    step: usize,
}

/// A matrix that tasks write disjoint parts of.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    start: *mut f32,
    row: usize,
}

impl Left {
    /// Where element (i, p) is.
    fn at(&self, i: usize, p: usize) -> *const f32 {
        self.start.wrapping_add(i * self.row + p * self.step)
    }
}

// SAFETY: read only.
unsafe impl Sync for Left {}
// SAFETY: tasks write disjoint parts of the matrix behind the pointer.
unsafe impl Sync for Target {}

impl Target {
    pub fn new(view: &mut ArrayViewMut2<f32>) -> Self {
        Self { start: view.as_mut_ptr(), row: stride(view.strides(), 0) }
    }

    /// Floats from one row to the next.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Where element (i, j) is.
    pub fn at(&self, i: usize, j: usize) -> *mut f32 {
        self.start.wrapping_add(i * self.row + j)
    }

    /// # Safety
    /// Row i has `len` columns from j on, and no other task has them.
    pub unsafe fn part<'a>(self, i: usize, j: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(i, j), len) }
    }
}

pub(crate) fn stride(strides: &[isize], axis: usize) -> usize {
    strides.get(axis).map_or(0, |s| s.unsigned_abs())
}

/// How the rows and the columns of a product are cut into tasks.
pub(crate) struct Grid {
    /// m, n, k.
    sizes: [usize; 3],
    /// Rows of a task.
    rows: usize,
    /// Columns of a task, whole panels.
    columns: usize,
}

impl Grid {
    /// For panels of `width` columns and tiles, or groups of them, of `height` rows.
    pub fn new((width, height): (usize, usize), [m, n, k]: [usize; 3], threads: usize) -> Self {
        let panels = n.div_ceil(width);
        let high = |tasks: usize| m.div_ceil(tasks.max(1)).next_multiple_of(height);
        // All panels, in tasks of as many each, whose results stay in the cache.
        let most = (BLOCK / width / m.max(1)).max(1);
        let across = panels.div_ceil(panels.div_ceil(most)) * width;
        let (rows, columns) = if m.saturating_mul(n).saturating_mul(k) < TASK_WORK {
            (m, panels * width)
        } else if m >= 4 * BLOCK_ROWS {
            // As many for each thread as for the others.
            (high(m.div_ceil(BLOCK_ROWS).next_multiple_of(threads)), panels * width)
        } else if threads == 1 {
            (m, across)
        } else if panels >= threads {
            // Some for each thread, since one may come late or be slow.
            (m, across.min((panels / (4 * threads)).max(1) * width))
        } else {
            (high(threads.div_ceil(panels)), width)
        };
        Self { sizes: [m, n, k], rows, columns }
    }

    pub fn across(&self) -> usize {
        self.sizes[1].div_ceil(self.columns)
    }

    pub fn down(&self) -> usize {
        self.sizes[0].div_ceil(self.rows)
    }

    /// Rows and columns of a task.
    pub fn part(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let [m, n, _] = self.sizes;
        let (top, first) = (task / self.across() * self.rows, task % self.across() * self.columns);
        (top..m.min(top + self.rows), first..n.min(first + self.columns))
    }
}

/// m, n and k of a product whose matrices fit together; panics where they don't.
pub(crate) fn check(
    out: &ArrayViewMut2<f32>,
    also: Option<&ArrayViewMut2<f32>>,
    a: &ArrayView2<f32>,
    b: &ArrayView2<f32>,
) -> [usize; 3] {
    let ((m, k), (depth, n)) = (a.dim(), b.dim());
    let forwards = |strides: &[isize]| strides.iter().all(|&s| s >= 0);
    assert!(depth == k && out.dim() == (m, n), "{:?} = {:?} · {:?}", out.dim(), a.dim(), b.dim());
    assert!(forwards(a.strides()) && forwards(b.strides()), "a matrix that runs backwards");
    for out in std::iter::once(out).chain(also) {
        let adjacent = n <= 1 || out.strides().get(1) == Some(&1);
        assert!(
            out.dim() == (m, n) && adjacent && forwards(out.strides()),
            "no place for a result"
        );
    }
    [m, n, k]
}

fn multiply(
    pool: &Pool,
    mut out: ArrayViewMut2<f32>,
    mut also: Option<ArrayViewMut2<f32>>,
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    accumulate: Accumulate,
    finish: &(impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync),
) {
    let [m, n, k] = check(&out, also.as_ref(), &a, &b);
    if m == 0 || n == 0 {
        return;
    }
    let target = Target::new(&mut out);
    let second = also.as_mut().map(Target::new);
    let finish = |i: usize, j: usize, part: &mut [f32]| {
        // SAFETY: `also` has the shape of `out`, and the part of `out` is this task's.
        let also = second.map(|also| unsafe { also.part(i, j, part.len()) });
        finish(i, j, part, also.unwrap_or_default());
    };
    if m <= FEW_ROWS
        && let (Some(a), Some(b)) = (rows_of(a), rows_of(b.t()))
    {
        return few_rows(pool, target, a, b, [m, n, k], accumulate, &finish);
    }
    let left =
        Left { start: a.as_ptr(), row: stride(a.strides(), 0), step: stride(a.strides(), 1) };
    let right = Panel {
        b: b.as_ptr(),
        row: stride(b.strides(), 0),
        column: stride(b.strides(), 1),
        k,
        columns: n,
    };
    in_tiles(pool, target, left, right, [m, n, k], accumulate, &finish);
}

/// A matrix whose rows are slices.
#[derive(Clone, Copy)]
struct Rows<'a> {
    data: &'a [f32],
    stride: usize,
    len: usize,
}

impl<'a> Rows<'a> {
    fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..self.len]
    }
}

/// The rows of a matrix, if the values of each lie side by side.
fn rows_of(x: ArrayView2<'_, f32>) -> Option<Rows<'_>> {
    let (rows, len) = x.dim();
    let stride = stride(x.strides(), 0);
    if rows == 0 || (len > 1 && x.strides().get(1) != Some(&1)) {
        return None;
    }
    let all = (rows - 1) * stride + len;
    // SAFETY: from the first value of the first row to the last of the last; the view borrows all
    // of them, and what a wider buffer has between its rows.
    let data = unsafe { std::slice::from_raw_parts(x.as_ptr(), all) };
    Some(Rows { data, stride, len })
}

/// Each row of `b` is read once, for all rows of `a`.
fn few_rows(
    pool: &Pool,
    out: Target,
    a: Rows,
    b: Rows,
    [m, n, k]: [usize; 3],
    accumulate: Accumulate,
    finish: &(impl Fn(usize, usize, &mut [f32]) + Sync),
) {
    /// Floats of the rows of one task, about: 128 KiB.
    const TASK: usize = 1 << 15;
    let add = accumulate == Accumulate::Add;
    let step = if n * k < TASK_WORK / 4 { n } else { (TASK / k.max(1)).max(1) };
    pool.for_each(n.div_ceil(step), |task| {
        let first = task * step;
        let last = n.min(first + step);
        if m == 1 && !add && b.stride == k {
            // SAFETY: columns first..last are this task's.
            let out = unsafe { out.part(0, first, last - first) };
            dots(out, &b.data[first * k..], a.row(0));
            return finish(0, first, out);
        }
        for j in first..last {
            let right = b.row(j);
            for i in 0..m {
                // SAFETY: (i, j) is inside, and column j is this task's.
                let out = unsafe { &mut *out.at(i, j) };
                let sum = dot(a.row(i), right);
                *out = if add { *out + sum } else { sum };
            }
        }
        for i in 0..m {
            // SAFETY: likewise.
            finish(i, first, unsafe { out.part(i, first, last - first) });
        }
    });
}

/// out (+)= left · right in tiles: each task packs the panels of its columns, or finds them packed.
fn in_tiles(
    pool: &Pool,
    out: Target,
    left: Left,
    right: Panel,
    sizes: [usize; 3],
    accumulate: Accumulate,
    finish: &(impl Fn(usize, usize, &mut [f32]) + Sync),
) {
    let tiles = Tiles::in_use();
    let [_, n, k] = sizes;
    let (width, panels) = (tiles.panel(), n.div_ceil(tiles.panel()));
    let grid = Grid::new((width, tiles.height(width)), sizes, pool.threads());
    // Several tasks that need the same panels find them packed.
    let prepared = grid.down() > 1;
    let len = if prepared { panels * width * k } else { 0 };
    scratch::with(Buffer::Panels, len, |packed| {
        let packed = Target { start: packed.as_mut_ptr(), row: width * k };
        if prepared {
            pool.for_each(panels, |j| {
                let panel = right.part(0, j * width, k, width.min(n - j * width));
                // SAFETY: columns of `right`; the scratch has room for all panels.
                unsafe { tiles.pack(panel, packed.at(j, 0)) }
            });
        }
        let packed = prepared.then_some(packed);
        let product = Product { tiles, out, left, right, packed, accumulate };
        pool.for_each(grid.down() * grid.across(), |task| {
            let (rows, columns) = grid.part(task);
            // SAFETY: parts of a grid are inside its matrices and disjoint.
            unsafe { product.part(rows.clone(), columns.clone()) };
            for i in rows {
                // SAFETY: likewise.
                finish(i, columns.start, unsafe { out.part(i, columns.start, columns.len()) });
            }
        });
    });
}

/// What the tasks of a product share.
struct Product<'a> {
    tiles: &'a Tiles,
    out: Target,
    left: Left,
    right: Panel,
    /// All panels of `right`, if they are packed: panel j is row j.
    packed: Option<Target>,
    accumulate: Accumulate,
}

impl Product<'_> {
    /// Computes a part of the result: depth after depth, in each panel after panel, so that what is
    /// in use of both matrices stays in the caches.
    ///
    /// # Safety
    /// The part is inside, and no other task has it.
    unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        let Self { tiles, out, left, right, packed, accumulate } = self;
        let (k, width) = (right.k, tiles.panel());
        let add = *accumulate == Accumulate::Add;
        if k == 0 && !add {
            for i in rows {
                // SAFETY: the caller's promise.
                unsafe { out.part(i, columns.start, columns.len()) }.fill(0.0);
            }
            return;
        }
        let own = if packed.is_some() { 0 } else { DEPTH * width };
        scratch::with(Buffer::Panel, own, |own| {
            for p in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - p);
                for j in columns.clone().step_by(width) {
                    let wide = width.min(columns.end - j);
                    // SAFETY: rows and columns are inside their matrices, and this part of `out` is
                    // the caller's; the panel has whole registers for each row.
                    unsafe {
                        let b = match packed {
                            Some(packed) => packed.at(j / width, p * width).cast_const(),
                            None => {
                                tiles.pack(right.part(p, j, depth, wide), own.as_mut_ptr());
                                own.as_ptr()
                            }
                        };
                        let tile = Tile {
                            k: depth,
                            a: left.at(rows.start, p),
                            a_row: left.row,
                            a_step: left.step,
                            b,
                            b_step: width,
                            out: out.at(rows.start, j),
                            out_row: out.row,
                            columns: wide,
                            add: add || p > 0,
                            far: true,
                        };
                        tiles.rows(rows.len(), tile);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ShapeBuilder, s};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::panic::AssertUnwindSafe;

    fn random(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.7..1.7))
    }

    fn reference(a: ArrayView2<f32>, b: ArrayView2<f32>) -> Array2<f64> {
        a.mapv(f64::from).dot(&b.mapv(f64::from))
    }

    fn close(got: ArrayView2<f32>, want: &Array2<f64>, k: usize) {
        for (got, want) in got.iter().zip(want) {
            let tolerance = 1e-6 * (k as f64).sqrt() * 8.0;
            assert!((f64::from(*got) - want).abs() <= tolerance, "{got} {want}, k = {k}");
        }
    }

    /// Sizes around those of tiles, panels and depths, in each way a matrix can lie.
    #[test]
    fn agrees_with_the_definition() {
        let pool = Pool::start(2);
        for (case, m) in [1, 2, 5, 6, 7, 9, 13, 64, 150].into_iter().enumerate() {
            for (other, n) in [1, 3, 16, 17, 63, 64, 65, 130].into_iter().enumerate() {
                let k = [0, 1, 2, 31, 127, 128, 129, 300][(case + other) % 8];
                let (a, b) = (random(m, k, 1), random(k, n, 2));
                let a_other = Array2::from_shape_vec((m, k).f(), a.t().iter().copied().collect());
                let b_other = Array2::from_shape_vec((k, n).f(), b.t().iter().copied().collect());
                let want = reference(a.view(), b.view());
                let mut first = None;
                for a in [&a, &a_other.unwrap()] {
                    for b in [&b, b_other.as_ref().unwrap()] {
                        for pool in [&Pool::serial(), &pool] {
                            // A result inside a wider buffer, which stays as it is around it.
                            let mut wide = Array2::from_elem((m, n + 3), 7.0);
                            let out = wide.slice_mut(s![.., 1..n + 1]);
                            matmul(pool, out, a.view(), b.view(), Accumulate::Replace);
                            close(wide.slice(s![.., 1..n + 1]), &want, k);
                            let out = wide.slice_mut(s![.., 1..n + 1]);
                            matmul(pool, out, a.view(), b.view(), Accumulate::Add);
                            close(wide.slice(s![.., 1..n + 1]), &(&want * 2.0), k);
                            for edge in [0, n + 1, n + 2] {
                                assert!(wide.column(edge).iter().all(|&x| x == 7.0));
                            }
                            // Few rows are summed up in another order.
                            if m > FEW_ROWS {
                                let first = first.get_or_insert_with(|| wide.clone());
                                assert_eq!(*first, wide, "{m}×{n}×{k}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn large_products_have_the_same_bits_for_any_number_of_threads() {
        for (m, n, k) in [
            (800, 200, 300),
            (800, 900, 140),
            (400, 1000, 150),
            (100, 700, 130),
            (130, 70, 500),
            (4, 3000, 200),
        ] {
            let (a, b) = (random(m, k, 3), random(n, k, 4));
            let mut results = Vec::new();
            for threads in [1, 2, 3, 7] {
                let mut out = Array2::zeros((m, n));
                let pool = Pool::start(threads);
                matmul(&pool, out.view_mut(), a.view(), b.t(), Accumulate::Replace);
                results.push(out);
            }
            close(results[0].view(), &reference(a.view(), b.t()), k);
            assert!(results.iter().all(|r| *r == results[0]));
        }
    }

    #[test]
    fn what_does_not_fit_panics() {
        let refused = |(m, n), left: ArrayView2<f32>, right: ArrayView2<f32>| {
            let mut out = Array2::from_elem((m, n), 7.0);
            let run = || matmul(&Pool::serial(), out.view_mut(), left, right, Accumulate::Replace);
            let panicked = std::panic::catch_unwind(AssertUnwindSafe(run)).is_err();
            panicked && out.iter().all(|&x| x == 7.0)
        };
        let (a, b) = (random(3, 4, 7), random(4, 5, 8));
        assert!(!refused((3, 5), a.view(), b.view()));
        for shape in [(3, 4), (4, 5), (0, 5), (3, 0)] {
            assert!(refused(shape, a.view(), b.view()), "{shape:?}");
        }
        assert!(refused((3, 5), a.slice(s![.., ..3]), b.view()));
        assert!(refused((3, 5), a.slice(s![..;-1, ..]), b.view()));
        let mut sideways = Array2::zeros((5, 3));
        let out = sideways.view_mut().reversed_axes();
        let run = || matmul(&Pool::serial(), out, a.view(), b.view(), Accumulate::Replace);
        assert!(std::panic::catch_unwind(AssertUnwindSafe(run)).is_err());
        let few = || matvec(&Pool::serial(), &mut [0.0; 3], &[0.0; 11], &[0.0; 4]);
        assert!(std::panic::catch_unwind(few).is_err());
    }

    #[test]
    fn every_element_is_finished_once() {
        /// So many places are told apart, and f32 holds their numbers and a sum exactly enough.
        const PLACES: usize = 9973;
        for (m, n, k) in [(3, 40, 20), (800, 70, 30), (800, 900, 3), (400, 1000, 4), (60, 700, 40)]
        {
            let (a, b) = (random(m, k, 5), random(n, k, 6));
            let mut out = Array2::zeros((m, n));
            let mut also = Array2::zeros((m, n));
            let pool = Pool::start(2);
            matmul_then(
                &pool,
                out.view_mut(),
                Some(also.view_mut()),
                a.view(),
                b.t(),
                |i, j, part, also| {
                    for (c, (x, also)) in part.iter_mut().zip(also).enumerate() {
                        *also += *x + ((i * n + j + c) % PLACES) as f32;
                        *x += 1.0;
                    }
                },
            );
            let want = reference(a.view(), b.t());
            close(out.view(), &(&want + 1.0), k);
            let place = Array2::from_shape_fn((m, n), |(i, j)| ((i * n + j) % PLACES) as f64);
            for ((got, want), place) in also.iter().zip(&want).zip(&place) {
                assert!((f64::from(*got) - want - place).abs() < 1e-2);
            }
        }
    }
}
