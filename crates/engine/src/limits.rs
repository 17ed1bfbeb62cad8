//! Every limit of the library, each with its reason.

use crate::system::memory;

/// Vocabulary entries in a file of the original: the bound of its reader. Files of this library
/// hold every model that can be trained; what they claim is checked against their length.
pub const MAX_V1_VOCAB: u64 = 1_000_000;
/// Embedding width in a file of the original: the bound of its reader.
pub const MAX_V1_EMBEDDING: u64 = 10_000;
/// Layers in a file of the original: the bound of its reader.
pub const MAX_V1_LAYERS: u64 = 100;
/// Layers of a model that is trained or stored: far beyond any that learns, and few enough for
/// tables of them.
pub const MAX_LAYERS: u64 = 65_536;
/// Floats of all tensors in a file: far more than a file system holds, few enough that no sum of
/// their bytes overflows.
pub const MAX_FILE_FLOATS: u64 = 1 << 56;
/// Bytes of the position tables of a model file that are zero and so take no room in it: what the
/// original library made for its largest shapes (512 rows, width 10000, four tables) three times
/// over, and no more than a machine gives without asking.
pub const MAX_ZERO_TABLE_BYTES: u64 = 256 * 1024 * 1024;
/// Largest vocabulary or tokenizer file, and text to be scored or decoded at once, that is read into memory
/// whole, where the original had no bound, and most that is read of a device: one that never ends must not
/// take all memory. Texts that are read in pieces (`text::Texts`) have no limit, nor has what comes through a
/// pipe there.
pub const MAX_TEXT_BYTES: u64 = 1 << 30;
/// Versions of files without an extension: the bound of the original reader, which never wrote
/// another than 1.
pub const MAX_FILE_VERSION: u32 = 100;
/// Bytes of text up to which a tokenizer is learnt from all pieces that were counted, of which there are
/// at most 2^22. Of a longer text only the most frequent are taken, so that learning needs no more memory
/// than for this one.
pub const LEARNT_WHOLE_BYTES: u64 = 128 << 20;
/// Those: some 250 MB while merges are learnt. The rest were met a few times each in a text of that length.
pub const LEARNT_PIECES: usize = 1 << 20;
/// Different words that are held while those of texts are counted: some 200 MB of words of usual length.
/// A text has more only beyond a thousand million words, or where most words come once, which no
/// vocabulary should hold.
pub const COUNTED_WORDS: usize = 1 << 22;
/// Bytes of those words together: texts have words of any length, keys and pictures in letters.
pub const COUNTED_WORD_BYTES: usize = 128 << 20;
/// Ids of a file that are counted one by one, 128 MiB of counts: a damaged file may hold any. Those beyond, of
/// vocabularies of words that are larger, are counted together, and found by reading the file.
pub const COUNTED_IDS: usize = 1 << 24;
/// Symbolic links in a row that saving follows: as many as Linux does.
pub const MAX_SYMLINKS: usize = 40;
/// Words of a tokenizer, whose arrays are made at their full size: 768 MiB of pointers and counts.
pub const MAX_TOKENIZER_WORDS: u32 = 1 << 26;
/// Ids in one array that a program passes to be decoded: a gigabyte of them is a wrong number, and
/// reading that far would leave the program's memory.
pub const MAX_DECODED_IDS: usize = 1 << 28;
/// Freed objects of each kind that are kept back, so that a second free or a use afterwards is a
/// message: more than a program with such a mistake frees in between, and a few KB.
pub const MAX_KEPT_BACK: usize = 64;
/// Bytes of a token's string in `CLLMToken.token_str`, without the closing NUL.
pub const TOKEN_STR_LEN: usize = 63;
/// Positions where nothing states how many (a configuration, a file, a model without a position
/// table): the original's 512.
pub const DEFAULT_CONTEXT: usize = 512;
/// Iterations of a benchmark: more than any mean needs, few enough that a wild number is noticed.
pub const MAX_ITERATIONS: i32 = 1_000_000;
/// Seconds of a memory profile: a day.
pub const MAX_PROFILE_SECONDS: i32 = 86_400;
/// Epsilon of a layer norm that validation lets pass: beyond it, epsilon shows in the result.
pub const MAX_EPSILON: f32 = 1e-3;
/// Largest number below which primes are counted: about a tenth of a second and 8 MiB. Nothing
/// known counts below an arbitrary 64-bit number in reasonable time and memory.
pub const MAX_COUNTED_BELOW: u64 = 1_000_000_000_000;
/// Epochs of one `train_complete`: no run is that long, and a wild number must not start one.
pub const MAX_EPOCHS: usize = 1_000_000;
/// Positions of one batch (batch size times sequence length). A batch is computed at once: its ids alone
/// would take 3 GB, its activations a hundred times as much. Larger ones are updates for several batches.
pub const MAX_BATCH_POSITIONS: usize = 1 << 28;

/// Floats of a key/value cache that are reserved before they are needed, where the model's weights
/// are fewer: 16 MiB. A model that states a long context may never use it.
pub const CACHE_AHEAD: usize = 1 << 22;

/// Largest text that the data loader takes as one document: half of the machine's memory, for the
/// text is held twice while it is cleaned. 1 GiB where the system does not say how much there is.
pub fn max_document_bytes() -> u64 {
    memory::physical().map_or(MAX_TEXT_BYTES, |bytes| bytes / 2)
}
