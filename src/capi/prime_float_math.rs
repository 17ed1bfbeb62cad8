//! `prime_float_math.h`: elementary functions.
