//! A still image of a still source: one decode, and any number of outputs made from it.
//!
//! Invariant: what is decoded is never changed, so that all who wait for outputs of one source share it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    AvifEngine, Clock, Error, Picture, PlaceholderSet, Probe, Rendered, Settings, check, codec, decode, denser, kept,
    resize,
};
use crate::format::ImageFormat;
use crate::variant::{Effort, Geometry, Output, Quality, Transform};

/// A decoded source with its placeholder.
#[derive(Debug)]
pub struct Decoded {
    pub(super) picture: Picture,
    /// Its own bytes are another image, as its bitstream says.
    foreign: bool,
    /// Computed from the image.
    pub placeholder: Arc<PlaceholderSet>,
    /// How long decoding took, orientation, colour and placeholder included.
    pub took: Duration,
}

impl Decoded {
    /// Whether an output of a source of `format` is made from its decoded pixels: not when it is the source itself, an
    /// animation, or drawn anew at each size.
    pub fn serves(format: ImageFormat, transform: &Transform) -> bool {
        matches!(transform.output, Output::Still(_)) && format != ImageFormat::Svg
    }

    /// Whether more effort could make a smaller file of an output that is made from decoded pixels.
    pub fn has_denser(format: ImageFormat, transform: &Transform, engine: AvifEngine) -> bool {
        match transform.output {
            Output::Still(output) => Self::serves(format, transform) && codec::has_denser(output, engine),
            Output::AnimatedWebp | Output::Original => false,
        }
    }

    /// Decodes to upright 8-bit sRGB, and computes the placeholder. Blocks.
    ///
    /// # Errors
    /// Whatever decoding reports, and `Deadline`.
    pub fn of(bytes: &[u8], probe: &Probe, settings: &Settings, deadline: Instant) -> Result<Self, Error> {
        let began = Instant::now();
        let (picture, foreign) = decode::judged(bytes, probe, settings, deadline)?;
        let placeholder = Arc::new(PlaceholderSet::of(&picture)?);
        Ok(Self { picture, foreign, placeholder, took: began.elapsed() })
    }

    /// Memory that it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        self.picture.pixels.len() as u64
    }

    /// Makes one output: scales, frames, encodes, and keeps the source's own bytes where that is the smaller same image.
    /// `bytes` and `probe` are those it was decoded from. Blocks; no time is counted for the decode.
    ///
    /// # Errors
    /// Whatever a stage reports, and `Deadline`.
    pub fn finish(
        &self,
        bytes: &[u8],
        probe: &Probe,
        transform: &Transform,
        settings: &Settings,
        effort: Effort,
        deadline: Instant,
    ) -> Result<Rendered, Error> {
        let Output::Still(format) = transform.output else {
            return Err(Error::Encode("no still image is asked for".to_owned()));
        };
        check(deadline)?;
        let mut clock = Clock::start();
        let picture = resize::apply_to(&self.picture, &transform.geometry, transform.background)?;
        clock.lap(|timings| &mut timings.resize);
        check(deadline)?;
        let encode = || codec::encode(&picture, format, transform.quality, settings.avif_engine, effort);
        let encoded = codec::until(deadline, encode)?;
        let size = (picture.width, picture.height);
        let probe = Probe { foreign: probe.foreign || self.foreign, ..probe.clone() };
        Ok(rendered(encoded, size, bytes, &probe, transform, format, Arc::clone(&self.placeholder), clock))
    }

    /// The same with more effort, in place of `first`, which is what it was answered with until now.
    ///
    /// # Errors
    /// Whatever a stage reports, and `Deadline`.
    pub fn refine(
        &self,
        bytes: &[u8],
        probe: &Probe,
        transform: &Transform,
        settings: &Settings,
        first: &[u8],
        deadline: Instant,
    ) -> Result<Rendered, Error> {
        let made = self.finish(bytes, probe, transform, settings, Effort::Dense, deadline)?;
        if made.original || !denser::is_for(made.format, settings) {
            return Ok(made);
        }
        let picture = resize::apply_to(&self.picture, &transform.geometry, transform.background)?;
        let quality = transform.quality.unwrap_or(Quality::DEFAULT);
        match denser::coarser(&picture, made.bytes.len(), first, quality, settings, deadline) {
            Ok(Some(bytes)) => Ok(Rendered { bytes, ..made }),
            // What is made already is not lost with the time for more.
            Ok(None) | Err(Error::Deadline) => Ok(made),
            Err(error) => Err(error),
        }
    }
}

/// An SVG, drawn at the size that is asked for.
pub(super) fn drawing(
    bytes: &[u8],
    probe: &Probe,
    transform: &Transform,
    format: ImageFormat,
    settings: &Settings,
    deadline: Instant,
) -> Result<Rendered, Error> {
    let mut clock = Clock::start();
    let (width, height) = drawing_size((probe.width, probe.height), transform.geometry);
    let picture = decode::decode_svg(bytes, width, height, &settings.limits)?;
    let placeholder = Arc::new(PlaceholderSet::of(&picture)?);
    clock.lap(|timings| &mut timings.decode);
    check(deadline)?;
    let picture = resize::apply(picture, &transform.geometry, transform.background)?;
    clock.lap(|timings| &mut timings.resize);
    check(deadline)?;
    let encode = || codec::encode(&picture, format, transform.quality, settings.avif_engine, Effort::Fast);
    let encoded = codec::until(deadline, encode)?;
    let size = (picture.width, picture.height);
    Ok(rendered(encoded, size, bytes, probe, transform, format, placeholder, clock))
}

#[expect(clippy::too_many_arguments, reason = "the last stage of two ways that have everything by then")]
fn rendered(
    encoded: Vec<u8>,
    (width, height): (u32, u32),
    bytes: &[u8],
    probe: &Probe,
    transform: &Transform,
    format: ImageFormat,
    placeholder: Arc<PlaceholderSet>,
    mut clock: Clock,
) -> Rendered {
    clock.lap(|timings| &mut timings.encode);
    let (bytes, original) = match kept(bytes, probe, transform, format, encoded.len()) {
        Some(own) => (own, true),
        None => (encoded, false),
    };
    Rendered { bytes, format, width, height, placeholder, timings: clock.timings, original }
}

/// At which size a drawing is drawn, so that scaling has (nearly) nothing left to do.
pub(super) fn drawing_size(own: (u32, u32), geometry: Geometry) -> (u32, u32) {
    let (width, height) = geometry.size();
    let ratio = (f64::from(width) / f64::from(own.0), f64::from(height) / f64::from(own.1));
    let factor = match geometry {
        Geometry::Scale { .. } => return (width, height),
        Geometry::Cover { .. } => ratio.0.max(ratio.1),
        Geometry::Contain { .. } => ratio.0.min(ratio.1).min(1.0),
    };
    let edge = |length: u32| ((f64::from(length) * factor).round() as u32).max(1);
    (edge(own.0), edge(own.1))
}
