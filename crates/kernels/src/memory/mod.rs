//! Memory: sizes that are checked, vectors whose growth can fail, floats on cache lines, files seen
//! as memory.

pub mod floats;
pub mod map;
pub(crate) mod scratch;

use crate::error::{Error, Result};
use crate::fault;

/// The product of sizes, or the error that names what they were for.
pub fn product(what: &'static str, sizes: &[usize]) -> Result<usize> {
    sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .filter(|&n| n <= isize::MAX as usize / 8)
        .ok_or(Error::Memory { what, bytes: usize::MAX })
}

/// A vector of `len` default values; an error instead of an abort when there is no memory.
pub fn filled<T: Clone + Default>(what: &'static str, len: usize) -> Result<Vec<T>> {
    fault::point(what)?;
    let mut vec = Vec::new();
    vec.try_reserve_exact(len)
        .map_err(|_| Error::Memory { what, bytes: len.saturating_mul(size_of::<T>()) })?;
    vec.resize(len, T::default());
    Ok(vec)
}

/// Makes room in `vec` for `len` values in all.
pub fn reserve<T>(what: &'static str, vec: &mut Vec<T>, len: usize) -> Result<()> {
    if vec.capacity() < len {
        fault::point(what)?;
        vec.try_reserve_exact(len - vec.len())
            .map_err(|_| Error::Memory { what, bytes: len.saturating_mul(size_of::<T>()) })?;
    }
    Ok(())
}

/// Makes room in `vec` for `more` values behind those that it has, and ahead for some that may follow.
pub fn reserve_more<T>(what: &'static str, vec: &mut Vec<T>, more: usize) -> Result<()> {
    if vec.capacity() - vec.len() < more {
        fault::point(what)?;
        vec.try_reserve(more)
            .map_err(|_| Error::Memory { what, bytes: more.saturating_mul(size_of::<T>()) })?;
    }
    Ok(())
}

/// Makes `vec` hold at least `len` values; what it held may be overwritten by later use.
pub fn grow<T: Clone + Default>(what: &'static str, vec: &mut Vec<T>, len: usize) -> Result<()> {
    if vec.len() < len {
        fault::point(what)?;
        vec.try_reserve_exact(len - vec.len())
            .map_err(|_| Error::Memory { what, bytes: len.saturating_mul(size_of::<T>()) })?;
        vec.resize(len, T::default());
    }
    Ok(())
}

/// A copy of `values`; an error instead of an abort when there is no memory.
///
/// # Errors
/// [`Error::Memory`].
pub fn copied<T: Copy>(what: &'static str, values: &[T]) -> Result<Vec<T>> {
    let mut copy = Vec::new();
    reserve(what, &mut copy, values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}
