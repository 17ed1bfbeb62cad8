//! What a model carries besides its sizes and values.

/// The numbers of one token.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of CLLMToken, documented there.
pub struct TokenRecord {
    pub token_id: u32,
    pub prime_encoding: u64,
    pub lattice_coords: [f32; 3],
    pub angle: f32,
    pub radius: f32,
    pub frequency: f32,
    pub symmetry_group: u32,
    pub spiral_angle: f32,
    pub radial_distance: f32,
    pub reserved: [u8; 20],
}

impl TokenRecord {
    /// What a token has that only knows its id.
    pub fn plain(id: u32) -> Self {
        Self {
            token_id: id,
            prime_encoding: 0,
            lattice_coords: [0.0; 3],
            angle: 0.0,
            radius: 0.0,
            frequency: 0.0,
            symmetry_group: 0,
            spiral_angle: 0.0,
            radial_distance: 0.0,
            reserved: [0; 20],
        }
    }
}

/// One lattice point; its embedding belongs to the program and is not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of CLLMLatticePoint, documented there.
pub struct LatticePoint {
    pub point_id: u32,
    pub prime: u64,
    pub prime_factor: u64,
    pub coords: [f32; 3],
    pub angle: f32,
    pub radius: f32,
    pub resonance: f32,
    pub neighbors: [u32; 12],
    pub neighbor_ids: [u32; 12],
    pub num_neighbors: u32,
    pub neighbor_count: u32,
    pub symmetry_group: u32,
    pub reserved: [u8; 48],
}

/// The training metadata without its time, which stands in the header.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // The fields are those of TrainingMetadata, documented there.
pub struct TrainingRecord {
    pub training_steps: u64,
    pub learning_rate: f32,
    pub loss: f32,
    pub optimizer: [u8; 64],
    pub reserved: [u8; 128],
}

impl Default for TrainingRecord {
    fn default() -> Self {
        Self {
            training_steps: 0,
            learning_rate: 0.0,
            loss: 0.0,
            optimizer: [0; 64],
            reserved: [0; 128],
        }
    }
}

/// What a model's file says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name; a file holds 256 bytes of it.
    pub name: Vec<u8>,
    /// Its description; a file holds 1024 bytes of it.
    pub description: Vec<u8>,
    /// When it was first written, in seconds since 1970; 0: not yet.
    pub created: u64,
    /// When it was written last.
    pub modified: u64,
    /// When it was trained; 0: nobody said.
    pub trained: u64,
    /// Positions of its context, where it has no position table that tells.
    pub context: u32,
    /// A number that old programs may put into the header of a model without LN2.
    pub architecture: u32,
}
