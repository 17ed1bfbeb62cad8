//! The frames of the extension's sections.

use super::Problem;
use super::bytes::Parser;

/// Length of a section's frame, before its payload.
pub(super) const FRAME_BYTES: usize = 24;
/// A reader that does not know the section must refuse the file.
pub(super) const CRITICAL: u32 = 1;

/// What a section holds.
pub(super) type Tag = [u8; 4];
pub(super) const SHAPE: Tag = *b"SHAP";
pub(super) const ARCHITECTURE: Tag = *b"ARCH";
pub(super) const LATER: Tag = *b"WGHT";
pub(super) const INT8: Tag = *b"INT8";
pub(super) const NORMS: Tag = *b"NORM";
pub(super) const POSITIONS: Tag = *b"POSN";
pub(super) const TRANSFORMS: Tag = *b"TRFM";
pub(super) const WORDS: Tag = *b"WORD";
pub(super) const TOKENS: Tag = *b"TOKN";
pub(super) const TOKENIZER: Tag = *b"TSET";
pub(super) const SUBWORDS: Tag = *b"SUBW";
pub(super) const POINTS: Tag = *b"LATP";
pub(super) const TRAINING: Tag = *b"META";

/// The sections that hold floats.
pub(super) const FLOATS: [Tag; 4] = [LATER, NORMS, POSITIONS, TRANSFORMS];

/// The frame of one section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub tag: Tag,
    pub flags: u32,
    pub length: u64,
    pub crc: u32,
}

impl Frame {
    pub(super) fn to_bytes(self) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        bytes[..4].copy_from_slice(&self.tag);
        bytes[4..8].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `offset` is the frame's place in the file, for the message.
    pub(super) fn parse(bytes: &[u8; FRAME_BYTES], offset: u64) -> Result<Self, Problem> {
        let mut p = Parser::new("a section", bytes);
        let frame = Self { tag: p.array()?, flags: p.u32()?, length: p.u64()?, crc: p.u32()? };
        if p.u32()? != crc32fast::hash(&bytes[..20]) {
            return Err(Problem::content(format!(
                "the section frame at byte {offset} does not match its checksum: the file is \
                 damaged"
            )));
        }
        Ok(frame)
    }

    /// The tag as text.
    pub(super) fn name(&self) -> String {
        self.tag.escape_ascii().to_string()
    }
}
