//! What one output is: the wish of a request, the transform it comes down to for one source, and the key of the result.
//!
//! Pure. Invariant: **equal meaning gives an equal value**, so that two requests which would draw the same image share
//! one cache entry, and **distinct meaning gives a distinct key**, on every machine: fields are tagged and of fixed width.

mod key;
mod quality;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::key::{ContentHash, PIPELINE_VERSION, VariantKey};
pub use self::quality::Quality;
use crate::format::{ImageFormat, Negotiated};

/// How an image is fitted into a requested box. Nothing is ever enlarged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Scaled to lie inside the box, aspect kept.
    #[default]
    Inside,
    /// Scaled to cover the box, the overhang cropped equally on both sides.
    Cover,
    /// Scaled to lie inside the box, the rest padded.
    Contain,
    /// Stretched to the box, aspect not kept.
    Fill,
}

impl Fit {
    /// The fit with this parameter name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "inside" => Some(Self::Inside),
            "cover" => Some(Self::Cover),
            "contain" => Some(Self::Contain),
            "fill" => Some(Self::Fill),
            _ => None,
        }
    }
}

/// How much time an encoder may take for the same visible quality: none of what is asked for depends on it, only bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// For whoever waits.
    #[default]
    Fast,
    /// For what is asked for again: fewer bytes.
    Dense,
}

impl Effort {
    /// `fast` or `dense`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Dense => "dense",
        }
    }

    /// A number for each that stays the same: 1 and 2.
    pub const fn number(self) -> u8 {
        match self {
            Self::Fast => 1,
            Self::Dense => 2,
        }
    }

    /// The effort with this number.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Fast),
            2 => Some(Self::Dense),
            _ => None,
        }
    }
}

/// An opaque sRGB colour, 8 bits a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    /// What transparency becomes in a format that has none, unless a background is asked for.
    pub const WHITE: Self = Self([255; 3]);

    /// Reads six hexadecimal digits, `rrggbb`.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let value = u32::from_str_radix(text, 16).ok()?;
        let [_, r, g, b] = value.to_be_bytes();
        Some(Self([r, g, b]))
    }

    /// Those digits.
    pub fn to_hex(&self) -> String {
        self.to_string()[1..].to_owned()
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

/// The output format a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormatWish {
    /// Named in the request.
    Exactly(ImageFormat),
    /// Left to `Accept`.
    Negotiated(Negotiated),
}

/// What a request asks for, before anything is known of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Width of the box in pixels.
    pub width: Option<u32>,
    /// Height of the box in pixels.
    pub height: Option<u32>,
    /// Longest edge in pixels when neither width nor height is given.
    pub cap: u32,
    /// Most pixels; what would have more is made smaller, its aspect kept.
    pub max_pixels: u64,
    /// How the image is fitted into the box.
    pub fit: Fit,
    /// Quality of lossy formats; absent, it is the one that was learned of the source.
    pub quality: Option<Quality>,
    /// Output format.
    pub format: FormatWish,
    /// Colour for padding and behind transparency.
    pub background: Option<Rgb>,
}

/// What must be known of a source to tell what a wish comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceShape {
    /// Format of the source's bytes.
    pub format: ImageFormat,
    /// Width in pixels, after orientation.
    pub width: u32,
    /// Height in pixels, after orientation.
    pub height: u32,
    /// Whether any pixel may be transparent.
    pub has_alpha: bool,
    /// More than one frame.
    pub animated: bool,
    /// The quality at which it looks as good as others do, once that was learned.
    pub fair_quality: Option<Quality>,
    /// It is never decoded: the source itself is all that can be had of it.
    pub passed_on: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// One image in an output format.
    Still(ImageFormat),
    /// Every frame, as animated WebP.
    AnimatedWebp,
    /// The source's own bytes, after they were decoded to prove that they are what they claim; those of a format that is
    /// never decoded, after their container was read whole.
    Original,
}

/// The geometry of an output, in pixels of the oriented source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// The whole image, scaled to exactly this size.
    Scale {
        /// Output width.
        width: u32,
        /// Output height.
        height: u32,
    },
    /// The largest centred part of this aspect, scaled to this size.
    Cover {
        /// Output width.
        width: u32,
        /// Output height.
        height: u32,
    },
    /// The whole image, scaled down to fit, centred on a canvas of this size.
    Contain {
        /// Canvas width.
        width: u32,
        /// Canvas height.
        height: u32,
    },
}

impl Geometry {
    /// Output width and height in pixels.
    pub const fn size(self) -> (u32, u32) {
        match self {
            Self::Scale { width, height } | Self::Cover { width, height } | Self::Contain { width, height } => {
                (width, height)
            }
        }
    }

    /// The same of at most so many pixels.
    fn within(self, max_pixels: u64) -> Self {
        let (w, h) = self.size();
        let pixels = u64::from(w) * u64::from(h);
        if pixels <= max_pixels {
            return self;
        }
        let scale = (max_pixels as f64 / pixels as f64).sqrt();
        let [width, height] = [w, h].map(|edge| ((f64::from(edge) * scale) as u32).max(1));
        // Where one edge is a pixel already, the other makes up for it.
        let most = |other: u32| u32::try_from(max_pixels / u64::from(other)).unwrap_or(u32::MAX).max(1);
        let (width, height) = (width.min(most(height)), height.min(most(width)));
        match self {
            Self::Scale { .. } => Self::Scale { width, height },
            Self::Cover { .. } => Self::Cover { width, height },
            Self::Contain { .. } => Self::Contain { width, height },
        }
    }
}

/// Canonical description of one output of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    /// What is written.
    pub output: Output,
    /// Its size and framing.
    pub geometry: Geometry,
    /// Present exactly when the output is lossy.
    pub quality: Option<Quality>,
    /// Present exactly when it shows.
    pub background: Option<Rgb>,
}

impl Wish {
    /// What this wish comes down to for a source of the given shape.
    pub fn resolve(&self, source: &SourceShape) -> Transform {
        let output = self.output(source);
        let format = match output {
            Output::Still(format) => format,
            Output::AnimatedWebp => ImageFormat::Webp,
            Output::Original => {
                let geometry = Geometry::Scale { width: source.width, height: source.height };
                return Transform { output, geometry, quality: None, background: None };
            }
        };
        let geometry = self.geometry(source, format.max_edge()).within(self.max_pixels);
        let shows = source.has_alpha || matches!(geometry, Geometry::Contain { .. });
        let background = match self.background {
            _ if !shows => None,
            None if !format.has_alpha() => Some(Rgb::WHITE),
            background => background,
        };
        let quality = self.quality.or(source.fair_quality).unwrap_or(Quality::DEFAULT);
        Transform { output, geometry, quality: format.is_lossy().then_some(quality), background }
    }

    /// Whether the quality is left to what is not learned of the source yet.
    pub fn is_undecided(&self, source: &SourceShape) -> bool {
        self.quality.or(source.fair_quality).is_none() && self.resolve(source).quality.is_some()
    }

    fn output(&self, source: &SourceShape) -> Output {
        match self.format {
            _ if source.passed_on => Output::Original,
            FormatWish::Exactly(ImageFormat::Webp) if source.animated => Output::AnimatedWebp,
            FormatWish::Exactly(format) => Output::Still(format),
            FormatWish::Negotiated(Negotiated { webp, .. }) if source.animated => {
                if webp {
                    Output::AnimatedWebp
                } else {
                    Output::Original
                }
            }
            FormatWish::Negotiated(Negotiated { preferred, .. }) => {
                Output::Still(preferred.unwrap_or_else(|| plain_format(source)))
            }
        }
    }

    fn geometry(&self, source: &SourceShape, max_edge: u32) -> Geometry {
        let (sw, sh) = (source.width.max(1), source.height.max(1));
        let inside = |w: u32, h: u32| {
            let (width, height) = shrink((sw, sh), (w.min(max_edge), h.min(max_edge)));
            Geometry::Scale { width, height }
        };
        let (w, h) = match (self.width, self.height) {
            (None, None) => return inside(self.cap, self.cap),
            (Some(w), None) => return inside(w, u32::MAX),
            (None, Some(h)) => return inside(u32::MAX, h),
            (Some(w), Some(h)) => (w.clamp(1, max_edge), h.clamp(1, max_edge)),
        };
        // A box larger than the source shrinks to it, keeping the box's own aspect: nothing is enlarged.
        let (bw, bh) = shrink((w, h), (sw, sh));
        match self.fit {
            Fit::Inside => inside(w, h),
            Fit::Fill => Geometry::Scale { width: bw, height: bh },
            Fit::Cover if same_aspect((bw, bh), (sw, sh)) => Geometry::Scale { width: bw, height: bh },
            Fit::Cover => Geometry::Cover { width: bw, height: bh },
            Fit::Contain if shrink((sw, sh), (w, h)) == (w, h) => Geometry::Scale { width: w, height: h },
            Fit::Contain => Geometry::Contain { width: w, height: h },
        }
    }
}

/// The format for a client that names none we offer: the source's own where every client reads it, else the one of
/// JPEG and PNG that loses nothing that shows.
fn plain_format(source: &SourceShape) -> ImageFormat {
    match source.format {
        ImageFormat::Jpeg => ImageFormat::Jpeg,
        ImageFormat::Png | ImageFormat::Gif => ImageFormat::Png,
        _ if source.has_alpha => ImageFormat::Png,
        _ => ImageFormat::Jpeg,
    }
}

/// `size` scaled down, never up, to lie inside `bounds`; each edge at least 1, rounded to nearest.
fn shrink(size: (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    let (w, h) = (u64::from(size.0.max(1)), u64::from(size.1.max(1)));
    let (bw, bh) = (u64::from(bounds.0.max(1)), u64::from(bounds.1.max(1)));
    if w <= bw && h <= bh {
        return (w as u32, h as u32);
    }
    let scaled = |a: u64, num: u64, den: u64| ((a * num + den / 2) / den).max(1);
    // The tighter bound decides: bw/w <= bh/h, compared without division.
    let (w, h) = if bw * h <= bh * w { (bw, scaled(h, bw, w).min(bh)) } else { (scaled(w, bh, h).min(bw), bh) };
    (w as u32, h as u32)
}

/// Whether two sizes have the same aspect to within half a pixel of the smaller.
fn same_aspect(small: (u32, u32), large: (u32, u32)) -> bool {
    shrink(large, (small.0, u32::MAX)) == small && shrink(large, (u32::MAX, small.1)) == small
}

#[cfg(test)]
mod tests;
