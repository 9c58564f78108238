//! Which output format a client's `Accept` header asks for.
//!
//! Invariant: negotiation follows RFC 9110 §12.5.1 with one deliberate exception, named at [`negotiate`].

use super::ImageFormat;

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
}
