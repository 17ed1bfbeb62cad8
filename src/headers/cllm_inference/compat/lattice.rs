//! Spiral positions, lattice coordinates and the embeddings made from them.

use crate::border::ffi;
use crate::headers::cllm::{CLLMModel, CLLMToken};
use crate::model::kept;
use crate::model::view;
use cllm_compat::lattice::{self, embedding, spiral, symmetry};
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;

/// Position of a prime on the golden-angle spiral. With n = the number of primes below `prime`
/// (which need not be prime itself), radius = sqrt(n) and angle = n golden angles (2.3999631, the
/// product rounded to single precision) reduced to 0 <= angle < 2 pi.
///
/// @param prime   up to 10^12. Larger ones can't be counted in reasonable time and memory: an
///                error, see cllm_last_error(), that leaves the outputs untouched.
/// @param angle   receives radians.
/// @param radius  receives the radius.
///
/// NULL: nothing happens. Below 16.8 million counting is a look-up in a table that the process
/// shares and grows as needed to 1.5 MiB; at 10^12 it takes about a tenth of a second. Any thread.
///
/// # Safety
/// The outputs are NULL or floats.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_compute_spiral_position(
    prime: u64,
    angle: *mut f32,
    radius: *mut f32,
) {
    // One output at a time, as they might be the same.
    ffi::get(angle, "angle")?;
    ffi::get(radius, "radius")?;
    let (a, r) = spiral::position(prime)?;
    *angle = a;
    *radius = r;
    Ok(())
}

/// Lattice coordinates of a token: with a and r of cllm_compute_spiral_position() and
/// t = 2 pi token_id / 1000, x = r cos a + 0.1 cos t, y = r sin a + 0.1 sin t,
/// z = ln(prime + 1) + 0.1 sin(1.618034 t).
///
/// @param token_id  any.
/// @param prime     up to 10^12, as for cllm_compute_spiral_position().
/// @param coords    `[3]` floats, overwritten; untouched on an error.
///
/// # Safety
/// `coords` is NULL or has 3 elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_map_token_to_lattice(token_id: u32, prime: u64, coords: *mut f32) {
    let out = ffi::slice_mut(coords, 3, "coords")?;
    out.copy_from_slice(&spiral::map_token(token_id, prime)?);
    Ok(())
}

/// Embedding of a token from its lattice coordinates (x, y, z): with k = i + 1 component i is
/// 0.3 (sin(kx/10) + cos(ky/10) + sin(kz/10)) + 0.1 cos(2 pi k (prime mod 12)/12), and the whole is
/// scaled to unit length.
///
/// @param token_id       any.
/// @param prime          up to 10^12, as for cllm_compute_spiral_position().
/// @param embedding_dim  0: nothing happens.
/// @param output         `[embedding_dim]` floats, overwritten; untouched on an error.
///
/// # Safety
/// `output` is NULL or has `embedding_dim` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_lattice_embedding(
    token_id: u32,
    prime: u64,
    embedding_dim: u32,
    output: *mut f32,
) {
    if embedding_dim == 0 {
        return Ok(());
    }
    let out = ffi::slice_mut(output, embedding_dim as usize, "output")?;
    embedding::token(out, token_id, prime)
}

/// Replaces the embeddings of a model by cllm_generate_lattice_embedding() of token t on the t-th
/// prime: 2 for token 0, 3 for token 1, ... Where the model has `tokens` also sets their
/// prime_encoding, lattice_coords and symmetry_group.
///
/// @param model  any model with embeddings, hand-made ones too. NULL or no embeddings: nothing
///               happens.
///
/// These are other primes than those of cllm_token_to_prime(), as in the C library. Contexts notice
/// the change of the weights by themselves.
///
/// # Safety
/// The arrays of the model have the sizes that it states; nothing else uses it during the call.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_lattice_embeddings(model: *mut CLLMModel) {
    kept::floats(model)?;
    let m = view::live(model)?;
    let dim = view::embedding_dim(m)?;
    let rows = match m.embeddings.vocab_size {
        0 => view::vocab_size(m)?,
        n => n as usize,
    };
    let len = product("the embedding matrix", &[rows, dim])?;
    let tokens: &mut [CLLMToken] = if m.tokens.is_null() {
        &mut []
    } else {
        let n = usize::try_from(m.vocab_size).unwrap_or(0);
        ffi::slice_mut(m.tokens, n.min(rows), "model->tokens")?
    };
    let e = ffi::slice_mut(m.embeddings.embeddings, len, "model->embeddings.embeddings")?;
    embedding::table(e, dim, |t, placed| {
        if let Some(token) = tokens.get_mut(t) {
            token.prime_encoding = placed.prime;
            token.lattice_coords = placed.coords;
            token.symmetry_group = symmetry::group(placed.prime);
        }
    })?;
    view::weights_changed(model);
    Ok(())
}

/// The lattice transform: with a_i = 2 pi 1.618034 i/dim the tridiagonal matrix
/// `T[i][i]` = cos a_i cos a_(i-1) (the first factor only for i = 0, the second only in the last row),
/// `T[i][i+1]` = -sin a_i, `T[i+1][i]` = sin a_i cos a_(i-1); for dim = 1 it is `[1]`.
///
/// @param transform  `[dim][dim]` floats, row-major, overwritten.
/// @param dim        NULL or dim <= 0: nothing happens.
///
/// It is not orthogonal: its transpose is not its inverse. Formula kept from the C library.
///
/// # Safety
/// `transform` is NULL or has dim * dim elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_lattice_transform(transform: *mut f32, dim: c_int) {
    let n = ffi::positive(dim, "dim")?;
    let len = product("transform", &[n, n])?;
    embedding::transform(ffi::slice_mut(transform, len, "transform")?, n);
    Ok(())
}

/// Euclidean distance of two tokens' lattice coordinates.
///
/// @param token1_id, prime1  as for cllm_map_token_to_lattice().
/// @param token2_id, prime2  likewise.
/// @return the distance; 0 where a prime is above 10^12, which is an error.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn cllm_lattice_token_distance(
    token1_id: u32,
    prime1: u64,
    token2_id: u32,
    prime2: u64,
) -> f32 {
    let a = spiral::map_token(token1_id, prime1)?;
    let b = spiral::map_token(token2_id, prime2)?;
    Ok(lattice::distance(&a, &b))
}

/// The ids of the k tokens nearest to a token, nearest first; of equally near ones those that come
/// first in the arrays.
///
/// @param token_id, prime  the token to start from, as for cllm_map_token_to_lattice().
/// @param all_tokens       `[num_tokens]` ids to choose from; entries equal to `token_id` don't
///                         count.
/// @param all_primes       `[num_tokens]` their primes.
/// @param num_tokens       number of tokens to choose from.
/// @param k                how many; <= 0: nothing happens.
/// @param neighbors        min(k, num_tokens) ids, overwritten; `token_id` for those that are
///                         missing.
///
/// NULL or a prime above 10^12: nothing happens, an error.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_find_lattice_neighbors(
    token_id: u32,
    prime: u64,
    all_tokens: *mut u32,
    all_primes: *mut u64,
    num_tokens: u32,
    k: c_int,
    neighbors: *mut u32,
) {
    let k = ffi::positive(k, "k")?;
    let n = num_tokens as usize;
    // The inputs are done with before the output is borrowed, as it may be one of them.
    let ids = ffi::slice(all_tokens, n, "all_tokens")?;
    let primes = ffi::slice(all_primes, n, "all_primes")?;
    ffi::get(neighbors, "neighbors")?;
    let nearest = spiral::nearest_tokens((token_id, prime), ids, primes, k)?;
    ffi::slice_mut(neighbors, nearest.len(), "neighbors")?.copy_from_slice(&nearest);
    Ok(())
}
