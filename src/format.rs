//! Image formats: the closed set Pixgate knows, what each can do, how bytes are recognised, and what a client accepts.
//!
//! Invariant: the type of a source comes from its bytes (`sniff`), never from an origin's `Content-Type`.

mod negotiation;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::negotiation::{Negotiated, negotiate};

/// How many bytes of a source are looked at to recognise it; more is never read, so sniffing has a bounded cost. Drawings
/// begin with comments of a licence's length, and each byte is passed once.
pub const SNIFF_BYTES: usize = 65_536;

/// How a JPEG XL file with boxes begins (ISO/IEC 18181-2).
pub(crate) const JXL_CONTAINER: [u8; 12] = *b"\0\0\0\x0CJXL \r\n\x87\n";

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
    /// JPEG XL, read only.
    Jxl,
    /// HEIC (HEVC in an image file), read only where that is allowed, else passed on as it is or refused.
    Heic,
    /// Apple's icons, never read: passed on as they are, or refused.
    Icns,
}

impl ImageFormat {
    /// The longest edge that can be written.
    pub const fn max_edge(self) -> u32 {
        match self {
            Self::Webp => 16_383,
            // Libjpeg's own bound.
            Self::Jpeg => 65_500,
            _ => 65_535,
        }
    }

    /// All formats, in declaration order. New ones are added at the end: records keep a format by its number.
    pub const ALL: [Self; 12] = [
        Self::Avif,
        Self::Webp,
        Self::Jpeg,
        Self::Png,
        Self::Gif,
        Self::Bmp,
        Self::Tiff,
        Self::Ico,
        Self::Svg,
        Self::Jxl,
        Self::Heic,
        Self::Icns,
    ];

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
            Self::Jxl => "jxl",
            Self::Heic => "heic",
            Self::Icns => "icns",
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
            Self::Jxl => "image/jxl",
            Self::Heic => "image/heic",
            Self::Icns => "image/x-icns",
        }
    }

    /// Whether Pixgate can write this format.
    pub const fn is_output(self) -> bool {
        matches!(self, Self::Avif | Self::Webp | Self::Jpeg | Self::Png)
    }

    /// Whether an image in this format can carry transparency.
    pub const fn has_alpha(self) -> bool {
        !matches!(self, Self::Jpeg)
    }

    /// Whether a source of this format is never decoded, but passed on as it is where its reader knows what it gets.
    pub const fn is_passed_on(self, allow_heic: bool) -> bool {
        match self {
            Self::Icns => true,
            Self::Heic => !allow_heic,
            _ => false,
        }
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
        [0xFF, 0x0A, ..] => return Some(ImageFormat::Jxl),
        [b'i', b'c', b'n', b's', _, _, _, _, kind @ ..] if starts_with_type(kind) => {
            return Some(ImageFormat::Icns);
        }
        _ if prefix.starts_with(&JXL_CONTAINER) => return Some(ImageFormat::Jxl),
        _ => {}
    }
    if let Some(brands) = brands(prefix) {
        let names = |known: &[&[u8]]| brands.chunks_exact(4).any(|brand| known.contains(&brand));
        if names(&[b"avif", b"avis"]) {
            return Some(ImageFormat::Avif);
        }
        // Still images of HEVC, at 8 bits and more, one layer or several; and sequences that have one.
        if names(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"]) {
            return Some(ImageFormat::Heic);
        }
    }
    is_svg(prefix).then_some(ImageFormat::Svg)
}

/// The brands of an ISO-BMFF file, the major one first, when its `ftyp` box (ISO/IEC 14496-12 §4.3) has a plausible size.
///
/// The size check keeps text such as `<!--ftypavif-->` out: its first four bytes are no box length.
fn brands(prefix: &[u8]) -> Option<Vec<u8>> {
    let [a, b, c, d, b'f', b't', b'y', b'p', rest @ ..] = prefix else {
        return None;
    };
    let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if !(16..=512).contains(&size) || !size.is_multiple_of(4) {
        return None;
    }
    let body = &rest[..rest.len().min(size - 8)];
    // Behind the major brand stands a version, which is no brand.
    let (major, others) = (body.get(..4)?, body.get(8..).unwrap_or_default());
    Some([major, others].concat())
}

/// Whether these bytes begin with the type of an entry of an icon: four characters that can be read.
fn starts_with_type(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|kind| kind.iter().all(|b| b.is_ascii_graphic() || *b == b' '))
}

/// Text whose first element, after declarations, comments and a doctype, is `<svg`.
///
/// One pass over the bounded prefix: no back-tracking, so hostile text cannot make it slow.
fn is_svg(prefix: &[u8]) -> bool {
    let narrow: Vec<u8>;
    let mut text = match prefix {
        // UTF-16 by its mark, which some writers repeat: what decides is ASCII.
        [0xFE, 0xFF, rest @ ..] => {
            let units = rest.as_chunks::<2>().0.iter().skip_while(|unit| **unit == [0xFE, 0xFF]);
            narrow = units.map(|unit| if unit[0] == 0 { unit[1] } else { b'?' }).collect();
            &narrow
        }
        [0xFF, 0xFE, rest @ ..] => {
            let units = rest.as_chunks::<2>().0.iter().skip_while(|unit| **unit == [0xFF, 0xFE]);
            narrow = units.map(|unit| if unit[1] == 0 { unit[0] } else { b'?' }).collect();
            &narrow
        }
        _ => prefix.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(prefix),
    };
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
    let Some(name) = text.strip_prefix(b"<") else { return false };
    // A name may have a prefix of its namespace, which is a short one.
    let prefixed = name.iter().take(32).position(|byte| *byte == b':');
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let name = match prefixed {
        Some(at) if at > 0 && name[..at].iter().all(is_name) => &name[at + 1..],
        _ => name,
    };
    name.strip_prefix(b"svg")
        .and_then(|rest| rest.first())
        .is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_decide() {
        let avif = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf";
        let long = format!(
            "<?xml version='1.0'?><!-- {} --><svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>",
            "licence ".repeat(400)
        );
        let wide = |text: &str, order: fn(u16) -> [u8; 2]| {
            [&[0xFEFF][..], &text.encode_utf16().collect::<Vec<_>>()]
                .concat()
                .into_iter()
                .flat_map(order)
                .collect::<Vec<u8>>()
        };
        let (big, little) = (wide("<svg/>", u16::to_be_bytes), wide("\u{feff}<?xml ?><svg >", u16::to_le_bytes));
        let cases: [(&[u8], Option<ImageFormat>); 39] = [
            (b"\xFF\xD8\xFF\xE0", Some(ImageFormat::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Some(ImageFormat::Png)),
            (b"GIF89a", Some(ImageFormat::Gif)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(ImageFormat::Webp)),
            (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Some(ImageFormat::Bmp)),
            (b"BMW and other makes of car", None),
            (b"II\x2a\0", Some(ImageFormat::Tiff)),
            (b"MM\0\x2a", Some(ImageFormat::Tiff)),
            (b"\0\0\x01\0\x01\0", Some(ImageFormat::Ico)),
            (b"\0\0\x01\0\0\0", None),
            (b"\0\0\x02\0\x01\0", None),
            (avif, Some(ImageFormat::Avif)),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some(ImageFormat::Heic)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Some(ImageFormat::Heic)),
            (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", Some(ImageFormat::Heic)),
            // What names AV1 is AVIF whatever else it names.
            (b"\0\0\0\x1cftypmif1\0\0\0\0heicavifmiaf", Some(ImageFormat::Avif)),
            // A minor version is no brand; and without one that is known, it is any file of boxes.
            (b"\0\0\0\x14ftypmif1heicmif1", None),
            (b"\0\0\0\x18ftypisom\0\0\0\0mp42hvc1", None),
            // The box is of no plausible size, or ends before the brand.
            (b"<!--ftypheic-->", None),
            (b"\0\0\0\x10ftypmif1\0\0\0\0heic", None),
            (b"\xFF\x0A\x7F", Some(ImageFormat::Jxl)),
            (b"\0\0\0\x0CJXL \r\n\x87\n", Some(ImageFormat::Jxl)),
            (b"\0\0\0\x0CJXL \r\n\n\n", None),
            (b"icns\0\0\x01\0ic07", Some(ImageFormat::Icns)),
            (b"icns\0\0\x01\0\0\0\0\0", None),
            (b"icns", None),
            (b"<!--ftypavif-->", None),
            (b"<svg xmlns=''/>", Some(ImageFormat::Svg)),
            (b"\xEF\xBB\xBF<?xml version='1.0'?>\n<!-- x --><!DOCTYPE svg><svg>", Some(ImageFormat::Svg)),
            (b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg>", Some(ImageFormat::Svg)),
            (b"<!DOCTYPE html><html><svg>", None),
            (b"<svgish>", None),
            (long.as_bytes(), Some(ImageFormat::Svg)),
            (&big, Some(ImageFormat::Svg)),
            (&little, Some(ImageFormat::Svg)),
            (b"<a:svgish>", None),
            (b"<html :svg>", None),
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
