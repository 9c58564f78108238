//! Query strings in, wishes out: the two dialects share one decoder and one set of lists, each has its own parser.
//!
//! Invariant: the variant space is finite. A width, height or quality comes from a configured list or carries a signature;
//! what is not understood is refused with a stable code, never guessed and never ignored (but for what others
//! hang on URLs, see `is_ignored`).

mod direct;
mod next;
mod signature;
mod space;

use std::borrow::Cow;
use std::time::SystemTime;

pub(super) use self::direct::{Asked, direct, placeholder};
pub(super) use self::next::{NextAsked, Refused, next};
pub(super) use self::signature::{Passed, admit, admit_document};
pub use self::signature::{Signing, SigningKey};
use crate::format::Negotiated;
use crate::source::SourcePolicy;
use crate::variant::{Quality, Rgb};

/// Longest query string that is taken apart, in bytes. The Next.js contract allows a `url` of 3072 UTF-16 units, which
/// are up to 9 bytes each when percent-encoded; the rest is room for the other parameters.
pub const MAX_QUERY_BYTES: usize = 32 * 1024;

/// Largest width or height that a signed request may name, in pixels.
pub const MAX_EDGE: u32 = 10_000;

/// Which variants may be asked for.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Widths of whole-page images in pixels. Configuration sees to it that this is not empty.
    pub device_sizes: Vec<u32>,
    /// Widths of smaller images, in pixels.
    pub image_sizes: Vec<u32>,
    /// Heights allowed besides those widths, in pixels.
    pub heights: Vec<u32>,
    /// Widths and heights allowed together where the image is cropped, padded or stretched; absent, every listed width goes
    /// with every listed height.
    pub crops: Option<Vec<(u32, u32)>>,
    /// Qualities allowed, 1 to 100. Not empty.
    pub qualities: Vec<u8>,
    /// Colours allowed for padding and under transparency.
    pub backgrounds: Vec<Rgb>,
    /// Whether `/image` rounds a width or height up to the next of its list instead of refusing it.
    pub snap: bool,
    /// Most pixels of an output.
    pub max_output_pixels: u64,
    /// Who may sign requests, and whether they must be signed.
    pub signing: Signing,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            device_sizes: vec![640, 750, 828, 1080, 1200, 1920, 2048, 3840],
            image_sizes: vec![16, 32, 48, 64, 96, 128, 256, 384],
            heights: Vec::new(),
            crops: None,
            qualities: vec![50, 75, 90],
            backgrounds: vec![Rgb::WHITE, Rgb([0; 3])],
            snap: false,
            max_output_pixels: 25_000_000,
            signing: Signing::default(),
        }
    }
}

impl Sizes {
    /// Every width that may be asked for, in no order.
    pub fn widths(&self) -> impl Iterator<Item = u32> + Clone {
        self.image_sizes.iter().chain(&self.device_sizes).copied()
    }

    /// Every height that `/image` may be asked for, in no order.
    fn all_heights(&self) -> impl Iterator<Item = u32> + Clone {
        self.widths().chain(self.heights.iter().copied())
    }

    /// The longest edge of an image for which no size is asked, in pixels.
    fn cap(&self) -> u32 {
        self.widths().max().unwrap_or(1)
    }

    /// The quality when none is named: 75, or the listed one nearest to it (the lower of two as near, as Next.js does).
    fn default_quality(&self) -> Quality {
        let distance = |q: &Quality| (q.get().abs_diff(Quality::DEFAULT.get()), q.get());
        self.qualities.iter().copied().filter_map(Quality::new).min_by_key(distance).unwrap_or(Quality::DEFAULT)
    }
}

/// Which kind of mistake a request made; `error.rs` gives each its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A parameter is missing, repeated, unknown, unreadable or not in its list.
    Parameter,
    /// The signature does not match.
    Signature,
    /// The query string is too long to be read.
    TooLong,
}

/// A request that is refused for what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Invalid {
    pub(super) fault: Fault,
    /// Stable name of the mistake.
    pub(super) code: &'static str,
    /// What was wrong and what would be right, for the client.
    pub(super) detail: String,
}

impl Invalid {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { fault: Fault::Parameter, code, detail: detail.into() }
    }
}

/// A query string taken apart: names and values decoded (`+` is a space, as HTML forms write it), order and repeats kept.
#[derive(Debug)]
pub(super) struct Pairs<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Pairs<'q> {
    /// Takes `raw` apart; what is not percent-encoded is borrowed.
    ///
    /// # Errors
    /// `query_too_long` beyond [`MAX_QUERY_BYTES`].
    pub(super) fn parse(raw: &'q str) -> Result<Self, Invalid> {
        if raw.len() > MAX_QUERY_BYTES {
            return Err(Invalid {
                fault: Fault::TooLong,
                code: "query_too_long",
                detail: format!("the query string is longer than {MAX_QUERY_BYTES} bytes"),
            });
        }
        let mut pairs = Vec::with_capacity(6);
        pairs.extend(url::form_urlencoded::parse(raw.as_bytes()));
        Ok(Self(pairs))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// Parameters that others hang on URLs and that say nothing about the image. `v` makes another URL of the same image
/// for whoever keeps it: browsers and CDNs, which no purge reaches.
fn is_ignored(name: &str) -> bool {
    matches!(name, "dpl" | "v" | "fbclid" | "gclid" | "msclkid") || name.starts_with("utm_")
}

/// A number of digits only: no sign, no space, no fraction. `None` too when it does not fit.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Reads a query in both dialects and has its source judged, as the listeners do: whether each took it. For the fuzzer,
/// which sees only what is public.
#[doc(hidden)]
pub fn is_taken(raw: &str, sizes: &Sizes, policy: &SourcePolicy) -> (bool, bool) {
    let negotiated = Negotiated { preferred: None, webp: false };
    let Ok(pairs) = Pairs::parse(raw) else {
        return (false, false);
    };
    let asked = direct(&pairs, "/image", raw, sizes, negotiated, SystemTime::UNIX_EPOCH);
    let direct = asked.is_ok_and(|asked| policy.admit(asked.url).is_ok());
    (direct, next(&pairs, sizes, negotiated, |url| policy.admit(url)).is_ok())
}

#[cfg(test)]
mod tests;
