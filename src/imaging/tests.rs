//! Rendering from end to end: which bytes come out for which transform, and when the source's own are kept.

use super::*;
use crate::variant::{Quality, Rgb};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/images/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a fixture")
}

fn run(
    name: &str,
    output: Output,
    geometry: Option<Geometry>,
    quality: u8,
    background: Option<Rgb>,
) -> (Vec<u8>, Result<Rendered, Error>) {
    let settings = Settings { limits: Limits { allow_svg: true, ..Limits::default() }, ..Settings::default() };
    let bytes = fixture(name);
    let probe = probe(&bytes, &settings.limits).expect("probed");
    let geometry = geometry.unwrap_or(Geometry::Scale { width: probe.width, height: probe.height });
    let transform = Transform { output, geometry, quality: Quality::new(quality), background };
    let deadline = Instant::now() + Duration::from_secs(120);
    let rendered = render(&bytes, &probe, &transform, &settings, deadline);
    (bytes, rendered)
}

fn reprobe(rendered: &Rendered) -> Probe {
    probe(&rendered.bytes, &Limits::default()).expect("our own output")
}

#[test]
fn a_still_picture_in_every_output_format() {
    for format in ImageFormat::OUTPUTS {
        let size = Geometry::Scale { width: 60, height: 40 };
        let (_, rendered) = run("coffee.jpg", Output::Still(format), Some(size), 75, None);
        let rendered = rendered.expect("rendered");
        let probe = reprobe(&rendered);
        assert_eq!((rendered.format, rendered.width, rendered.height), (format, 60, 40));
        assert_eq!((probe.format, probe.width, probe.height), (format, 60, 40));
        assert!(!rendered.original);
        assert_eq!((rendered.placeholder.width, rendered.placeholder.height), (8, 5));
        assert!(rendered.timings.decode > Duration::ZERO && rendered.timings.encode > Duration::ZERO);
    }
}

#[test]
fn the_original_is_kept_where_encoding_again_makes_it_larger() {
    let (source, rendered) = run("dusk.jpg", Output::Still(ImageFormat::Jpeg), None, 100, None);
    let rendered = rendered.expect("rendered");
    assert!(rendered.original);
    assert!(rendered.bytes.len() <= source.len());
    for (name, output, geometry, quality, background) in [
        // Another size, another format, turned, or smaller: ours.
        ("orientation-1.jpg", ImageFormat::Jpeg, Some(Geometry::Scale { width: 60, height: 40 }), 100, None),
        ("orientation-1.jpg", ImageFormat::Png, None, 100, None),
        ("orientation-6.jpg", ImageFormat::Jpeg, None, 100, None),
        ("hubble.jpg", ImageFormat::Jpeg, None, 10, None),
        ("palette-trns.png", ImageFormat::Png, None, 100, Some(Rgb::WHITE)),
    ] {
        let (_, rendered) = run(name, Output::Still(output), geometry, quality, background);
        assert!(!rendered.expect("rendered").original, "{name} {output}");
    }
}

#[test]
fn animations_become_animated_webp_or_stay_as_they_are() {
    for name in ["animated.gif", "animated.webp", "animated.apng.png"] {
        let half = Geometry::Scale { width: 32, height: 24 };
        let (_, rendered) = run(name, Output::AnimatedWebp, Some(half), 75, None);
        let probe = reprobe(&rendered.expect("rendered"));
        assert_eq!((probe.format, probe.frames, probe.width, probe.height), (ImageFormat::Webp, 4, 32, 24), "{name}");

        let (source, rendered) = run(name, Output::Original, None, 75, None);
        let rendered = rendered.expect("rendered");
        let probe = reprobe(&rendered);
        assert!(rendered.original && rendered.bytes.len() <= source.len(), "{name}");
        assert_eq!((probe.format, probe.frames), (rendered.format, 4), "{name}");

        let (_, rendered) = run(name, Output::Still(ImageFormat::Png), None, 75, None);
        assert_eq!(reprobe(&rendered.expect("rendered")).frames, 1, "{name}");
    }
}

#[test]
fn a_drawing_is_drawn_at_the_size_asked_for() {
    for geometry in [
        Geometry::Scale { width: 60, height: 40 },
        Geometry::Cover { width: 40, height: 40 },
        Geometry::Contain { width: 60, height: 60 },
    ] {
        let (_, rendered) = run("plain.svg", Output::Still(ImageFormat::Png), Some(geometry), 75, None);
        let rendered = rendered.expect("rendered");
        assert_eq!((rendered.width, rendered.height), geometry.size());
    }
}

#[test]
fn the_placeholder_alone_is_the_one_of_the_render() {
    let settings = Settings::default();
    let bytes = fixture("coffee.jpg");
    let probe = probe(&bytes, &settings.limits).expect("probed");
    let alone = placeholder(&bytes, &probe, &settings, Instant::now() + Duration::from_secs(60)).expect("made");
    let (_, rendered) = run("coffee.jpg", Output::Still(ImageFormat::Webp), None, 75, None);
    assert_eq!(alone.blurhash, rendered.expect("rendered").placeholder.blurhash);
    assert_eq!(placeholder(&bytes, &probe, &settings, Instant::now()).err(), Some(Error::Deadline));
}

#[test]
fn a_source_that_is_another_picture_than_ours_is_never_kept() {
    // Ink, and twelve bits: each in its own format, at its own size, where its own bytes are fewer than ours.
    for (name, format) in [("cmyk.jpg", ImageFormat::Jpeg), ("twelve-bit.avif", ImageFormat::Avif)] {
        let (_, rendered) = run(name, Output::Still(format), None, 100, None);
        let rendered = rendered.expect("rendered");
        assert!(!rendered.original, "{name}");
        assert!(!reprobe(&rendered).foreign, "{name}: ours is what everybody shows");
    }
    for name in ["grad.jpg", "yuv420.avif", "ten-bit.avif", "rgb.png"] {
        assert!(!probe(&fixture(name), &Limits::default()).expect("probed").foreign, "{name}");
    }
}
