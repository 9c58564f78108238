//! Variants that were asked for again, made better when there is nothing else to do.
//!
//! Invariant: it stays within its share of the machine, one at a time, and what has waited too long is not worth it any more.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::optimizer::{Candidate, Optimizer, Refined};
use crate::telemetry::{Label, Metrics, OutcomeLabels};

/// The `[refine]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Share of all processors' time; 0 refines nothing.
    pub cpu_percent: u32,
    /// Sources larger than this are left as they are.
    pub max_bytes: u64,
    /// How long a variant waits for its turn; then it is left as it is until it is asked for again.
    pub max_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cpu_percent: 25, max_bytes: 20_000_000, max_age: Duration::from_secs(600) }
    }
}

impl Settings {
    /// How long to rest after work on one thread took `spent`, to stay within the share of `processors`.
    fn rest(&self, spent: Duration, processors: usize) -> Duration {
        let share = f64::from(self.cpu_percent) / 100.0 * processors as f64;
        if share <= 0.0 { Duration::MAX } else { spent.mul_f64((1.0 / share - 1.0).max(0.0)) }
    }
}

/// Refines what comes from `candidates` until the optimizer is gone.
pub fn start(
    optimizer: &Arc<Optimizer>,
    candidates: mpsc::Receiver<Candidate>,
    settings: Settings,
    metrics: Arc<Metrics>,
    runtime: &Handle,
) {
    if settings.cpu_percent > 0 {
        runtime.spawn(refine(Arc::downgrade(optimizer), candidates, settings, metrics));
    }
}

async fn refine(
    optimizer: Weak<Optimizer>,
    mut candidates: mpsc::Receiver<Candidate>,
    settings: Settings,
    metrics: Arc<Metrics>,
) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    while let Some(candidate) = candidates.recv().await {
        let Some(optimizer) = optimizer.upgrade() else { return };
        let refined = if candidate.noted.elapsed() > settings.max_age {
            optimizer.pass_over(&candidate);
            Refined::Passed
        } else {
            optimizer.refine(&candidate).await
        };
        drop(optimizer);
        metrics.refined.get_or_create(&OutcomeLabels { outcome: Label(refined.as_str()) }).inc();
        if let Refined::Made(spent) | Refined::Kept(spent) = refined {
            sleep(settings.rest(spent, processors)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_keeps_to_the_share() {
        let rest = |cpu_percent, processors| {
            Settings { cpu_percent, ..Settings::default() }.rest(Duration::from_secs(1), processors).as_secs_f64()
        };
        assert!((rest(25, 2) - 1.0).abs() < 1e-9, "half of one of two processors");
        assert!((rest(25, 1) - 3.0).abs() < 1e-9);
        assert!(rest(100, 2).abs() < 1e-9 && rest(50, 4).abs() < 1e-9, "one thread cannot take more");
    }
}
