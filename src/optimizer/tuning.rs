//! What of the optimizer's settings may change while it runs, swapped as a whole.
//!
//! Invariant: work that has begun ends by the settings it asked for last; no request waits for a change.

use std::sync::Arc;

use super::Optimizer;
use crate::cache;
use crate::imaging;
use crate::source::{Bodies, Fetcher};

/// See the module's text.
pub struct Tuning {
    /// Downloads sources, by the policy and the limits in force.
    pub fetcher: Fetcher,
    /// Lifetimes; budgets are those of the start.
    pub settings: cache::Settings,
    /// Limits and engines of the pipeline.
    pub imaging: Arc<imaging::Settings>,
}

impl Optimizer {
    /// Works by other settings from now on. A failure says nothing about them, so none is remembered.
    pub fn retune(&self, tuning: Tuning) {
        self.tuning.store(Arc::new(tuning));
        self.failures.forget_all();
    }

    /// The budget for bodies, which outlives the fetcher.
    pub fn bodies(&self) -> Bodies {
        self.tuning.load().fetcher.bodies()
    }

    pub(super) fn imaging(&self) -> Arc<imaging::Settings> {
        Arc::clone(&self.tuning.load().imaging)
    }
}
