//! The loop: a sequence that is continued token by token.

use super::session::Session;
use super::state::{self, Restored, State};
use super::{Filter, GeneratorConfig, Sampler};
use crate::error::{Error, Result};
use crate::file::{self, Problem};
use crate::model::{InferenceRef, Network, Weight};
use crate::system::atomic;
use cllm_kernels::Pool;
use cllm_kernels::memory::{grow, reserve};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Continues a sequence of tokens with a model: owns the sequence, the random numbers, and the keys
/// and values of what was computed already. The model is borrowed for each call; its weights may
/// change in between, which [`Network::weights_version`] tells.
///
/// Equal seed, settings, model, prompt give equal tokens, whatever the number of threads. `Send` and
/// `Sync`; many generators may use one model at once. For texts instead of tokens see [`Generator::text`].
///
/// ```
/// # use cllm_engine::model::{Layers, ModelRef, Params};
/// use cllm_engine::generate::{Generator, GeneratorConfig};
///
/// # // E, four words: each says that the next one follows.
/// # let table = [2.0, -1.0, -1.0, 2.0, -2.0, 1.0, 1.0, -2.0];
/// # let params = Params { embeddings: &table[..], layers: Layers::new(), learned: None, head: None };
/// # let model = ModelRef { version: 0, vocab: 4, dim: 2, max_length: 0, spiral: None, params };
/// let config = GeneratorConfig { max_tokens: 8, stop_tokens: vec![0], ..Default::default() };
/// let mut generator = Generator::new(config, 42)?;
/// generator.prompt(&[1, 3])?;
/// while let Some(token) = generator.next(&model)? {
///     println!("{token}");
/// }
/// assert_eq!(generator.sequence()[..2], [1, 3]);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
pub struct Generator {
    config: GeneratorConfig,
    sampler: Sampler,
    /// Prompt and continuation.
    sequence: Vec<u32>,
    /// How many of its last tokens the latest call of `prompt` or `resume` has brought.
    made: usize,
    /// A stop token was drawn.
    ended: bool,
    filter: Option<Filter>,
    /// What the filter says of the tokens.
    mask: Vec<bool>,
    session: Session,
    pool: Arc<Pool>,
    /// The outputs for callers that bring none.
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

impl Generator {
    /// A generator without a sequence, which works with as many threads as a step is worth.
    ///
    /// # Errors
    /// A setting that [`GeneratorConfig::check`] refuses.
    pub fn new(config: GeneratorConfig, seed: u64) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config,
            sampler: Sampler::new(seed),
            sequence: Vec::new(),
            made: 0,
            ended: false,
            filter: None,
            mask: Vec::new(),
            session: Session::default(),
            pool: Arc::new(Pool::automatic()),
            hidden: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// The settings.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// The settings, to be changed at any time: the next token follows them. They are not checked
    /// again; a number outside its range switches its step off.
    pub fn config_mut(&mut self) -> &mut GeneratorConfig {
        &mut self.config
    }

    /// Begins the random numbers of `seed`. The cache is emptied, so that the same seed gives the
    /// same tokens whatever came before: keys and values computed one by one and in one pass may
    /// differ in their last bits.
    pub fn seed(&mut self, seed: u64) {
        self.sampler = Sampler::new(seed);
        self.session.clear();
    }

    /// How many threads compute, at most; no token depends on it. No more than there are processors, and one
    /// alone where a step is too small to gain by more; 0: the process's number of threads.
    pub fn set_threads(&mut self, threads: usize) {
        self.set_pool(Arc::new(Pool::up_to(threads)));
    }

    /// Lets a pool of the program's compute; one of a fixed number of threads uses them for every step.
    pub fn set_pool(&mut self, pool: Arc<Pool>) {
        self.pool = pool;
    }

    /// The threads that compute.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Lets a function say before each token which ones may come; `None`: those that the settings
    /// leave. Where it leaves none, the call for the next token is an error, and the sequence is as it
    /// was. [`GeneratorConfig::allowed_tokens`] is the list for a choice that stays the same.
    ///
    /// ```
    /// use cllm_engine::generate::{Generator, GeneratorConfig};
    /// use cllm_engine::{Model, ModelConfig};
    /// use std::ops::ControlFlow::{Break, Continue};
    ///
    /// let model = Model::new(&ModelConfig { vocab: 12, dim: 8, heads: 2, ..Default::default() }, 1)?;
    /// let mut generator = Generator::new(GeneratorConfig::default(), 42)?;
    /// // Up to four even tokens.
    /// generator.set_filter(Some(Box::new(|sequence, allowed| {
    ///     (1..allowed.len()).step_by(2).for_each(|odd| allowed[odd] = false);
    ///     if sequence.len() < 5 { Continue(()) } else { Break(()) }
    /// })));
    /// generator.prompt(&[7])?;
    /// let tokens = generator.tokens(&model).collect::<cllm_engine::Result<Vec<u32>>>()?;
    /// assert!(tokens.len() == 4 && tokens.iter().all(|token| token % 2 == 0));
    /// assert!(generator.ended());
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    /// Forgets the keys and values, not the sequence. To be called where weights were changed
    /// without a new [`Network::version`].
    pub fn clear_cache(&mut self) {
        self.session.clear();
    }

    /// Begins a sequence, to be continued by up to `max_tokens` tokens. Where it begins as the one
    /// before it, what is cached of that is used.
    ///
    /// # Errors
    /// No tokens; no memory. The sequence is as before then.
    pub fn prompt(&mut self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::argument("prompt", "empty", "at least one token"));
        }
        reserve("the sequence", &mut self.sequence, tokens.len())?;
        self.sequence.clear();
        self.sequence.extend_from_slice(tokens);
        self.go_on();
        Ok(())
    }

    /// Lets the sequence go on by up to `max_tokens` tokens more, also behind a stop token: n tokens
    /// and then m are the same as n + m at once.
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind) where there is no sequence yet.
    pub fn resume(&mut self) -> Result<()> {
        if self.sequence.is_empty() {
            return Err(Error::state("there is no generation to go on with"));
        }
        self.go_on();
        Ok(())
    }

    fn go_on(&mut self) {
        (self.made, self.ended) = (0, false);
    }

    /// The whole sequence: prompt and continuation. A stop token is not part of it.
    pub fn sequence(&self) -> &[u32] {
        &self.sequence
    }

    /// The tokens since the latest [`Generator::prompt`] or [`Generator::resume`].
    pub fn continuation(&self) -> &[u32] {
        &self.sequence[self.sequence.len() - self.made..]
    }

    /// Whether a stop token has ended the text.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next token, which is part of the sequence then; `None` at a stop token, or after
    /// `max_tokens`. A sequence longer than the model's positions is continued over its last part.
    ///
    /// # Errors
    /// No sequence, a token that the model does not have, no token that may come, no memory. The
    /// sequence is as before then.
    ///
    /// # Panics
    /// Where a view that the program made has tensors of other sizes than it says:
    /// [`Network::check`] tells.
    pub fn next(&mut self, model: &Network<impl Weight>) -> Result<Option<u32>> {
        let (mut hidden, mut logits) =
            (std::mem::take(&mut self.hidden), std::mem::take(&mut self.logits));
        let next = fit("the hidden vector", &mut hidden, model.dim)
            .and_then(|()| fit("the logits", &mut logits, model.vocab))
            .and_then(|()| self.next_into(model, &mut hidden, &mut logits));
        (self.hidden, self.logits) = (hidden, logits);
        next
    }

    /// [`Generator::next`] for callers that want to see how: `hidden` `[d]` receives the final hidden
    /// vector of the sequence's last position, `logits` `[V]` the distribution that the token was
    /// drawn from. Unchanged where no token is due any more.
    ///
    /// # Errors
    /// Also for outputs of other sizes.
    pub fn next_into(
        &mut self,
        model: &Network<impl Weight>,
        hidden: &mut [f32],
        logits: &mut [f32],
    ) -> Result<Option<u32>> {
        if self.ended || self.made >= self.config.max_tokens {
            return Ok(None);
        }
        let Some(filter) = &mut self.filter else {
            return self.draw_into(model, hidden, logits, None);
        };
        let mut mask = std::mem::take(&mut self.mask);
        mask.clear();
        grow("the tokens that may be drawn", &mut mask, model.vocab)?;
        mask.fill(true);
        let next = match filter(&self.sequence, &mut mask) {
            ControlFlow::Continue(()) => self.draw_into(model, hidden, logits, Some(&mask)),
            ControlFlow::Break(()) => {
                self.ended = true;
                Ok(None)
            }
        };
        self.mask = mask;
        next
    }

    /// [`Generator::next_into`] among the tokens that are `true` in `mask`, which takes the place of a
    /// filter for this token; an id behind its end may not come.
    ///
    /// # Errors
    /// As [`Generator::next_into`].
    pub fn next_among(
        &mut self,
        model: &Network<impl Weight>,
        hidden: &mut [f32],
        logits: &mut [f32],
        mask: &[bool],
    ) -> Result<Option<u32>> {
        if self.ended || self.made >= self.config.max_tokens {
            return Ok(None);
        }
        self.draw_into(model, hidden, logits, Some(mask))
    }

    fn draw_into(
        &mut self,
        model: &Network<impl Weight>,
        hidden: &mut [f32],
        logits: &mut [f32],
        mask: Option<&[bool]>,
    ) -> Result<Option<u32>> {
        let window = Session::window(model, &self.sequence);
        self.session.run(&self.pool, model, window, hidden, logits)?;
        self.sequence
            .try_reserve(1)
            .map_err(|_| Error::memory("the sequence", 4 * self.sequence.len()))?;
        let token = self.sampler.next_among(logits, &self.sequence, &self.config, mask)?;
        if self.config.stop_tokens.contains(&token) {
            self.ended = true;
            return Ok(None);
        }
        self.sequence.push(token);
        self.made += 1;
        Ok(Some(token))
    }

    /// The tokens to come, as an iterator: what [`Generator::next`] gives, up to the first error.
    ///
    /// ```
    /// # use cllm_engine::model::{Layers, ModelRef, Params};
    /// # use cllm_engine::generate::Generator;
    /// # let table = [2.0, -1.0, -1.0, 2.0, -2.0, 1.0, 1.0, -2.0];
    /// # let params = Params { embeddings: &table[..], layers: Layers::new(), learned: None, head: None };
    /// # let model = ModelRef { version: 0, vocab: 4, dim: 2, max_length: 0, spiral: None, params };
    /// let mut generator = Generator::new(Default::default(), 7)?;
    /// generator.prompt(&[2])?;
    /// let tokens: Vec<u32> = generator.tokens(model).collect::<Result<_, _>>()?;
    /// assert_eq!(tokens.len(), generator.config().max_tokens);
    /// assert_eq!(tokens, generator.continuation());
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn tokens<'m>(&mut self, model: impl Into<InferenceRef<'m>>) -> Tokens<'_, 'm> {
        Tokens { generator: self, model: model.into(), failed: false }
    }

    /// Hands each token over as soon as it is there, until the text ends or `each` breaks; how many
    /// they were, the last one included. [`Generator::resume`] and another call go on behind it.
    ///
    /// # Errors
    /// As [`Generator::next`].
    ///
    /// ```
    /// # use cllm_engine::model::{Layers, ModelRef, Params};
    /// # use cllm_engine::generate::Generator;
    /// # let table = [2.0, -1.0, -1.0, 2.0, -2.0, 1.0, 1.0, -2.0];
    /// # let params = Params { embeddings: &table[..], layers: Layers::new(), learned: None, head: None };
    /// # let model = ModelRef { version: 0, vocab: 4, dim: 2, max_length: 0, spiral: None, params };
    /// use std::ops::ControlFlow::{Break, Continue};
    ///
    /// let mut generator = Generator::new(Default::default(), 7)?;
    /// generator.prompt(&[2])?;
    /// let mut left = 3;
    /// let made = generator.stream(&model, |_token| {
    ///     left -= 1;
    ///     if left == 0 { Break(()) } else { Continue(()) }
    /// })?;
    /// assert_eq!(made, 3);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn stream(
        &mut self,
        model: &Network<impl Weight>,
        mut each: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize> {
        let mut made = 0;
        while let Some(token) = self.next(model)? {
            made += 1;
            if each(token).is_break() {
                break;
            }
        }
        Ok(made)
    }

    /// Runs any tokens through the model, apart from the sequence: `hidden` `[d]` receives the final
    /// hidden vector of the last one, `logits` `[V]` the logits of what comes after it. A call whose
    /// tokens begin with all those of the call before, and go on, costs only the new ones.
    /// Positions beyond the model's tables share their last row.
    ///
    /// # Errors
    /// As [`Session::run`]; the outputs are unchanged then.
    pub fn forward(
        &mut self,
        model: &Network<impl Weight>,
        tokens: &[u32],
        hidden: &mut [f32],
        logits: &mut [f32],
    ) -> Result<()> {
        self.session.run(&self.pool, model, tokens, hidden, logits)
    }

    /// Draws from `logits` `[V]` as the settings say, but for what depends on a sequence or a
    /// vocabulary (repetition penalty, stop and suppressed tokens); they become the distribution.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        self.sampler.choose(logits, &self.config)
    }

    /// Where the generator stands, as bytes: settings, random numbers, sequence, keys and values. A
    /// generator that gets them goes on exactly as this one would, with the same model, also in
    /// another process. Not part of it: threads, the filter, and the stop, suppressed and allowed
    /// tokens, which belong to the vocabulary.
    ///
    /// # Errors
    /// No memory.
    ///
    /// ```
    /// # use cllm_engine::model::{Layers, ModelRef, Params};
    /// # use cllm_engine::generate::Generator;
    /// # let table = [2.0, -1.0, -1.0, 2.0, -2.0, 1.0, 1.0, -2.0];
    /// # let params = Params { embeddings: &table[..], layers: Layers::new(), learned: None, head: None };
    /// # let model = ModelRef { version: 0, vocab: 4, dim: 2, max_length: 0, spiral: None, params };
    /// let mut one = Generator::new(Default::default(), 7)?;
    /// one.prompt(&[2])?;
    /// one.next(&model)?;
    /// let state = one.save_state(&model)?;
    /// let mut other = Generator::new(Default::default(), 0)?;
    /// other.restore_state(&state, &model)?;
    /// one.resume()?;
    /// other.resume()?;
    /// assert_eq!(one.next(&model)?, other.next(&model)?);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn save_state(&self, model: &Network<impl Weight>) -> Result<Vec<u8>> {
        let Self { config, sampler, sequence, session, .. } = self;
        state::encode(&State { config, sampler, sequence, session }, model)
    }

    /// Takes the place of the generator that [`Generator::save_state`] was called on;
    /// [`Generator::resume`] goes on with its sequence.
    ///
    /// # Errors
    /// Bytes that are damaged, or were saved with other weights: nothing has changed then.
    pub fn restore_state(&mut self, state: &[u8], model: &Network<impl Weight>) -> Result<()> {
        self.decode(state, model).map_err(|problem| match problem {
            Problem::Other(error) => error,
            problem => Error::shape(problem.to_string()),
        })
    }

    /// [`Generator::save_state`] into a file, which appears whole or not at all.
    ///
    /// # Errors
    /// The file can't be written; no memory.
    pub fn write_state(&self, path: &Path, model: &Network<impl Weight>) -> Result<()> {
        let bytes = self.save_state(model)?;
        atomic::write(path, |file| file.write_all(&bytes))
    }

    /// [`Generator::restore_state`] from a file of [`Generator::write_state`].
    ///
    /// # Errors
    /// A file that can't be read, is damaged, or was saved with other weights: nothing has changed
    /// then.
    pub fn read_state(&mut self, path: &Path, model: &Network<impl Weight>) -> Result<()> {
        let (file, len) = file::open(path)?;
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        reserve("the state", &mut bytes, size)?;
        file.take(len).read_to_end(&mut bytes).map_err(Error::io(path))?;
        self.decode(&bytes, model).map_err(Problem::at(path))
    }

    fn decode(&mut self, state: &[u8], model: &Network<impl Weight>) -> Result<(), Problem> {
        let Restored { config, sampler, sequence, session } = state::decode(state, model)?;
        let old = std::mem::take(&mut self.config);
        let GeneratorConfig { stop_tokens, suppress_tokens, allowed_tokens, .. } = old;
        self.config = GeneratorConfig { stop_tokens, suppress_tokens, allowed_tokens, ..config };
        (self.sampler, self.sequence, self.session) = (sampler, sequence, session);
        self.go_on();
        Ok(())
    }
}

/// Gives `buffer` the length `len`.
fn fit(what: &'static str, buffer: &mut Vec<f32>, len: usize) -> Result<()> {
    buffer.truncate(len);
    Ok(grow(what, buffer, len)?)
}

/// The tokens to come: [`Generator::tokens`].
pub struct Tokens<'g, 'm> {
    generator: &'g mut Generator,
    model: InferenceRef<'m>,
    failed: bool,
}

impl Iterator for Tokens<'_, '_> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.generator.next(&self.model).transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl std::iter::FusedIterator for Tokens<'_, '_> {}
