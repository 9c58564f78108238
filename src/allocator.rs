//! Keeps the C library's heap small: few arenas, and what is free is given back to the system when work is done.
//!
//! Decoding allocates and frees hundreds of megabytes on several threads; with its defaults glibc keeps much of that in
//! one arena a thread. Measured over mixed renders, two arenas held less at the end than jemalloc or mimalloc.
#![expect(
    unsafe_code,
    reason = "mallopt and malloc_trim are C functions without a safe wrapper; neither takes a pointer"
)]

/// Arenas: the main one and one more, which threads are dealt in turn.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: usize = 2;
/// Free bytes at the top of an arena beyond which glibc gives them back by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 64 << 20;

/// Limits the number of arenas. To be called once, before threads are started.
pub fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers; an unknown parameter is refused with 0, and it is called before any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS as libc::c_int);
        // The largest it takes: pixel buffers up to that are used again by the next render instead of being mapped anew,
        // which costs a fault a page. Larger ones always go back to the system when freed.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        // With that one fixed, glibc would give the top of the heap back at every 128 KiB freed, and fetch it again
        // page by page for the next answer of that size. What is kept is given back by `trim`.
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Gives free pages back to the system; takes milliseconds, so it belongs to idle moments.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // malloc_trim leaves the top of every arena but the main one as it is. That is given back only when something
        // large is freed below it while it is above the threshold: by a thread of that arena, so there is one for each.
        threshold(0);
        for _ in 0..ARENAS {
            let freed = || drop(std::hint::black_box(Vec::<u8>::with_capacity(256 << 10)));
            // Where no thread is to be had there is no memory to be idle about either.
            let _ = std::thread::Builder::new().name("trim".to_owned()).spawn(freed).map(std::thread::JoinHandle::join);
        }
        threshold(KEPT);
        // SAFETY: malloc_trim takes a size and only walks the allocator's own lists under its own locks.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn threshold(bytes: libc::c_int) {
    // SAFETY: mallopt takes two integers and changes its settings under the allocator's own lock.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
}
