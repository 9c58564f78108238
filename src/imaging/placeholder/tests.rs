//! Placeholders against the published formats, and by decoding what was made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn of(width: u32, height: u32, alpha: bool, colour: impl Fn(u32, u32) -> [u8; 4]) -> Picture {
    let channels = if alpha { 4 } else { 3 };
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            pixels.extend(&colour(x, y)[..channels]);
        }
    }
    Picture { width, height, alpha, pixels }
}

fn even(width: u32, height: u32, rgb: [u8; 3]) -> PlaceholderSet {
    PlaceholderSet::of(&of(width, height, false, |_, _| [rgb[0], rgb[1], rgb[2], 255])).unwrap()
}

#[test]
fn blurhash_follows_its_specification() {
    const DIGITS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";
    for rgb in [[0; 3], [0x80, 0x40, 0xC0], [255; 3]] {
        let hash = even(300, 200, rgb).blurhash;
        // Four by three: the size flag is 3 + 2 x 9 = 21, "L"; then one digit, four for the average, two for each of 11.
        assert!(hash.starts_with('L') && hash.len() == 28, "{hash}");
        // Digits 3 to 6 in base 83 are the average colour.
        let value = hash[2..6].chars().fold(0, |sum, c| sum * 83 + DIGITS.find(c).unwrap() as u32);
        let [_, r, g, b] = value.to_be_bytes();
        for (hashed, code) in [r, g, b].iter().zip(rgb) {
            assert_eq!(*hashed, code, "{rgb:?} became {:?}", [r, g, b]);
        }
    }
}

/// The formulas of `fixtures/make_vectors.mjs`.
fn drawn(pattern: &str, width: u32, height: u32) -> Vec<u8> {
    let (w, h) = (width as i64, height as i64);
    let mut rgba = Vec::new();
    for y in 0..h {
        for x in 0..w {
            let pixel = match pattern {
                "flat" => [200, 120, 33, 255],
                "gradient" => [x * 255 / w, y * 255 / h, (x + y) * 127 / (w + h), 255],
                "noise" => {
                    let n = (x * 7919 + y * 104_729 + x * y * 31) % 65_536;
                    [n % 256, (n >> 4) % 256, (n >> 8) % 256, 255]
                }
                "bands" => {
                    let band = if y * 3 < h {
                        20
                    } else if y * 3 < 2 * h {
                        140
                    } else {
                        250
                    };
                    [band, if x * 2 < w { 60 } else { 200 }, 90, 255]
                }
                "disc" => {
                    let (dx, dy, r) = (2 * x + 1 - w, 2 * y + 1 - h, w.min(h));
                    [240, x * 200 / w, 40, if dx * dx + dy * dy < r * r { 255 } else { 0 }]
                }
                "fade" => [30, 90, 220, x * 255 / w],
                other => panic!("no pattern {other}"),
            };
            rgba.extend(pixel.map(|code| code as u8));
        }
    }
    rgba
}

#[test]
fn hashes_are_those_of_the_reference_implementations() {
    let text = include_str!("../../../fixtures/placeholder-vectors.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.len(), 42);
    for vector in vectors {
        let number = |name: &str| u32::try_from(vector[name].as_u64().unwrap()).unwrap();
        let (pattern, width, height) = (vector["pattern"].as_str().unwrap(), number("width"), number("height"));
        let rgba = drawn(pattern, width, height);
        if let Some(expected) = vector["blurhash"].as_str() {
            let hash = hash((number("across"), number("down")), (width, height), &rgba).unwrap();
            assert_eq!(hash, expected, "{pattern} {width}x{height}");
        }
        let thumb = thumbhash::rgba_to_thumb_hash(width as usize, height as usize, &rgba);
        let expected = STANDARD.decode(vector["thumbhash"].as_str().unwrap()).unwrap();
        assert_eq!(thumb.len(), expected.len(), "{pattern} {width}x{height}");
        // Each number may be rounded the other way, here of a single and there of a double. Of one colour, what is behind
        // the head are the last bits of sums that are zero, scaled to full height.
        let numbers = |hash: &[u8]| {
            let head = u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], 0, 0, 0]);
            let fields = [(0, 6), (6, 6), (12, 6), (18, 5), (23, 1), (24, 3), (27, 6), (33, 6), (39, 1)];
            let head = fields.map(|(at, bits)| (head >> at) & ((1 << bits) - 1));
            let rest = hash[5..].iter().flat_map(|byte| [u64::from(byte & 15), u64::from(byte >> 4)]);
            (head, rest.collect::<Vec<_>>())
        };
        let close = |a: &[u64], b: &[u64]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 1);
        let (ours, theirs) = (numbers(&thumb), numbers(&expected));
        assert!(close(&ours.0, &theirs.0), "{pattern} {width}x{height}: {ours:?} is not {theirs:?}");
        let even = ["flat", "fade"].contains(&pattern);
        assert!(even || close(&ours.1, &theirs.1), "{pattern} {width}x{height}: {ours:?} is not {theirs:?}");
    }
}

#[test]
fn components_follow_the_shape() {
    let cases = [
        ((64, 64), (4, 4)),
        ((64, 52), (4, 4)),
        ((64, 43), (4, 3)),
        ((43, 64), (3, 4)),
        ((64, 10), (6, 2)),
        ((10, 64), (2, 6)),
        ((64, 1), (6, 1)),
        ((1, 1), (1, 1)),
        ((2, 3), (2, 3)),
    ];
    for ((width, height), expected) in cases {
        assert_eq!(components(width, height), expected, "{width}x{height}");
    }
}

#[test]
fn thumbhash_follows_its_specification() {
    let hash = even(64, 64, [255; 3]).thumbhash;
    // Luminance 63, both chroma terms 32, scale 0, opaque; square: seven luminance terms each way.
    assert_eq!(hash[..5], [0x3F, 0x08, 0x02, 0x07, 0x00]);
    let half = of(64, 32, true, |x, _| if x < 32 { [255, 0, 0, 255] } else { [255, 0, 0, 0] });
    let hash = PlaceholderSet::of(&half).unwrap().thumbhash;
    assert!((thumbhash::thumb_hash_to_approximate_aspect_ratio(&hash).unwrap() - 2.0).abs() < 0.6);
    let (r, g, b, a) = thumbhash::thumb_hash_to_average_rgba(&hash).unwrap();
    assert!(r > 0.9 && g < 0.1 && b < 0.1 && (a - 0.5).abs() < 0.1, "{r} {g} {b} {a}");
}

#[test]
fn hashes_decode_to_the_picture() {
    let sides = of(900, 600, false, |x, _| if x < 450 { [220, 30, 30, 255] } else { [20, 40, 200, 255] });
    let set = PlaceholderSet::of(&sides).unwrap();
    let blur = blurhash::decode(&set.blurhash, 30, 20, 1.0).unwrap();
    let (width, _, thumb) = thumbhash::thumb_hash_to_rgba(&set.thumbhash).unwrap();
    for (pixels, width, name) in [(blur, 30, "blurhash"), (thumb, width, "thumbhash")] {
        let at = |x: usize| &pixels[(10 * width + x) * 4..][..3];
        let (left, right) = (at(width / 5), at(width - width / 5));
        assert!(left[0] > 150 && left[2] < 110, "{name} {left:?}");
        assert!(right[0] < 110 && right[2] > 130, "{name} {right:?}");
    }
}

#[test]
fn the_png_keeps_shape_and_alpha() {
    for ((width, height), expected) in
        [((800, 533), (8, 5)), ((533, 800), (5, 8)), ((900, 10), (8, 1)), ((3, 2), (3, 2)), ((1, 1), (1, 1))]
    {
        let set = even(width, height, [10, 200, 30]);
        assert_eq!((set.width, set.height), expected, "{width}x{height}");
        let back = image::load_from_memory(&set.png).unwrap();
        assert_eq!((back.width(), back.height()), expected);
        assert!(back.to_rgb8().pixels().all(|pixel| pixel.0 == [10, 200, 30]));
    }
    let hole = of(80, 80, true, |x, _| if x < 40 { [255, 0, 0, 255] } else { [0; 4] });
    let set = PlaceholderSet::of(&hole).unwrap();
    assert!(set.has_alpha);
    let back = image::load_from_memory(&set.png).unwrap().to_rgba8();
    assert_eq!(back.get_pixel(0, 4).0, [255, 0, 0, 255]);
    assert_eq!(back.get_pixel(7, 4).0[3], 0);
}

#[test]
fn the_dominant_colour_is_one_of_the_picture() {
    // Two thirds blue, one third yellow: the average would be grey.
    let flag = of(90, 90, false, |x, _| if x % 3 < 2 { [10, 40, 200, 255] } else { [250, 220, 0, 255] });
    let Rgb([r, g, b]) = dominant(&with_alpha(&flag));
    assert_eq!([r, g, b], [10, 40, 200]);
    // What is transparent does not count, however much of it there is.
    let spot = of(60, 60, true, |x, y| if x < 12 && y < 12 { [200, 10, 10, 255] } else { [0, 255, 0, 0] });
    let Rgb([r, g, b]) = PlaceholderSet::of(&spot).unwrap().dominant;
    assert!(r > 190 && g < 20 && b < 20, "{r} {g} {b}");
    assert_eq!(PlaceholderSet::of(&of(9, 9, true, |_, _| [1, 2, 3, 0])).unwrap().dominant, Rgb::WHITE);
}

#[test]
fn texts_are_ready_to_use() {
    let set = even(800, 400, [1, 2, 3]);
    assert!(set.data_url().starts_with("data:image/png;base64,iVBORw0KGgo"));
    let svg = set.svg(800, 400);
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 400\">"));
    assert!(svg.contains("feGaussianBlur stdDeviation=\"50.0\"") && svg.contains("preserveAspectRatio=\"none\""));
    assert!(svg.contains(&set.data_url()) && svg.contains("feFuncA") && svg.ends_with("</svg>"));
    assert!(parses(&svg));
    let css = set.css();
    assert!(css.starts_with("background-color:#010203;background-image:url(\"data:image/png;base64,"));
    let clear = PlaceholderSet::of(&of(9, 9, true, |_, _| [1, 2, 3, 0])).unwrap();
    assert!(!clear.css().contains("background-color") && !clear.svg(9, 9).contains("feFuncA"));
}

/// Whether an SVG parser takes the text.
fn parses(svg: &str) -> bool {
    resvg::usvg::Tree::from_str(svg, &resvg::usvg::Options::default()).is_ok()
}

#[test]
fn a_picture_without_pixels_has_no_placeholder() {
    assert!(PlaceholderSet::of(&Picture { width: 0, height: 0, alpha: false, pixels: Vec::new() }).is_err());
}
