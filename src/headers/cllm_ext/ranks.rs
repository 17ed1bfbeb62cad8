//! Training over several processes, by an exchange that the program supplies.

use crate::border::ffi;
use crate::border::host;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::{UserData, narrow, with_training};
use cllm_engine::error::{Error, Result};
use cllm_engine::train::Communicator;
use cllm_macros::c_api;
use std::ffi::{c_int, c_void};
use std::mem::offset_of;

/// Sends `send_bytes` bytes to rank `to`, and at the same time receives `receive_bytes` bytes from rank
/// `from`: MPI_Sendrecv. Where one of the numbers is 0, that rank takes no part; neither is above 2^28.
/// Returns 0; anything else is a failure, and training ends with it. Called on the thread that trains,
/// which has locked its training object: it may not call functions of that object. It may not throw a C++
/// exception, nor leave by longjmp.
pub type CLLMExchangeCallback = Option<
    unsafe extern "C" fn(
        to: c_int,
        send: *const c_void,
        send_bytes: usize,
        from: c_int,
        receive: *mut c_void,
        receive_bytes: usize,
        user_data: *mut c_void,
    ) -> c_int,
>;

/// How a process, a rank, reaches the others that train the same model.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CLLMCommunicator {
    /// `sizeof(CLLMCommunicator)`.
    pub struct_size: usize,
    /// The number of this rank, from 0 on.
    pub rank: c_int,
    /// How many there are, 1 or more.
    pub ranks: c_int,
    /// The exchange with two of the others.
    pub exchange: CLLMExchangeCallback,
    /// Handed to `exchange`.
    pub user_data: *mut c_void,
    /// Not 0: each rank keeps the moments of an equal part of the parameters, and updates that part.
    pub divide_moments: c_int,
    /// Not 0: the gradient of each batch and each sum of two are rounded to bfloat16 (to nearest, ties to
    /// even), so that the exchange of the sums takes half of the bytes; with one rank, too, for which
    /// `exchange` is not called. It changes the result, as another precision does.
    pub bfloat16_sums: c_int,
}

/// The communicator of a C program.
#[derive(Debug)]
struct Program {
    rank: usize,
    ranks: usize,
    exchange: CLLMExchangeCallback,
    user_data: UserData,
    divide_moments: bool,
    bfloat16_sums: bool,
}

impl Communicator for Program {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn exchange(&mut self, to: usize, send: &[u8], from: usize, receive: &mut [u8]) -> Result<()> {
        let Some(call) = self.exchange else { return Err(Error::null("communicator->exchange")) };
        let (to, from, user_data) = (narrow(to), narrow(from), self.user_data.0);
        // SAFETY: the program set the callback and its pointer for this call; both arrays are as long
        // as it is told.
        let failed = host::outside(|| unsafe {
            let (output, input) = (send.as_ptr().cast(), receive.as_mut_ptr().cast());
            call(to, output, send.len(), from, input, receive.len(), user_data)
        });
        match failed {
            0 => Ok(()),
            code => Err(Error::state(format!(
                "the exchange with ranks {to} and {from} failed: it returned {code}"
            ))),
        }
    }
}

/// Has an object train together with others, in other processes or on other machines: a window of
/// `gradient_accumulation_steps` batches is divided among the ranks, and weights, losses and counters come
/// out the same to the bit for any number of ranks, and of threads on each. Ranks that get no batch take
/// part in the rest. The library needs no MPI for it: the program says how bytes get from one rank to
/// another.
///
/// All ranks make the same models and training objects with the same tokens, and the same calls of
/// cllm_train(), cllm_train_epoch(), cllm_train_epoch_mt() and cllm_train_steps(); what differs is found
/// before the first step, and the call fails on all of them, with the same message. The other functions
/// train as without. Every rank has the model; one of them writes its files. The progress callback is
/// called for all steps of a window, after their gradients were computed; a loop ends on all ranks, at the
/// end of a window, when the callback of one returned false, and in the middle of a window no checkpoint
/// can be saved. An error on one rank is an error on all.
///
/// With `divide_moments` the ranks share the optimizer's memory: of the 8 bytes that AdamW takes for each
/// parameter, a rank has 8 / `ranks`. Not a bit changes, nor does what is sent for an update. But then all
/// ranks make the calls of cllm_save_checkpoint() too, with which the first one writes what one process
/// would write, and those of this function; functions that update the weights of one rank alone, as
/// cllm_adam_step() does, fail; gradients are those of a rank's own part after an update; and
/// `optimizer_state` is NULL on ranks that do not have all moments of the embeddings. To train with less
/// memory from the start, make this call before cllm_load_checkpoint().
///
/// @param training      made by cllm_training_init.
/// @param communicator  copied, its `struct_size` set before; NULL: it trains alone again.
/// @return 0; -1 for an object not made by cllm_training_init, a rank that is not from 0 to `ranks` - 1,
///         no exchange, or in the middle of a window: nothing has changed then. -1 also where the moments
///         can't be divided, for which it trains alone, or not be brought together again, for which all is
///         as it was.
///
/// ```c
/// static FILE *pipes[2];   // to and from the only other rank
///
/// static int exchange(int to, const void *send, size_t send_bytes, int from, void *receive,
///                     size_t receive_bytes, void *user_data) {
///     (void)to, (void)from, (void)user_data;
///     int failed = fwrite(send, 1, send_bytes, pipes[0]) != send_bytes || fflush(pipes[0]) != 0;
///     return failed || fread(receive, 1, receive_bytes, pipes[1]) != receive_bytes;
/// }
/// CLLMCommunicator two = {.struct_size = sizeof two, .rank = 0, .ranks = 2, .exchange = exchange};
/// if (cllm_training_set_communicator(training, &two) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init; `communicator` is NULL or as large as its
/// `struct_size` says, and its `exchange` may be called with its `user_data` until another one is set or the
/// object is freed.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_set_communicator(
    training: *mut CLLMTraining,
    communicator: *const CLLMCommunicator,
) -> c_int {
    let program = match communicator.is_null() {
        true => None,
        false => Some(checked(communicator)?),
    };
    with_training(training, |t, state| {
        let asked = program.as_ref();
        let divide = asked.is_some_and(|program| program.divide_moments);
        let rounded = asked.is_some_and(|program| program.bfloat16_sums);
        let communicator = program.map(|program| Box::new(program) as Box<dyn Communicator>);
        if !divide && !state.trainer.divides_moments() {
            state.trainer.set_communicator(communicator)?;
            state.trainer.config.bfloat16_sums = rounded;
            return Ok(0);
        }
        state.train(t, |trainer, weights| {
            trainer.divide_moments(weights, false)?;
            trainer.set_communicator(communicator)?;
            trainer.config.bfloat16_sums = rounded;
            trainer.divide_moments(weights, divide).inspect_err(|_| {
                trainer.set_communicator(None).unwrap_or_else(ffi::report);
            })
        })?;
        Ok(0)
    })
}

/// What a struct of the program says, if it can be.
///
/// # Safety
/// `communicator` points to a struct as large as its first field says.
unsafe fn checked(communicator: *const CLLMCommunicator) -> Result<Program> {
    let none = CLLMCommunicator {
        struct_size: 0,
        rank: 0,
        ranks: 0,
        exchange: None,
        user_data: std::ptr::null_mut(),
        divide_moments: 0,
        bfloat16_sums: 0,
    };
    let least = offset_of!(CLLMCommunicator, divide_moments);
    let names = ["communicator", "communicator->struct_size", "sizeof(CLLMCommunicator)"];
    let known = ffi::sized(communicator, none, least, names)?;
    let CLLMCommunicator { rank, ranks, exchange, user_data, .. } = known;
    if exchange.is_none() {
        return Err(Error::null("communicator->exchange"));
    }
    let ranks = ffi::positive(ranks, "communicator->ranks")?;
    let rank = ffi::len(rank, "communicator->rank")?;
    let (divide_moments, bfloat16_sums) = (known.divide_moments != 0, known.bfloat16_sums != 0);
    let user_data = UserData(user_data);
    Ok(Program { rank, ranks, exchange, user_data, divide_moments, bfloat16_sums })
}
