//! A seam for `examples/calibrate.rs`: the stages of the pipeline one by one, with encoders at their native settings.
//!
//! Not part of the service: nothing here is reached by a request. The law: **what is measured is what is served**: each
//! function only opens a stage that [`super::render`] uses.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::codec::{self, avif, jpeg, webp};
use super::{AvifEngine, Error, Picture, PlaceholderSet, Settings, decode, resize};
use crate::format::ImageFormat;
use crate::variant::{Effort, Geometry, Quality};

/// An encoder at a setting of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// libaom at a `cq-level`, 0 best to 63 worst, at the fast setting.
    Aom(u8),
    /// The same at the dense setting.
    AomDense(u8),
    /// ravif at a quality, 1 worst to 100 best.
    Rav1e(u8),
    /// libwebp at a quality, 0 worst to 100 best, always lossy, at the fast setting.
    Webp(u8),
    /// The same at the dense setting.
    WebpDense(u8),
    /// mozjpeg at a quality, 1 worst to 100 best, 4:2:0.
    Mozjpeg(u8),
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
    resize::apply_to(picture, &Geometry::Scale { width, height }, None).map(Cow::into_owned)
}

/// Encodes at a native setting.
pub fn encode_native(picture: &Picture, native: Native) -> Result<Vec<u8>, Error> {
    match native {
        Native::Aom(cq_level) => avif::encode_aom(picture, cq_level, Effort::Fast),
        Native::AomDense(cq_level) => avif::encode_aom(picture, cq_level, Effort::Dense),
        Native::Rav1e(quality) => avif::encode_rav1e(picture, f32::from(quality)),
        Native::Webp(quality) => webp::encode_native(picture, f32::from(quality), Effort::Fast),
        Native::WebpDense(quality) => webp::encode_native(picture, f32::from(quality), Effort::Dense),
        Native::Mozjpeg(quality) => jpeg::encode_native(picture, quality, false),
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
