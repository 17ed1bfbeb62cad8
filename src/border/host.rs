//! The thread that a call comes from, and what the library needs of it: the default floating-point
//! environment, and room on the stack. The program finds both as it left them, and so do its
//! callbacks.

use cllm_engine::error::{Error, Result};
use cllm_kernels::host::FloatControl;
use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};

/// Room that suffices for every call: the most that one was seen to take is 140 KiB. With less, or on
/// a stack that is not the thread's own (a coroutine's), a call runs on a stack of the library's.
const ENOUGH: usize = 256 << 10;
/// Bytes of such a stack: as much as the library's own threads have. Only what is used takes memory.
const STACK_BYTES: usize = 2 << 20;
/// Addresses above it that nothing uses: valgrind takes a jump of the stack pointer by less than 2 MB
/// for a stack that grows or shrinks, and what lies between for unused.
const APART: usize = 2 << 20;
/// Stacks that are kept for the next calls.
const KEPT: usize = 16;

struct Caller {
    /// Calls of the library that this thread is inside of.
    depth: Cell<u32>,
    /// The program's floating-point environment, while inside.
    program: Cell<FloatControl>,
    /// Where the stack in use begins and ends; both 0 before the first call.
    stack: Cell<(usize, usize)>,
}

thread_local! {
    static CALLER: Caller = const {
        Caller {
            depth: Cell::new(0),
            program: Cell::new(FloatControl::DEFAULT),
            stack: Cell::new((0, 0)),
        }
    };
}

/// Whether this thread is inside a call.
pub(crate) fn inside() -> bool {
    CALLER.with(|caller| caller.depth.get() > 0)
}

/// Runs `body`, which does not panic, in the default floating-point environment and with room on
/// the stack. An error where no memory for a stack is left.
#[inline(always)]
pub(crate) fn enter<R>(body: impl FnOnce() -> R) -> Result<R> {
    CALLER.with(|caller| {
        let program = caller.program.replace(FloatControl::enter());
        caller.depth.set(caller.depth.get() + 1);
        let here = ptr::from_ref(&program).addr();
        let (low, high) = caller.stack.get();
        let result = if here < high && here >= low + ENOUGH {
            Ok(apart(body))
        } else {
            with_room(caller, here, body)
        };
        caller.depth.set(caller.depth.get() - 1);
        caller.program.replace(program).leave();
        result
    })
}

/// Runs `callback`, code of the program, in the program's floating-point environment, and keeps what
/// it changes there.
pub(crate) fn outside<R>(callback: impl FnOnce() -> R) -> R {
    CALLER.with(|caller| {
        if caller.depth.get() == 0 {
            return callback();
        }
        caller.program.get().write();
        let result = callback();
        caller.program.set(FloatControl::enter());
        result
    })
}

/// A frame of its own: what `body` needs on the stack and computes in registers belongs to neither
/// the caller's frame nor to the time before its environment is set.
#[inline(never)]
fn apart<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cold]
fn with_room<R>(caller: &Caller, here: usize, body: impl FnOnce() -> R) -> Result<R> {
    if caller.stack.get() == (0, 0) {
        keep_main_thread();
        let (low, high) = stack_of_thread();
        caller.stack.set((low, high));
        if here < high && here >= low + ENOUGH {
            return Ok(apart(body));
        }
    }
    if !switch::CAN {
        return Ok(apart(body));
    }
    let stack = Stack::get()?;
    let before = caller.stack.replace(stack.bounds());
    let result = on_stack(&stack, body);
    caller.stack.set(before);
    stack.keep();
    Ok(result)
}

/// The handle that Rust makes of the main thread when it is asked for one, as crates do, is never
/// freed, and Rust's own pointer leads into its middle: checkers of leaks would call it lost.
fn keep_main_thread() {
    static MAIN: OnceLock<Thread> = OnceLock::new();
    // SAFETY: no preconditions.
    if unsafe { libc::gettid() == libc::getpid() } {
        MAIN.get_or_init(thread::current);
    }
}

/// Where the stack that the system gave to this thread begins and ends.
fn stack_of_thread() -> (usize, usize) {
    let mut attributes = MaybeUninit::uninit();
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: pthread_getattr_np fills the attributes, which are read and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            // Not known: every call goes to a stack of its own.
            return (usize::MAX - ENOUGH, usize::MAX);
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (low.addr(), low.addr() + size)
}

/// A stack of the library's; its lowest page may not be touched, so that an overflow is no damage.
struct Stack {
    low: usize,
}

/// Those that nobody uses.
static FREE: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

impl Stack {
    fn get() -> Result<Self> {
        let kept = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(Self::map, Ok)
    }

    fn map() -> Result<Self> {
        let refused = || Error::memory("a stack", STACK_BYTES);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, which is this object's.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), STACK_BYTES + APART, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(refused());
        }
        let stack = Self { low: start.expose_provenance() };
        // SAFETY: the lowest page of the mapping, which is larger.
        if unsafe { libc::mprotect(start, page_size(), libc::PROT_NONE) } != 0 {
            return Err(refused());
        }
        Ok(stack)
    }

    fn bounds(&self) -> (usize, usize) {
        (self.low + page_size(), self.low + STACK_BYTES)
    }

    /// For the next call.
    fn keep(self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(self);
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping of this object, which nobody runs on.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(self.low), STACK_BYTES + APART) };
    }
}

fn page_size() -> usize {
    // SAFETY: no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Runs `body` on another stack.
fn on_stack<F: FnOnce() -> R, R>(stack: &Stack, body: F) -> R {
    union Job<F, R> {
        body: ManuallyDrop<F>,
        result: ManuallyDrop<R>,
    }
    /// The first frame there: a panic (there is none) would end the process, not leave it.
    extern "C" fn run<F: FnOnce() -> R, R>(job: *mut Job<F, R>) {
        // SAFETY: `on_stack` waits with a job that holds a body, and takes its result.
        unsafe {
            let body = ManuallyDrop::take(&mut (*job).body);
            (*job).result = ManuallyDrop::new(body());
        }
    }
    let mut job = Job { body: ManuallyDrop::new(body) };
    // SAFETY: the stack is ours alone, page-aligned at its upper end, and large enough; `run` makes
    // of the job's body its result.
    unsafe {
        switch::call(stack.bounds().1, (&raw mut job).cast(), run::<F, R> as *const () as usize);
        ManuallyDrop::into_inner(job.result)
    }
}

#[cfg(target_arch = "x86_64")]
mod switch {
    pub const CAN: bool = true;

    /// Calls `function(argument)` with the stack pointer at `top`.
    ///
    /// # Safety
    /// `top` is the aligned upper end of an unused stack; `function` is an `extern "C"` function
    /// of one pointer, which `argument` suits, and returns.
    pub unsafe fn call(top: usize, argument: *mut (), function: usize) {
        // SAFETY: r12 outlives a call; the rest is the caller's promise.
        unsafe {
            std::arch::asm!(
                "mov r12, rsp",
                "mov rsp, {top}",
                "call {function}",
                "mov rsp, r12",
                top = in(reg) top,
                function = in(reg) function,
                in("rdi") argument,
                out("r12") _,
                clobber_abi("C"),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod switch {
    pub const CAN: bool = true;

    /// Calls `function(argument)` with the stack pointer at `top`.
    ///
    /// # Safety
    /// `top` is the aligned upper end of an unused stack; `function` is an `extern "C"` function
    /// of one pointer, which `argument` suits, and returns.
    pub unsafe fn call(top: usize, argument: *mut (), function: usize) {
        // SAFETY: x20 outlives a call; the rest is the caller's promise.
        unsafe {
            std::arch::asm!(
                "mov x20, sp",
                "mov sp, {top}",
                "blr {function}",
                "mov sp, x20",
                top = in(reg) top,
                function = in(reg) function,
                in("x0") argument,
                out("x20") _,
                clobber_abi("C"),
            );
        }
    }
}

/// Elsewhere a call takes the stack that there is.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod switch {
    pub const CAN: bool = false;

    /// # Safety
    /// Never called.
    pub unsafe fn call(_: usize, _: *mut (), _: usize) {
        unreachable!("stacks are not switched on this processor");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room on the stack in use.
    fn room() -> usize {
        let here = 0u8;
        let (low, high) = CALLER.with(|caller| caller.stack.get());
        let here = ptr::from_ref(&here).addr();
        assert!(here < high, "on a stack that is not known");
        here - low
    }

    #[test]
    fn a_small_stack_is_left_and_come_back_to() {
        let small = std::thread::Builder::new().stack_size(32 << 10);
        let body = || {
            let value = std::hint::black_box(7);
            let text = enter(|| {
                assert!(inside() && room() > ENOUGH);
                let deeper = enter(room).unwrap();
                assert!(deeper > ENOUGH && deeper < room(), "the same stack, deeper");
                let array = std::hint::black_box([value; 16 << 10]);
                format!("{}", array.iter().sum::<i32>())
            });
            assert!(!inside());
            text.unwrap()
        };
        assert_eq!(small.spawn(body).unwrap().join().unwrap(), (7 << 14).to_string());
        let large = std::thread::spawn(|| enter(room).unwrap());
        assert!(large.join().unwrap() < STACK_BYTES);
        assert!(FREE.lock().unwrap().len() <= KEPT);
    }

    #[test]
    fn callbacks_have_the_environment_of_the_program() {
        let program = FloatControl::read();
        let _ = enter(|| {
            assert_eq!(outside(FloatControl::read), program);
            let _ = enter(|| assert_eq!(outside(FloatControl::read), FloatControl::read()));
        });
        assert_eq!(FloatControl::read(), program);
    }
}
