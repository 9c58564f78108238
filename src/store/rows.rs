//! What is written to the store: records, variants, purges, and counts that were gathered in memory.
//!
//! Invariant: a batch is applied once, however often it is sent; counts are differences and never absolute.

use std::sync::Arc;
use std::time::SystemTime;

use crate::format::ImageFormat;
use crate::record::{SourceKey, SourceRecord};
use crate::variant::{ContentHash, Effort, Transform, VariantKey};

/// What is kept of a variant beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantMeta {
    /// The source's bytes it was made from.
    pub content: ContentHash,
    /// What was asked of the pipeline.
    pub transform: Transform,
    /// Its format.
    pub format: ImageFormat,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// Time its render took, in microseconds; absent when it was rendered elsewhere.
    pub render_us: Option<u64>,
    /// The encoder's effort, where there is a choice.
    pub effort: Option<Effort>,
    /// When it was made, or first seen here.
    pub created_at: SystemTime,
}

/// How a request for an image was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answered {
    /// From this process's memory.
    Memory,
    /// From the tier that replicas share.
    Shared,
    /// From a tier, past its freshness.
    Stale,
    /// Made for this request.
    Miss,
    /// By work that another request had begun.
    Collapsed,
    /// Made for this request and not kept.
    Bypass,
}

impl Answered {
    /// All ways, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Memory, Self::Shared, Self::Stale, Self::Miss, Self::Collapsed, Self::Bypass];

    /// Whether a kept image was the answer.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Memory | Self::Shared | Self::Stale)
    }

    /// Name in the table of totals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Shared => "redis",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }
}

/// Which sources were purged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every source.
    All,
    /// Every source of a host, with any port.
    Host(String),
    /// Every source whose normalised URL begins so.
    Prefix(String),
    /// One source.
    Source(SourceKey),
}

/// A purge. A soft one keeps the record and ends its freshness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Which sources.
    pub scope: Scope,
    /// Whether the old image may be served while it is refreshed.
    pub soft: bool,
    /// When.
    pub at: SystemTime,
}

/// A record with what it is a record of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSource {
    /// Its key.
    pub key: SourceKey,
    /// Its normalised URL.
    pub url: Arc<str>,
    /// What is known of it.
    pub record: Arc<SourceRecord>,
    /// When it was put.
    pub seen_at: SystemTime,
}

/// A variant and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVariant {
    /// Its source.
    pub source: SourceKey,
    /// Its key.
    pub key: VariantKey,
    /// The rest.
    pub meta: VariantMeta,
}

/// Requests for a variant since the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hits {
    /// Its source.
    pub source: SourceKey,
    /// Its key.
    pub variant: VariantKey,
    /// Requests it answered.
    pub requests: u64,
    /// Those of them that found it kept.
    pub hits: u64,
    /// The last of them, in milliseconds since 1970.
    pub last_ms: u64,
}

/// Requests for a width of a source since the last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The source.
    pub source: SourceKey,
    /// The width asked for, in pixels.
    pub width: u32,
    /// How often.
    pub requests: u64,
    /// Whether the source is narrower.
    pub exceeds: bool,
}

/// When a source was asked about otherwise than by an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The source.
    pub source: SourceKey,
    /// The last time, in milliseconds since 1970.
    pub last_ms: u64,
}

/// A part of all sources, by their keys; without ends: all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Greater than this.
    pub after: Option<SourceKey>,
    /// Not greater than this.
    pub until: Option<SourceKey>,
}

/// What is written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Applied before the records: a record that is put after a purge is not in it.
    pub purges: Vec<Purge>,
    /// The part of all sources that the purges are about.
    pub keys: Keys,
    /// Records, one a source.
    pub sources: Vec<NewSource>,
    /// Variants, one a key.
    pub variants: Vec<NewVariant>,
    /// Counts, one a variant.
    pub hits: Vec<Hits>,
    /// Counts, one a source and width.
    pub asked: Vec<Asked>,
    /// One a source.
    pub seen: Vec<Seen>,
    /// Requests by the way they were answered, in the order of [`Answered::ALL`].
    pub answered: [u64; 6],
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0 && !self.answers()
    }

    fn answers(&self) -> bool {
        self.answered.iter().any(|count| *count > 0)
    }

    /// Rows it has.
    pub fn rows(&self) -> usize {
        let counts = self.hits.len() + self.asked.len() + self.seen.len();
        self.purges.len() + self.sources.len() + self.variants.len() + counts
    }

    /// Two that are this one when they are applied after each other; nothing when there is but one row.
    pub fn halves(mut self) -> Option<[Self; 2]> {
        fn rest<T>(rows: &mut Vec<T>, room: &mut usize) -> Vec<T> {
            let rest = rows.split_off(rows.len().min(*room));
            *room -= rows.len();
            rest
        }
        if self.answers() && self.rows() > 0 {
            let answered = std::mem::take(&mut self.answered);
            return Some([Self { answered, ..Self::default() }, self]);
        }
        let mut room = self.rows() / 2;
        if room == 0 {
            return None;
        }
        let second = Self {
            purges: rest(&mut self.purges, &mut room),
            sources: rest(&mut self.sources, &mut room),
            variants: rest(&mut self.variants, &mut room),
            hits: rest(&mut self.hits, &mut room),
            asked: rest(&mut self.asked, &mut room),
            seen: rest(&mut self.seen, &mut room),
            keys: self.keys,
            answered: [0; 6],
        };
        Some([self, second])
    }
}

/// Who sends a batch, and which it is; a batch that was applied before is not applied again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Unguessable enough to be one process's own.
    pub writer: u64,
    /// Rises with each batch of that process.
    pub batch: u64,
    /// When it was closed.
    pub at: SystemTime,
}
