//! `prime_types.h`: constants.
