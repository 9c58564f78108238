//! Until when an encoder may work, for those that let themselves be asked: libwebp between parts of an image, mozjpeg between
//! rows.
//!
//! Invariant: it belongs to the thread and to one piece of work, because libwebp's hook is handed nothing of ours.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives the deadline back when the work ends, by a panic too.
struct Restored(Option<Instant>);

impl Drop for Restored {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}

/// Runs `work`, whose encoders give up after `deadline`.
pub(in crate::imaging) fn until<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    let _restored = Restored(DEADLINE.replace(Some(deadline)));
    work()
}

/// Whether the work of this thread should have ended.
pub(super) fn is_over() -> bool {
    DEADLINE.get().is_some_and(|deadline| Instant::now() >= deadline)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_holds_for_its_work_and_no_longer() {
        let (over, later) = (Instant::now(), Instant::now() + Duration::from_secs(600));
        assert!(!is_over());
        until(later, || {
            assert!(!is_over());
            until(over, || assert!(is_over()));
            assert!(!is_over());
        });
        let caught = std::panic::catch_unwind(|| until(over, || panic!("a defect")));
        assert!(caught.is_err() && !is_over());
    }
}
