//! When Redis is left alone: the circuit breaker (Nygard, "Release It!"), as a state machine without a clock.
//!
//! Closed, it lets everything pass and counts failures in a row; open, it lets nothing pass until a jittered pause is
//! over, which doubles each time; half-open, exactly one trial decides. Invariant: what ordinary calls report counts only
//! while it is closed, so that late answers of an earlier time change nothing.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What callers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Everything passes.
    Closed,
    /// A trial is under way; nothing else passes.
    HalfOpen,
    /// Nothing passes until then.
    Open {
        /// When the next trial is due.
        until: Instant,
    },
}

impl Phase {
    /// Value of the gauge: 0 closed, 1 half-open, 2 open.
    pub(super) const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// A change worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Breaker {
    phase: Phase,
    failures: u32,
    pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { phase: Phase::Closed, failures: 0, pause: FIRST_PAUSE }
    }
}

impl Breaker {
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether ordinary calls may pass.
    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// An ordinary call went well.
    pub(super) const fn succeeded(&mut self) {
        if matches!(self.phase, Phase::Closed) {
            self.failures = 0;
        }
    }

    /// An ordinary call failed. `jitter` is between 0 and 1.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) -> Option<Change> {
        if !self.is_closed() {
            return None;
        }
        self.failures += 1;
        if self.failures < FAILURES {
            return None;
        }
        self.trip(now, jitter)
    }

    /// It is known that nothing can pass, without counting.
    pub(super) fn trip(&mut self, now: Instant, jitter: f64) -> Option<Change> {
        let was_closed = self.is_closed();
        self.failures = 0;
        self.phase = Phase::Open { until: now + self.pause.mul_f64(0.5 + jitter / 2.0) };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        was_closed.then_some(Change::Opened)
    }

    /// Whether a trial is due; who is told so must make it and report by [`Self::tried`].
    pub(super) fn begin_trial(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Open { until } if now >= until => {
                self.phase = Phase::HalfOpen;
                true
            }
            _ => false,
        }
    }

    /// How the trial went.
    pub(super) fn tried(&mut self, good: bool, now: Instant, jitter: f64) -> Option<Change> {
        if self.phase != Phase::HalfOpen {
            return None;
        }
        if !good {
            return self.trip(now, jitter);
        }
        *self = Self::default();
        Some(Change::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.failed(now, 1.0), None);
            assert!(breaker.is_closed());
        }
        assert_eq!(breaker.failed(now, 1.0), Some(Change::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not_let_them() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 1..FAILURES {
                assert_eq!(breaker.failed(now, 1.0), None);
            }
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
        assert!(!opened(now).is_closed());
    }

    #[test]
    fn one_trial_at_a_time_and_only_after_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.begin_trial(now + FIRST_PAUSE - MS));
        assert!(breaker.begin_trial(now + FIRST_PAUSE));
        assert!(!breaker.begin_trial(now + FIRST_PAUSE), "one is under way");
        assert!(!breaker.is_closed());
        assert_eq!(breaker.tried(true, now, 1.0), Some(Change::Closed));
        assert!(breaker.is_closed());
        assert_eq!(breaker.failed(now, 1.0), None, "the count began anew");
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_success() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let Phase::Open { until } = breaker.phase() else { panic!("open") };
            pauses.push((until - now).as_millis());
            now = until;
            assert!(breaker.begin_trial(now));
            assert_eq!(breaker.tried(false, now, 1.0), None, "no change: it was open and is");
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        now += LONGEST_PAUSE;
        assert!(breaker.begin_trial(now));
        assert_eq!(breaker.tried(true, now, 1.0), Some(Change::Closed));
        assert_eq!(breaker.trip(now, 0.0), Some(Change::Opened));
        assert_eq!(breaker.phase(), Phase::Open { until: now + FIRST_PAUSE / 2 }, "jitter shortens");
    }

    #[test]
    fn late_reports_do_not_count() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let phase = breaker.phase();
        breaker.succeeded();
        assert_eq!(breaker.failed(now + MS, 1.0), None);
        assert_eq!(breaker.tried(true, now, 1.0), None, "nobody began a trial");
        assert_eq!(breaker.phase(), phase);
    }
}
