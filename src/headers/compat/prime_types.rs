//! `prime_types.h`: constants, and types of the original's mathematics.
//!
//! Programs for the C library, and its other modules, use these names; nothing in this library depends
//! on them: the types are layouts, and every function on them is the program's or that of another
//! library. M_PI and its like, and macros that cbindgen can't express, are in `build.rs`.

// The spellings are those of the C library's headers.
#![allow(clippy::approx_constant, clippy::excessive_precision)]

use std::ffi::{c_char, c_int};

/// Digits of a big integer.
pub const MAX_BIGINT_DIGITS: c_int = 1024;
/// Rows and columns of a matrix.
pub const MAX_MATRIX_SIZE: c_int = 256;
/// Dimensions of a hyperdimensional vector.
pub const MAX_HYPERDIM: c_int = 64;
/// Entries of an abacus when none are asked for.
pub const DEFAULT_ABACUS_CAPACITY: c_int = 1000;
/// Symmetry groups of primes: prime mod 12.
pub const SYMMETRY_ORDER: c_int = 12;
/// The golden ratio (1 + sqrt 5)/2.
pub const GOLDEN_RATIO: f64 = 1.618033988749895;
/// The golden ratio.
pub const PHI: f64 = 1.618033988749895;
/// pi.
pub const PI: f64 = 3.14159265358979323846;
/// pi.
pub const PRIME_PI: f64 = 3.14159265358979323846;
/// pi.
pub const LATTICE_PI: f64 = 3.14159265358979323846;
/// The golden ratio.
pub const LATTICE_PHI: f64 = 1.618033988749895;
/// sqrt 5.
pub const LATTICE_SQRT5: f64 = 2.23606797749979;
/// Numerator of lambda = 3/144000.
pub const EINSTEIN_LAMBDA_NUMERATOR: c_int = 3;
/// Denominator of lambda = 3/144000.
pub const EINSTEIN_LAMBDA_DENOMINATOR: c_int = 144000;
/// 144000.
pub const VECTOR_CULMINATION: c_int = 144000;
/// The number below VECTOR_CULMINATION.
pub const TWIN_PRIME_LOWER: c_int = 143999;
/// The number above VECTOR_CULMINATION.
pub const TWIN_PRIME_UPPER: c_int = 144001;
/// Numerator of 355/113, which is pi to 3e-7.
pub const PI_DUST_NUMERATOR: c_int = 355;
/// Denominator of 355/113.
pub const PI_DUST_DENOMINATOR: c_int = 113;
/// A frequency in Hz.
pub const CYMATIC_BASE_432: c_int = 432;
/// A frequency in Hz.
pub const CYMATIC_DNA_528: c_int = 528;
/// A frequency in Hz.
pub const CYMATIC_TRANSFORM_639: c_int = 639;
/// A frequency in Hz.
pub const CYMATIC_AWAKEN_741: c_int = 741;
/// A frequency in Hz.
pub const CYMATIC_INTUITION_852: c_int = 852;
/// A frequency in Hz.
pub const CYMATIC_SPIRIT_963: c_int = 963;
/// Fundamental of the Schumann resonances in Hz.
pub const SCHUMANN_RESONANCE: f64 = 7.83;
/// A frequency in Hz.
pub const GAMMA_BURST_FREQUENCY: c_int = 40;
/// Lunations in a saros.
pub const SAROS_CYCLE: c_int = 223;
/// Lunations in a Metonic cycle.
pub const METONIC_CYCLE: c_int = 235;
/// Years in a Metonic cycle.
pub const METONIC_YEARS: c_int = 19;
/// A number of days.
pub const CROWN_DAYS: c_int = 31;
/// A number of rays.
pub const SOLAR_RAYS: c_int = 7;
/// Divisions of the zodiac.
pub const ZODIAC_DIVISIONS: c_int = 12;
/// 19 * 19.
pub const SQUARE_CIRCLE_MAP: c_int = 361;
/// Degrees of a full turn.
pub const CIRCLE_DEGREES: c_int = 360;
/// Hours of the clock that primes are laid on.
pub const CLOCK_POSITIONS: c_int = 12;
/// The prime 143999.
pub const BOUNDARY_PRIME: c_int = 143999;
/// Entries of a table of small primes.
pub const NUM_SMALL_PRIMES: c_int = 18;
/// Entries of a table of frequencies.
pub const NUM_PHI_FREQS: c_int = 12;
/// Residues modulo 30 that a prime above 5 can have.
pub const NUM_VIABLE_RESIDUES: c_int = 8;
/// Entries of a table of quadratic residues.
pub const NUM_QR_ALLOW: c_int = 2;
/// Entries of a table of frequencies.
pub const NUM_CRNS_FREQ: c_int = 6;
/// Entries of a table of triples.
pub const NUM_VEDIC_TRIPLES: c_int = 6;
/// Modulus of the clock.
pub const CLOCK_MOD: c_int = 12;
/// Modulus of the extended clock.
pub const EXT_CLOCK_MOD: c_int = 30;
/// The golden ratio, as the growth factor of the spiral.
pub const GROWTH_FACTOR: f64 = 1.618033988749895;
/// Components of an embedding of the prime library.
pub const EMBED_DIM: c_int = 15;
/// Numerator of 89/55, a ratio of Fibonacci numbers near the golden ratio.
pub const PHI_NUM: c_int = 89;
/// Denominator of 89/55.
pub const PHI_DEN: c_int = 55;
/// Layers of a table.
pub const RAINBOW_LAYERS: c_int = 12;
/// Bits of a number of arbitrary precision when none are asked for.
pub const DEFAULT_PRECISION_BITS: c_int = 256;
/// Most bits of such a number.
pub const MAX_PRECISION_BITS: c_int = 4096;
/// Fraction bits of a fixed-point number when none are asked for.
pub const FIXED_POINT_BITS_DEFAULT: c_int = 64;
/// Guard bits of an intermediate result.
pub const DUST_GUARD_BITS_STD: c_int = 64;
/// Fewest guard bits.
pub const DUST_GUARD_BITS_MIN: c_int = 32;
/// Most guard bits.
pub const DUST_GUARD_BITS_MAX: c_int = 128;

// Room for the program: no function of the library takes one of these. A `bool` of C may hold any
// byte, so none of them may be made a Rust value from memory of C.

/// A whole number of any size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BigInt {
    /// Its digits in base 2^32, the lowest first.
    pub d: *mut u32,
    /// Digits in use.
    pub len: usize,
    /// Digits there is room for.
    pub capacity: usize,
    /// Digits wanted.
    pub target_len: usize,
    /// Digits of the extended form.
    pub extended_len: usize,
    /// Not 0 for a negative number.
    pub negative: c_int,
    /// Not 0 in the extended form.
    pub extended_mode: c_int,
}
layout!(BigInt, 48, d: 0, len: 8, capacity: 16, target_len: 24, extended_len: 32, negative: 40, extended_mode: 44);

/// A fixed-point number of any size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BigFixed {
    /// The whole part.
    pub integer_part: *mut BigInt,
    /// The fraction.
    pub fractional_part: *mut BigInt,
    /// Not 0 for a negative number.
    pub negative: c_int,
    /// Bits of the fraction.
    pub scale_bits: usize,
}
layout!(BigFixed, 32, integer_part: 0, fractional_part: 8, negative: 16, scale_bits: 24);

/// An entry of a `SeenTable`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SeenNode {
    /// The number.
    pub value: c_int,
    /// The next entry of the bucket, or NULL.
    pub next: *mut SeenNode,
}
layout!(SeenNode, 16, value: 0, next: 8);

/// A hash table of numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SeenTable {
    /// `[num_buckets]`.
    pub buckets: *mut *mut SeenNode,
    /// Buckets.
    pub num_buckets: c_int,
}
layout!(SeenTable, 16, buckets: 0, num_buckets: 8);

/// A list of primes that grows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CrystalAbacus {
    /// `[capacity]`.
    pub primes: *mut c_int,
    /// Primes found.
    pub num_primes: usize,
    /// Primes there is room for.
    pub capacity: usize,
    /// The number to be tried next.
    pub candidate: c_int,
    /// Numbers that were tried.
    pub seen: *mut SeenTable,
}
layout!(CrystalAbacus, 40, primes: 0, num_primes: 8, capacity: 16, candidate: 24, seen: 32);

/// A list of large primes that grows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CrystalAbacusBig {
    /// `[capacity]`.
    pub primes: *mut BigInt,
    /// Primes found.
    pub num_primes: usize,
    /// Primes there is room for.
    pub capacity: usize,
    /// The number to be tried next.
    pub candidate: BigInt,
    /// Index of the next prime.
    pub current_index: u64,
}
layout!(CrystalAbacusBig, 80, primes: 0, num_primes: 8, capacity: 16, candidate: 24, current_index: 72);

/// A matrix.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Matrix {
    /// Rows.
    pub rows: c_int,
    /// Columns.
    pub cols: c_int,
    /// `[rows]` rows of `[cols]`.
    pub data: *mut *mut f64,
}
layout!(Matrix, 16, rows: 0, cols: 4, data: 8);

/// A matrix of whole numbers of any size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BigMatrix {
    /// Rows.
    pub rows: c_int,
    /// Columns.
    pub cols: c_int,
    /// `[rows]` rows of `[cols]` pointers.
    pub data: *mut *mut *mut BigInt,
}
layout!(BigMatrix, 16, rows: 0, cols: 4, data: 8);

/// A vector.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HyperVector {
    /// `[dim]`.
    pub components: *mut f64,
    /// Components.
    pub dim: c_int,
}
layout!(HyperVector, 16, components: 0, dim: 8);

/// A vector of whole numbers of any size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BigHyperVector {
    /// `[dim]` pointers.
    pub components: *mut *mut BigInt,
    /// Components.
    pub dim: c_int,
}
layout!(BigHyperVector, 16, components: 0, dim: 8);

/// A point of a `Lattice`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatticePoint {
    /// x, y, z.
    pub coordinates: [BigInt; 3],
    /// Its prime.
    pub prime_value: BigInt,
    /// Its prime mod 12.
    pub symmetry_group: c_int,
    /// Its resonance.
    pub resonance: f64,
}
layout!(LatticePoint, 208, coordinates: 0, prime_value: 144, symmetry_group: 192, resonance: 200);

/// A lattice of primes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Lattice {
    /// `[capacity]`.
    pub points: *mut LatticePoint,
    /// Points.
    pub num_points: usize,
    /// Points there is room for.
    pub capacity: usize,
    /// x, y, z.
    pub origin: [BigInt; 3],
    /// Its symmetries.
    pub symmetry_order: c_int,
}
layout!(Lattice, 176, points: 0, num_points: 8, capacity: 16, origin: 24, symmetry_order: 168);

/// Where a number stands on the clock.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ClockPosition {
    /// Whole degrees.
    pub degree: c_int,
    /// The angle in radians.
    pub angle_radians: f64,
    /// The hour.
    pub position: c_int,
    /// The quadrant.
    pub quadrant: c_int,
    /// Whether it stands between two quadrants.
    pub on_boundary: bool,
    /// The angle in radians.
    pub theta: f64,
    /// The radius.
    pub r: f64,
    /// The hour.
    pub clock_pos: u8,
}
layout!(ClockPosition, 56, degree: 0, angle_radians: 8, position: 16, quadrant: 20, on_boundary: 24, theta: 32, r: 40, clock_pos: 48);

/// An angle folded into one quadrant.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct QuadrantFold {
    /// The quadrant it came from.
    pub quadrant: c_int,
    /// The angle there.
    pub folded_angle: f64,
    /// Whether x was reflected.
    pub reflected_x: bool,
    /// Whether y was reflected.
    pub reflected_y: bool,
    /// Whether x changed its sign.
    pub flip_x: bool,
    /// Whether y changed its sign.
    pub flip_y: bool,
    /// 1 or -1.
    pub polarity: c_int,
}
layout!(QuadrantFold, 24, quadrant: 0, folded_angle: 8, reflected_x: 16, reflected_y: 17, flip_x: 18, flip_y: 19, polarity: 20);

/// A sphere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatticeSphere {
    /// x of the centre.
    pub center_x: f64,
    /// y of the centre.
    pub center_y: f64,
    /// z of the centre.
    pub center_z: f64,
    /// The radius.
    pub radius: f64,
    /// Its prime.
    pub prime: u64,
}
layout!(LatticeSphere, 40, center_x: 0, center_y: 8, center_z: 16, radius: 24, prime: 32);

/// A vector in the plane.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Vector2D {
    /// x.
    pub x: f64,
    /// y.
    pub y: f64,
}
layout!(Vector2D, 16, x: 0, y: 8);

/// Whole numbers with a^2 + b^2 = c^2, and where they come from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PythagoreanTriple {
    /// a.
    pub a: u64,
    /// b.
    pub b: u64,
    /// c.
    pub c: u64,
    /// Its layer.
    pub layer: c_int,
    /// The larger generator.
    pub p: u64,
    /// The smaller generator.
    pub q: u64,
    /// p/q.
    pub ratio: f64,
}
layout!(PythagoreanTriple, 56, a: 0, b: 8, c: 16, layer: 24, p: 32, q: 40, ratio: 48);

/// Whole numbers with a^2 + b^2 = c^2.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VedicTriple {
    /// a.
    pub a: u64,
    /// b.
    pub b: u64,
    /// c.
    pub c: u64,
}
layout!(VedicTriple, 24, a: 0, b: 8, c: 16);

/// A point in twelve dimensions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct M12Point {
    /// The coordinates.
    pub coordinates: [f64; 12],
    /// Its prime.
    pub prime: u64,
    /// Its index.
    pub index: u64,
}
layout!(M12Point, 112, coordinates: 0, prime: 96, index: 104);

/// A number by its residues.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatticeEmbed15D {
    /// Fifteen residues.
    pub residues: [u64; 15],
    /// The number.
    pub value: u64,
}
layout!(LatticeEmbed15D, 128, residues: 0, value: 120);

/// A second name of `LatticeEmbed15D`.
pub type LatticeEmbed = LatticeEmbed15D;

/// All that a prime is mapped to.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_snake_case)] // names of the C library
pub struct CompleteClockMapping {
    /// Its place on the clock.
    pub clock: ClockPosition,
    /// The angle in radians.
    pub theta: f64,
    /// The radius.
    pub r: f64,
    /// An exponent.
    pub O_exp: f64,
    /// A value.
    pub L_value: f64,
    /// Its point in twelve dimensions.
    pub m12: M12Point,
    /// Its residues.
    pub embed: LatticeEmbed15D,
    /// Its triple.
    pub psi: PythagoreanTriple,
}
layout!(CompleteClockMapping, 384, clock: 0, theta: 56, r: 64, O_exp: 72, L_value: 80, m12: 88, embed: 200, psi: 328);

/// A row of a table.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_snake_case)] // names of the C library
pub struct KnownArtifact {
    /// A value.
    pub L_value: f64,
    /// A name.
    pub artifact: *const c_char,
    /// A text.
    pub description: *const c_char,
}
layout!(KnownArtifact, 24, L_value: 0, artifact: 8, description: 16);

/// What a `PrimeRainbowNode` holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RainbowEntry {
    /// A prime.
    pub prime: *mut BigInt,
}
layout!(RainbowEntry, 8, prime: 0);

/// A node of a tree of primes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PrimeRainbowNode {
    /// Its prime.
    pub entry: RainbowEntry,
    /// `[child_count]`.
    pub children: *mut *mut PrimeRainbowNode,
    /// Children.
    pub child_count: c_int,
}
layout!(PrimeRainbowNode, 24, entry: 0, children: 8, child_count: 16);

/// A tree of primes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PrimeRainbowTable {
    /// Its root.
    pub root: *mut PrimeRainbowNode,
    /// Primes.
    pub count: c_int,
    /// Whether it is stable.
    pub is_stable: bool,
    /// A series.
    pub fold_progression: [f64; 12],
    /// A series.
    pub negative_space: [f64; 12],
}
layout!(PrimeRainbowTable, 208, root: 0, count: 8, is_stable: 12, fold_progression: 16, negative_space: 112);

/// Figures about such objects.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PrimeMathStats {
    /// Depth of the lattice.
    pub lattice_depth: usize,
    /// Primes that are kept.
    pub prime_cache_size: usize,
    /// Primes in the tree.
    pub rainbow_table_count: usize,
    /// Whether the tree is stable.
    pub rainbow_stable: c_int,
    /// Its similarity to itself.
    pub rainbow_self_similarity: f64,
    /// Primes that an abacus found.
    pub abacus_primes_generated: usize,
}
layout!(PrimeMathStats, 48, lattice_depth: 0, prime_cache_size: 8, rainbow_table_count: 16, rainbow_stable: 24, rainbow_self_similarity: 32, abacus_primes_generated: 40);
