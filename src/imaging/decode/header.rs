//! What a format's header reader reports, and the comparison with a limit.
//!
//! Invariant: a header is judged by these numbers before anything of its size is allocated.

use image::metadata::Orientation;

use crate::imaging::Error;

/// Facts of a header, before orientation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Stored width in pixels.
    pub(crate) width: u32,
    /// Stored height in pixels.
    pub(crate) height: u32,
    /// What turns the stored image upright.
    pub(crate) orientation: Orientation,
    /// Whether any pixel may be transparent.
    pub(crate) alpha: bool,
    /// 1 for a still image.
    pub(crate) frames: u32,
    /// How often an animation plays; 0 for ever.
    pub(crate) plays: u32,
    /// Its own bytes are another image than we would make of it: ink, high dynamic range, more bits than are written.
    pub(crate) foreign: bool,
    /// Bytes a pixel that the decoder holds at its peak, its output included.
    pub(crate) working: u32,
    /// Copies of the whole file that are made of it: mended, described anew, unwrapped.
    pub(crate) copies: u8,
}

impl Header {
    /// An upright still image of 8-bit samples decoded in place.
    pub(crate) const fn still(width: u32, height: u32, alpha: bool) -> Self {
        let working = if alpha { 4 } else { 3 };
        Self {
            width,
            height,
            orientation: Orientation::NoTransforms,
            alpha,
            frames: 1,
            plays: 1,
            foreign: false,
            working,
            copies: 0,
        }
    }
}

/// `value` against a limit that may be reached but not passed.
pub(crate) const fn within(what: &'static str, value: u64, limit: u64) -> Result<(), Error> {
    if value > limit { Err(Error::LimitExceeded { what, value, limit }) } else { Ok(()) }
}
