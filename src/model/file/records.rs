//! Records between C and the file: header, training, tokens, lattice points.

use crate::headers::cllm::{CLLMHeader, CLLMLatticePoint, CLLMToken, TrainingMetadata};
use cllm_engine::file::Header;
use cllm_engine::model::{LatticePoint, TokenRecord, TrainingRecord};
use std::ffi::c_char;

/// Every field but `reserved`, as the file has it.
pub(crate) fn set_header(h: &mut CLLMHeader, header: &Header) {
    let chars = |field: &mut [c_char], bytes: &[u8]| {
        for (slot, &byte) in field.iter_mut().zip(bytes) {
            *slot = byte as c_char;
        }
    };
    chars(&mut h.magic, &header.magic);
    chars(&mut h.model_name, &header.model_name);
    chars(&mut h.description, &header.description);
    h.version = header.version;
    h.vocab_size = header.vocab_size;
    h.num_lattice_points = header.num_lattice_points;
    h.embedding_dim = header.embedding_dim;
    h.num_layers = header.num_layers;
    h.created_timestamp = header.created_timestamp;
    h.modified_timestamp = header.modified_timestamp;
    h.symmetry_order = header.symmetry_order;
    h.architecture = header.architecture;
    h.num_heads = header.num_heads;
    h.context_length = header.context_length;
    h.golden_ratio = header.golden_ratio;
    h.timestamp = header.timestamp;
    h.total_params = header.total_params;
}

/// Every field but the time, which stands in the header.
pub(crate) fn set_training(t: &mut TrainingMetadata, record: &TrainingRecord) {
    t.training_steps = record.training_steps;
    t.learning_rate = record.learning_rate;
    t.loss = record.loss;
    t.optimizer = record.optimizer.map(|b| b as c_char);
    t.reserved = record.reserved;
}

pub(super) fn set_token(token: &mut CLLMToken, record: &TokenRecord) {
    token.token_id = record.token_id;
    token.prime_encoding = record.prime_encoding;
    token.lattice_coords = record.lattice_coords;
    token.angle = record.angle;
    token.radius = record.radius;
    token.frequency = record.frequency;
    token.symmetry_group = record.symmetry_group;
    token.spiral_angle = record.spiral_angle;
    token.radial_distance = record.radial_distance;
    token.reserved = record.reserved;
}

pub(super) fn token_record(token: &CLLMToken) -> TokenRecord {
    TokenRecord {
        token_id: token.token_id,
        prime_encoding: token.prime_encoding,
        lattice_coords: token.lattice_coords,
        angle: token.angle,
        radius: token.radius,
        frequency: token.frequency,
        symmetry_group: token.symmetry_group,
        spiral_angle: token.spiral_angle,
        radial_distance: token.radial_distance,
        reserved: token.reserved,
    }
}

pub(super) fn c_point(point: &LatticePoint) -> CLLMLatticePoint {
    CLLMLatticePoint {
        point_id: point.point_id,
        prime: point.prime,
        prime_factor: point.prime_factor,
        coords: point.coords,
        angle: point.angle,
        radius: point.radius,
        resonance: point.resonance,
        neighbors: point.neighbors,
        neighbor_ids: point.neighbor_ids,
        num_neighbors: point.num_neighbors,
        neighbor_count: point.neighbor_count,
        embedding: std::ptr::null_mut(),
        symmetry_group: point.symmetry_group,
        reserved: point.reserved,
    }
}

pub(super) fn lattice_point(point: &CLLMLatticePoint) -> LatticePoint {
    LatticePoint {
        point_id: point.point_id,
        prime: point.prime,
        prime_factor: point.prime_factor,
        coords: point.coords,
        angle: point.angle,
        radius: point.radius,
        resonance: point.resonance,
        neighbors: point.neighbors,
        neighbor_ids: point.neighbor_ids,
        num_neighbors: point.num_neighbors,
        neighbor_count: point.neighbor_count,
        symmetry_group: point.symmetry_group,
        reserved: point.reserved,
    }
}
