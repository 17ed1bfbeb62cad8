//! A model that owns its values.

use super::ModelConfig;
use super::init::initialize;
use super::params::{AttentionLayout, ModelRef, Network, Params};
use super::part::{Part, TensorName};
use super::record::{LatticePoint, Metadata, TokenRecord, TrainingRecord};
use super::shape::{ModelShape, Precision, Table};
use crate::error::{Error, Result};
use crate::rng::seeded;
use crate::text::{Tokenizer, Vocabulary};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::{copied, product, reserve};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A model with its values and its tokenizer.
///
/// The weights lie in one aligned block, in the order of a model file. A model is changed through
/// `&mut` alone, so threads may share one that they only read.
///
/// ```
/// use cllm_engine::{Model, ModelConfig};
///
/// let config = ModelConfig { vocab: 100, dim: 32, hidden: 128, ..ModelConfig::default() };
/// let model = Model::new(&config, 42)?;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("model.cllm");
/// model.write(&path)?;
/// let again = Model::read(&path)?;
/// assert_eq!(again.config(), config);
/// assert_eq!(again.view().params.embeddings, model.view().params.embeddings);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
pub struct Model {
    /// Another number after each change of the values: see [`Network::version`].
    version: u64,
    shape: ModelShape,
    /// The weights in the order of [`ModelShape::block`].
    block: Floats,
    /// Where in the block each region begins whose tensors stand in the canonical order: attention,
    /// feed-forward, LN1, LN2, Wo, the output matrix.
    regions: [usize; 6],
    /// The position tables in the order of [`Part::TABLES`]; empty where the model has none.
    tables: [Floats; 4],
    /// The transforms in the order of [`Part::TRANSFORMS`].
    transforms: [Floats; 2],
    /// Where the trained tensors lie: in the block, the learned positions in their table.
    places: Params<Place>,
    tokenizer: Option<Tokenizer>,
    tokens: Vec<TokenRecord>,
    points: Vec<LatticePoint>,
    training: TrainingRecord,
    metadata: Metadata,
}

/// A number that no state of any model's values had before.
pub(super) fn new_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where a tensor begins, and how many values of it take part.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    len: usize,
}

/// What is left of a region of the block, and where that begins.
struct Cursor<'a> {
    rest: &'a mut [f32],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The values at a place that is not before one taken already.
    fn take(&mut self, place: Place) -> &'a mut [f32] {
        let skipped = place.start.saturating_sub(self.at);
        let _ = self.rest.split_off_mut(..skipped.min(self.rest.len()));
        let taken = self.rest.split_off_mut(..place.len.min(self.rest.len())).unwrap_or_default();
        self.at = place.start + place.len;
        taken
    }
}

impl Model {
    /// A new model, with weights drawn as [`init`](super::init::initialize) says: the same as the C
    /// library's `cllm_create_model` makes, if its random numbers begin with the same seed.
    ///
    /// # Errors
    /// A size out of its range; no memory.
    pub fn new(config: &ModelConfig, seed: u64) -> Result<Self> {
        let mut model = Self::zeroed(config.shape()?)?;
        let (dim, architecture) = (model.shape.dim, model.shape.architecture);
        initialize(model.params_mut(), dim, architecture, &mut seeded(seed));
        Ok(model)
    }

    /// A model of these sizes, whose norms are gamma 1 and beta 0 and whose other values are 0.
    ///
    /// # Errors
    /// Sizes that contradict each other; a model without embeddings; no memory.
    pub fn zeroed(shape: ModelShape) -> Result<Self> {
        if shape.precision != Precision::F32 {
            return Err(Error::shape("a model of 8-bit weights is a QuantizedModel"));
        }
        Self::allocate(shape)
    }

    /// [`Model::zeroed`]; of a shape of 8-bit weights everything but the matrices.
    pub(super) fn allocate(shape: ModelShape) -> Result<Self> {
        shape.check()?;
        if !shape.embeddings {
            return Err(Error::shape("a model without embeddings"));
        }
        let mut block = Floats::new();
        let floats = match shape.precision {
            Precision::F32 => shape.num_weights()?,
            // No more than those.
            Precision::Int8 => shape.block().map(|name| shape.room(name)).sum(),
        };
        block.grow("the weights", floats)?;
        let mut places = shape.params()?.map(|_, _, len| Place { start: 0, len });
        let mut regions = [None; 6];
        let mut start = 0;
        for name in shape.block() {
            let region = match name.part {
                Part::Embeddings => None,
                Part::Gamma1 | Part::Beta1 => Some(2),
                Part::Gamma2 | Part::Beta2 => Some(3),
                Part::Query | Part::Key | Part::Value => Some(0),
                Part::Output => Some(4),
                Part::Head => Some(5),
                _ => Some(1),
            };
            if let Some(region) = region.and_then(|i| regions.get_mut(i)) {
                region.get_or_insert(start);
            }
            if let Some(place) = places.get_mut(name.part, name.layer) {
                place.start = start;
            }
            let room = shape.room(name);
            if matches!(name.part, Part::Gamma1 | Part::Gamma2) {
                block.get_mut(start..start + room).unwrap_or_default().fill(1.0);
            }
            start += room;
        }
        let mut starts = [start; 6];
        for i in (0..6).rev() {
            starts[i] = regions[i].unwrap_or(starts.get(i + 1).copied().unwrap_or(start));
        }
        let table = shape.table_floats()?;
        let mut tables = [const { Floats::new() }; 4];
        for (values, kind) in tables.iter_mut().zip(shape.tables) {
            if kind != Table::Absent {
                values.grow("a position table", table)?;
            }
        }
        let square = product("a transform", &[shape.dim, shape.dim])?;
        let mut transforms = [const { Floats::new() }; 2];
        for (values, present) in transforms.iter_mut().zip(shape.transforms) {
            if present {
                values.grow("a transform", square)?;
            }
        }
        Ok(Self {
            version: new_version(),
            // Where a region is empty the next one begins.
            regions: starts,
            block,
            tables,
            transforms,
            places,
            tokenizer: None,
            tokens: Vec::new(),
            points: Vec::new(),
            training: TrainingRecord::default(),
            metadata: Metadata { context: shape.max_length as u32, ..Metadata::default() },
            shape,
        })
    }

    /// A copy, with all that a file holds of a model: the same bits, independent of this one. Not a
    /// `Clone`, which could only end the program where memory is missing. The words are shared.
    ///
    /// # Errors
    /// No memory.
    ///
    /// ```
    /// use cllm_engine::{Model, ModelConfig};
    ///
    /// let model = Model::new(&ModelConfig { vocab: 9, dim: 8, heads: 2, ..Default::default() }, 1)?;
    /// let mut copy = model.try_clone()?;
    /// copy.params_mut().embeddings.fill(0.0);
    /// assert_ne!(model.view().params.embeddings, copy.view().params.embeddings);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self> {
        let mut copy = Self::allocate(self.shape.clone())?;
        // Equal shapes have equal places.
        copy.block.copy_from_slice(&self.block);
        let (tables, transforms) = (&mut copy.tables, &mut copy.transforms);
        let tables = tables.iter_mut().zip(&self.tables);
        for (to, from) in tables.chain(transforms.iter_mut().zip(&self.transforms)) {
            to.copy_from_slice(from);
        }
        copy.copy_records(self)?;
        Ok(copy)
    }

    /// Copies what a model has besides sizes and values.
    pub(super) fn copy_records(&mut self, from: &Self) -> Result<()> {
        let tokens = copied("the tokens", &from.tokens)?;
        let points = copied("the points", &from.points)?;
        let Metadata { name, description, .. } = &from.metadata;
        self.metadata = Metadata {
            name: copied("the name", name)?,
            description: copied("the description", description)?,
            ..from.metadata
        };
        self.set_records(from.tokenizer.clone(), tokens, points);
        self.training = from.training;
        Ok(())
    }

    /// The sizes as a new model would be made with; of layers that differ, those of the first.
    pub fn config(&self) -> ModelConfig {
        ModelConfig::of(&self.shape)
    }

    /// The sizes, part by part.
    pub fn shape(&self) -> &ModelShape {
        &self.shape
    }

    /// The model to run, by reference. Makes no copy of a value, and allocates nothing for models of
    /// up to 16 layers. It borrows the model for as long as it is there: to the end of the scope of a
    /// variable that holds it, unless that is dropped.
    pub fn view(&self) -> ModelRef<'_> {
        let block =
            |place: Place| self.block.get(place.start..place.start + place.len).unwrap_or_default();
        let mut params = self.places.by_ref().map(|part, _, place| match part {
            Part::Learned => &*self.tables[3],
            _ => block(*place),
        });
        // Wq, Wk and Wv lie next to each other: one product does for three.
        for (layer, places) in params.layers.iter_mut().zip(&self.places.layers) {
            if let (Some(attention), Some(places)) = (&mut layer.attention, &places.attention)
                && attention.layout == AttentionLayout::Full
            {
                let [query, ..] = places.qkv;
                attention.joined = Some(block(Place { len: 3 * query.len, ..query }));
            }
        }
        let spiral = &*self.tables[0];
        Network {
            version: self.version,
            vocab: self.shape.vocab,
            dim: self.shape.dim,
            max_length: self.shape.max_length,
            spiral: (!spiral.is_empty()).then_some(spiral),
            params,
        }
    }

    /// The trained values, to be changed.
    pub fn params_mut(&mut self) -> Params<&mut [f32]> {
        self.version = new_version();
        let [attention, feed_forward, norms1, norms2, outputs, head] = self.regions;
        let mut rest = &mut self.block[..];
        let mut at = 0;
        let mut until = |end: usize| {
            let start = at;
            at = end;
            let part = rest.split_off_mut(..(end - start).min(rest.len()));
            Cursor { rest: part.unwrap_or_default(), at: start }
        };
        let mut embeddings = until(attention);
        let mut attention = until(feed_forward);
        let mut feed_forward = until(norms1);
        let mut first = until(norms2);
        let mut second = until(outputs);
        let mut outputs = until(head);
        let mut head = until(usize::MAX);
        let mut learned = Some(&mut self.tables[3][..]);
        self.places.by_ref().map(|part, _, place| match part {
            Part::Learned => learned.take().unwrap_or_default(),
            Part::Query | Part::Key | Part::Value => attention.take(*place),
            Part::W1 | Part::Bias1 | Part::W2 | Part::Bias2 => feed_forward.take(*place),
            Part::Gamma1 | Part::Beta1 => first.take(*place),
            Part::Gamma2 | Part::Beta2 => second.take(*place),
            Part::Output => outputs.take(*place),
            Part::Head => head.take(*place),
            _ => embeddings.take(*place),
        })
    }

    /// All floats of a tensor as a file holds them; `None` where the model has not got it.
    pub(crate) fn floats(&self, name: TensorName) -> Option<&[f32]> {
        match self.separate(name.part) {
            Some(Separate::Table(i)) => self.tables.get(i).map(|t| &**t),
            Some(Separate::Transform(i)) => self.transforms.get(i).map(|t| &**t),
            None => self.block.get(self.range(name)?),
        }
    }

    /// The same, to be filled.
    pub(crate) fn floats_mut(&mut self, name: TensorName) -> Option<&mut [f32]> {
        match self.separate(name.part) {
            Some(Separate::Table(i)) => self.tables.get_mut(i).map(|t| &mut **t),
            Some(Separate::Transform(i)) => self.transforms.get_mut(i).map(|t| &mut **t),
            None => {
                let range = self.range(name)?;
                self.block.get_mut(range)
            }
        }
    }

    /// Bytes of all its floats.
    pub(super) fn float_bytes(&self) -> usize {
        let parts = [&self.block].into_iter().chain(&self.tables).chain(&self.transforms);
        parts.map(|floats| size_of_val(&**floats)).sum()
    }

    fn range(&self, name: TensorName) -> Option<std::ops::Range<usize>> {
        let place = self.places.get(name.part, name.layer)?;
        Some(place.start..place.start + self.shape.room(name))
    }

    /// Where a part lies that is not in the block.
    fn separate(&self, part: Part) -> Option<Separate> {
        let place = |list: &[Part]| list.iter().position(|&other| other == part);
        place(&Part::TABLES)
            .map(Separate::Table)
            .or_else(|| place(&Part::TRANSFORMS).map(Separate::Transform))
    }

    /// What turns texts into its ids and back, if it has it.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// The words of its ids, if its tokens are whole words.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        match &self.tokenizer {
            Some(Tokenizer::Words(words)) => Some(words),
            _ => None,
        }
    }

    /// Gives the model a tokenizer, a [`Vocabulary`] or a [`Bpe`](crate::text::Bpe), in place of the
    /// one that it had. It travels in the model's file. Ids of the model beyond the tokenizer's stay
    /// without a token, and are not drawn.
    ///
    /// # Errors
    /// More tokens than the model has ids; the model is then as before.
    pub fn set_tokenizer(&mut self, tokenizer: impl Into<Tokenizer>) -> Result<()> {
        let tokenizer = tokenizer.into();
        if tokenizer.len() > self.shape.vocab {
            return Err(Error::shape(format!(
                "the vocabulary has {} entries, the model {}",
                tokenizer.len(),
                self.shape.vocab
            )));
        }
        let mut tokens = Vec::new();
        if let Tokenizer::Words(words) = &tokenizer {
            reserve("the tokens", &mut tokens, self.shape.vocab)?;
            tokens.extend((0..self.shape.vocab).map(|id| {
                let count = words.count(id as u32).unwrap_or(0);
                TokenRecord { frequency: count as f32, ..TokenRecord::plain(id as u32) }
            }));
        }
        self.tokens = tokens;
        self.tokenizer = Some(tokenizer);
        Ok(())
    }

    /// Takes the tokenizer away, if there is one.
    pub fn take_tokenizer(&mut self) -> Option<Tokenizer> {
        self.tokens = Vec::new();
        self.tokenizer.take()
    }

    /// How it was trained last.
    pub fn training(&self) -> &TrainingRecord {
        &self.training
    }

    /// The same, to be changed.
    pub fn training_mut(&mut self) -> &mut TrainingRecord {
        &mut self.training
    }

    /// Name, description and times.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// What old programs keep with each token; empty where that is nothing.
    pub fn tokens(&self) -> &[TokenRecord] {
        &self.tokens
    }

    /// The lattice points that old programs keep with a model.
    pub fn points(&self) -> &[LatticePoint] {
        &self.points
    }

    /// What a file holds besides sizes and values.
    pub(crate) fn set_records(
        &mut self,
        tokenizer: Option<Tokenizer>,
        tokens: Vec<TokenRecord>,
        points: Vec<LatticePoint>,
    ) {
        (self.tokenizer, self.tokens, self.points) = (tokenizer, tokens, points);
    }
}

impl<'m> From<&'m Model> for ModelRef<'m> {
    fn from(model: &'m Model) -> Self {
        model.view()
    }
}

/// A place outside of the block of weights.
enum Separate {
    Table(usize),
    Transform(usize),
}

/// Its sizes; the values would be millions.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.config())
            .field("tokenizer", &self.tokenizer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Bpe;

    fn values(model: &Model) -> Vec<u32> {
        let parts = [&model.block].into_iter().chain(&model.tables).chain(&model.transforms);
        parts.flat_map(|floats| floats.iter().map(|x| x.to_bits())).collect()
    }

    /// Every value, those that no pass reads too, and every record; then one changes without the other.
    #[test]
    fn a_copy_is_equal_and_independent() {
        let config = ModelConfig { vocab: 270, dim: 8, heads: 2, context: 5, ..Default::default() };
        let mut shape = config.shape().unwrap();
        shape.tables = [Table::Stored, Table::Zero, Table::Absent, Table::Stored];
        shape.transforms = [true, false];
        let mut model = Model::zeroed(shape).unwrap();
        let parts = [&mut model.block].into_iter().chain(&mut model.tables);
        let all = parts.chain(&mut model.transforms).flat_map(|floats| floats.iter_mut());
        all.enumerate().for_each(|(i, x)| *x = i as f32);
        model.set_tokenizer(Bpe::bytes().unwrap()).unwrap();
        model.tokens = vec![TokenRecord { frequency: 3.0, ..TokenRecord::plain(1) }];
        model.training.training_steps = 9;
        model.metadata = Metadata {
            name: b"a name".to_vec(),
            description: b"what it is".to_vec(),
            created: 1,
            modified: 2,
            trained: 3,
            context: 5,
            architecture: 7,
        };

        let mut copy = model.try_clone().unwrap();
        assert_eq!(copy.shape, model.shape);
        assert_eq!(values(&copy), values(&model));
        assert_eq!(copy.view().params.tensors().len(), model.view().params.tensors().len());
        for (ours, theirs) in copy.view().params.tensors().iter().zip(model.view().params.tensors())
        {
            assert_eq!(*ours, theirs);
        }
        assert_eq!(copy.view().spiral, model.view().spiral);
        assert_eq!(copy.tokenizer, model.tokenizer);
        assert_eq!((&copy.tokens, &copy.points), (&model.tokens, &model.points));
        assert_eq!((&copy.training, &copy.metadata), (&model.training, &model.metadata));

        // A generator's cache of the one must not be taken for the other's.
        assert_ne!(copy.version, model.version);
        let before = values(&model);
        copy.params_mut().map(|_, _, tensor| tensor.fill(0.5));
        copy.take_tokenizer();
        copy.metadata.name.clear();
        assert_eq!(values(&model), before);
        assert!(model.tokenizer.is_some() && model.metadata.name == b"a name");
        assert_ne!(values(&copy), before);
    }
}
