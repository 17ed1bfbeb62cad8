//! A model whose weights stay in its file.

use super::owned::new_version;
use super::part::{Part, TensorName};
use super::shape::{ModelShape, Table};
use super::{
    AttentionLayout, InferenceRef, Metadata, ModelConfig, ModelRef, Network, Params, TokenRecord,
};
use crate::error::{Error, Result};
use crate::text::{Tokenizer, Vocabulary};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::map::FileMap;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A model to run whose weights are pages of its file, mapped for reading: nothing is copied, it is
/// there at once, and all processes that map the same file share one copy in memory. It generates,
/// scores and evaluates as a [`Model`](super::Model) does, with the same bits; it can't be changed.
///
/// Sizes and structure of the file are checked as [`Model::read`](super::Model::read) does, words and
/// records read; checksums and values of the weights are not looked at before [`verify`](Self::verify)
/// is asked to. A file that is replaced meanwhile, as this library replaces files, stays what it was
/// for those who have mapped it. Nobody may write into the file or cut it in its place: the weights
/// would change, or the system end the process where it reads what is no longer there.
///
/// ```
/// use cllm_engine::generate::{Generator, GeneratorConfig};
/// use cllm_engine::{Model, ModelConfig, MappedModel};
///
/// let config = ModelConfig { vocab: 100, dim: 32, hidden: 128, context: 16, ..Default::default() };
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.cllm");
/// Model::new(&config, 42)?.write(&path)?;
/// let model = MappedModel::open(&path)?.expect("a file of floats");
/// model.verify()?;
///
/// let mut generator = Generator::new(GeneratorConfig { max_tokens: 5, ..Default::default() }, 1)?;
/// generator.prompt(&[1, 2, 3])?;
/// let tokens = generator.tokens(&model).collect::<cllm_engine::Result<Vec<u32>>>()?;
/// assert_eq!(tokens.len(), 5);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
pub struct MappedModel {
    map: FileMap,
    path: PathBuf,
    version: u64,
    shape: ModelShape,
    /// At which byte of the file each tensor begins that is in it.
    offsets: BTreeMap<TensorName, usize>,
    /// Where the tensors lie that a pass reads.
    places: Params<Place>,
    spiral: Option<Place>,
    /// What stands for tables that are zero and so not in the file.
    zeros: Floats,
    tokenizer: Option<Tokenizer>,
    tokens: Vec<TokenRecord>,
    metadata: Metadata,
}

/// Where a tensor begins, `None` among the zeros, and how many values of it take part.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Option<usize>,
    len: usize,
}

impl MappedModel {
    /// A model of these sizes in a mapped file, whose tensors begin at these bytes; `None` where they
    /// don't lie as memory has to hold floats.
    pub(crate) fn new(
        map: FileMap,
        path: &Path,
        shape: ModelShape,
        offsets: BTreeMap<TensorName, usize>,
    ) -> Result<Option<Self>> {
        shape.check()?;
        let table = shape.table_floats()?;
        let mut zeros = Floats::new();
        if shape.tables.contains(&Table::Zero) {
            zeros.grow("a position table", table)?;
        }
        let mut complete = true;
        let mut place = |part: Part, layer: usize, len: usize| {
            let at = offsets.get(&TensorName { part, layer }).copied();
            complete &= match at {
                Some(at) => map.floats(at, len).is_some(),
                None => len <= zeros.len(),
            };
            Place { at, len }
        };
        let places = shape.params()?.map(&mut place);
        let has_spiral = shape.has(TensorName { part: Part::Spiral, layer: 0 });
        let spiral = has_spiral.then(|| place(Part::Spiral, 0, table));
        let model = Self {
            map,
            path: path.to_path_buf(),
            version: new_version(),
            shape,
            offsets,
            places,
            spiral,
            zeros,
            tokenizer: None,
            tokens: Vec::new(),
            metadata: Metadata::default(),
        };
        Ok(complete.then_some(model))
    }

    /// Gives it the words, what is known of each, and the name that its file has.
    pub(crate) fn set_records(
        &mut self,
        tokenizer: Option<Tokenizer>,
        tokens: Vec<TokenRecord>,
        metadata: Metadata,
    ) {
        (self.tokenizer, self.tokens, self.metadata) = (tokenizer, tokens, metadata);
    }

    /// The model to run, by reference; makes no copy of a value.
    pub fn view(&self) -> ModelRef<'_> {
        let floats = |place: &Place| match place.at {
            Some(at) => self.map.floats(at, place.len).unwrap_or_default(),
            None => self.zeros.get(..place.len).unwrap_or_default(),
        };
        let mut params = self.places.by_ref().map(|_, _, place| floats(place));
        // Wq, Wk and Wv lie next to each other: one product does for three.
        for (layer, places) in params.layers.iter_mut().zip(&self.places.layers) {
            if let (Some(attention), Some(places)) = (&mut layer.attention, &places.attention)
                && attention.layout == AttentionLayout::Full
                && let [Place { at: Some(at), len }, ..] = places.qkv
            {
                attention.joined = self.map.floats(at, 3 * len);
            }
        }
        Network {
            version: self.version,
            vocab: self.shape.vocab,
            dim: self.shape.dim,
            max_length: self.shape.max_length,
            spiral: self.spiral.as_ref().map(floats),
            params,
        }
    }

    /// All floats of a tensor that is in the file.
    pub(crate) fn floats(&self, name: TensorName, len: usize) -> Option<&[f32]> {
        self.map.floats(*self.offsets.get(&name)?, len)
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The file's path, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error where the file was cut in its place, so that its weights can't be read any more.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<()> {
        self.map.check().map_err(Error::io(&self.path))
    }

    /// The sizes, part by part.
    pub fn shape(&self) -> &ModelShape {
        &self.shape
    }

    /// The sizes as a new model would be made with.
    pub fn config(&self) -> ModelConfig {
        ModelConfig::of(&self.shape)
    }

    /// The words of its ids, if its tokens are whole words.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        match &self.tokenizer {
            Some(Tokenizer::Words(words)) => Some(words),
            _ => None,
        }
    }

    /// What turns texts into its ids and back, if it has it.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// What old programs keep with each token; empty where that is nothing.
    pub fn tokens(&self) -> &[TokenRecord] {
        &self.tokens
    }

    /// Name, description and times.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl<'m> From<&'m MappedModel> for ModelRef<'m> {
    fn from(model: &'m MappedModel) -> Self {
        model.view()
    }
}

impl<'m> From<&'m MappedModel> for InferenceRef<'m> {
    fn from(model: &'m MappedModel) -> Self {
        model.view().into()
    }
}

impl fmt::Debug for MappedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedModel").field("path", &self.path).finish_non_exhaustive()
    }
}
