//! Decoding, over the fixtures (what each must come out as is written in `fixtures/manifest.json`) and over hostile files.

use std::path::PathBuf;

use super::*;
use crate::imaging::probe;

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fixtures", name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(part: &str) -> Vec<(String, serde_json::Value)> {
    let whole: serde_json::Value = serde_json::from_slice(&fixture("manifest.json")).expect("JSON");
    let part = whole[part].as_object().expect("an object").clone();
    part.into_iter().collect()
}

/// Small enough that a test may reach it, large enough for every image of the fixtures.
fn limits() -> Limits {
    Limits { allow_svg: true, allow_heic: true, max_pixels: 20_000_000, ..Limits::default() }
}

fn settings() -> Settings {
    Settings { limits: limits(), ..Settings::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

fn open(bytes: &[u8]) -> Result<Picture, Error> {
    let settings = settings();
    let probe = probe(bytes, &settings.limits)?;
    decode(bytes, &probe, &settings, soon())
}

fn image(name: &str) -> Picture {
    open(&fixture(&format!("images/{name}"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn rgb_at(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let at = (y * picture.width + x) as usize * picture.channels();
    [picture.pixels[at], picture.pixels[at + 1], picture.pixels[at + 2]]
}

/// Mean difference of two images' samples; they have the same size.
fn difference(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width, a.height, a.alpha), (b.width, b.height, b.alpha));
    let sum: u64 = a.pixels.iter().zip(&b.pixels).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.pixels.len() as f64
}

#[test]
fn every_fixture_is_what_the_manifest_says() {
    for (name, entry) in manifest("images") {
        let bytes = fixture(&format!("images/{name}"));
        let probe = probe(&bytes, &limits()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(probe.format.as_str(), entry["format"], "{name}");
        if probe.format == ImageFormat::Icns {
            continue;
        }
        let picture = decode(&bytes, &probe, &settings(), soon()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (u64::from(probe.width), u64::from(probe.height)),
            (entry["width"].as_u64().expect("a width"), entry["height"].as_u64().expect("a height")),
            "{name}"
        );
        // A sequence of AVIF is shown as its primary image.
        let frames = if probe.format == ImageFormat::Avif { Some(1) } else { entry["frames"].as_u64() };
        assert_eq!(Some(u64::from(probe.frames)), frames, "{name}");
        assert_eq!((picture.width, picture.height), (probe.width, probe.height), "{name}");
        assert_eq!(
            picture.pixels.len(),
            picture.width as usize * picture.height as usize * picture.channels(),
            "{name}"
        );
        assert!(probe.has_alpha || !picture.alpha, "{name}: alpha that the probe did not see");
        assert!(probe.decoded_bytes >= picture.pixels.len() as u64, "{name}");
        // The icons have an alpha channel that is 255 everywhere, and an animation may be transparent in a later frame only.
        if probe.frames == 1 && !matches!(probe.format, ImageFormat::Ico | ImageFormat::Svg) {
            assert_eq!(picture.alpha, entry["alpha"], "{name}");
        }
    }
}

#[test]
fn hostile_files_are_refused_or_decoded_within_limits() {
    for (name, entry) in manifest("hostile") {
        let bytes = fixture(&format!("hostile/{name}"));
        let result = open(&bytes);
        match &result {
            Ok(picture) => {
                assert_eq!(entry["expect"], "either", "{name} was decoded");
                assert!(u64::from(picture.width) * u64::from(picture.height) <= limits().max_pixels, "{name}");
            }
            Err(error) => assert!(!matches!(error, Error::Panicked | Error::Deadline), "{name}: {error}"),
        }
    }
}

#[test]
fn all_orientations_are_turned_upright() {
    let upright = image("orientation-1.jpg");
    for orientation in 2..=8 {
        let turned = image(&format!("orientation-{orientation}.jpg"));
        assert!(difference(&turned, &upright) < 2.0, "{orientation}");
    }
    for name in [
        "orientation-6.png",
        "orientation-6.webp",
        "orientation-3.avif",
        "orientation-5.avif",
        "orientation-6.avif",
        "orientation-7.avif",
        "orientation-6.jxl",
        "orientation-6.heic",
    ] {
        assert!(difference(&image(name), &upright) < 3.0, "{name}: {}", difference(&image(name), &upright));
    }
}

fn assert_quarters(name: &str, expected: [[u8; 3]; 4], tolerance: u8) {
    let picture = image(name);
    let (w, h) = (picture.width, picture.height);
    let centres = [(w / 4, h / 4), (3 * w / 4, h / 4), (w / 4, 3 * h / 4), (3 * w / 4, 3 * h / 4)];
    for ((x, y), want) in centres.into_iter().zip(expected) {
        let got = rgb_at(&picture, x, y);
        let off = got.iter().zip(want).map(|(a, b)| a.abs_diff(b)).max();
        assert!(off <= Some(tolerance), "{name} at {x}, {y}: {got:?}, not {want:?}");
    }
}

#[test]
fn wide_gamut_and_ink_come_out_as_srgb() {
    let p3 = [[200, 60, 40], [40, 180, 60], [128, 128, 128], [255, 0, 0]];
    assert_quarters("p3.png", p3, 2);
    assert_quarters("p3.webp", p3, 2);
    assert_quarters("p3.jpg", p3, 3);
    assert_quarters("p3.avif", p3, 6);
    let ink = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [127, 127, 127]];
    for name in ["cmyk.jpg", "ycck.jpg", "cmyk.tiff"] {
        assert_quarters(name, ink, 3);
    }
}

#[test]
fn one_picture_in_many_forms() {
    let rgb = image("rgb.png");
    assert_eq!(image("interlaced.png"), rgb);
    assert_eq!(image("rgb16.png").pixels.len(), rgb.pixels.len());
    let jpeg = image("grad.jpg");
    for name in ["progressive.jpg", "restart.jpg", "yuv420.avif", "ten-bit.avif", "twelve-bit.avif", "lossy.webp"] {
        let off = difference(&image(name), &jpeg);
        assert!(off < 6.0, "{name}: {off}");
    }
}

#[test]
fn animations_stream_whole_canvases_with_their_times() {
    for (name, plays) in [("animated.gif", 4), ("animated.webp", 2), ("animated.apng.png", 0)] {
        let bytes = fixture(&format!("images/{name}"));
        let probe = probe(&bytes, &limits()).expect("probed");
        let mut delays = Vec::new();
        let result = frames(&bytes, &probe, &settings(), soon(), &mut |picture, delay| {
            assert_eq!((picture.width, picture.height), (probe.width, probe.height), "{name}");
            delays.push(delay.as_millis());
            Ok(())
        });
        assert_eq!(delays, [100, 200, 300, 400], "{name}");
        let said = plays_of(&bytes, &probe);
        assert_eq!(result, Ok(said), "{name}");
        if plays > 0 {
            assert_eq!(said, plays, "{name}");
        }
    }
}

fn plays_of(bytes: &[u8], probe: &Probe) -> u32 {
    plays(bytes, probe, &limits()).expect("known before decoding")
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    for name in [
        "grad.jpg",
        "progressive.jpg",
        "restart.jpg",
        "astronaut.jpg",
        "rgb.png",
        "rgb16.png",
        "interlaced.png",
        "lossy.webp",
        "lossless.webp",
        "alpha.webp",
        "still.gif",
        "yuv420.avif",
        "alpha.avif",
        "rgb.bmp",
    ] {
        let bytes = fixture(&format!("images/{name}"));
        for share in [10, 30, 50, 70, 90, 98] {
            let cut = &bytes[..bytes.len() * share / 100];
            // The sum of the last data of a PNG and its end, 16 bytes, bring no rows.
            let whole = name.ends_with(".png") && bytes.len() - cut.len() <= 16;
            assert_eq!(open(cut).is_ok(), whole, "{name} cut to {share} %");
        }
    }
    // The last byte of a GIF is its trailer, which many files lack.
    let gif = fixture("images/still.gif");
    assert!(open(&gif[..gif.len() - 1]).is_ok());
}

#[test]
fn every_limit_is_asked_before_decoding() {
    let jpeg = fixture("images/coffee.jpg");
    let gif = fixture("images/animated.gif");
    let cases: [(&[u8], Limits, &str); 6] = [
        (&jpeg, Limits { max_pixels: 239_999, ..limits() }, "pixels"),
        (&jpeg, Limits { max_edge: 599, ..limits() }, "width"),
        (&gif, Limits { max_frames: 3, ..limits() }, "frames"),
        (&gif, Limits { max_frame_pixels: 64 * 48 * 4 - 1, ..limits() }, "frames times pixels"),
        (&fixture("images/p3.jpg"), Limits { max_metadata_bytes: 100, ..limits() }, "metadata bytes"),
        (&fixture("images/p3.avif"), Limits { max_metadata_bytes: 100, ..limits() }, "metadata bytes"),
    ];
    for (bytes, limits, expected) in cases {
        match probe(bytes, &limits) {
            Err(Error::LimitExceeded { what, value, limit }) => {
                assert_eq!(what, expected);
                assert!(value > limit);
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(probe(&jpeg, &Limits { max_pixels: 240_000, ..limits() }).is_ok(), "a limit may be reached");
    let svg = fixture("images/plain.svg");
    assert_eq!(probe(&svg, &Limits { allow_svg: false, ..limits() }), Err(Error::SvgRefused));
    assert_eq!(probe(b"<html>", &limits()), Err(Error::Unrecognised));
}

#[test]
fn a_past_deadline_ends_the_work() {
    let bytes = fixture("images/animated.gif");
    let probe = probe(&bytes, &limits()).expect("probed");
    let now = Instant::now();
    assert_eq!(decode(&bytes, &probe, &settings(), now), Err(Error::Deadline));
    let ended = frames(&bytes, &probe, &settings(), now, &mut |_, _| Ok(()));
    assert_eq!(ended, Err(Error::Deadline));
}

#[test]
fn stripping_keeps_the_picture_and_nothing_else() {
    for name in [
        "astronaut.jpg",
        "p3.jpg",
        "cmyk.jpg",
        "progressive.jpg",
        "rgb.png",
        "palette-trns.png",
        "p3.webp",
        "lossy.webp",
        "alpha.webp",
        "still.gif",
        "yuv420.avif",
    ] {
        let bytes = fixture(&format!("images/{name}"));
        let mut longer = bytes.clone();
        longer.extend_from_slice(b"<script>alert(1)</script>");
        let format = crate::format::sniff(&bytes).expect("an image");
        let Some(stripped) = strip::picture_only(&longer, format) else {
            assert_eq!(format, ImageFormat::Avif, "{name} was not stripped");
            continue;
        };
        assert!(!contains(&stripped, b"<script>"), "{name}");
        assert_eq!(open(&stripped).expect("decoded"), open(&bytes).expect("decoded"), "{name}");
    }
    for name in ["polyglot-html.jpg", "polyglot-comment.jpg", "exif-loop.jpg"] {
        let stripped = strip::picture_only(&fixture(&format!("hostile/{name}")), ImageFormat::Jpeg).expect("stripped");
        assert!(
            !contains(&stripped, b"<html") && !contains(&stripped, b"<script") && !contains(&stripped, b"Exif\0"),
            "{name}"
        );
        open(&stripped).expect("still an image");
    }
    for (name, mark) in
        [("orientation-6.png", &b"eXIf"[..]), ("orientation-6.webp", b"EXIF"), ("orientation-6.jpg", b"Exif")]
    {
        let bytes = fixture(&format!("images/{name}"));
        let format = crate::format::sniff(&bytes).expect("an image");
        let stripped = strip::picture_only(&bytes, format).expect("stripped");
        assert!(contains(&bytes, mark) && !contains(&stripped, mark), "{name}");
        open(&stripped).expect("still an image");
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn drawings_are_recognised_and_drawn_whatever_stands_before_them() {
    let plain = String::from_utf8(fixture("images/plain.svg")).expect("text");
    let drawn = open(plain.as_bytes()).expect("drawn");
    let comment = format!("<?xml version='1.0'?><!-- {} -->", "a licence ".repeat(500));
    let wide: Vec<u8> = format!("\u{feff}\u{feff}{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [("a comment", format!("{comment}{plain}").into_bytes()), ("UTF-16", wide)] {
        assert_eq!(open(&bytes).unwrap_or_else(|error| panic!("{name}: {error}")), drawn, "{name}");
    }
    let prefixed = br#"<s:svg xmlns:s="http://www.w3.org/2000/svg" width="2" height="1"><s:rect width="2" height="1" fill="red"/></s:svg>"#;
    assert_eq!(open(prefixed).expect("drawn").pixels, [255, 0, 0, 255, 0, 0]);
    // Larger than any image may be: a drawing has no pixels of its own.
    let huge =
        br#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100000 50000"><rect width="9" height="9"/></svg>"#;
    let probe = probe(huge, &limits()).expect("probed");
    assert!(u64::from(probe.width) * u64::from(probe.height) <= limits().max_pixels);
    assert!(probe.width.abs_diff(2 * probe.height) <= 2, "{} x {}", probe.width, probe.height);
    // Without any size it has the one that browsers give it, and nothing is scaled.
    let none = open(b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='50' height='40' fill='red'/></svg>")
        .expect("drawn");
    assert_eq!((none.width, none.height, none.alpha), (300, 150, true));
    assert_eq!(none.pixels.chunks_exact(4).filter(|pixel| pixel[3] == 255).count(), 50 * 40);
}
