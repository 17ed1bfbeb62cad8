//! `cllm_model_manager.h`: the models of a process under their names, in files of one folder, and
//! shared by its threads.

use crate::border::ffi::zeroable;
use crate::headers::cllm::CLLMModel;
use std::ffi::c_char;

/// Size of `ManagedModel.name`, its NUL included.
pub const MODEL_NAME_MAX: usize = 256;
/// Size of `ManagedModel.path`, its NUL included.
pub const MODEL_PATH_MAX: usize = 1024;

/// A model of the manager. The library's: a program reads it, and neither changes nor frees it.
/// `model`, `is_loaded`, `is_training` and `read_count` change while threads use the model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ManagedModel {
    /// Its name.
    pub name: [c_char; MODEL_NAME_MAX],
    /// Its file.
    pub path: [c_char; MODEL_PATH_MAX],
    /// The model; NULL where it is not loaded.
    pub model: *mut CLLMModel,
    /// Whether it is in memory.
    pub is_loaded: bool,
    /// Whether a thread has write access.
    pub is_training: bool,
    /// How often read access is held.
    pub read_count: u32,
    /// Not used: the locks are the library's own.
    pub lock: [u64; 7],
    /// V, tokens.
    pub vocab_size: u32,
    /// d, components of an embedding.
    pub embedding_dim: u32,
    /// L, transformer layers.
    pub num_layers: u32,
    /// H, attention heads.
    pub num_heads: u32,
    /// When it was created or first read, in seconds since 1970-01-01 UTC.
    pub created_time: u64,
    /// When it was created, first read, or last saved.
    pub modified_time: u64,
}
layout!(ManagedModel, 1384, name: 0, path: 256, model: 1280, is_loaded: 1288, is_training: 1289, read_count: 1292, lock: 1296, vocab_size: 1352, embedding_dim: 1356, num_layers: 1360, num_heads: 1364, created_time: 1368, modified_time: 1376);
zeroable!(ManagedModel);

mod shelf;

pub mod models;

pub mod access;
pub mod lists;
