//! Hashes that name things: the bytes of a source or an output, and the place where an output is stored.
//!
//! Invariant: every field has a fixed place and width, so that no two different things are hashed from the same bytes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Fit, FormatWish, Geometry, Output, Quality, Rgb, Transform, Wish};
use crate::format::{ImageFormat, Negotiated};

/// Part of every [`VariantKey`]: raised when the pipeline draws differently, so that old entries are not found again.
pub const PIPELINE_VERSION: u32 = 7;

/// SHA-256 of a source's or an output's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Hashes `bytes`; about half a millisecond a megabyte, so larger bodies are hashed off the async threads.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash of these bytes, as it was stored.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Base64url without padding, 43 characters.
    pub fn to_base64url(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64url())
    }
}

/// Where an output is stored: a hash of (content hash, transform, pipeline version), the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VariantKey([u8; 32]);

impl VariantKey {
    /// The key of `transform` applied to the source whose bytes hash to `content`.
    pub fn new(content: &ContentHash, transform: &Transform) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"pixgate.variant");
        hasher.update(PIPELINE_VERSION.to_be_bytes());
        hasher.update(content.0);
        hasher.update(transform.canonical());
        Self(hasher.finalize().into())
    }

    /// The key with this hash, as another machine stored it.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for VariantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A number for each format that stays the same when formats are added; none is 0 or 1.
const fn tag(format: ImageFormat) -> u8 {
    match format {
        ImageFormat::Avif => 2,
        ImageFormat::Webp => 3,
        ImageFormat::Jpeg => 4,
        ImageFormat::Png => 5,
        ImageFormat::Gif => 6,
        ImageFormat::Bmp => 7,
        ImageFormat::Tiff => 8,
        ImageFormat::Ico => 9,
        ImageFormat::Svg => 10,
        ImageFormat::Jxl => 11,
        ImageFormat::Heic => 12,
        ImageFormat::Icns => 13,
    }
}

impl Wish {
    /// Twenty-four bytes, one fixed place for each field: no two wishes share them.
    pub(crate) fn canonical(&self) -> [u8; 24] {
        let (kind, format, webp) = match self.format {
            FormatWish::Exactly(format) => (0, tag(format), false),
            FormatWish::Negotiated(Negotiated { preferred, webp }) => (1, preferred.map_or(0, tag), webp),
        };
        let fit = match self.fit {
            Fit::Inside => 0,
            Fit::Cover => 1,
            Fit::Contain => 2,
            Fit::Fill => 3,
        };
        let present = |there: bool, bit: u8| u8::from(there) << bit;
        let mut bytes = [0; 24];
        bytes[0] = kind;
        bytes[1] = format;
        bytes[2] = u8::from(webp);
        bytes[3] = fit;
        bytes[4] = self.quality.map_or(0, Quality::get);
        bytes[5] = present(self.width.is_some(), 0)
            | present(self.height.is_some(), 1)
            | present(self.background.is_some(), 2);
        bytes[6..9].copy_from_slice(&self.background.map_or([0; 3], |Rgb(rgb)| rgb));
        bytes[12..16].copy_from_slice(&self.width.unwrap_or(0).to_be_bytes());
        bytes[16..20].copy_from_slice(&self.height.unwrap_or(0).to_be_bytes());
        bytes[20..24].copy_from_slice(&self.cap.to_be_bytes());
        bytes
    }
}

impl Transform {
    /// Sixteen bytes, one fixed place for each field: no two transforms share them.
    fn canonical(&self) -> [u8; 16] {
        let output = match self.output {
            Output::Original => 0,
            Output::AnimatedWebp => 1,
            Output::Still(format) => tag(format),
        };
        let geometry = match self.geometry {
            Geometry::Scale { .. } => 0,
            Geometry::Cover { .. } => 1,
            Geometry::Contain { .. } => 2,
        };
        let (width, height) = self.geometry.size();
        let mut bytes = [0; 16];
        bytes[0] = output;
        bytes[1] = geometry;
        bytes[2] = self.quality.map_or(0, Quality::get);
        bytes[3] = u8::from(self.background.is_some());
        bytes[4..7].copy_from_slice(&self.background.map_or([0; 3], |Rgb(rgb)| rgb));
        bytes[8..12].copy_from_slice(&width.to_be_bytes());
        bytes[12..16].copy_from_slice(&height.to_be_bytes());
        bytes
    }
}
