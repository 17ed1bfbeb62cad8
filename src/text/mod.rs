//! Text to ids and back: splitting, vocabularies, documents.
