//! A text of any length through a model of limited context: windows that overlap, several of them
//! in one forward pass.

use super::activations::{Activations, Save};
use super::forward::{self, Beyond};
use crate::error::{Error, Result};
use crate::limits::DEFAULT_CONTEXT;
use crate::model::{Network, Weight};
use cllm_kernels::Pool;
use cllm_kernels::memory::reserve;
use std::ops::Range;

/// Rows that a forward pass runs at once, about: windows of fewer rows share a pass, so that the
/// products stay large. A longer window has a pass of its own.
const PASS_ROWS: usize = 1024;

/// How a text is cut into windows that don't see each other. Window k holds the `context` tokens from
/// token k·`stride` on, the last one those that are left. Each token is answered for by one window:
/// the first window by all of its tokens, a later one by those from its `context − stride`-th on
/// (counted from 0), which the windows before it did not reach. So every token is seen with at least
/// `context − stride` tokens before it in its window, where the text has them, and with
/// `context − 1` at most. A stride of `context` costs one pass over the text, one of
/// `context / n` costs n.
///
/// ```
/// use cllm_engine::score::Windows;
///
/// assert!(Windows::new(128, 64).is_ok());
/// assert!(Windows::new(128, 129).is_err()); // tokens in between would be left out
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    context: usize,
    stride: usize,
}

impl Windows {
    /// Windows of `context` tokens, each `stride` tokens after the one before it.
    ///
    /// # Errors
    /// Unless 1 ≤ stride ≤ context.
    pub fn new(context: usize, stride: usize) -> Result<Self> {
        if context == 0 {
            return Err(Error::argument("context", 0, "1 or more"));
        }
        if !(1..=context).contains(&stride) {
            return Err(Error::argument("stride", stride, "from 1 to the context"));
        }
        Ok(Self { context, stride })
    }

    /// Windows as long as the positions of the model reach (512 where it has none), each half of
    /// that after the one before it.
    pub fn of(model: &Network<impl Weight>) -> Self {
        let context = Self::context_of(model);
        Self { context, stride: context.div_ceil(2) }
    }

    /// The same with another stride.
    ///
    /// # Errors
    /// Unless 1 ≤ stride ≤ context.
    pub fn with_stride(model: &Network<impl Weight>, stride: usize) -> Result<Self> {
        Self::new(Self::context_of(model), stride)
    }

    /// Windows of `context` tokens, 1 or more, one behind the other.
    pub(crate) fn apart(context: usize) -> Self {
        Self { context, stride: context }
    }

    fn context_of(model: &Network<impl Weight>) -> usize {
        model.positions().unwrap_or(DEFAULT_CONTEXT)
    }

    /// Tokens of a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Tokens from the beginning of a window to that of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Tokens of the windows that share a pass, where they don't overlap.
    pub(crate) fn pass_tokens(&self) -> usize {
        (PASS_ROWS / self.context).max(1) * self.context
    }

    /// Where the window begins that answers for the last of `n` tokens.
    pub(crate) fn last_start(&self, n: usize) -> usize {
        n.saturating_sub(self.context).div_ceil(self.stride) * self.stride
    }

    /// The windows of `n` tokens one by one, each with how many of its first tokens an earlier one answers
    /// for.
    pub(crate) fn each(self, n: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        self.passes(n).flat_map(|pass| (0..pass.count).map(move |i| (pass.tokens(i), pass.seen(i))))
    }

    /// The passes over `n` tokens.
    fn passes(self, n: usize) -> impl Iterator<Item = Windowed> {
        // The last window may be shorter: it has a pass of its own.
        let whole = match n.checked_sub(self.context) {
            Some(more) => more / self.stride + 1,
            None => 0,
        };
        let covered = if whole == 0 { 0 } else { (whole - 1) * self.stride + self.context };
        let each = (PASS_ROWS / self.context).max(1);
        let full = (0..whole).step_by(each).map(move |window| Windowed {
            cut: self,
            window,
            count: each.min(whole - window),
            rows: self.context,
        });
        let rest = (covered < n).then(|| Windowed {
            cut: self,
            window: whole,
            count: 1,
            rows: n - whole * self.stride,
        });
        full.chain(rest)
    }
}

/// The windows of one pass.
#[derive(Clone, Copy)]
struct Windowed {
    cut: Windows,
    /// The first one, and how many.
    window: usize,
    count: usize,
    /// Tokens of each.
    rows: usize,
}

impl Windowed {
    /// The tokens of window i of the pass.
    fn tokens(&self, i: usize) -> Range<usize> {
        let start = (self.window + i) * self.cut.stride;
        start..start + self.rows
    }

    /// Tokens at its beginning that an earlier window answers for.
    fn seen(&self, i: usize) -> usize {
        if self.window + i == 0 { 0 } else { self.cut.context - self.cut.stride }
    }
}

/// Memory of [`run`], used again from call to call.
#[derive(Debug, Default)]
pub struct WindowBuffers {
    tokens: Vec<u32>,
}

/// Runs `tokens` through the model, window by window, and calls `each` with the tokens (by their
/// places, in order, each once) that a pass has answered for and their final hidden vectors
/// `[range.len()][d]`. Memory is bounded by one pass, whatever the length of the text.
///
/// # Errors
/// No memory; what `each` returns.
pub fn run(
    pool: &Pool,
    model: &Network<impl Weight>,
    tokens: &[u32],
    windows: Windows,
    activations: &mut Activations,
    buffers: &mut WindowBuffers,
    mut each: impl FnMut(Range<usize>, &[f32]) -> Result<()>,
) -> Result<()> {
    let d = model.dim;
    for pass in windows.passes(tokens.len()) {
        let joined = &mut buffers.tokens;
        joined.clear();
        reserve("the tokens of a pass", joined, pass.count * pass.rows)?;
        (0..pass.count).for_each(|i| joined.extend_from_slice(&tokens[pass.tokens(i)]));
        let (save, beyond) = (Save::Nothing, Beyond::NoPosition);
        forward::forward(pool, model, joined, pass.count, activations, save, None, beyond)?;
        // The rows that count, side by side.
        let mut kept = 0;
        for i in 0..pass.count {
            let (first, end) = (i * pass.rows + pass.seen(i), (i + 1) * pass.rows);
            if first != kept {
                activations.normed.copy_within(first * d..end * d, kept * d);
            }
            kept += end - first;
        }
        let first = pass.tokens(0).start + pass.seen(0);
        each(first..first + kept, &activations.normed[..kept * d])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_checked() {
        for (context, stride) in [(0, 0), (0, 1), (4, 0), (4, 5)] {
            assert!(Windows::new(context, stride).is_err(), "{context}, {stride}");
        }
        assert_eq!(Windows::new(4, 4).unwrap(), Windows::apart(4));
    }

    proptest! {
        /// Every token is answered for once, in order, by a window that holds what was promised.
        #[test]
        fn each_token_once(n in 0usize..5000, context in 1usize..1500, share in 0f64..1.0) {
            let stride = 1 + (share * context as f64) as usize;
            let windows = Windows::new(context, stride.min(context)).unwrap();
            let mut next = 0;
            for pass in windows.passes(n) {
                prop_assert!(pass.count * pass.rows <= PASS_ROWS.max(context));
                for i in 0..pass.count {
                    let tokens = pass.tokens(i);
                    prop_assert!(tokens.end <= n && tokens.len() <= context);
                    prop_assert_eq!(tokens.start + pass.seen(i), next);
                    let before = next - tokens.start;
                    prop_assert!(before >= next.min(context - windows.stride()));
                    prop_assert!(tokens.end > next);
                    next = tokens.end;
                }
            }
            prop_assert_eq!(next, n);
            prop_assert_eq!(windows.last_start(n), windows.each(n).last().map_or(0, |(tokens, _)| tokens.start));
        }
    }
}
