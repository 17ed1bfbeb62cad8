//! What a program can have set for its threads, and how the library keeps out of it: signal masks,
//! the floating-point environment, what happens at exit.

use std::mem::MaybeUninit;

/// The control and status bits of a thread's floating-point arithmetic: rounding mode, treatment of
/// denormal numbers, exception masks, exceptions that were raised.
///
/// Rust assumes the default environment, and so do results that are to be the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatControl(imp::Bits);

impl FloatControl {
    /// Rounding to nearest, denormal numbers, no exception traps; none was raised.
    pub const DEFAULT: Self = Self(imp::DEFAULT);

    /// This thread's.
    #[inline(always)]
    pub fn read() -> Self {
        Self(imp::read())
    }

    /// Makes it this thread's.
    #[inline(always)]
    pub fn write(self) {
        imp::write(self.0);
    }

    /// [`FloatControl::read`], with which the thread can go on as it was; until then it is in the
    /// default environment.
    #[inline(always)]
    pub fn enter() -> Self {
        let before = Self::read();
        if !imp::is_default(before.0) {
            Self::DEFAULT.write();
        }
        before
    }

    /// Brings back what [`FloatControl::enter`] found.
    #[inline(always)]
    pub fn leave(self) {
        // Reading is cheap, writing is not; most programs change nothing.
        if Self::read() != self {
            self.write();
        }
    }
}

/// The x87 registers are left alone: nothing of the library computes with them.
#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::asm;

    pub type Bits = u32;
    pub const DEFAULT: Bits = 0x1F80;
    /// The exceptions that were raised.
    const RAISED: Bits = 0x3F;

    #[inline(always)]
    pub fn is_default(bits: Bits) -> bool {
        bits & !RAISED == DEFAULT
    }

    #[inline(always)]
    pub fn read() -> Bits {
        let mut bits: Bits = 0;
        // SAFETY: writes MXCSR to the four bytes of `bits`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut bits, options(nostack, preserves_flags)) };
        bits
    }

    #[inline(always)]
    pub fn write(bits: Bits) {
        // SAFETY: the bits are the default ones, or were read: none is reserved.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const bits, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use std::arch::asm;

    /// FPCR and FPSR.
    pub type Bits = (u64, u64);
    pub const DEFAULT: Bits = (0, 0);

    #[inline(always)]
    pub fn is_default(bits: Bits) -> bool {
        bits.0 == DEFAULT.0
    }

    #[inline(always)]
    pub fn read() -> Bits {
        let (control, status);
        // SAFETY: reads two registers that every program may read.
        unsafe {
            asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) status,
                options(nostack, preserves_flags));
        }
        (control, status)
    }

    #[inline(always)]
    pub fn write((control, status): Bits) {
        // SAFETY: the bits are the default ones, or were read.
        unsafe {
            asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) control, in(reg) status,
                options(nostack, preserves_flags));
        }
    }
}

/// Elsewhere the environment stays the program's.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod imp {
    pub type Bits = ();
    pub const DEFAULT: Bits = ();

    pub fn is_default(_: Bits) -> bool {
        true
    }
    pub fn read() -> Bits {}
    pub fn write(_: Bits) {}
}

/// Signals that a thread's own fault raises: blocked, they would end the process before a handler of
/// the program (a crash reporter, a sandbox) sees them.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Runs `work` with signals blocked; threads that it starts keep them blocked, so that the program's
/// signals reach the program's threads. All of them but those of faults.
pub fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    /// Brings the mask back, after a panic too.
    struct Mask(libc::sigset_t);
    impl Drop for Mask {
        fn drop(&mut self) {
            // SAFETY: a mask that pthread_sigmask filled.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
        }
    }
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigfillset fills `all`, pthread_sigmask `before`; the signals exist.
    let _mask = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in FAULTS {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        let result = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        (result == 0).then(|| Mask(before.assume_init()))
    };
    work()
}

/// Has the end of the process (`exit`, a return from `main`) call `function` first.
pub fn at_exit(function: extern "C" fn()) {
    // SAFETY: the library is never unloaded (`-z nodelete`), so the function stays where it is.
    unsafe { libc::atexit(function) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn the_default_environment_is_entered_and_left() {
        use std::hint::black_box;
        #[cfg(target_arch = "x86_64")]
        let upward = FloatControl(0x1F80 | 0x4000 | 0x8000 | 0x40); // to +infinity, denormals to zero
        #[cfg(target_arch = "aarch64")]
        let upward = FloatControl((1 << 22 | 1 << 24, 0));
        let sum = || black_box(black_box(1.0f32) + black_box(1e-10));
        upward.write();
        let (rounded_up, tiny) = (sum(), black_box(black_box(1e-40f32) * black_box(1.0)));
        let found = FloatControl::enter();
        let (nearest, denormal) = (sum(), black_box(black_box(1e-40f32) * black_box(1.0)));
        found.leave();
        let after = FloatControl::read();
        FloatControl::DEFAULT.write();
        assert!(rounded_up > 1.0 && tiny == 0.0);
        assert!(nearest == 1.0 && denormal > 0.0);
        // The additions before `enter` raised flags; those stand, and no others.
        assert_eq!(after, found);
    }

    #[test]
    fn signals_are_blocked_for_a_while() {
        let blocked = |signal| {
            let mut now = MaybeUninit::uninit();
            // SAFETY: asks for the mask of this thread.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), now.as_mut_ptr());
                libc::sigismember(now.as_ptr(), signal) == 1
            }
        };
        assert!(!blocked(libc::SIGUSR1));
        let inside = with_signals_blocked(|| (blocked(libc::SIGUSR1), blocked(libc::SIGSEGV)));
        assert_eq!(inside, (true, false));
        assert!(!blocked(libc::SIGUSR1));
        let panicked = std::panic::catch_unwind(|| with_signals_blocked(|| panic!("on purpose")));
        assert!(panicked.is_err() && !blocked(libc::SIGUSR1));
    }
}
