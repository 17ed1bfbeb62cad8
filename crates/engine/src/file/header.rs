//! The 1576 bytes that every model file starts with, and the pointer to the extension in them.

use super::Problem;
use super::bytes::Parser;

/// Length of the header of a model file.
pub const HEADER_BYTES: usize = 1576;
/// Where `reserved` starts.
const RESERVED: usize = 1384;
/// Where the header's own checksum stands.
const HEADER_CRC: usize = 1420;
/// What every model file starts with.
pub(super) const MAGIC: &[u8; 4] = b"CLLM";
const EXTENSION_MAGIC: &[u8; 8] = b"CLLM-EXT";
pub(super) const EXTENSION_VERSION: u32 = 1;
/// That of files whose matrices are 8-bit weights: they have no body.
pub(super) const EXTENSION_VERSION_INT8: u32 = 2;

/// The header of a model file, field by field.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of CLLMHeader, documented there.
pub struct Header {
    pub magic: [u8; 8],
    pub version: u32,
    pub model_name: [u8; 256],
    pub description: [u8; 1024],
    pub vocab_size: u64,
    pub num_lattice_points: u64,
    pub embedding_dim: u64,
    pub num_layers: u64,
    pub created_timestamp: u64,
    pub modified_timestamp: u64,
    pub symmetry_order: u32,
    pub architecture: u32,
    pub num_heads: u32,
    pub context_length: u32,
    pub golden_ratio: f64,
    pub timestamp: u64,
    pub total_params: u64,
    /// The time of the training metadata: times stand in the header and nowhere else.
    pub training_timestamp: u64,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            magic: *b"CLLM\x01\0\0\0",
            version: 1,
            model_name: [0; 256],
            description: [0; 1024],
            vocab_size: 0,
            num_lattice_points: 0,
            embedding_dim: 0,
            num_layers: 0,
            created_timestamp: 0,
            modified_timestamp: 0,
            symmetry_order: 12,
            architecture: 0,
            num_heads: 0,
            context_length: 0,
            golden_ratio: 1.618_033_988_749_895,
            timestamp: 0,
            total_params: 0,
            training_timestamp: 0,
        }
    }
}

/// Where the extension lies, as `reserved` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extension {
    pub version: u32,
    pub sections: u32,
    pub offset: u64,
    pub length: u64,
    pub body_crc: u32,
}

impl Extension {
    /// The fields after magic and `version`, and the header's own checksum.
    fn fields(p: &mut Parser, version: u32) -> Result<(Self, u32), Problem> {
        let extension = Self {
            version,
            sections: p.u32()?,
            offset: p.u64()?,
            length: p.u64()?,
            body_crc: p.u32()?,
        };
        Ok((extension, p.u32()?))
    }

    /// What the reserved bytes say of an extension, right or wrong; and whether the header matches
    /// its checksum. `None` where there is none.
    pub(super) fn claimed(
        bytes: &[u8; HEADER_BYTES],
        reserved: &[u8],
    ) -> Result<Option<(Self, bool)>, Problem> {
        let mut p = Parser::new("the header", reserved);
        if p.take(8)? != EXTENSION_MAGIC {
            return Ok(None);
        }
        let version = p.u32()?;
        let (extension, crc) = Self::fields(&mut p, version)?;
        Ok(Some((extension, crc == header_crc(bytes))))
    }
}

impl Header {
    /// The fields of a header, and the extension if the file has one.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, Option<Extension>), Problem> {
        let (mut header, reserved) = Self::fields(bytes)?;
        if !header.magic.starts_with(MAGIC) {
            return Err(Problem::content("is not a model file: bytes 0 to 3 are not \"CLLM\""));
        }
        if reserved.iter().all(|&b| b == 0) {
            return Ok((header, None));
        }
        let mut p = Parser::new("the header", reserved);
        if p.take(8)? != EXTENSION_MAGIC {
            return Err(Problem::content(
                "the reserved part of the header (bytes 1384 to 1575) is neither empty nor an \
                 extension that this library knows",
            ));
        }
        let version = p.u32()?;
        if ![EXTENSION_VERSION, EXTENSION_VERSION_INT8].contains(&version) {
            return Err(Problem::content(format!(
                "the extension has version {version} (byte 1392); this library knows versions \
                 {EXTENSION_VERSION} and {EXTENSION_VERSION_INT8}"
            )));
        }
        let (extension, crc) = Extension::fields(&mut p, version)?;
        header.training_timestamp = p.u64()?;
        if crc != header_crc(bytes) {
            return Err(Problem::content(
                "the header (bytes 0 to 1575) does not match its checksum: the file is damaged",
            ));
        }
        Ok((header, Some(extension)))
    }

    /// The fields as they stand there, right or wrong, and the reserved bytes.
    pub(super) fn fields(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, &[u8]), Problem> {
        let mut p = Parser::new("the header", bytes);
        let mut header = Self {
            magic: p.array()?,
            version: p.u32()?,
            model_name: p.array()?,
            description: p.array()?,
            ..Self::default()
        };
        p.take(4)?;
        header.vocab_size = p.u64()?;
        header.num_lattice_points = p.u64()?;
        header.embedding_dim = p.u64()?;
        header.num_layers = p.u64()?;
        header.created_timestamp = p.u64()?;
        header.modified_timestamp = p.u64()?;
        header.symmetry_order = p.u32()?;
        header.architecture = p.u32()?;
        header.num_heads = p.u32()?;
        header.context_length = p.u32()?;
        header.golden_ratio = p.f64()?;
        header.timestamp = p.u64()?;
        header.total_params = p.u64()?;
        Ok((header, p.take(HEADER_BYTES - RESERVED)?))
    }

    /// The bytes of a header with an extension.
    pub(super) fn to_bytes(&self, extension: &Extension) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |offset: usize, value: &[u8]| {
            if let Some(slot) = bytes.get_mut(offset..offset + value.len()) {
                slot.copy_from_slice(value);
            }
        };
        put(0, &self.magic);
        put(8, &self.version.to_le_bytes());
        put(12, &self.model_name);
        put(268, &self.description);
        put(1296, &self.vocab_size.to_le_bytes());
        put(1304, &self.num_lattice_points.to_le_bytes());
        put(1312, &self.embedding_dim.to_le_bytes());
        put(1320, &self.num_layers.to_le_bytes());
        put(1328, &self.created_timestamp.to_le_bytes());
        put(1336, &self.modified_timestamp.to_le_bytes());
        put(1344, &self.symmetry_order.to_le_bytes());
        put(1348, &self.architecture.to_le_bytes());
        put(1352, &self.num_heads.to_le_bytes());
        put(1356, &self.context_length.to_le_bytes());
        put(1360, &self.golden_ratio.to_le_bytes());
        put(1368, &self.timestamp.to_le_bytes());
        put(1376, &self.total_params.to_le_bytes());
        put(RESERVED, EXTENSION_MAGIC);
        put(1392, &extension.version.to_le_bytes());
        put(1396, &extension.sections.to_le_bytes());
        put(1400, &extension.offset.to_le_bytes());
        put(1408, &extension.length.to_le_bytes());
        put(1416, &extension.body_crc.to_le_bytes());
        put(1424, &self.training_timestamp.to_le_bytes());
        let crc = header_crc(&bytes);
        bytes[HEADER_CRC..HEADER_CRC + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// CRC-32 of the header with the checksum's own four bytes as zero.
fn header_crc(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let mut copy = *bytes;
    copy[HEADER_CRC..HEADER_CRC + 4].fill(0);
    crc32fast::hash(&copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive() {
        let header = Header {
            model_name: [b'n'; 256],
            description: [b'd'; 1024],
            vocab_size: 1,
            num_lattice_points: 2,
            embedding_dim: 3,
            num_layers: 4,
            created_timestamp: 5,
            modified_timestamp: 6,
            symmetry_order: 7,
            architecture: 8,
            num_heads: 9,
            context_length: 10,
            golden_ratio: 11.5,
            timestamp: 12,
            total_params: 13,
            training_timestamp: 14,
            ..Header::default()
        };
        let extension =
            Extension { version: 1, sections: 15, offset: 16, length: 17, body_crc: 18 };
        let bytes = header.to_bytes(&extension);
        assert_eq!(Header::parse(&bytes).unwrap(), (header, Some(extension)));
        for i in 0..HEADER_BYTES {
            let mut damaged = bytes;
            damaged[i] ^= 0x10;
            assert!(Header::parse(&damaged).is_err(), "byte {i}");
        }
    }
}
