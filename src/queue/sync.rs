//! What the queue synchronises with: the standard library's, or loom's where loom explores it.
//!
//! loom's cells hand out their pointer for the time of a closure, so that it sees every access; the
//! cell for everybody else has the same form and costs nothing.

#[cfg(loom)]
pub(super) use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize},
    thread::{Thread, ThreadId, current, park},
};
#[cfg(not(loom))]
pub(super) use std::{
    sync::Arc,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize},
    thread::{Thread, ThreadId, current, park, park_timeout},
};

/// loom has no time: another thread gets its turn.
#[cfg(loom)]
pub(super) fn park_timeout(_time: std::time::Duration) {
    loom::thread::yield_now();
}

/// The standard cell in the form of loom's.
#[cfg(not(loom))]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(super) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline(always)]
    pub(super) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// Whether the queue is to make this mistake: a model that cannot find the mistakes it is there to
/// find proves nothing. Never, but where loom explores.
#[cfg(not(loom))]
#[inline(always)]
pub(super) const fn planted(_fault: &str) -> bool {
    false
}

/// As above: `LOOM_PLANTED` names the mistake.
#[cfg(loom)]
pub(super) fn planted(fault: &str) -> bool {
    use std::sync::OnceLock;
    static PLANTED: OnceLock<String> = OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("LOOM_PLANTED").unwrap_or_default()) == fault
}
