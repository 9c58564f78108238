//! Hashes that name things: the bytes of a source or an output, and the place where an output is stored.
//!
//! The law: every field has a fixed place and width, so that no two different things are hashed from the same bytes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{Geometry, Output, Quality, Rgb, Transform};
use crate::format::ImageFormat;

/// Part of every [`VariantKey`]: raised when the pipeline draws differently, so that old entries are not found again.
pub const PIPELINE_VERSION: u32 = 1;

/// SHA-256 of a source's or an output's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Hashes `bytes`; about half a millisecond a megabyte, so larger bodies are hashed off the async threads.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
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
}

impl fmt::Debug for VariantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Transform {
    /// Sixteen bytes, one fixed place for each field: no two transforms share them.
    fn canonical(&self) -> [u8; 16] {
        let output = match self.output {
            Output::Original => 0,
            Output::AnimatedWebp => 1,
            Output::Still(ImageFormat::Avif) => 2,
            Output::Still(ImageFormat::Webp) => 3,
            Output::Still(ImageFormat::Jpeg) => 4,
            Output::Still(ImageFormat::Png) => 5,
            Output::Still(ImageFormat::Gif) => 6,
            Output::Still(ImageFormat::Bmp) => 7,
            Output::Still(ImageFormat::Tiff) => 8,
            Output::Still(ImageFormat::Ico) => 9,
            Output::Still(ImageFormat::Svg) => 10,
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
