//! Headers, tokens and lattice points as values: nothing here touches a file.

use crate::border::ffi;
use crate::headers::cllm::{CLLM_VERSION, CLLMHeader, CLLMLatticePoint, CLLMToken, MAX_NEIGHBORS};
use cllm_compat::lattice::{self, primes, spiral, symmetry};
use cllm_engine::error::Error;
use cllm_engine::system::date;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// A string, "" where it is NULL.
///
/// # Safety
/// As [`ffi::bytes`].
unsafe fn text<'a>(pointer: *const c_char) -> &'a [u8] {
    ffi::bytes(pointer, "a string").unwrap_or(b"")
}

/// Sets a header to the library's defaults: magic "CLLM\1\0\0\0", version 1, architecture 1,
/// vocab_size 50000, embedding_dim 768, num_layers 12, num_heads 12, context_length 2048,
/// symmetry_order 12, golden_ratio 1.618033988749895, timestamp now; everything else 0.
///
/// @param header       overwritten. NULL: nothing happens.
/// @param model_name   cut to 255 bytes (at a character's boundary); NULL means "".
/// @param description  cut to 1023 bytes; NULL means "".
///
/// Not for the header of a model that the library made: its sizes would become wrong.
///
/// # Safety
/// `header` is NULL or a `CLLMHeader`; the strings are NULL or NUL-terminated.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_header_init(
    header: *mut CLLMHeader,
    model_name: *const c_char,
    description: *const c_char,
) {
    // The strings may lie in the header itself, so they are copied into the new one before it
    // replaces it.
    let mut new = zeroed::<CLLMHeader>();
    ffi::set_field(&mut new.magic, b"CLLM\x01");
    ffi::set_field(&mut new.model_name, text(model_name));
    ffi::set_field(&mut new.description, text(description));
    new.version = CLLM_VERSION;
    new.architecture = 1;
    new.vocab_size = 50_000;
    new.embedding_dim = 768;
    new.num_layers = 12;
    new.num_heads = 12;
    new.context_length = 2048;
    new.symmetry_order = 12;
    new.golden_ratio = lattice::GOLDEN_RATIO;
    new.timestamp = date::unix_now();
    ffi::get_uninit(header, "header")?.write(new);
    Ok(())
}

/// A struct of zeros.
fn zeroed<T: ffi::Zeroable>() -> T {
    // SAFETY: all-zero is a value of T, as its implementor vouches.
    unsafe { std::mem::zeroed() }
}

/// Where a number lies on the clock of 12 hours: angle = 2 pi (prime mod 12)/12,
/// radius = 1.618034^(log2 prime), x and y on that circle, z = ln prime/ln 1.618034.
///
/// @param prime   1 or more, need not be prime. 0: every output is set to 0, an error.
/// @param coords  `[3]` floats x, y, z; may be NULL.
/// @param angle   radians, 0 to below 2 pi; may be NULL.
/// @param radius  may be NULL.
///
/// # Safety
/// The outputs are NULL or have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_prime_to_lattice(
    prime: u64,
    coords: *mut f32,
    angle: *mut f32,
    radius: *mut f32,
) {
    let point = spiral::clock_point(prime);
    let (xyz, a, r) = match &point {
        Ok(point) => (point.coords, point.angle, point.radius),
        Err(_) => ([0.0; 3], 0.0, 0.0),
    };
    ffi::set_out(coords.cast(), xyz, "coords")?;
    ffi::set_out(angle, a, "angle")?;
    ffi::set_out(radius, r, "radius")?;
    point.map(drop)
}

/// The smallest prime that is n or more (not the nearest one, despite the name).
///
/// @param n  any number; 2 and below give 2.
/// @return the prime; 0, an error, above 18446744073709551557, the largest 64-bit prime.
///
/// Takes microseconds for every n (the test of Miller and Rabin, which is exact for 64 bits).
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn cllm_nearest_prime(n: u64) -> u64 {
    primes::at_least(n).ok_or_else(|| Error::argument("n", n, "at most 18446744073709551557"))
}

/// The prime of a token: 2 for token 0, else the smallest prime from
/// token_id * floor(ln(token_id + 1) + 1) on.
///
/// @param token_id  any.
/// @return the prime. Larger ids never give smaller primes, but neighbouring ids may share one.
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn cllm_token_to_prime(token_id: u32) -> u64 {
    Ok(primes::of_token(token_id))
}

/// Makes a token: prime_encoding = cllm_token_to_prime(token_id), lattice_coords, spiral_angle and
/// radial_distance by cllm_prime_to_lattice() of it, symmetry_group = the prime mod 12; everything
/// else 0.
///
/// @param token      overwritten; need not be initialised. NULL: nothing happens.
/// @param token_id   the id.
/// @param token_str  cut to 63 bytes (at a character's boundary); NULL means "".
///
/// # Safety
/// `token` is NULL or has room for a `CLLMToken`; `token_str` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_token_create(
    token: *mut CLLMToken,
    token_id: u32,
    token_str: *const c_char,
) {
    let prime = primes::of_token(token_id);
    let point = spiral::clock_point(prime)?;
    let mut new = zeroed::<CLLMToken>();
    new.token_id = token_id;
    new.prime_encoding = prime;
    new.lattice_coords = point.coords;
    new.spiral_angle = point.angle;
    new.radial_distance = point.radius;
    new.symmetry_group = symmetry::group(prime);
    // The string may lie in the token itself.
    ffi::set_field(&mut new.token_str, text(token_str));
    ffi::get_uninit(token, "token")?.write(new);
    Ok(())
}

/// Makes a lattice point: coords, prime_factor = prime, symmetry_group = prime mod 12,
/// resonance = 1/ln(prime + 1); everything else 0, the field `prime` too.
///
/// @param point     overwritten; need not be initialised. NULL: nothing happens.
/// @param point_id  the id.
/// @param x, y, z   coordinates.
/// @param prime     32 bits, as in the C library; 0 gives resonance 0.
///
/// # Safety
/// `point` is NULL or has room for a `CLLMLatticePoint`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_lattice_point_create(
    point: *mut CLLMLatticePoint,
    point_id: u32,
    x: f32,
    y: f32,
    z: f32,
    prime: u32,
) {
    let mut new = zeroed::<CLLMLatticePoint>();
    new.point_id = point_id;
    new.coords = [x, y, z];
    new.prime_factor = u64::from(prime);
    new.symmetry_group = symmetry::group(u64::from(prime));
    if prime > 0 {
        new.resonance = (1.0 / (f64::from(prime) + 1.0).ln()) as f32;
    }
    ffi::get_uninit(point, "point")?.write(new);
    Ok(())
}

/// Euclidean distance of two points' coords.
///
/// @param p1, p2  not changed; may be the same.
/// @return the distance; 0 for NULL.
///
/// # Safety
/// The points are NULL or `CLLMLatticePoint`s.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_lattice_distance(
    p1: *const CLLMLatticePoint,
    p2: *const CLLMLatticePoint,
) -> f32 {
    let (a, b) = (ffi::get(p1, "p1")?, ffi::get(p2, "p2")?);
    Ok(lattice::distance(&a.coords, &b.coords))
}

/// Lists the first 12 points, in the order of the array, that are within `max_distance` of a point
/// and have another point_id: sets point->neighbors and point->neighbor_count (`neighbor_ids` and
/// `num_neighbors` are left alone).
///
/// @param point         the point; may be one of `all_points`.
/// @param all_points    `[num_points]` points.
/// @param num_points    0: none are found; negative: an error, nothing happens.
/// @param max_distance  inclusive; NaN finds none.
///
/// NULL: nothing happens. Not the nearest 12 but the first, as in the C library.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_lattice_find_neighbors(
    point: *mut CLLMLatticePoint,
    all_points: *mut CLLMLatticePoint,
    num_points: c_int,
    max_distance: f32,
) {
    let n = ffi::len(num_points, "num_points")?;
    let mut found = [0u32; MAX_NEIGHBORS];
    let mut count = 0;
    // Reading ends before the point, which may be one of the array, is written.
    let CLLMLatticePoint { point_id: id, coords, .. } = *ffi::get(point, "point")?;
    let near = |p: &&CLLMLatticePoint| {
        p.point_id != id && lattice::distance(&coords, &p.coords) <= max_distance
    };
    let all = ffi::slice(all_points, n, "all_points")?;
    for (slot, p) in found.iter_mut().zip(all.iter().filter(near)) {
        *slot = p.point_id;
        count += 1;
    }
    let point = ffi::get_mut(point, "point")?;
    point.neighbors[..count].copy_from_slice(&found[..count]);
    point.neighbor_count = count as u32;
    Ok(())
}
