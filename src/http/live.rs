//! Settings of this room as they are in force, with what was remembered under them.
//!
//! Invariant: they are replaced together, so that nothing is answered from what was remembered under other settings or by
//! another policy; who asks takes no lock.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::memo::Memo;
use super::{Settings, State};
use crate::source::SourcePolicy;

/// What a request is answered by: one of these from its beginning to its end.
pub struct Live {
    /// The settings.
    pub settings: Settings,
    /// Requests served lately.
    pub(super) memo: Memo,
}

/// Holds the one in force.
pub struct LiveCell(ArcSwap<Live>);

impl LiveCell {
    /// Settings that are in force from now on.
    pub fn new(settings: Settings) -> Self {
        Self(ArcSwap::from_pointee(Live { settings, memo: Memo::default() }))
    }
}

impl State {
    /// What is in force now.
    pub fn live(&self) -> Guard<Arc<Live>> {
        self.live.0.load()
    }

    /// What is in force now, for as long as a request takes.
    pub(super) fn live_owned(&self) -> Arc<Live> {
        self.live.0.load_full()
    }

    /// Answers by another policy and other settings from now on. In this order: what is remembered from here on was
    /// admitted by the new policy.
    pub fn renew(&self, policy: Arc<SourcePolicy>, settings: Settings) {
        self.policy.replace(policy);
        self.live.0.store(Arc::new(Live { settings, memo: Memo::default() }));
    }
}
