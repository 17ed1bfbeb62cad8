//! What the API itself is about: spiral, clock and prime positions, symmetry groups.
