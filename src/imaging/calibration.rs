//! A seam for `examples/calibrate.rs`: the stages of the pipeline one by one, with encoders at their native settings.
//!
//! Not part of the service: nothing here is reached by a request. Invariant: **what is measured is what is served**: each
//! function only opens a stage that [`super::render`] uses.

use std::borrow::Cow;
use std::time::{Duration, Instant};

pub use super::codec::Kind;
use super::codec::{self, avif, jpeg, webp};
use super::{AvifEngine, Error, Picture, PlaceholderSet, Settings, decode, resize};
use crate::format::ImageFormat;
use crate::variant::{Effort, Geometry, Quality, Rgb};

/// An encoder and how it goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// libaom; its level is the `cq-level`, 0 best to 63 worst. `coarse` is the setting for coarse qualities.
    Aom {
        /// Fast or dense.
        effort: Effort,
        /// Whose setting it is.
        kind: Kind,
        /// That of coarse qualities.
        coarse: bool,
    },
    /// ravif, 1 worst to 100 best.
    Rav1e,
    /// libwebp, 0 worst to 100 best, always lossy.
    Webp(Effort),
    /// mozjpeg, 1 worst to 100 best; of graphics with full chroma.
    Mozjpeg,
}

/// What a scaled image is taken for.
pub fn kind(picture: &Picture) -> Kind {
    Kind::of(picture)
}

/// Decodes any source format with default limits.
pub fn decode(bytes: &[u8]) -> Result<Picture, Error> {
    let settings = Settings::default();
    let probe = super::probe(bytes, &settings.limits)?;
    decode::decode(bytes, &probe, &settings, Instant::now() + Duration::from_secs(60))
}

/// Scales to a width, the aspect kept; never enlarges.
pub fn scale(picture: &Picture, width: u32) -> Result<Picture, Error> {
    let width = width.min(picture.width);
    let height = (f64::from(picture.height) * f64::from(width) / f64::from(picture.width)).round().max(1.0) as u32;
    scale_to(picture, width, height)
}

/// Scales to a size.
pub fn scale_to(picture: &Picture, width: u32, height: u32) -> Result<Picture, Error> {
    resize::apply_to(picture, &Geometry::Scale { width, height }, None).map(Cow::into_owned)
}

/// Encodes at a native level.
pub fn encode_native(picture: &Picture, native: Native, level: u8) -> Result<Vec<u8>, Error> {
    match native {
        Native::Aom { effort, kind, coarse } => avif::encode_aom(picture, kind, level, effort, coarse),
        Native::Rav1e => avif::encode_rav1e(picture, f32::from(level)),
        Native::Webp(effort) => webp::encode_native(picture, f32::from(level), effort),
        Native::Mozjpeg => {
            let flat = resize::flatten(picture.clone(), Rgb::WHITE);
            jpeg::encode_native(&flat, level, Kind::of(&flat) == Kind::Graphic)
        }
    }
}

/// Encodes as a request is answered, or as what is asked for again is refined.
pub fn encode(picture: &Picture, format: ImageFormat, quality: Quality, effort: Effort) -> Result<Vec<u8>, Error> {
    codec::encode(picture, format, Some(quality), AvifEngine::Auto, effort)
}

/// All placeholders.
pub fn placeholder(picture: &Picture) -> Result<PlaceholderSet, Error> {
    PlaceholderSet::of(picture)
}
