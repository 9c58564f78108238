//! The policy in force: what a reload replaces as a whole, while requests are judged without a lock.
//!
//! Invariant: every judgement is made by one policy, the old one or the new one, never by parts of both.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Refusal, SourcePolicy, SourceUrl};
use crate::record::SourceKey;

/// See the module's text.
#[derive(Debug)]
pub struct LivePolicy(ArcSwap<SourcePolicy>);

impl LivePolicy {
    /// A policy that is in force from now on.
    pub fn new(policy: Arc<SourcePolicy>) -> Self {
        Self(ArcSwap::new(policy))
    }

    /// Puts another in its place.
    pub fn replace(&self, policy: Arc<SourcePolicy>) {
        self.0.store(policy);
    }

    /// See [`SourcePolicy::admit`].
    ///
    /// # Errors
    /// As there.
    pub fn admit(&self, text: &str) -> Result<SourceUrl, Refusal> {
        self.0.load().admit(text)
    }

    /// See [`SourcePolicy::key_of`].
    ///
    /// # Errors
    /// As there.
    pub fn key_of(&self, text: &str) -> Result<SourceKey, Refusal> {
        self.0.load().key_of(text)
    }

    /// See [`SourcePolicy::normalised`].
    ///
    /// # Errors
    /// As there.
    pub fn normalised(&self, text: &str) -> Result<String, Refusal> {
        self.0.load().normalised(text)
    }
}
