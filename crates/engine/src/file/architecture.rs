//! The section `ARCH`: what the blocks of a model compute, where that is not what the original library
//! computes. A reader that does not know it must refuse the file.

use super::Problem;
use super::bytes::Parser;
use crate::model::{Activation, Architecture};

impl Architecture {
    /// The payload of the section.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Self { rotary, qk_norm, sharp, shifted_keys, output, activation, untied } = self;
        let bits = [rotary, qk_norm, output, untied, sharp, shifted_keys];
        let bits = bits.iter().rev().fold(0u32, |n, &bit| n << 1 | u32::from(bit));
        let activation: u32 = match activation {
            Activation::Gelu => 0,
            Activation::SquaredRelu => 1,
        };
        [bits.to_le_bytes(), activation.to_le_bytes()].concat()
    }

    /// The same, read.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut p = Parser::new("section ARCH", bytes);
        let [bits, activation] = p.u32s()?;
        p.end()?;
        if bits >> 6 != 0 {
            return Err(Problem::content(format!(
                "section ARCH: the blocks have a part that this version of the library does not \
                 know (bits {bits:#x})"
            )));
        }
        let has = |bit: u32| bits >> bit & 1 == 1;
        Ok(Self {
            rotary: has(0),
            qk_norm: has(1),
            output: has(2),
            activation: match activation {
                0 => Activation::Gelu,
                1 => Activation::SquaredRelu,
                _ => {
                    return Err(Problem::content(format!(
                        "section ARCH: this version of the library does not know activation \
                         {activation}"
                    )));
                }
            },
            untied: has(3),
            sharp: has(4),
            shifted_keys: has(5),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_survives() {
        for bits in 0..64u32 {
            for activation in [Activation::Gelu, Activation::SquaredRelu] {
                let has = |bit: u32| bits >> bit & 1 == 1;
                let architecture = Architecture {
                    rotary: has(0),
                    qk_norm: has(1),
                    output: has(2),
                    activation,
                    untied: has(3),
                    sharp: has(4),
                    shifted_keys: has(5),
                };
                let bytes = architecture.to_bytes();
                assert_eq!(bytes[..4], bits.to_le_bytes());
                assert_eq!(Architecture::parse(&bytes).unwrap(), architecture);
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (bytes, problem) in [
            (&[64, 0, 0, 0, 0, 0, 0, 0][..], "a part that this version"),
            (&[1, 0, 0, 0, 2, 0, 0, 0], "activation 2"),
            (&[1, 0, 0, 0], "ends early"),
            (&[0; 12], "4 bytes too many"),
        ] {
            let text = Architecture::parse(bytes).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
        }
    }
}
