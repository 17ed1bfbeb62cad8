//! Text to ids and back: splitting, vocabularies, documents. Text is bytes: nothing here needs it
//! to be UTF-8.

pub mod bpe;
pub mod count;
pub mod dataset;
pub mod decode;
pub mod document;
pub mod encode;
pub mod files;
mod ids;
pub mod index;
pub mod outputs;
pub mod special;
pub mod split;
mod stream;
pub mod texts;
mod token_file;
mod tokenizer;
pub mod vocab;
mod vocabulary;
mod word_list;

pub use bpe::Bpe;
pub use dataset::Dataset;
pub use ids::Ids;
pub use stream::Utf8Stream;
pub use texts::Texts;
pub use token_file::{Origin, TokenFile, TokenWriter};
pub use tokenizer::{Kind, Tokenizer};
pub use vocabulary::Vocabulary;
pub use word_list::WordList;

/// The words that every vocabulary starts with; the id of each is its place here.
pub const SPECIALS: [&[u8]; 5] = [b"<PAD>", b"<UNK>", b"<BOS>", b"<EOS>", b"<MASK>"];
/// Filler.
pub const PAD: u32 = 0;
/// A word that the vocabulary does not hold.
pub const UNK: u32 = 1;
/// Beginning of a text.
pub const BOS: u32 = 2;
/// End of a text.
pub const EOS: u32 = 3;
/// A masked word.
pub const MASK: u32 = 4;
