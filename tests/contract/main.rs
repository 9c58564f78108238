//! The contract of the cache tiers: the same cases over memory and over real Redis servers, and what Redis may do to us.
//! Law: every server is started by the test that needs it; time is waited for by conditions, never slept through.

#![expect(clippy::disallowed_methods, reason = "the harness waits for processes")]

mod cases;
mod faults;
mod harness;
mod integrity;
mod leases;
mod purges;
#[path = "../support/redis.rs"]
mod support;
mod topologies;
