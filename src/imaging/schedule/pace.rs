//! How long what waits will wait, by what jobs have taken so far.
//!
//! Invariant: a guess, by which who would wait too long is told so at once; nobody who was let in is harmed by a wrong one.

use std::time::Duration;

/// A moving average of the time that one thread works for one that asks: for its job, and for what follows of it.
#[derive(Default)]
pub(super) struct Pace {
    one: Duration,
    /// Worked since the last job that was asked for ended.
    since: Duration,
}

impl Pace {
    /// Notes a job that `took` so long: one that somebody asked for (`asked`), or what follows of one.
    pub(super) fn note(&mut self, took: Duration, asked: bool) {
        self.since += took;
        if asked {
            let one = std::mem::take(&mut self.since);
            self.one = if self.one.is_zero() { one } else { (self.one * 7 + one) / 8 };
        }
    }

    /// The wait of who has so many before him and so many threads for all.
    pub(super) fn wait(&self, ahead: usize, threads: usize) -> Duration {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        self.one.saturating_mul(ahead) / u32::try_from(threads).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_of_a_job_counts_for_it() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(100, 2), Duration::ZERO, "nothing is known yet");
        for _ in 0..50 {
            pace.note(Duration::from_millis(300), false);
            pace.note(Duration::from_millis(100), true);
        }
        assert_eq!(pace.wait(10, 2), Duration::from_secs(2));
        assert_eq!(Pace { one: Duration::MAX, ..pace }.wait(10, 0), Duration::MAX);
    }
}
