//! Numbers are the same on every processor: training, logits and 8-bit weights have the bits that are
//! written down here, whatever instructions compute them.

use cllm_engine::generate::session::Session;
use cllm_engine::model::{Architecture, InferenceRef, Part};
use cllm_engine::train::{
    Corpus, Optimizer, Progress, Schedule, Trainer, TrainerConfig, TrainingWeights,
};
use cllm_engine::{Model, ModelConfig, Pool, evaluate};
use std::ops::ControlFlow;
use std::process::Command;

/// What `CLLM_SIMD` knows on this kind of processor. One that is not there is the next best.
const LEVELS: &[&str] = if cfg!(target_arch = "x86_64") {
    &["avx512", "avx2", "portable"]
} else if cfg!(target_arch = "aarch64") {
    &["neon", "portable"]
} else {
    &["portable"]
};

/// FNV-1a over the bits of floats.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, values: &[f32]) {
        for byte in values.iter().flat_map(|x| x.to_bits().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Sizes that are whole registers, blocks and panels nowhere: sums end in parts of each.
fn config(architecture: Architecture, parameters: bool) -> ModelConfig {
    ModelConfig {
        vocab: 211,
        dim: 84,
        layers: 2,
        heads: 6,
        hidden: 150,
        context: 150,
        architecture,
        norm_parameters: parameters,
        biases: parameters,
    }
}

/// The logits after `tokens`: the first `prompt` of them in one pass, the others one by one.
fn add_logits(hash: &mut Hash, pool: &Pool, model: &InferenceRef, tokens: &[u32], prompt: usize) {
    let mut session = Session::default();
    let (mut hidden, mut logits) = (vec![0.0; model.dim], vec![0.0; model.vocab]);
    for end in prompt..=tokens.len() {
        session.run(pool, model, &tokens[..end], &mut hidden, &mut logits).unwrap();
        hash.add(&logits);
    }
}

/// Hashes of a run: the weights after training, and losses; logits in floats; logits in 8 bits.
fn run(config: &ModelConfig, optimizer: Optimizer) -> [u64; 3] {
    let mut model = Model::new(config, 7).unwrap();
    let tokens: Vec<u32> = (0..3000u32).map(|i| i.wrapping_mul(i) % 1009 * 7 % 211).collect();
    let pool = Pool::start(2);
    let corpus = Corpus::new(&tokens, 3, 70).unwrap();
    let mut trainer = Trainer::new(TrainerConfig {
        schedule: Schedule::cosine(3e-3, 3, 14),
        weight_decay: 0.01,
        optimizer,
        ..TrainerConfig::default()
    });
    let mut trained = Hash::new();
    let mut weights = TrainingWeights::new(&mut model);
    for _ in 0..7 {
        let watch = |p: &Progress| {
            trained.add(&[p.step.loss]);
            ControlFlow::Continue(())
        };
        trainer.run(&pool, &mut weights, &corpus, Some(2), watch).unwrap();
    }
    // Gives 8 bits and long sums more than weights near 0 do.
    model.params_mut().map(|part, _, values| {
        if part == Part::Embeddings {
            values.iter_mut().for_each(|x| *x *= 3.0);
        }
    });
    model.params_mut().map(|_, _, values| trained.add(values));
    trained.add(&[evaluate(&pool, &model.view(), &tokens[..400], 70).unwrap().mean_loss as f32]);
    let (mut floats, mut integers) = (Hash::new(), Hash::new());
    // Beyond 64 keys one query's attention is put together from parts.
    add_logits(&mut floats, &pool, &model.view().inference(), &tokens[..140], 67);
    let small = model.quantize(&pool).unwrap();
    add_logits(&mut integers, &pool, &small.view(), &tokens[..80], 67);
    [trained.0, floats.0, integers.0]
}

#[test]
fn the_bits_are_those_written_down() {
    let modern = Architecture::MODERN;
    let before = Architecture { shifted_keys: false, ..modern };
    let mild = Architecture { sharp: false, ..before };
    let untied = Architecture { untied: true, ..mild };
    let got = [
        run(&config(Architecture::ORIGINAL, true), Optimizer::AdamW),
        run(&config(mild, false), Optimizer::AdamW),
        run(&config(before, false), Optimizer::AdamW),
        run(&config(modern, false), Optimizer::AdamW),
        run(&config(untied, true), Optimizer::Momentum { mu: 0.9 }),
    ];
    let want = [
        [0xec51_5469_fdf7_6da7, 0x5ffb_5f9b_2dfd_5f23, 0x5ec3_1374_cda4_f7b8],
        [0xc625_1b4e_28f1_b190, 0x1c0c_f525_ef7b_ddcf, 0xf325_175d_304c_da22],
        [0x52ea_ebe8_b12e_5826, 0x3458_8ea6_154f_7db6, 0x1e5a_de47_b9e2_5317],
        [0xfdcd_f990_296d_201b, 0xb9e2_e319_5189_9d56, 0x2855_e160_1192_d355],
        [0xae98_b0e5_83f3_4512, 0xe5a4_a3f1_f0d0_6625, 0x27b7_055e_baa0_9d51],
    ];
    assert_eq!(got, want, "{got:#x?}");
}

/// The instructions are chosen once for a process, so each has one.
#[test]
fn every_instruction_set_has_the_same_bits() {
    for level in LEVELS {
        let test = std::env::current_exe().unwrap();
        let ended = Command::new(test)
            .args(["--exact", "the_bits_are_those_written_down"])
            .env("CLLM_SIMD", level)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{level}: {said}");
    }
}
