//! What a configuration that is read again says about the one that a service was started with.
//!
//! Invariant: what changed and cannot change while the service runs is named, so that nobody believes it is in force.

use toml::Value;

use super::{Effective, Loaded};

/// Sections, and keys of other sections, that are used once, at the start: ports, threads, memory, connections.
const FIXED: [&str; 16] = [
    "server.listen",
    "server.admin_listen",
    "server.shutdown_grace",
    "sources.per_host",
    "limits.decode_memory",
    "limits.downloads",
    "limits.queue",
    "limits.render_",
    "cache.memory_bytes",
    "cache.source_bytes",
    "redis.",
    "metadata.",
    "refine.",
    "purge.webhook",
    "avif.engine",
    "log.format",
];

impl Loaded {
    /// Keys whose value differs from that in `running` and is not in force before the next start.
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let fixed = |key: &str| FIXED.iter().any(|name| key.starts_with(name));
        let pairs = self.effective.iter().zip(&running.effective);
        pairs.filter(|(now, then)| fixed(now.key) && differ(now, then)).map(|(now, _)| now.key).collect()
    }
}

/// By what is shown, which is one text for one meaning; by what was typed where not all of it is shown.
fn differ(now: &Effective, then: &Effective) -> bool {
    let masked = |value: &Option<Value>| value.as_ref().is_some_and(|value| value.to_string().contains("***"));
    let hides = masked(&now.value) || now.key.ends_with(".url");
    now.value != then.value || hides && now.typed != then.typed
}
