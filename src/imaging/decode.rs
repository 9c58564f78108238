//! From a stranger's bytes to upright 8-bit sRGB pixels, in memory-safe Rust.

/// Decoded pixels: interleaved 8-bit sRGB, rows from the top, upright.
///
/// `pixels.len() == width * height * channels()`. A picture whose alpha is 255 everywhere has `alpha == false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Four channels, the last straight (not premultiplied) alpha; three otherwise.
    pub alpha: bool,
    /// The samples.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Samples of one pixel: 3, or 4 with alpha.
    pub fn channels(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }

    /// Drops an alpha channel that is 255 everywhere: three channels cost less in every later stage.
    pub(crate) fn without_opaque_alpha(mut self) -> Self {
        if self.alpha && self.pixels.chunks_exact(4).all(|pixel| pixel[3] == 255) {
            let count = self.pixels.len() / 4;
            for at in 0..count {
                self.pixels.copy_within(at * 4..at * 4 + 3, at * 3);
            }
            self.pixels.truncate(count * 3);
            self.alpha = false;
        }
        self
    }
}
