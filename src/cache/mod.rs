//! What is cached, how a look-up ended, and the tiers that hold it.
//!
//! Invariant: a cache holds copies. Losing one costs time, never an answer; each tier has a budget in bytes.

pub mod codec;
pub mod flight;
pub mod ledger;
pub mod memory;
pub mod redis;
mod tier;
pub mod tiered;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::format::ImageFormat;
use crate::variant::{ContentHash, Effort};

pub use self::tier::{CacheTier, Found, Resolve};

/// The `[cache]` section, with `images.minimum_cache_ttl`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Budget for variants in memory, in bytes.
    pub memory_bytes: u64,
    /// Budget for downloaded source bytes, in bytes; they are kept for a short while so that a page's widths share them.
    pub source_bytes: u64,
    /// Least time a source is fresh, whatever its origin says.
    pub minimum_ttl: Duration,
    /// Whether a source is fresh for that time only, whatever its origin says: for a developer, who has just changed it.
    pub always_revalidate: bool,
    /// How long after that it is served while it is refreshed behind.
    pub stale_while_revalidate: Duration,
    /// How long after freshness it is served when its origin fails.
    pub stale_if_error: Duration,
    /// How long a source that cannot be had or read is not asked for again.
    pub negative_ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            memory_bytes: 256_000_000,
            source_bytes: 64_000_000,
            minimum_ttl: 30 * DAY,
            always_revalidate: false,
            stale_while_revalidate: 7 * DAY,
            stale_if_error: 30 * DAY,
            negative_ttl: Duration::from_secs(10),
        }
    }
}

/// One rendered variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The encoded image.
    pub bytes: Bytes,
    /// Its format.
    pub format: ImageFormat,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// Quoted strong entity tag (RFC 9110 §8.8.3), a hash of the bytes.
    pub etag: String,
    /// How it was encoded, where there is a choice and the other setting may take its place.
    pub effort: Option<Effort>,
    /// Whether somebody was told that it is asked for again.
    pub noted: Mark,
}

impl Entry {
    /// An entry for `bytes`, which are hashed for the entity tag.
    pub fn new(bytes: Bytes, format: ImageFormat, width: u32, height: u32, effort: Option<Effort>) -> Self {
        let etag = format!("\"{}\"", ContentHash::of(&bytes).to_base64url());
        Self { bytes, format, width, height, etag, effort, noted: Mark::default() }
    }

    /// Whether a smaller one of the same quality is to take its place when it is asked for again.
    pub fn is_interim(&self) -> bool {
        self.effort == Some(Effort::Fast)
    }
}

/// Set by one of all who share it. It says nothing about what it stands in: all are equal, and a copy is not set.
#[derive(Debug, Default)]
pub struct Mark(AtomicBool);

impl Mark {
    /// True for whoever sets it.
    pub fn set(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed)
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Clone for Mark {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Mark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Mark {}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// From memory.
    Memory,
    /// From the tier that replicas share.
    Redis,
    /// From a tier, past its freshness; a refresh is under way or has failed.
    Stale,
    /// Fetched or rendered for this request.
    Miss,
    /// By work that another request had begun.
    Collapsed,
    /// Rendered for this request from a source that may not be stored.
    Bypass,
}

impl CacheStatus {
    /// Metric label and log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }

    /// The `Cache-Status` field (RFC 9211).
    pub const fn header(self) -> &'static str {
        match self {
            Self::Memory => "pixgate; hit; detail=memory",
            Self::Redis => "pixgate; hit; detail=redis",
            Self::Stale => "pixgate; hit; detail=stale",
            Self::Miss => "pixgate; fwd=miss",
            Self::Collapsed => "pixgate; fwd=miss; collapsed",
            Self::Bypass => "pixgate; fwd=bypass",
        }
    }
}
