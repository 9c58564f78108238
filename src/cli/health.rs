//! `pixgate health`: asks a listener whether it lives, for a container's health check where there is no curl.
//!
//! Invariant: anything but a 2xx status in time is a failure.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::client::{Request, send};
use crate::telemetry::Loggable;

/// For everything together; Docker's own limit for a check is 30 s by default, and a healthy service takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// # Errors
/// When there is no answer in time, or its status is no 2xx.
pub(super) fn check(url: &str) -> anyhow::Result<()> {
    let shown = Loggable::text(url);
    let answer = send(url, &Request::default(), TIMEOUT).with_context(|| format!("{shown} is not healthy"))?;
    ensure!((200..300).contains(&answer.status), "{shown} is not healthy: status {}", answer.status);
    Ok(())
}
