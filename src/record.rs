//! What is known of a source: the record that every tier keeps, its key, and the placeholder set inside it.
//!
//! Pure: no I/O, no clock (`now` is an argument). It stands in the lowest row because the peers `source`, `imaging`,
//! `cache` and `store` all speak of it and may not speak of each other.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::format::ImageFormat;
use crate::variant::{ContentHash, PIPELINE_VERSION, Quality, Rgb, SourceShape, Wish};

/// Stable hash of a normalised source URL, the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceKey([u8; 32]);

impl SourceKey {
    /// The key of a URL that is already normalised; only the policy makes such URLs.
    pub fn of_normalised(url: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"pixgate.source");
        hasher.update(url.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The key with this hash, as it was stored.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Stable hash of a source, a wish and the pipeline's version: what a request asks for before anything is known of the
/// source, the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WishKey([u8; 32]);

impl WishKey {
    /// The key of `wish` for `source`; every field has a fixed place and width.
    pub fn new(source: &SourceKey, wish: &Wish) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"pixgate.wish");
        hasher.update(PIPELINE_VERSION.to_be_bytes());
        hasher.update(source.0);
        hasher.update(wish.canonical());
        Self(hasher.finalize().into())
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl WishKey {
    /// The name of the work that makes what answers this wish better.
    pub fn refined(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"pixgate.refine").chain_update(self.0).finalize().into()
    }

    /// The name of the work for this wish since the purge of this epoch: who asks after a purge is not to wait for who
    /// asked before.
    pub fn since(&self, epoch: u64) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"pixgate.lease");
        hasher.update(self.0);
        hasher.update(epoch.to_be_bytes());
        hasher.finalize().into()
    }
}

impl fmt::Debug for WishKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What an origin gave us to ask again with (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The `ETag` field as it came, quotes and weakness included.
    pub etag: Option<String>,
    /// The `Last-Modified` field as it came.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Whether there is nothing to ask with.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// Small stand-ins for an image, all made from one thumbnail of its first decode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceholderSet {
    /// Blurhash string (blurha.sh).
    pub blurhash: String,
    /// ThumbHash bytes (evanw/thumbhash), alpha included.
    pub thumbhash: Vec<u8>,
    /// A PNG whose longest side is at most 8 pixels.
    pub png: Vec<u8>,
    /// Width of that PNG in pixels.
    pub width: u32,
    /// Height of that PNG in pixels.
    pub height: u32,
    /// The colour most of the image has.
    pub dominant: Rgb,
    /// Whether any pixel of the image is transparent.
    pub has_alpha: bool,
}

/// A placeholder as JSON: the order of fields is the order of keys. The first six are those of a Next.js static import.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceholderDocument<'a> {
    src: &'a str,
    width: u32,
    height: u32,
    #[serde(rename = "blurDataURL")]
    blur_data_url: String,
    blur_width: u32,
    blur_height: u32,
    blurhash: &'a str,
    thumbhash: String,
    dominant_color: String,
    has_alpha: bool,
    format: &'static str,
    bytes: u64,
}

impl PlaceholderSet {
    /// The JSON form, for a source called `src` with this shape and size in bytes.
    pub fn document<'a>(&'a self, src: &'a str, source: &SourceShape, bytes: u64) -> PlaceholderDocument<'a> {
        PlaceholderDocument {
            src,
            width: source.width,
            height: source.height,
            blur_data_url: self.data_url(),
            blur_width: self.width,
            blur_height: self.height,
            blurhash: &self.blurhash,
            thumbhash: STANDARD.encode(&self.thumbhash),
            dominant_color: self.dominant.to_string(),
            has_alpha: self.has_alpha,
            format: source.format.as_str(),
            bytes,
        }
    }

    /// The PNG as a `data:` URL: what Next.js calls `blurDataURL`.
    pub fn data_url(&self) -> String {
        format!("data:image/png;base64,{}", STANDARD.encode(&self.png))
    }

    /// An SVG (`image/svg+xml`) of `width` x `height` pixels that shows the PNG, blurred.
    pub fn svg(&self, width: u32, height: u32) -> String {
        // Half a pixel of the PNG: its squares disappear, its shapes stay.
        let deviation = f64::from(width.max(height)) / f64::from(self.width.max(self.height).max(1)) / 2.0;
        // The blur reaches for transparent pixels outside; an opaque image gets its edges back.
        let opaque = if self.has_alpha {
            ""
        } else {
            "<feComponentTransfer><feFuncA type=\"discrete\" tableValues=\"1 1\"/></feComponentTransfer>"
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\
             <filter id=\"b\" x=\"0\" y=\"0\" width=\"1\" height=\"1\" color-interpolation-filters=\"sRGB\">\
             <feGaussianBlur stdDeviation=\"{deviation:.1}\"/>{opaque}</filter>\
             <image width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" filter=\"url(#b)\" href=\"{}\"/></svg>",
            self.data_url()
        )
    }

    /// CSS declarations for the element that will show the image.
    pub fn css(&self) -> String {
        let mut css = String::new();
        if !self.has_alpha {
            let _ = write!(css, "background-color:{};", self.dominant);
        }
        let _ = write!(
            css,
            "background-image:url(\"{}\");background-size:100% 100%;background-repeat:no-repeat",
            self.data_url()
        );
        css
    }
}

/// Until when a record may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// When the origin last said that this is the source; whole milliseconds survive being stored.
    #[serde(with = "unix_ms")]
    pub checked_at: SystemTime,
    /// How long it is fresh from then on.
    pub ttl: Duration,
    /// How long before the end of that it is refreshed already, so that what came together does not expire together.
    pub early: Duration,
    /// How long after that it may be served while it is refreshed.
    pub stale_while_revalidate: Duration,
    /// How long after the end of freshness it may be served when the origin fails.
    pub stale_if_error: Duration,
    /// The origin says that it does not change while it is fresh.
    pub immutable: bool,
}

/// How usable a record is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// As good as asking the origin.
    Fresh,
    /// To be served at once and refreshed behind.
    Stale,
    /// To be revalidated first; still good when the origin fails.
    Expired,
    /// Of no use but for its validators.
    Dead,
}

/// How long past its freshness a record is kept that must not be used any more: its validators are of use.
const VALIDATORS: Duration = Duration::from_secs(24 * 60 * 60);

impl Lifetime {
    /// How usable a record with this lifetime is at `now`.
    pub fn at(&self, now: SystemTime) -> Freshness {
        // A clock that went back makes a record younger, never an error.
        let age = now.duration_since(self.checked_at).unwrap_or_default();
        let over = match age.checked_sub(self.ttl.saturating_sub(self.early)) {
            None | Some(Duration::ZERO) => return Freshness::Fresh,
            Some(over) => over,
        };
        if over <= self.stale_while_revalidate {
            Freshness::Stale
        } else if over <= self.stale_if_error {
            Freshness::Expired
        } else {
            Freshness::Dead
        }
    }

    /// How long a record is worth keeping from `now` on: until it is dead, or for a while for its validators.
    pub fn worth_keeping(&self, now: SystemTime) -> Duration {
        let stale = self.stale_while_revalidate.max(self.stale_if_error).max(VALIDATORS);
        let usable = self.ttl.saturating_add(stale);
        usable.saturating_sub(now.duration_since(self.checked_at).unwrap_or_default())
    }

    /// The same from `now` on.
    pub fn renewed(&self, now: SystemTime) -> Self {
        Self { checked_at: now, ..*self }
    }

    /// What is left of freshness at `now`.
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.ttl.saturating_sub(now.duration_since(self.checked_at).unwrap_or_default())
    }
}

/// A moment as milliseconds since 1970 UTC; earlier ones become 1970, later ones than this machine can tell are refused.
mod unix_ms {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let since = Duration::from_millis(u64::deserialize(deserializer)?);
        SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(|| de::Error::custom("a moment out of range"))
    }
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Hash of its bytes.
    pub content: ContentHash,
    /// What to revalidate with.
    pub validators: Validators,
    /// Format by its bytes.
    pub format: ImageFormat,
    /// Width in pixels, after orientation.
    pub width: u32,
    /// Height in pixels, after orientation.
    pub height: u32,
    /// Whether a pixel may be transparent, by its header.
    pub has_alpha: bool,
    /// Number of frames, 1 for a still image.
    pub frames: u32,
    /// Size of its bytes.
    pub bytes: u64,
    /// Estimated peak memory of a render, in bytes, for admission; 0 for what is passed on and never decoded.
    pub decode_cost: u64,
    /// Computed from the first decode; absent until then.
    pub placeholder: Option<Arc<PlaceholderSet>>,
    /// Learned from its pixels when a request first left the quality to us; absent until then.
    pub fair_quality: Option<Quality>,
    /// Until when all this may be used.
    pub lifetime: Lifetime,
    /// Whether the origin lets a shared cache keep it.
    pub storable: bool,
    /// The newest purge known when its download began: it answers for nothing that was purged later.
    pub epoch: u64,
}

impl SourceRecord {
    /// The part that decides what a wish comes down to.
    pub fn shape(&self) -> SourceShape {
        SourceShape {
            format: self.format,
            width: self.width,
            height: self.height,
            has_alpha: self.has_alpha,
            animated: self.frames > 1,
            fair_quality: self.fair_quality,
            passed_on: self.is_passed_on(),
        }
    }

    /// Whether the source is passed on as it is, and never decoded.
    pub const fn is_passed_on(&self) -> bool {
        self.decode_cost == 0
    }
}

#[cfg(test)]
mod tests;
