//! The records of tokens and lattice points between C and the file.

use crate::headers::cllm::{CLLMLatticePoint, CLLMToken};
use cllm_engine::model::{LatticePoint, TokenRecord};

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
