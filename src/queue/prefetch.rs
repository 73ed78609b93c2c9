//! Asks the processor for memory that is written soon.
//!
//! A slot that is used again lies in the cache of the consumer's processor, which has to give it up
//! before the producer can write. Nobody waits for a store as such, but the next push does: its
//! locked addition comes after all stores before it. Asked for early enough, the memory is there.

/// As large as what processors fetch at once, in bytes.
const LINE: usize = 64;

/// Fetches the memory of a `T` for writing. Only a hint: nothing is read or changed, whatever is
/// at this address.
#[inline(always)]
pub(super) fn for_writing<T>(at: *const T) {
    for offset in (0..size_of::<T>()).step_by(LINE) {
        line_for_writing(at.wrapping_byte_add(offset).cast());
    }
}

#[inline(always)]
#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
fn line_for_writing(at: *const u8) {
    // The standard library's `_mm_prefetch` becomes this instruction only for processors that are
    // known to have it when the crate is compiled; to all others it is a no-operation.
    // SAFETY: a hint to the cache, which accesses no memory and cannot fault.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(readonly, nostack, preserves_flags));
    }
}

#[inline(always)]
#[cfg(all(target_arch = "aarch64", not(any(miri, loom))))]
fn line_for_writing(at: *const u8) {
    // SAFETY: a hint to the cache, which accesses no memory and cannot fault.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) at, options(readonly, nostack, preserves_flags));
    }
}

#[inline(always)]
#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri, loom))]
fn line_for_writing(_at: *const u8) {}
