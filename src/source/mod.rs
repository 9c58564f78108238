//! Where images come from: which URLs are admitted, which addresses are dialled, and the download itself.
//!
//! Invariant: the fetcher takes nothing but a [`SourceUrl`], and only [`SourcePolicy`] makes one. What is matched is what
//! is fetched: patterns see the parsed, normalised URL, and the same value is sent. Denied unless allowed.

pub mod bodies;
mod caching;
mod dial;
mod error;
pub mod fetcher;
pub mod guard;
mod live;
pub mod pattern;
mod policy;
pub mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

pub use self::bodies::Bodies;
pub use self::caching::Caching;
pub use self::error::{Error, Failed, Phase};
pub use self::fetcher::{CDN_LOOP, CDN_NAME, Download, Fetched, Fetcher};
pub use self::live::LivePolicy;
pub use self::pattern::Glob;
pub use self::policy::{Refusal, SourcePolicy};
use crate::record::SourceKey;
use crate::telemetry::Loggable;

/// How downloads take turns, of the `[limits]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Downloads at once.
    pub all: usize,
    /// Downloads from one host at once.
    pub per_host: usize,
    /// How long one waits for a turn.
    pub wait: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: 64, per_host: 8, wait: Duration::from_secs(5) }
    }
}

/// The `[sources]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Exact hosts, with any port and path.
    pub domains: Vec<String>,
    /// Patterns of absolute URLs.
    pub remote_patterns: Vec<RemotePattern>,
    /// Patterns of paths on `base_url`; `None` allows every path, an empty list none.
    pub local_patterns: Option<Vec<LocalPattern>>,
    /// What `url=/path` is resolved against; `None` refuses such sources.
    pub base_url: Option<Url>,
    /// The path of the Next.js endpoint, which is no source of itself.
    pub next_path: String,
    /// Whether a pattern may admit any host; otherwise such patterns are ignored here (and refused by `config`).
    pub allow_any_host: bool,
    /// Whether addresses that are not public may be dialled.
    pub allow_local_ip: bool,
    /// Networks that may be dialled although they are not public.
    pub allow_cidrs: Vec<IpNet>,
    /// Redirects followed for one source.
    pub max_redirects: u32,
    /// Largest body in bytes, after content-decoding.
    pub max_bytes: u64,
    /// Longest time to a connection: name look-up, TCP and TLS.
    pub connect_timeout: Duration,
    /// Longest time from the start of a hop (connecting included) to the response's head.
    pub first_byte_timeout: Duration,
    /// Longest silence inside a body.
    pub idle_timeout: Duration,
    /// Longest time for a source, over all its redirects.
    pub timeout: Duration,
    /// What origins see as `User-Agent`.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            remote_patterns: Vec::new(),
            local_patterns: None,
            base_url: None,
            next_path: "/_next/image".into(),
            allow_any_host: false,
            allow_local_ip: false,
            allow_cidrs: Vec::new(),
            max_redirects: 3,
            max_bytes: 50_000_000,
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(7),
            user_agent: concat!("pixgate/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// Absolute URLs that are allowed, in the meaning of Next.js's `remotePatterns`. What is omitted admits anything.
#[derive(Clone, Debug)]
pub struct RemotePattern {
    /// `http` or `https`; a colon at the end does not matter.
    pub protocol: Option<String>,
    /// Which hosts.
    pub hostname: Glob,
    /// The port as written in the URL; empty means: none but the scheme's own.
    pub port: Option<String>,
    /// Which paths.
    pub pathname: Option<Glob>,
    /// The whole query with its `?`; empty means: no query.
    pub search: Option<String>,
}

/// Paths on the base URL that are allowed, in the meaning of Next.js's `localPatterns`.
#[derive(Clone, Debug)]
pub struct LocalPattern {
    /// Which paths.
    pub pathname: Option<Glob>,
    /// The whole query with its `?`; empty means: no query.
    pub search: Option<String>,
}

/// A URL that passed the policy: absolute, normalised, without userinfo or fragment. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(Arc<Admitted>);

#[derive(PartialEq, Eq)]
struct Admitted {
    url: Url,
    key: SourceKey,
    local: bool,
}

impl SourceUrl {
    /// For the policy alone, which has judged `url`; `local` means that it is on the operator's own `base_url`.
    fn new(url: Url, local: bool) -> Self {
        let key = SourceKey::of_normalised(url.as_str());
        Self(Arc::new(Admitted { url, key, local }))
    }

    /// The normalised URL with its query, where signatures are: for fetching, hashing, the metadata store and its client,
    /// never for the log.
    pub fn expose(&self) -> &str {
        self.0.url.as_str()
    }

    /// The same, parsed.
    pub fn expose_url(&self) -> &Url {
        &self.0.url
    }

    /// What of it may be printed; its `Display` and `Debug` too.
    pub fn loggable(&self) -> Loggable {
        Loggable::of(&self.0.url)
    }

    /// The path, percent-encoded as in the URL.
    pub fn path(&self) -> &str {
        self.0.url.path()
    }

    /// The key under which everything about this source is kept.
    pub fn key(&self) -> SourceKey {
        self.0.key
    }

    /// The same, where it is.
    pub fn key_ref(&self) -> &SourceKey {
        &self.0.key
    }

    /// The host, as the normalised URL has it.
    pub fn host(&self) -> &str {
        self.0.url.host_str().unwrap_or_default()
    }

    /// Whether it was named as `/path`, on the operator's own origin.
    pub fn is_local(&self) -> bool {
        self.0.local
    }

    /// The last segment of the path, percent-encoded as in the URL; empty when the path ends in a slash.
    pub fn file_name(&self) -> &str {
        self.0.url.path().rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.loggable().fmt(f)
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.loggable(), if self.is_local() { " (local)" } else { "" })
    }
}
