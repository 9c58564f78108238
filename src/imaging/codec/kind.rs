//! What is shown, by which an encoder's setting and level are chosen.
//!
//! Invariant: **told from the output alone**, its size and a bounded look at its pixels, so that equal pixels are always of
//! one kind.

use super::Picture;
use super::graphic::is_graphic;

/// Photographs by size, and graphics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A photograph of at most 221,184 pixels, as 384 x 576.
    Small,
    /// A photograph of up to 1,296,000 pixels, as 1200 x 1080.
    Medium,
    /// A photograph of up to 2,500,000 pixels.
    Large,
    /// A photograph of more pixels.
    Huge,
    /// Drawn: a logo, text, a screenshot.
    Graphic,
}

/// 576 x 384 either way up, 470 square.
pub(crate) const SMALL: u64 = 384 * 576;
/// 1200 x 1080 either way up.
const LARGE: u64 = 1200 * 1080;
/// More than an image of 1920 px in the common shapes.
const HUGE: u64 = 2_500_000;

impl Kind {
    /// Of an output.
    pub(crate) fn of(picture: &Picture) -> Self {
        if is_graphic(picture) {
            return Self::Graphic;
        }
        Self::of_pixels(u64::from(picture.width) * u64::from(picture.height))
    }

    /// Of a photograph of so many pixels.
    pub(crate) const fn of_pixels(pixels: u64) -> Self {
        if pixels <= SMALL {
            Self::Small
        } else if pixels <= LARGE {
            Self::Medium
        } else if pixels <= HUGE {
            Self::Large
        } else {
            Self::Huge
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawing, photo};
    use super::*;

    #[test]
    fn photographs_are_told_by_size() {
        for (size, kind) in [
            ((384, 576), Kind::Small),
            ((384, 577), Kind::Medium),
            ((1080, 1200), Kind::Medium),
            ((1080, 1201), Kind::Large),
            ((1250, 2000), Kind::Large),
            ((1250, 2001), Kind::Huge),
        ] {
            assert_eq!(Kind::of(&photo(size.0, size.1, false)), kind, "{size:?}");
        }
        assert_eq!(Kind::of(&drawing(384, 576, false)), Kind::Graphic);
    }
}
