//! What the store is asked, and what it answers: the shapes behind `/variants`, `/sources` and `/stats`.
//!
//! Invariant: every list has an end, by its limit; a place in a list is named by the last row that was seen, never by a
//! number of rows to skip.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::engine::Error;
use crate::variant::Effort;

/// The order of a list of sources, largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By requests that found a kept image.
    #[default]
    Hits,
    /// By the size of the source.
    Bytes,
    /// By the last request.
    Recent,
}

impl Sort {
    /// The order with this parameter name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "hits" => Some(Self::Hits),
            "bytes" => Some(Self::Bytes),
            "recent" => Some(Self::Recent),
            _ => None,
        }
    }

    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::Bytes => "bytes",
            Self::Recent => "last_seen",
        }
    }
}

/// A place in a list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    sort: Sort,
    pub(super) value: i64,
    pub(super) key: [u8; 32],
}

impl Cursor {
    pub(super) const fn new(sort: Sort, value: i64, key: [u8; 32]) -> Self {
        Self { sort, value, key }
    }

    /// As clients see it: text without meaning.
    pub fn to_text(self) -> String {
        let mut bytes = vec![self.sort as u8];
        bytes.extend(self.value.to_be_bytes());
        bytes.extend(self.key);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads that text for a list in this order.
    ///
    /// # Errors
    /// When it is none, or of another order.
    pub fn from_text(text: &str, sort: Sort) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Cursor)?;
        let (Some((first, rest)), 41) = (bytes.split_first(), bytes.len()) else { return Err(Error::Cursor) };
        let (value, key) = rest.split_at(8);
        match (<[u8; 8]>::try_from(value), <[u8; 32]>::try_from(key)) {
            (Ok(value), Ok(key)) if *first == sort as u8 => Ok(Self { sort, value: i64::from_be_bytes(value), key }),
            _ => Err(Error::Cursor),
        }
    }
}

/// Which sources are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceQuery {
    /// Their order.
    pub sort: Sort,
    /// What their URL begins with; empty: any.
    pub prefix: String,
    /// At most so many, 1 to 1000.
    pub limit: u32,
    /// After this place.
    pub cursor: Option<Cursor>,
}

/// A page of sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourcePage {
    /// In their order.
    pub sources: Vec<SourceSummary>,
    /// Where the next page begins; absent at the end.
    pub cursor: Option<String>,
}

/// A source in a list. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceSummary {
    /// Its normalised URL.
    pub url: String,
    /// Its format.
    pub format: String,
    /// Width in pixels.
    pub width: u64,
    /// Height in pixels.
    pub height: u64,
    /// Size of its bytes.
    pub bytes: u64,
    /// Whether it has a placeholder.
    pub placeholder: bool,
    /// Requests for it.
    pub requests: u64,
    /// Those that found a kept image.
    pub hits: u64,
    /// When it was first seen.
    pub first_seen_ms: u64,
    /// When it was last asked for.
    pub last_seen_ms: u64,
    /// When it was last purged.
    pub purged_at_ms: Option<u64>,
    /// How often it was purged.
    pub purges: u64,
    /// Variants that were made of it.
    pub variants: u64,
    /// Their bytes.
    pub variant_bytes: u64,
}

/// A variant in a list. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantSummary {
    /// Its key, base64url.
    pub key: String,
    /// Whether it was made from what the source is now.
    pub current: bool,
    /// `still`, `animated` or `original`.
    pub output: String,
    /// Its format.
    pub format: String,
    /// `scale`, `cover` or `contain`.
    pub geometry: String,
    /// Width in pixels.
    pub width: u64,
    /// Height in pixels.
    pub height: u64,
    /// Quality, where it has one.
    pub quality: Option<u64>,
    /// Background as `#rrggbb`, where it has one.
    pub background: Option<String>,
    /// Size of its bytes.
    pub bytes: u64,
    /// Time of its render in microseconds, where that is known.
    pub render_us: Option<u64>,
    /// The encoder's effort, where there is a choice.
    pub effort: Option<Effort>,
    /// When it was made.
    pub created_at_ms: u64,
    /// When it was last asked for.
    pub last_hit_ms: Option<u64>,
    /// Requests it answered.
    pub requests: u64,
    /// Those that found it kept.
    pub hits: u64,
}

/// Sums over one output format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FormatStats {
    /// Which.
    pub format: String,
    /// Variants known.
    pub variants: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Renders.
    pub renders: u64,
    /// Their time, in microseconds.
    pub render_us: u64,
    /// Pixels they wrote.
    pub render_pixels: u64,
    /// Requests answered in this format.
    pub requests: u64,
    /// Those that found the image kept.
    pub hits: u64,
    /// Bytes of those answers.
    pub served_bytes: u64,
    /// What the originals would have been more.
    pub saved_bytes: u64,
    /// Variants that were never asked for again.
    pub unused: u64,
    /// Their bytes.
    pub unused_bytes: u64,
}

/// A variant that was never asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unused {
    /// Its source.
    pub url: String,
    /// Its format.
    pub format: String,
    /// Width in pixels.
    pub width: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
}

/// Requests for one width, over all sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WidthStats {
    /// The width in pixels.
    pub width: u64,
    /// Requests.
    pub requests: u64,
    /// Those that asked for more than the source has.
    pub exceeding: u64,
}

/// A source that is asked for in widths it does not have: a wasteful `sizes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exceeding {
    /// The source.
    pub url: String,
    /// The width asked for, in pixels.
    pub width: u64,
    /// What it has, in pixels.
    pub source_width: u64,
    /// How often.
    pub requests: u64,
}

/// What AVIF costs against WebP: variants of the most used sources that were made in both, equal in all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AvifAgainstWebp {
    /// How many there are in both.
    pub pairs: u64,
    /// Their bytes in AVIF.
    pub avif_bytes: u64,
    /// Their bytes in WebP.
    pub webp_bytes: u64,
    /// Pairs of which both renders were timed.
    pub timed: u64,
    /// Time of those renders to AVIF, in microseconds.
    pub avif_render_us: u64,
    /// Time of those renders to WebP, in microseconds.
    pub webp_render_us: u64,
}

/// Answers to what is usually asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Sources known.
    pub sources: u64,
    /// Their bytes.
    pub source_bytes: u64,
    /// Requests by the way they were answered: `memory`, `redis`, `stale`, `miss`, `collapsed`, `bypass`.
    pub answered: Vec<(String, u64)>,
    /// By output format.
    pub formats: Vec<FormatStats>,
    /// What one format costs against the other.
    pub avif_against_webp: AvifAgainstWebp,
    /// The most used sources.
    pub top_sources: Vec<SourceSummary>,
    /// The largest variants that were never asked for again.
    pub unused: Vec<Unused>,
    /// The most asked widths.
    pub widths: Vec<WidthStats>,
    /// What is most asked for beyond what it has.
    pub exceeding: Vec<Exceeding>,
}

impl Stats {
    /// Requests that found a kept image.
    pub fn hits(&self) -> u64 {
        let hit = |(name, _): &&(String, u64)| matches!(name.as_str(), "memory" | "redis" | "stale");
        self.answered.iter().filter(hit).map(|(_, count)| count).sum()
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.answered.iter().map(|(_, count)| count).sum()
    }

    /// Hits in a request; nothing without requests.
    pub fn hit_ratio(&self) -> Option<f64> {
        (self.requests() > 0).then(|| self.hits() as f64 / self.requests() as f64)
    }

    /// What the originals would have been more, in bytes.
    pub fn bytes_saved(&self) -> u64 {
        self.formats.iter().map(|format| format.saved_bytes).sum()
    }
}

/// A moment before which sources must have been last seen to be removed.
pub(super) fn before(now: SystemTime, retention: std::time::Duration) -> SystemTime {
    now.checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_only_for_its_own_order() {
        let cursor = Cursor::new(Sort::Bytes, -5, [7; 32]);
        let text = cursor.to_text();
        assert_eq!(Cursor::from_text(&text, Sort::Bytes).ok(), Some(cursor));
        for (text, sort) in
            [(text.as_str(), Sort::Hits), ("", Sort::Bytes), (&text[..40], Sort::Bytes), ("é", Sort::Bytes)]
        {
            assert!(Cursor::from_text(text, sort).is_err(), "{text}");
        }
    }
}
