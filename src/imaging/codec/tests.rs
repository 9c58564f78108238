//! Round trips through each format, judged by size, SSIMULACRA2 and exact values where the format keeps them.

use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::*;
use crate::imaging::resize;

/// Shading, fine texture and noise, as a camera makes them; deterministic.
pub(super) fn photo(width: u32, height: u32, alpha: bool) -> Picture {
    let mut noise = 0x2545_F491_u32;
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = f64::from(noise >> 24) / 16.0 - 8.0;
            let (u, v) = (f64::from(x) / 23.0, f64::from(y) / 31.0);
            let leaf = ((u * 3.1).sin() * (v * 2.3).cos() + (u * v * 0.4).sin()) * 28.0;
            let sky = 90.0 + 110.0 * f64::from(y) / f64::from(height);
            let code = |value: f64| (value + grain).clamp(0.0, 255.0) as u8;
            pixels.extend([
                code(sky * 0.7 + leaf + 30.0),
                code(sky * 0.8 + leaf * 0.8),
                code(210.0 - sky * 0.6 - leaf),
            ]);
            if alpha {
                let edge = (f64::from(x) - f64::from(width) / 2.0).abs() / f64::from(width) * 2.0;
                pixels.push(((1.0 - edge) * 400.0).clamp(0.0, 255.0) as u8);
            }
        }
    }
    Picture { width, height, alpha, pixels }
}

/// Even areas, sharp slanted edges and thin lines, as a program draws them.
pub(super) fn drawing(width: u32, height: u32, alpha: bool) -> Picture {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x * 64 / width.max(1), y * 64 / height.max(1));
            let colour = match (x + y / 2) / 9 % 4 {
                _ if y % 16 == 3 => [20, 20, 20],
                0 => [230, 40, 40],
                1 => [250, 250, 250],
                2 => [30, 90, 220],
                _ => [250, 200, 0],
            };
            pixels.extend(colour);
            if alpha {
                pixels.push(if x < 8 { 0 } else { 255 });
            }
        }
    }
    Picture { width, height, alpha, pixels }
}

fn score(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let linear = |picture: &Picture| {
        let flat = resize::flatten(picture.clone(), crate::variant::Rgb([127; 3]));
        let data = flat.pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(|code| f32::from(code) / 255.0));
        let (width, height) = (flat.width as usize, flat.height as usize);
        Rgb::new(data.collect(), width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709).unwrap()
    };
    compute_frame_ssimulacra2(linear(a), linear(b)).unwrap()
}

fn decoded(bytes: &[u8]) -> Picture {
    crate::imaging::calibration::decode(bytes).unwrap()
}

fn quality(value: u8) -> Option<Quality> {
    Quality::new(value)
}

fn encoded(picture: &Picture, format: ImageFormat, q: u8) -> Vec<u8> {
    let bytes = encode(picture, format, quality(q), AvifEngine::Auto, Effort::Fast).unwrap();
    assert_eq!(crate::format::sniff(&bytes), Some(format));
    bytes
}

#[test]
fn webp_keeps_photographs_and_their_alpha() {
    for alpha in [false, true] {
        let picture = photo(200, 150, alpha);
        let bytes = encoded(&picture, ImageFormat::Webp, 90);
        let back = decoded(&bytes);
        assert_eq!(back.alpha, alpha);
        let score = score(&picture, &back);
        assert!(score > 60.0, "{score}");
        assert!(encoded(&picture, ImageFormat::Webp, 50).len() < bytes.len() / 2);
        if alpha {
            let same = picture.pixels.chunks_exact(4).zip(back.pixels.chunks_exact(4)).all(|(a, b)| a[3] == b[3]);
            assert!(same, "alpha is coded without loss");
        }
    }
}

#[test]
fn webp_codes_drawings_without_loss_when_that_is_smaller() {
    for alpha in [false, true] {
        let picture = drawing(300, 200, alpha);
        let bytes = encoded(&picture, ImageFormat::Webp, 90);
        let back = decoded(&bytes);
        let shown = |picture: &Picture| resize::flatten(picture.clone(), crate::variant::Rgb([9, 99, 199])).pixels;
        assert!(shown(&back) == shown(&picture));
        assert!(bytes.len() < webp::encode_native(&picture, 90.0, Effort::Fast).unwrap().len());
    }
}

#[test]
fn jpeg_keeps_photographs_and_flattens_onto_white() {
    let picture = photo(200, 150, false);
    let score = score(&picture, &decoded(&encoded(&picture, ImageFormat::Jpeg, 90)));
    assert!(score > 70.0, "{score}");
    let clear = Picture { width: 20, height: 20, alpha: true, pixels: [0, 0, 0, 0].repeat(400) };
    let back = decoded(&encoded(&clear, ImageFormat::Jpeg, 75));
    assert!(back.pixels.iter().all(|code| *code >= 254));
}

#[test]
fn sizes_at_the_edge_are_encoded_or_refused() {
    for (width, height) in [(1, 1), (1, 2), (3, 1), (17, 13), (8, 65), (64, 64), (1, 300)] {
        for alpha in [false, true] {
            let picture = photo(width, height, alpha);
            for format in ImageFormat::OUTPUTS {
                for engine in [AvifEngine::Libaom, AvifEngine::Rav1e] {
                    let bytes = encode(&picture, format, quality(60), engine, Effort::Fast).unwrap();
                    assert_eq!(crate::format::sniff(&bytes), Some(format), "{width}x{height}");
                }
            }
        }
    }
    let long = |width| Picture { width, height: 1, alpha: false, pixels: vec![1; width as usize * 3] };
    assert!(encode(&long(16_383), ImageFormat::Webp, None, AvifEngine::Auto, Effort::Fast).is_ok());
    let refused = encode(&long(16_384), ImageFormat::Webp, None, AvifEngine::Auto, Effort::Fast);
    assert!(matches!(refused, Err(Error::OutputTooLarge { value: 16_384, limit: 16_383, .. })), "{refused:?}");
    assert!(encode(&long(0), ImageFormat::Png, None, AvifEngine::Auto, Effort::Fast).is_err());
    assert!(encode(&long(9), ImageFormat::Gif, None, AvifEngine::Auto, Effort::Fast).is_err());
    let mut short = long(9);
    short.pixels.pop();
    assert!(encode(&short, ImageFormat::Avif, None, AvifEngine::Auto, Effort::Fast).is_err());
}

#[test]
fn animations_keep_frames_times_and_loops() {
    use image::AnimationDecoder as _;
    let frames: Vec<Picture> = (0..4)
        .map(|at| {
            let pixels = (0..40 * 30).flat_map(|p| if p % 40 / 10 == at { [255, 0, 0, 255] } else { [0, 0, 255, 255] });
            Picture { width: 40, height: 30, alpha: true, pixels: pixels.collect() }
        })
        .collect();
    let mut encoder = webp::AnimationEncoder::new(40, 30, 3, Quality::new(75).unwrap()).unwrap();
    for (frame, delay) in frames.iter().zip([40, 250, 100, 70]) {
        encoder.add(frame, std::time::Duration::from_millis(delay)).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    let decoder = image::codecs::webp::WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
    assert!(decoder.has_animation());
    let back = decoder.into_frames().collect_frames().unwrap();
    let delays: Vec<u32> = back.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
    assert_eq!(delays, [40, 250, 100, 70]);
    for (frame, back) in frames.iter().zip(&back) {
        let far = frame.pixels.iter().zip(back.buffer().as_raw()).filter(|(a, b)| a.abs_diff(**b) > 60).count();
        assert!(far < frame.pixels.len() / 20, "{far}");
    }
    // ANIM chunk: background (4 bytes), then the loop count.
    let anim = bytes.windows(4).position(|window| window == b"ANIM").unwrap();
    assert_eq!(bytes[anim + 12..anim + 14], [3, 0]);

    let quality = Quality::new(75).unwrap();
    assert!(webp::AnimationEncoder::new(16_384, 1, 0, quality).is_err());
    assert!(webp::AnimationEncoder::new(8, 8, 0, quality).unwrap().finish().is_err());
    assert!(webp::AnimationEncoder::new(8, 8, 0, quality).unwrap().add(&frames[0], Default::default()).is_err());
}

#[test]
fn avif_keeps_photographs_and_their_alpha() {
    for engine in [AvifEngine::Libaom, AvifEngine::Rav1e] {
        for alpha in [false, true] {
            let picture = photo(200, 151, alpha);
            let bytes = encode(&picture, ImageFormat::Avif, quality(90), engine, Effort::Fast).unwrap();
            let back = decoded(&bytes);
            assert_eq!(back.alpha, alpha);
            let score = score(&picture, &back);
            assert!(score > 55.0, "{engine:?}, alpha {alpha}: {score}");
            if alpha {
                let off = |(a, b): (&[u8], &[u8])| u64::from(a[3].abs_diff(b[3]));
                let sum: u64 = picture.pixels.chunks_exact(4).zip(back.pixels.chunks_exact(4)).map(off).sum();
                assert!(sum < 200 * 151 * 3, "{engine:?}: alpha is off by {sum} in all");
            }
        }
    }
}

#[test]
fn avif_keeps_the_colour_of_sharp_edges_in_drawings_only() {
    // One-pixel stripes of red and blue: 4:2:0 would make them purple.
    let pixels = (0..64 * 64).flat_map(|at| if at % 2 == 0 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    let stripes = Picture { width: 64, height: 64, alpha: false, pixels };
    let back = decoded(&encoded(&stripes, ImageFormat::Avif, 90));
    let far = back.pixels.iter().zip(&stripes.pixels).filter(|(a, b)| a.abs_diff(**b) > 64).count();
    assert!(far < back.pixels.len() / 50, "{far}");
    // seq_profile in av1C: 0 is 4:2:0, 1 is 4:4:4.
    let profile = |bytes: &[u8]| {
        let at = bytes.windows(4).position(|window| window == b"av1C").unwrap();
        bytes[at + 5] >> 5
    };
    assert_eq!(profile(&encoded(&stripes, ImageFormat::Avif, 60)), 1);
    assert_eq!(profile(&encoded(&photo(64, 64, false), ImageFormat::Avif, 60)), 0);
}

/// What sharp, called as Next.js calls it, makes of the lake at 640 px: quality, and the scores of AVIF, WebP and JPEG
/// against the source scaled in linear light (`benches/compare/peers/anchors.mjs`).
const NEXT: [(u8, [f64; 3]); 3] = [(50, [41.5, 57.0, 56.3]), (75, [62.8, 66.2, 70.3]), (90, [70.2, 79.3, 79.3])];

#[test]
fn the_same_quality_scores_about_what_it_does_in_nextjs() {
    let lake = decoded(include_bytes!("../../../fixtures/images/lake.jpg"));
    let lake = crate::imaging::calibration::scale(&lake, 640).unwrap();
    for (q, [avif, webp, jpeg]) in NEXT {
        for (format, engine, effort, next) in [
            (ImageFormat::Avif, AvifEngine::Libaom, Effort::Fast, avif),
            (ImageFormat::Avif, AvifEngine::Libaom, Effort::Dense, avif),
            (ImageFormat::Avif, AvifEngine::Rav1e, Effort::Fast, avif),
            (ImageFormat::Webp, AvifEngine::Auto, Effort::Fast, webp),
            (ImageFormat::Webp, AvifEngine::Auto, Effort::Dense, webp),
            (ImageFormat::Jpeg, AvifEngine::Auto, Effort::Fast, jpeg),
        ] {
            let own = score(&lake, &decoded(&encode(&lake, format, quality(q), engine, effort).unwrap()));
            assert!((next - own).abs() < 8.0, "{q}: {format} {engine:?} {effort:?} {own}, {next} in Next.js");
        }
    }
}

#[test]
fn encoders_that_can_be_asked_end_at_their_deadline() {
    let noise = |width: u32, height: u32| {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels = (0..width * height * 3).map(|_| next()).collect();
        Picture { width, height, alpha: false, pixels }
    };
    let picture = noise(3_000, 2_000);
    for format in [ImageFormat::Webp, ImageFormat::Jpeg] {
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(30);
        let work = || encode(&picture, format, Quality::new(90), AvifEngine::Auto, Effort::Dense);
        let ended = super::until(deadline, work);
        assert!(matches!(ended, Err(Error::Deadline)), "{format}: {:?}", ended.map(|bytes| bytes.len()));
        assert!(encode(&noise(64, 64), format, Quality::new(90), AvifEngine::Auto, Effort::Dense).is_ok());
    }
}
