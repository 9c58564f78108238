//! Keeps the C library's heap small: few arenas, and what is free is given back to the system when work is done.
//!
//! Decoding allocates and frees hundreds of megabytes on several threads; with its defaults glibc keeps much of that in
//! one arena a thread. Measured over mixed renders, two arenas held less at the end than jemalloc or mimalloc.
#![expect(
    unsafe_code,
    reason = "mallopt and malloc_trim are C functions without a safe wrapper; neither takes a pointer"
)]

/// Limits the number of arenas. To be called once, before threads are started.
pub fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers; an unknown parameter is refused with 0, and it is called before any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        // The largest it takes: pixel buffers up to that are used again by the next render instead of being mapped anew,
        // which costs a fault a page. Larger ones always go back to the system when freed.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        // With that one fixed, glibc would give the top of the heap back at every 128 KiB freed, and fetch it again
        // page by page for the next answer of that size. What is kept is given back by `trim`.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

/// Gives free pages back to the system; takes milliseconds, so it belongs to idle moments.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes a size and only walks the allocator's own lists under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
