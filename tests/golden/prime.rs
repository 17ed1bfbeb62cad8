//! `prime_float_math.h`.

use crate::case::{Case, Got, Handler, integers};
use cllm::headers::prime_float_math::*;

macro_rules! handlers {
    ($name:expr; one64: $($a:ident)*; two64: $($b:ident)*; one32: $($c:ident)*;
        two32: $($d:ident)*; flag: $($e:ident)*;) => {
        match $name {
            $(stringify!($a) => Some((|c: &Case| {
                let x = c.f64s("x");
                vec![("result", Got::Floats(x.iter().map(|&x| $a(x)).collect()))]
            }) as Handler),)*
            $(stringify!($b) => Some(|c: &Case| {
                let (x, y) = (c.f64s("x"), c.f64s("y"));
                let values = x.iter().zip(&y).map(|(&x, &y)| $b(x, y));
                vec![("result", Got::Floats(values.collect()))]
            }),)*
            $(stringify!($c) => Some(|c: &Case| {
                let x = c.f32s("x");
                vec![("result", Got::Floats(x.iter().map(|&x| $c(x).into()).collect()))]
            }),)*
            $(stringify!($d) => Some(|c: &Case| {
                let (x, y) = (c.f32s("x"), c.f32s("y"));
                let values = x.iter().zip(&y).map(|(&x, &y)| $d(x, y).into());
                vec![("result", Got::Floats(values.collect()))]
            }),)*
            $(stringify!($e) => Some(|c: &Case| {
                let flags = c.u32s("bits").into_iter().map(|b| i32::from($e(f32::from_bits(b)) != 0));
                vec![("flag", integers(&flags.collect::<Vec<_>>()))]
            }),)*
            _ => None,
        }
    };
}

pub fn handler(name: &str) -> Option<Handler> {
    handlers!(name;
        one64: prime_exp prime_sqrt prime_log prime_cos prime_sin prime_tan prime_tanh prime_atan
            prime_floor prime_ceil prime_round prime_acos prime_log2;
        two64: prime_pow prime_atan2 prime_fmod prime_fmax prime_fmin;
        one32: prime_sqrtf prime_expf prime_logf prime_sinf prime_cosf prime_tanf prime_tanhf
            prime_fabsf;
        two32: prime_powf prime_fmaxf prime_fminf;
        flag: prime_isnanf prime_isinff;
    )
}
