//! Tables of geometry and format choice, and the property that keys and transforms are one to one.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const PHOTO: SourceShape = SourceShape {
    format: ImageFormat::Jpeg,
    width: 2000,
    height: 1000,
    has_alpha: false,
    animated: false,
    fair_quality: None,
    passed_on: false,
};

fn wish(width: Option<u32>, height: Option<u32>, fit: Fit) -> Wish {
    Wish {
        width,
        height,
        cap: 3840,
        max_pixels: u64::MAX,
        fit,
        quality: Quality::new(75),
        format: FormatWish::Exactly(ImageFormat::Webp),
        background: None,
    }
}

fn negotiated(preferred: Option<ImageFormat>, webp: bool) -> FormatWish {
    FormatWish::Negotiated(Negotiated { preferred, webp })
}

#[test]
fn geometry_never_enlarges() {
    let scale = |width, height| Geometry::Scale { width, height };
    let cover = |width, height| Geometry::Cover { width, height };
    let contain = |width, height| Geometry::Contain { width, height };
    let cases = [
        (Some(640), None, Fit::Inside, scale(640, 320)),
        (None, Some(100), Fit::Inside, scale(200, 100)),
        (Some(3840), None, Fit::Inside, scale(2000, 1000)),
        (Some(640), Some(100), Fit::Inside, scale(200, 100)),
        (None, None, Fit::Inside, scale(2000, 1000)),
        (Some(640), Some(640), Fit::Cover, cover(640, 640)),
        (Some(640), Some(320), Fit::Cover, scale(640, 320)),
        (Some(4000), Some(4000), Fit::Cover, cover(1000, 1000)),
        (Some(640), Some(640), Fit::Contain, contain(640, 640)),
        (Some(640), Some(320), Fit::Contain, scale(640, 320)),
        (Some(640), Some(640), Fit::Fill, scale(640, 640)),
        (Some(4000), Some(4000), Fit::Fill, scale(1000, 1000)),
        (Some(640), None, Fit::Cover, scale(640, 320)),
    ];
    for (w, h, fit, expected) in cases {
        assert_eq!(wish(w, h, fit).resolve(&PHOTO).geometry, expected, "{w:?} {h:?} {fit:?}");
    }
}

#[test]
fn extreme_aspects_keep_one_pixel_and_fit_the_format() {
    let thin = SourceShape { width: 60_000, height: 3, ..PHOTO };
    let webp = wish(Some(16), None, Fit::Inside).resolve(&thin);
    assert_eq!(webp.geometry.size(), (16, 1));
    let uncapped = Wish { cap: 100_000, ..wish(None, None, Fit::Inside) };
    assert_eq!(uncapped.resolve(&thin).geometry.size(), (16_383, 1));
}

#[test]
fn formats_follow_the_client_then_the_source() {
    let gif = SourceShape { format: ImageFormat::Gif, animated: true, has_alpha: true, ..PHOTO };
    let webp_alpha = SourceShape { format: ImageFormat::Webp, has_alpha: true, ..PHOTO };
    let avif = SourceShape { format: ImageFormat::Avif, ..PHOTO };
    let cases = [
        (PHOTO, negotiated(Some(ImageFormat::Avif), true), Output::Still(ImageFormat::Avif)),
        (PHOTO, negotiated(None, false), Output::Still(ImageFormat::Jpeg)),
        (webp_alpha, negotiated(None, false), Output::Still(ImageFormat::Png)),
        (avif, negotiated(None, false), Output::Still(ImageFormat::Jpeg)),
        (gif, negotiated(Some(ImageFormat::Avif), true), Output::AnimatedWebp),
        (gif, negotiated(Some(ImageFormat::Avif), false), Output::Original),
        (gif, FormatWish::Exactly(ImageFormat::Png), Output::Still(ImageFormat::Png)),
        (gif, FormatWish::Exactly(ImageFormat::Webp), Output::AnimatedWebp),
    ];
    for (source, format, expected) in cases {
        let wish = Wish { format, ..wish(Some(640), None, Fit::Inside) };
        assert_eq!(wish.resolve(&source).output, expected, "{source:?} {format:?}");
    }
}

#[test]
fn what_does_not_show_is_not_part_of_the_transform() {
    let red = Some(Rgb([255, 0, 0]));
    let opaque = Wish { background: red, ..wish(Some(640), None, Fit::Inside) };
    assert_eq!(opaque.resolve(&PHOTO), Wish { background: None, ..opaque }.resolve(&PHOTO));
    let clear = SourceShape { has_alpha: true, ..PHOTO };
    assert_eq!(opaque.resolve(&clear).background, red);
    let jpeg = Wish { format: FormatWish::Exactly(ImageFormat::Jpeg), background: None, ..opaque };
    assert_eq!(jpeg.resolve(&clear).background, Some(Rgb::WHITE));
    let png = Wish { format: FormatWish::Exactly(ImageFormat::Png), ..opaque };
    assert_eq!(png.resolve(&PHOTO).quality, None);
}

#[test]
fn colours_are_six_hexadecimal_digits() {
    assert_eq!(Rgb::from_hex("ff8000"), Some(Rgb([255, 128, 0])));
    for bad in ["", "fff", "ff80001", "+f8000", "gg0000", "ff80é"] {
        assert_eq!(Rgb::from_hex(bad), None, "{bad}");
    }
}

fn any_transform() -> impl Strategy<Value = Transform> {
    let output = prop_oneof![
        Just(Output::Original),
        Just(Output::AnimatedWebp),
        (0..ImageFormat::OUTPUTS.len()).prop_map(|at| Output::Still(ImageFormat::OUTPUTS[at])),
    ];
    let geometry = (0..3_u8, 1..5_u32, 1..5_u32).prop_map(|(kind, width, height)| match kind {
        0 => Geometry::Scale { width, height },
        1 => Geometry::Cover { width, height },
        _ => Geometry::Contain { width, height },
    });
    let background = prop::option::of(prop::array::uniform3(0..3_u8).prop_map(Rgb));
    (output, geometry, prop::option::of(1..=3_u8), background).prop_map(|(output, geometry, q, background)| Transform {
        output,
        geometry,
        quality: q.and_then(Quality::new),
        background,
    })
}

proptest! {
    /// Small value ranges on purpose: equal and nearly equal transforms must both occur.
    #[test]
    fn keys_and_transforms_are_one_to_one(transforms in prop::collection::vec(any_transform(), 1..200)) {
        let content = [ContentHash::of(b"a"), ContentHash::of(b"b")];
        let mut seen = HashMap::new();
        for (at, transform) in transforms.into_iter().enumerate() {
            let source = content[at % 2];
            let key = VariantKey::new(&source, &transform);
            let earlier = seen.insert(key, (source, transform));
            prop_assert!(earlier.is_none_or(|e| e == (source, transform)));
        }
        let distinct: std::collections::HashSet<_> = seen.values().collect();
        prop_assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn outputs_never_exceed_source_or_box(sw in 1..5000_u32, sh in 1..5000_u32, w in 1..5000_u32, h in 1..5000_u32) {
        let source = SourceShape { width: sw, height: sh, ..PHOTO };
        for fit in [Fit::Inside, Fit::Cover, Fit::Fill] {
            let (ow, oh) = wish(Some(w), Some(h), fit).resolve(&source).geometry.size();
            prop_assert!(ow >= 1 && oh >= 1 && ow <= sw && oh <= sh && ow <= w && oh <= h);
        }
    }
}
