//! `prime_types.h`: constants.
//!
//! Programs for the C library use these names; nothing in this library depends on them. M_PI and its
//! like are in `build.rs`, as they must not clash with those of `<math.h>`.

// The spellings are those of the C library's headers.
#![allow(clippy::approx_constant, clippy::excessive_precision)]

use std::ffi::c_int;

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
