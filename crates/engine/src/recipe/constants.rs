//! Every number of the recipe that was found by trying, in one place.

/// Widths that are tried, each with d/32 layers and heads.
pub const WIDTHS: [usize; 12] = [64, 96, 128, 160, 192, 224, 256, 320, 384, 512, 768, 1024];
/// Width of a head.
pub const HEAD_DIM: usize = 32;
/// Layers of the narrowest models.
pub const LAYERS_LEAST: usize = 3;
/// Layers of the widest ones.
pub const LAYERS_MOST: usize = 12;
/// Heads that are tried for a width that is fixed: however wide, the search ends.
pub const HEADS_MOST: usize = 1024;
/// Tokens of the run, repetitions included, for each weight of the blocks.
pub const TOKENS_PER_WEIGHT: f64 = 3.0;
/// Weights of the blocks for each token of the text, at most.
pub const WEIGHTS_PER_TOKEN: f64 = 8.0;

/// V for a megabyte of text.
pub const VOCAB_AT_1_MB: f64 = 1024.0;
/// V is a multiple of it.
pub const VOCAB_STEP: usize = 64;
/// The smallest V of subwords: 256 bytes and a few merges.
pub const VOCAB_LEAST: usize = 320;
/// The largest V.
pub const VOCAB_MOST: usize = 32_768;
/// V of single bytes: 256, and the special tokens.
pub const BYTE_VOCAB: usize = 261;
/// The largest V of words, where no other is given.
pub const WORD_VOCAB: usize = 10_000;
/// A text below this many bytes has too few repetitions for merges to be learnt.
pub const LEAST_BYTES_FOR_SUBWORDS: u64 = 50_000;
/// Bytes of a token of English with V = 512.
pub const BYTES_PER_TOKEN_AT_512: f64 = 1.95;
/// ... and how many more for each doubling of V.
pub const BYTES_PER_TOKEN_A_DOUBLING: f64 = 0.5;
/// Bytes of a word of English, with the white space behind it; punctuation belongs to words.
pub const BYTES_PER_WORD: f64 = 5.5;

/// Windows, with the tokens of text from which on they pay.
pub const CONTEXTS: [(usize, u64); 3] = [(128, 0), (256, 8_000_000), (512, 64_000_000)];
/// Windows of the last part of a run, where those before are shorter.
pub const LONG_WINDOW: usize = 512;
/// The part of a run before it.
pub const SHORT_PART: f64 = 0.5;
/// So many of them a text holds at least: one of fewer tokens gained next to nothing.
pub const LONG_WINDOWS_LEAST: f64 = 1024.0;
/// Tokens of the smallest batch.
pub const BATCH_TOKENS_LEAST: usize = 512;
/// Tokens of the largest batch.
pub const BATCH_TOKENS_MOST: usize = 32_768;
/// Bytes that the activations of a batch take at most, or as much as the model itself takes in training, if
/// that is more: a larger batch would decide how much memory a run needs, and learn no faster in the same time.
pub const ACTIVATION_BYTES: f64 = 256.0 * 1024.0 * 1024.0;
/// A batch beyond the smallest is no larger than such a part of the text: each epoch leaves out what is no
/// whole batch, and a text must hold one.
pub const EPOCH_BATCHES_LEAST: f64 = 8.0;
/// Batches are doubled as long as a run keeps so many steps.
pub const STEPS_WANTED: f64 = 12_000.0;

/// The peak rate for d = 128 and batches of 1,024 tokens.
pub const RATE: f64 = 3e-3;
/// What a larger batch multiplies it by, at most.
pub const RATE_GROWTH_MOST: f64 = 2.0;
/// Steps of the warm-up.
pub const WARMUP_STEPS: u32 = 50;
/// The warm-up is at most one such part of a run.
pub const WARMUP_LEAST_PART: u32 = 10;
/// Epochs in which AdamW's decay takes a weight to 1/e of what it was, at the peak rate.
pub const DECAY_EPOCHS: f64 = 3.0;
/// The least λ of AdamW.
pub const DECAY_LEAST: f64 = 0.1;
/// The largest λ.
pub const DECAY_MOST: f64 = 1.0;
/// Largest norm of a gradient.
pub const CLIP: f32 = 1.0;
/// Half-life of the squares of gradients, as a part of the run.
pub const HALF_LIFE_PART: f64 = 0.05;
/// The least β₂.
pub const BETA2_LEAST: f64 = 0.95;
/// The largest β₂.
pub const BETA2_MOST: f64 = 0.999;
/// Epochs up to which nothing is left out.
pub const EPOCHS_WITHOUT_DROPOUT: f64 = 2.0;
/// Dropout for each doubling of the epochs beyond.
pub const DROPOUT_A_DOUBLING: f64 = 0.065;
/// The most dropout.
pub const DROPOUT_MOST: f64 = 0.3;

/// The part of the time for what is not training: evaluations, and what the end of a run takes.
pub const TIME_KEPT_BACK: f64 = 0.05;
/// By how much the tokens of the held-out text are overestimated where they are not known.
pub const HELD_OUT_MARGIN: f64 = 1.5;
/// The part of a run's work that its evaluations take, at most.
pub const EVALUATION_PART: f64 = 1.0 / 32.0;
/// The fewest evaluations of a run that is long enough.
pub const EVALUATIONS_LEAST: u64 = 8;
/// The most evaluations of a run.
pub const EVALUATIONS_MOST: u64 = 40;
