//! Bytes of an image in, bytes of another out: what a source is ([`probe()`]), a variant of it ([`render`]), its placeholder.
//!
//! Invariant: **everything about a source that could cost memory or time is judged from its header before it is decoded**,
//! and every stage is named, in order, in [`render`]. Decoders are memory-safe Rust; C sees only pixels of our own.
//! All functions here block; `schedule` runs them on their own threads and catches what panics.

#[doc(hidden)]
pub mod calibration;
pub mod codec;
mod cost;
pub(crate) mod decode;
mod denser;
mod error;
mod fair;
pub mod placeholder;
mod probe;
mod resize;
pub mod schedule;
mod score;
mod still;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::record::PlaceholderSet;
pub use codec::avif::AvifEngine;
pub(crate) use codec::avif::is_thorough;
pub(crate) use codec::kind::SMALL;
use codec::webp::AnimationEncoder;
pub(crate) use cost::judge_peak;
pub use cost::{SKETCH_BYTES, finishing_bytes, peak_bytes};
pub use decode::Picture;
pub use decode::isolated::{COMMAND as DECODER_COMMAND, serve as serve_decoder};
use decode::strip;
pub use error::Error;
pub use fair::FAIR_QUALITY_PIXELS;
pub use image::metadata::Orientation;
pub use probe::probe;
pub use score::SCORE_BYTES;
pub use still::Decoded;
use still::drawing;

use crate::format::ImageFormat;
use crate::variant::{Effort, Geometry, Output, SourceShape, Transform};

/// What a source may be at most; beyond it, it is refused from its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of one frame.
    pub max_pixels: u64,
    /// Longest edge in pixels.
    pub max_edge: u32,
    /// Frames of an animation.
    pub max_frames: u32,
    /// Frames times pixels of an animation.
    pub max_frame_pixels: u64,
    /// Bytes of colour profile, EXIF and text together, after inflating.
    pub max_metadata_bytes: usize,
    /// Estimated bytes of memory that making one image may take (a share of `limits.decode_memory`).
    pub max_memory: u64,
    /// Whether SVG is drawn; refused otherwise.
    pub allow_svg: bool,
    /// Whether HEIC is decoded; otherwise it is passed on as it is where that is allowed, and refused elsewhere.
    pub allow_heic: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
            max_edge: 65_535,
            max_frames: 500,
            max_frame_pixels: 400_000_000,
            max_metadata_bytes: 8_000_000,
            max_memory: 416_000_000,
            allow_svg: false,
            allow_heic: false,
        }
    }
}

/// Settings of the whole room.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a source may be at most.
    pub limits: Limits,
    /// Which encoder writes AVIF.
    pub avif_engine: AvifEngine,
    /// Whether what is asked for is answered fast and refined behind when it is asked for again.
    pub progressive: bool,
    /// AVIF that is predicted to take longer is answered as WebP first, where the client leaves the choice.
    pub progressive_budget: Duration,
    /// The program whose command [`DECODER_COMMAND`] decodes AVIF, JPEG XL and HEIC in a process of its own, this one as a
    /// rule: a crash of such a decoder is then an error of one image. `None` decodes in this process.
    pub decoder: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            avif_engine: AvifEngine::default(),
            progressive: true,
            progressive_budget: Duration::from_millis(400),
            decoder: None,
        }
    }
}

/// What the header of a source tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Recognised from the bytes.
    pub format: ImageFormat,
    /// Width in pixels, after orientation.
    pub width: u32,
    /// Height in pixels, after orientation.
    pub height: u32,
    /// What turns the stored image upright.
    pub orientation: Orientation,
    /// Whether any pixel may be transparent.
    pub has_alpha: bool,
    /// Frames; 1 for a still image.
    pub frames: u32,
    /// The source's own bytes are another image than ours of the same size: ink, high dynamic range, more bits. They are
    /// never handed out in place of ours, so that an image looks the same at every width.
    pub foreign: bool,
    /// Estimated peak memory of decoding and scaling, in bytes: what admission reserves.
    ///
    /// 0 for what is never decoded here, only passed on.
    pub decoded_bytes: u64,
}

impl Probe {
    /// What a wish needs to know of this source.
    pub fn shape(&self) -> SourceShape {
        SourceShape {
            format: self.format,
            width: self.width,
            height: self.height,
            has_alpha: self.has_alpha,
            animated: self.frames > 1,
            fair_quality: None,
            passed_on: self.decoded_bytes == 0,
        }
    }
}

/// One finished output.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The encoded image.
    pub bytes: Vec<u8>,
    /// Format of `bytes`.
    pub format: ImageFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Computed from the same decode.
    pub placeholder: Arc<PlaceholderSet>,
    /// Where the time went.
    pub timings: Timings,
    /// The source's own image was kept: it was asked for, or it was no larger than ours would have been.
    pub original: bool,
}

/// Time spent in each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Decoding, orientation, colour and placeholder.
    pub decode: Duration,
    /// Scaling.
    pub resize: Duration,
    /// Encoding.
    pub encode: Duration,
}

/// Checked between stages and frames, so that a job past its deadline ends at the next one.
pub(crate) fn check(deadline: Instant) -> Result<(), Error> {
    if Instant::now() >= deadline { Err(Error::Deadline) } else { Ok(()) }
}

/// Renders one output of a source. Blocks for as long as it takes; the stages are these, in this order:
///
/// 1. *decode* to upright 8-bit sRGB (colour and orientation included), and the placeholder from that decode;
/// 2. *resize*, with framing and background;
/// 3. *encode*;
/// 4. *keep the original* where encoding again only made it larger.
///
/// # Errors
///
/// Whatever a stage reports, and `Deadline` when the time was up between two stages or frames.
pub fn render(
    bytes: &[u8],
    probe: &Probe,
    transform: &Transform,
    settings: &Settings,
    deadline: Instant,
) -> Result<Rendered, Error> {
    match transform.output {
        Output::Still(format) if probe.format == ImageFormat::Svg => {
            drawing(bytes, probe, transform, format, settings, deadline)
        }
        Output::Still(_) => {
            let decoded = Decoded::of(bytes, probe, settings, deadline)?;
            let mut rendered = decoded.finish(bytes, probe, transform, settings, Effort::Fast, deadline)?;
            rendered.timings.decode = decoded.took;
            Ok(rendered)
        }
        Output::AnimatedWebp => animation(bytes, probe, transform, settings, deadline),
        Output::Original => original(bytes, probe, settings, deadline),
    }
}

/// The placeholder alone, for a source nobody has asked an image of yet.
///
/// # Errors
///
/// Whatever decoding reports, and `Deadline`.
pub fn placeholder(
    bytes: &[u8],
    probe: &Probe,
    settings: &Settings,
    deadline: Instant,
) -> Result<PlaceholderSet, Error> {
    if probe.format == ImageFormat::Svg {
        let longest = probe.width.max(probe.height).max(1);
        let side = |length: u32| (length * cost::SKETCH.min(longest)).div_ceil(longest).max(1);
        let sketch = decode::decode_svg(bytes, side(probe.width), side(probe.height), &settings.limits)?;
        return PlaceholderSet::of(&sketch);
    }
    PlaceholderSet::of(&decode::decode(bytes, probe, settings, deadline)?)
}

fn animation(
    bytes: &[u8],
    probe: &Probe,
    transform: &Transform,
    settings: &Settings,
    deadline: Instant,
) -> Result<Rendered, Error> {
    let mut clock = Clock::start();
    let (width, height) = transform.geometry.size();
    let quality = transform.quality.ok_or_else(|| Error::Encode("an animation without a quality".to_owned()))?;
    let plays = decode::plays(bytes, probe, &settings.limits)?;
    let mut encoder = AnimationEncoder::new(width, height, plays, quality)?;
    let mut placeholder = None;
    decode::frames(bytes, probe, settings, deadline, &mut |picture, delay| {
        if placeholder.is_none() {
            placeholder = Some(Arc::new(PlaceholderSet::of(&picture)?));
        }
        clock.lap(|timings| &mut timings.decode);
        let picture = resize::apply(picture, &transform.geometry, transform.background)?;
        clock.lap(|timings| &mut timings.resize);
        encoder.add(&picture, delay)?;
        clock.lap(|timings| &mut timings.encode);
        Ok(())
    })?;
    let placeholder = placeholder.ok_or_else(|| no_frame(probe))?;
    let encoded = encoder.finish()?;
    clock.lap(|timings| &mut timings.encode);

    let format = ImageFormat::Webp;
    let (bytes, original) = match kept(bytes, probe, transform, format, encoded.len()) {
        Some(own) => (own, true),
        None => (encoded, false),
    };
    Ok(Rendered { bytes, format, width, height, placeholder, timings: clock.timings, original })
}

/// The source's own image, after every frame of it was decoded: bytes that no decoder took are never passed on.
///
/// What is passed on without being decoded does not come here: it has no pixels to make a placeholder of.
fn original(bytes: &[u8], probe: &Probe, settings: &Settings, deadline: Instant) -> Result<Rendered, Error> {
    let mut clock = Clock::start();
    let mut placeholder = None;
    decode::frames(bytes, probe, settings, deadline, &mut |picture, _| {
        if placeholder.is_none() {
            placeholder = Some(Arc::new(PlaceholderSet::of(&picture)?));
        }
        Ok(())
    })?;
    let placeholder = placeholder.ok_or_else(|| no_frame(probe))?;
    clock.lap(|timings| &mut timings.decode);
    // Where the orientation is told by metadata, metadata has to stay.
    let upright = probe.orientation == Orientation::NoTransforms;
    let own = if upright { strip::picture_only(bytes, probe.format) } else { None };
    let bytes = own.unwrap_or_else(|| bytes.to_vec());
    let (format, width, height) = (probe.format, probe.width, probe.height);
    Ok(Rendered { bytes, format, width, height, placeholder, timings: clock.timings, original: true })
}

/// The source's own image, when the output would be the same image and is not smaller than it.
fn kept(bytes: &[u8], probe: &Probe, transform: &Transform, format: ImageFormat, encoded: usize) -> Option<Vec<u8>> {
    let size = Geometry::Scale { width: probe.width, height: probe.height };
    let same = probe.format == format
        && !probe.foreign
        && transform.geometry == size
        && transform.background.is_none()
        && probe.orientation == Orientation::NoTransforms
        && (probe.frames > 1) == (transform.output == Output::AnimatedWebp);
    if !same {
        return None;
    }
    strip::picture_only(bytes, format).filter(|own| own.len() <= encoded)
}

fn no_frame(probe: &Probe) -> Error {
    Error::Malformed { format: probe.format, detail: "no frame".to_owned() }
}

/// Charges the time since the last look to a stage.
struct Clock {
    last: Instant,
    timings: Timings,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), timings: Timings::default() }
    }

    fn lap(&mut self, stage: impl FnOnce(&mut Timings) -> &mut Duration) {
        let now = Instant::now();
        *stage(&mut self.timings) += now - self.last;
        self.last = now;
    }
}

#[cfg(test)]
mod tests;
