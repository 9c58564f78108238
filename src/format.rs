//! Image formats: the closed set Pixgate knows, what each can do, how bytes are recognised, and what a client accepts.
//!
//! Pure: no I/O, no clock. The type of a source comes from its bytes (`sniff`), never from an origin's `Content-Type`;
//! negotiation follows RFC 9110 §12.5.1 with one deliberate exception, named at [`negotiate`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many bytes of a source are looked at to recognise it; more is never read, so sniffing has a bounded cost.
pub const SNIFF_BYTES: usize = 1024;

/// Every image format that can come in or go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ImageFormat {
    /// AV1 Image File Format.
    Avif,
    /// WebP, lossy or lossless, still or animated.
    Webp,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF, read only.
    Gif,
    /// Windows bitmap, read only.
    Bmp,
    /// TIFF, read only.
    Tiff,
    /// Windows icon, read only.
    Ico,
    /// SVG, read only and refused unless allowed.
    Svg,
}

impl ImageFormat {
    /// All formats, in declaration order.
    pub const ALL: [Self; 9] =
        [Self::Avif, Self::Webp, Self::Jpeg, Self::Png, Self::Gif, Self::Bmp, Self::Tiff, Self::Ico, Self::Svg];

    /// The formats that can be asked for by name (`f=`).
    pub const OUTPUTS: [Self; 4] = [Self::Avif, Self::Webp, Self::Jpeg, Self::Png];

    /// Lower-case name used in parameters, configuration, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avif => "avif",
            Self::Webp => "webp",
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Ico => "ico",
            Self::Svg => "svg",
        }
    }

    /// The media type sent in `Content-Type`.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Avif => "image/avif",
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Ico => "image/x-icon",
            Self::Svg => "image/svg+xml",
        }
    }

    /// Whether Pixgate can write this format.
    pub const fn is_output(self) -> bool {
        matches!(self, Self::Avif | Self::Webp | Self::Jpeg | Self::Png)
    }

    /// Whether a picture in this format can carry transparency.
    pub const fn has_alpha(self) -> bool {
        !matches!(self, Self::Jpeg)
    }

    /// Whether quality changes the output: PNG is written without loss.
    pub const fn is_lossy(self) -> bool {
        matches!(self, Self::Avif | Self::Webp | Self::Jpeg)
    }

    /// The output format with this parameter name; `jpg` is taken as `jpeg`.
    pub fn output_from_name(name: &str) -> Option<Self> {
        match name {
            "jpg" => Some(Self::Jpeg),
            _ => Self::OUTPUTS.into_iter().find(|format| format.as_str() == name),
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Recognises a format from the first bytes of a file; at most [`SNIFF_BYTES`] are looked at.
///
/// `None` means that the bytes are no image Pixgate reads, whatever the origin calls them.
pub fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    let prefix = &bytes[..bytes.len().min(SNIFF_BYTES)];
    match prefix {
        [0xFF, 0xD8, 0xFF, ..] => return Some(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => return Some(ImageFormat::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => return Some(ImageFormat::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => return Some(ImageFormat::Webp),
        // A file header of 14 bytes, of which only the letters can be relied on, and the size of the next header.
        [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12..=124, 0, 0, 0, ..] => return Some(ImageFormat::Bmp),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => return Some(ImageFormat::Tiff),
        // BigTIFF: offsets of 8 bytes.
        [b'I', b'I', 43, 0, 8, 0, 0, 0, ..] | [b'M', b'M', 0, 43, 0, 8, 0, 0, ..] => return Some(ImageFormat::Tiff),
        // Reserved 0, type 1 (icon; 2 is a cursor), at least one entry.
        [0, 0, 1, 0, low, high, ..] if *low != 0 || *high != 0 => return Some(ImageFormat::Ico),
        _ => {}
    }
    if is_avif(prefix) {
        return Some(ImageFormat::Avif);
    }
    is_svg(prefix).then_some(ImageFormat::Svg)
}

/// An ISO-BMFF file whose `ftyp` box (ISO/IEC 14496-12 §4.3) has a plausible size and names an AVIF brand.
///
/// The size check keeps text such as `<!--ftypavif-->` out: its first four bytes are no box length.
fn is_avif(prefix: &[u8]) -> bool {
    let [a, b, c, d, b'f', b't', b'y', b'p', rest @ ..] = prefix else {
        return false;
    };
    let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if !(16..=512).contains(&size) || !size.is_multiple_of(4) {
        return false;
    }
    // Major brand, minor version (skipped), compatible brands.
    let body = &rest[..rest.len().min(size - 8)];
    let mut brands = body.chunks_exact(4).enumerate().filter(|(at, _)| *at != 1);
    brands.any(|(_, brand)| brand == b"avif" || brand == b"avis")
}

/// Text whose first element, after declarations, comments and a doctype, is `<svg`.
///
/// One pass over the bounded prefix: no back-tracking, so hostile text cannot make it slow.
fn is_svg(prefix: &[u8]) -> bool {
    let mut text = prefix.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(prefix);
    loop {
        text = text.trim_ascii_start();
        let end: &[u8] = if text.starts_with(b"<!--") {
            b"-->"
        } else if text.starts_with(b"<?") {
            b"?>"
        } else if text.len() >= 9 && text[..9].eq_ignore_ascii_case(b"<!doctype") {
            // An internal subset ends in `]>`; without one the first `>` closes the declaration.
            let close = text.iter().position(|b| *b == b'>').unwrap_or(text.len());
            if text[..close].contains(&b'[') { b"]>" } else { b">" }
        } else {
            break;
        };
        match text.windows(end.len()).position(|window| window == end) {
            Some(at) => text = &text[at + end.len()..],
            None => return false,
        }
    }
    text.strip_prefix(b"<svg")
        .and_then(|rest| rest.first())
        .is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
}

/// What a client's `Accept` header means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Negotiated {
    /// The best of the configured formats that the client names; `None` means: keep the source's own type.
    pub preferred: Option<ImageFormat>,
    /// Whether WebP is configured and named, which decides how animations are sent.
    pub webp: bool,
}

/// Chooses among `offered` formats (in order of the operator's preference) by an `Accept` header.
///
/// Only formats that the header *names* count: `*/*` and `image/*` express no preference, because clients that send
/// them include old browsers and command-line tools that read neither AVIF nor WebP. `q=0` excludes; the highest `q`
/// wins; among equals the operator's order decides, not the header's.
pub fn negotiate(accept: Option<&str>, offered: &[ImageFormat]) -> Negotiated {
    let header = accept.unwrap_or_default();
    let weight = |format: &ImageFormat| header.split(',').find_map(|range| weight_of(range, format.mime()));
    let mut best: Option<(u16, ImageFormat)> = None;
    for format in offered {
        if let Some(q) = weight(format).filter(|q| *q > 0)
            && best.is_none_or(|(highest, _)| q > highest)
        {
            best = Some((q, *format));
        }
    }
    Negotiated {
        preferred: best.map(|(_, format)| format),
        webp: offered.contains(&ImageFormat::Webp) && weight(&ImageFormat::Webp).is_some_and(|q| q > 0),
    }
}

/// The weight in thousandths that one media range gives to `mime`, or `None` when it names another type.
/// A malformed weight counts as absent (1), as lenient recipients do.
fn weight_of(range: &str, mime: &str) -> Option<u16> {
    let mut parts = range.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case(mime) {
        return None;
    }
    let q = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let value = q.and_then(|text| text.parse::<f32>().ok()).filter(|q| (0.0..=1.0).contains(q));
    Some(value.map_or(1000, |q| (q * 1000.0).round() as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [ImageFormat; 2] = [ImageFormat::Avif, ImageFormat::Webp];

    #[test]
    fn negotiation_follows_weights_then_the_operators_order() {
        let cases: [(&str, Option<ImageFormat>); 12] = [
            ("image/webp,image/avif", Some(ImageFormat::Avif)),
            ("image/avif;q=0.5, image/webp;q=0.9", Some(ImageFormat::Webp)),
            ("image/avif;q=0,image/webp", Some(ImageFormat::Webp)),
            ("image/avif;q=0", None),
            ("*/*", None),
            ("image/*", None),
            ("", None),
            ("IMAGE/WEBP", Some(ImageFormat::Webp)),
            ("image/webp;q=oops", Some(ImageFormat::Webp)),
            ("image/webp; q=0.1 , text/html", Some(ImageFormat::Webp)),
            ("image/webpx", None),
            (";;;,,,=", None),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(Some(accept), &BOTH).preferred, expected, "{accept}");
        }
        assert_eq!(negotiate(None, &BOTH).preferred, None);
    }

    #[test]
    fn webp_is_known_to_be_taken_even_when_avif_is_preferred() {
        assert!(negotiate(Some("image/avif,image/webp"), &BOTH).webp);
        assert!(!negotiate(Some("image/avif"), &BOTH).webp);
        assert!(!negotiate(Some("image/webp"), &[ImageFormat::Avif]).webp);
    }

    #[test]
    fn magic_bytes_decide() {
        let avif = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf";
        let cases: [(&[u8], Option<ImageFormat>); 20] = [
            (b"\xFF\xD8\xFF\xE0", Some(ImageFormat::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Some(ImageFormat::Png)),
            (b"GIF89a", Some(ImageFormat::Gif)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(ImageFormat::Webp)),
            (b"BM\x36\0\0\0\0\0\0\0\x36", Some(ImageFormat::Bmp)),
            (b"II\x2a\0", Some(ImageFormat::Tiff)),
            (b"MM\0\x2a", Some(ImageFormat::Tiff)),
            (b"\0\0\x01\0\x01\0", Some(ImageFormat::Ico)),
            (b"\0\0\x01\0\0\0", None),
            (b"\0\0\x02\0\x01\0", None),
            (avif, Some(ImageFormat::Avif)),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", None),
            (b"<!--ftypavif-->", None),
            (b"<svg xmlns=''/>", Some(ImageFormat::Svg)),
            (b"\xEF\xBB\xBF<?xml version='1.0'?>\n<!-- x --><!DOCTYPE svg><svg>", Some(ImageFormat::Svg)),
            (b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg>", Some(ImageFormat::Svg)),
            (b"<!DOCTYPE html><html><svg>", None),
            (b"<svgish>", None),
            (b"%PDF-1.7", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(sniff(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn sniffing_never_looks_past_its_prefix() {
        let mut late = vec![b' '; SNIFF_BYTES];
        late.extend_from_slice(b"<svg>");
        assert_eq!(sniff(&late), None);
    }

    #[test]
    fn names_and_media_types_are_distinct() {
        for (at, a) in ImageFormat::ALL.iter().enumerate() {
            for b in &ImageFormat::ALL[at + 1..] {
                assert_ne!(a.as_str(), b.as_str());
                assert_ne!(a.mime(), b.mime());
            }
        }
        assert_eq!(ImageFormat::output_from_name("jpg"), Some(ImageFormat::Jpeg));
        assert_eq!(ImageFormat::output_from_name("gif"), None);
    }
}
