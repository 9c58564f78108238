//! Segments that are there twice, and ink.

use super::*;
use image::codecs::jpeg::JpegEncoder;

fn jpeg() -> Vec<u8> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 95)
        .encode(&[200, 100, 50].repeat(64), 8, 8, image::ExtendedColorType::Rgb8)
        .unwrap();
    file
}

/// The file with segments after its start.
fn with(segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8];
    for (marker, body) in segments {
        file.extend([0xFF, *marker]);
        file.extend((body.len() as u16 + 2).to_be_bytes());
        file.extend(*body);
    }
    file.extend(&jpeg()[2..]);
    file
}

fn exif(orientation: u8) -> Vec<u8> {
    let mut body = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    body.extend([orientation, 0, 0, 0, 0, 0, 0]);
    body
}

#[test]
fn the_first_exif_counts() {
    for (first, second, wanted) in [
        (6, 1, Orientation::Rotate90),
        (1, 6, Orientation::NoTransforms),
        // One that says nothing of it counts too.
        (77, 6, Orientation::NoTransforms),
    ] {
        let file = with(&[(0xE1, &exif(first)), (0xE1, &exif(second))]);
        assert_eq!(header(&file, &Limits::default()).unwrap().orientation, wanted, "{first}, {second}");
    }
    let other = with(&[(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), (0xE1, &exif(6))]);
    assert_eq!(header(&other, &Limits::default()).unwrap().orientation, Orientation::Rotate90);
}

#[test]
fn a_profile_that_is_there_twice_is_used_once() {
    let whole = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let part = |number: u8, of: u8, data: &[u8]| {
        let mut body = b"ICC_PROFILE\0".to_vec();
        body.extend([number, of]);
        body.extend(data);
        body
    };
    let (half, rest) = whole.split_at(whole.len() / 2);
    let once = part(1, 1, &whole);
    let (first, second) = (part(1, 2, half), part(2, 2, rest));
    let found = |segments: &[(u8, &[u8])]| profile(&with(segments)).unwrap();
    assert_eq!(found(&[(0xE2, &once), (0xE2, &once)]).as_ref(), Some(&whole));
    assert_eq!(found(&[(0xE2, &second), (0xE2, &first)]).as_ref(), Some(&whole), "in any order");
    assert_eq!(found(&[(0xE2, &first), (0xE2, &second), (0xE2, &first)]).as_ref(), Some(&whole));
    assert_eq!(found(&[(0xE2, &second)]), None, "a part is missing");
    assert_eq!(found(&[]), None);
}

#[test]
fn stored_is_the_complement_of_ink_whoever_wrote_it() {
    let mut pixels = [255, 255, 255, 255, 0, 255, 255, 255];
    to_ink(&mut pixels, false);
    assert_eq!(pixels, [0, 0, 0, 0, 255, 0, 0, 0], "paper, and cyan");
}

#[test]
fn what_would_be_drawn_wrong_is_refused() {
    let layout = |sampling: &[(u8, u8)], apart, restarts| Layout {
        components: sampling.len() as u8,
        sampling: sampling.to_vec(),
        apart,
        restarts,
    };
    let usual = [(2, 2), (1, 1), (1, 1)];
    let flat = [(2, 1), (1, 1), (1, 1)];
    assert_eq!(layout(&usual, false, true).misread(0xC0), None);
    assert_eq!(layout(&usual, true, false).misread(0xC2), None, "progressive files have such scans");
    assert_eq!(layout(&flat, true, false).misread(0xC0), None);
    assert!(layout(&usual, true, false).misread(0xC0).is_some());
    assert!(layout(&flat, true, true).misread(0xC0).is_some());
    assert!(layout(&[(1, 1), (2, 2), (2, 2)], false, false).misread(0xC2).is_some());
    assert_eq!(layout(&[(1, 1)], false, true).misread(0xC0), None);
}
