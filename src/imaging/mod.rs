//! Bytes of a picture in, bytes of another out: what a source is ([`probe`]), a variant of it ([`render`]), its placeholder.
//!
//! The law: **everything about a source that could cost memory or time is judged from its header before it is decoded**,
//! and every stage is named, in order, in [`render`]. Decoders are memory-safe Rust; C sees only pixels of our own.
//! All functions here block; `schedule` runs them on their own threads and catches what panics.

pub mod codec;
mod decode;
pub mod placeholder;
mod resize;

use std::time::{Duration, Instant};

pub use codec::avif::AvifEngine;
pub use decode::Picture;
pub use image::metadata::Orientation;
pub use placeholder::PlaceholderSet;

use crate::format::ImageFormat;
use crate::variant::SourceShape;

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
    /// Whether SVG is drawn; refused otherwise.
    pub allow_svg: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
            max_edge: 65_535,
            max_frames: 500,
            max_frame_pixels: 400_000_000,
            max_metadata_bytes: 8_000_000,
            allow_svg: false,
        }
    }
}

/// Settings of the whole room.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What a source may be at most.
    pub limits: Limits,
    /// Which encoder writes AVIF.
    pub avif_engine: AvifEngine,
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
    /// What turns the stored picture upright.
    pub orientation: Orientation,
    /// Whether any pixel may be transparent.
    pub has_alpha: bool,
    /// Frames; 1 for a still picture.
    pub frames: u32,
    /// Estimated peak memory of decoding and scaling, in bytes: what admission reserves.
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
        }
    }
}

/// One finished output.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// Format of `bytes`.
    pub format: ImageFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Computed from the same decode.
    pub placeholder: PlaceholderSet,
    /// Where the time went.
    pub timings: Timings,
    /// The source's own picture was kept: it was asked for, or it was no larger than ours would have been.
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

/// Why a picture could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No image format Pixgate reads.
    #[error("the bytes are no image of a known format")]
    Unrecognised,
    /// SVG, and it is not allowed.
    #[error("SVG is not allowed")]
    SvgRefused,
    /// The format's rules are broken.
    #[error("malformed {format}: {detail}")]
    Malformed {
        /// What the bytes claim to be.
        format: ImageFormat,
        /// For the log.
        detail: String,
    },
    /// Well-formed as far as known, but of a kind that is not read.
    #[error("unsupported {format}: {detail}")]
    Unsupported {
        /// What the bytes claim to be.
        format: ImageFormat,
        /// For the log.
        detail: String,
    },
    /// A limit of [`Limits`] is exceeded.
    #[error("{what} {value} is over the limit of {limit}")]
    LimitExceeded {
        /// Which limit.
        what: &'static str,
        /// What the source has.
        value: u64,
        /// What it may have.
        limit: u64,
    },
    /// An encoder failed on our own pixels.
    #[error("encoding failed: {0}")]
    Encode(String),
    /// The time for this job ran out.
    #[error("the deadline has passed")]
    Deadline,
    /// Too much work is waiting already.
    #[error("overloaded: retry after {retry_after:?}")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// A decoder or encoder panicked; caught at the worker's edge.
    #[error("a codec panicked")]
    Panicked,
}

/// Checked between stages and frames, so that a job past its deadline ends at the next one.
pub(crate) fn check(deadline: Instant) -> Result<(), Error> {
    if Instant::now() >= deadline { Err(Error::Deadline) } else { Ok(()) }
}
