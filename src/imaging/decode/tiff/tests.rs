//! Pages that an encoder writes, or that are put together tag by tag, against the colours they were made of.

use super::*;
use crate::imaging::decode::Picture;

const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A little-endian file of one strip, from tags of 16-bit numbers and the strip's bytes.
fn file(width: u16, height: u16, tags: &[(u16, &[u16])], strip: &[u8]) -> Vec<u8> {
    let mut all: Vec<(u16, u16, Vec<u32>)> = vec![
        (256, SHORT, vec![u32::from(width)]),
        (257, SHORT, vec![u32::from(height)]),
        (273, LONG, vec![8]),
        (279, LONG, vec![strip.len() as u32]),
    ];
    all.extend(tags.iter().map(|(tag, values)| (*tag, SHORT, values.iter().map(|v| u32::from(*v)).collect())));
    all.sort();
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    bytes.extend(strip);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let mut entries = Vec::new();
    for (tag, kind, values) in &all {
        let own: Vec<u8> = match *kind {
            SHORT => values.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        entries.extend(tag.to_le_bytes());
        entries.extend(kind.to_le_bytes());
        entries.extend((values.len() as u32).to_le_bytes());
        if own.len() <= 4 {
            entries.extend(own.iter().copied().chain([0; 4]).take(4));
        } else {
            entries.extend((bytes.len() as u32).to_le_bytes());
            bytes.extend(own);
        }
    }
    let directory = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&directory.to_le_bytes());
    bytes.extend((all.len() as u16).to_le_bytes());
    bytes.extend(entries);
    bytes.extend([0; 4]);
    bytes
}

fn shown(bytes: &[u8]) -> Result<Picture, Error> {
    let limits = Limits::default();
    let header = header(bytes, &limits)?;
    let raw = decode(bytes, &limits)?;
    assert_eq!((header.width, header.height), (raw.width, raw.height));
    let picture = raw.into_picture();
    assert!(header.alpha || !picture.alpha, "alpha that the header does not know of");
    Ok(picture)
}

#[test]
fn extra_samples_are_alpha_and_associated_ones_are_divided_out() {
    for (extra, stored, wanted) in [
        (Some(1), [65, 101, 52, 128], [129, 201, 104, 128]),
        (Some(2), [130, 201, 103, 128], [130, 201, 103, 128]),
        (Some(0), [130, 201, 103, 128], [130, 201, 103, 128]),
        (None, [130, 201, 103, 128], [130, 201, 103, 128]),
        (Some(1), [0, 0, 0, 0], [0, 0, 0, 0]),
    ] {
        let extra: Option<[u16; 1]> = extra.map(|extra| [extra]);
        let mut tags: Vec<(u16, &[u16])> = vec![(258, &[8, 8, 8, 8]), (262, &[2]), (277, &[4])];
        if let Some(extra) = &extra {
            tags.push((338, extra));
        }
        let picture = shown(&file(1, 1, &tags, &stored)).unwrap();
        assert_eq!(picture.pixels, wanted, "extra sample {extra:?}");
    }
}

#[test]
fn grey_has_alpha_too() {
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 8]), (262, &[1]), (277, &[2]), (338, &[2])];
    assert_eq!(shown(&file(2, 1, &tags, &[10, 255, 200, 7])).unwrap().pixels, [10, 10, 10, 255, 200, 200, 200, 7]);
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 8]), (262, &[0]), (277, &[2]), (338, &[1])];
    assert_eq!(shown(&file(1, 1, &tags, &[255, 128])).unwrap().pixels, [0, 0, 0, 128], "white is zero");
}

#[test]
fn few_bits_are_spread_over_the_whole_range() {
    let tags: [(u16, &[u16]); 2] = [(258, &[4]), (262, &[1])];
    assert_eq!(grey(&shown(&file(3, 2, &tags, &[0x0F, 0x80, 0x1E, 0xF0])).unwrap()), [0, 255, 136, 17, 238, 255]);
    let tags: [(u16, &[u16]); 2] = [(258, &[2]), (262, &[0])];
    assert_eq!(grey(&shown(&file(3, 1, &tags, &[0b0001_1000])).unwrap()), [255, 170, 85]);
    let tags: [(u16, &[u16]); 2] = [(258, &[1]), (262, &[0])];
    assert_eq!(grey(&shown(&file(3, 1, &tags, &[0b0100_0000])).unwrap()), [255, 0, 255]);
}

fn grey(picture: &Picture) -> Vec<u8> {
    picture.pixels.as_chunks::<3>().0.iter().map(|pixel| pixel[0]).collect()
}

#[test]
fn bits_can_be_stored_from_the_lowest_on() {
    let tags: [(u16, &[u16]); 3] = [(258, &[1]), (262, &[1]), (266, &[2])];
    assert_eq!(grey(&shown(&file(9, 1, &tags, &[0b0000_0001, 0b0000_0001])).unwrap()), [255, 0, 0, 0, 0, 0, 0, 0, 255]);
}

#[test]
fn palettes_have_sixteen_bits_or_in_old_files_eight() {
    for high in [true, false] {
        let mut map = vec![0u16; 48];
        for (at, value) in [(3, 200u16), (16 + 3, 100), (32 + 3, 50)] {
            map[at] = if high { value << 8 | value } else { value };
        }
        let tags: [(u16, &[u16]); 3] = [(258, &[4]), (262, &[3]), (320, &map)];
        assert_eq!(shown(&file(2, 1, &tags, &[0x30])).unwrap().pixels, [200, 100, 50, 0, 0, 0]);
    }
}

#[test]
fn ink_without_a_profile_is_light_that_passes() {
    let tags: [(u16, &[u16]); 3] = [(258, &[8, 8, 8, 8]), (262, &[5]), (277, &[4])];
    assert_eq!(shown(&file(2, 1, &tags, &[255, 0, 0, 0, 0, 0, 0, 0])).unwrap().pixels, [0, 255, 255, 255, 255, 255]);
}

#[test]
fn luma_and_chroma_are_colours_shared_or_not() {
    let pixel = [150, 100, 180];
    let wanted = [223, 123, 100];
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 8, 8]), (262, &[6]), (277, &[3]), (530, &[1, 1])];
    assert_eq!(shown(&file(1, 1, &tags, &pixel)).unwrap().pixels, wanted);
    // Three by one pixels in units of two by two: the second unit has a column to spare.
    let units = [150, 150, 9, 9, 100, 180, 150, 9, 9, 9, 100, 180];
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 8, 8]), (262, &[6]), (277, &[3]), (530, &[2, 2])];
    let picture = shown(&file(3, 1, &tags, &units)).unwrap();
    assert_eq!(picture.pixels, [wanted, wanted, wanted].concat());
}

#[test]
fn lab_is_converted() {
    let tags: [(u16, &[u16]); 3] = [(258, &[8, 8, 8]), (262, &[8]), (277, &[3])];
    let picture = shown(&file(2, 1, &tags, &[255, 0, 0, 136, 81, 70])).unwrap();
    let wanted = [255, 255, 255, 254, 0, 2];
    let far = picture.pixels.iter().zip(wanted).map(|(got, want): (&u8, u8)| got.abs_diff(want)).max();
    assert!(far <= Some(6), "{:?}", picture.pixels);
}

#[test]
fn big_files_are_tiff() {
    assert_eq!(crate::format::sniff(b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"), Some(ImageFormat::Tiff));
    assert_eq!(crate::format::sniff(b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10"), Some(ImageFormat::Tiff));
}

/// Rows of a width of 8 in group 3: white 8, then white 3, black 5.
fn facsimile(rows: &[&str]) -> Vec<u8> {
    let bits: String = rows.iter().map(|row| format!("000000000001{row}")).collect();
    let bits: Vec<u8> = bits.bytes().map(|bit| bit - b'0').collect();
    bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << (7 - at))).collect()
}

#[test]
fn group_3_is_read_row_by_row() {
    let (white, half) = ("10011", "10000011");
    let tags: [(u16, &[u16]); 3] = [(258, &[1]), (259, &[3]), (262, &[0])];
    let picture = shown(&file(8, 2, &tags, &facsimile(&[white, half]))).unwrap();
    assert_eq!(grey(&picture), [255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0]);
    let short = shown(&file(8, 3, &tags, &facsimile(&[white, half])));
    assert!(matches!(short, Err(Error::Malformed { .. })), "a row is missing: {short:?}");
    let two_dimensions: [(u16, &[u16]); 4] = [(258, &[1]), (259, &[3]), (262, &[0]), (292, &[1])];
    let refused = shown(&file(8, 2, &two_dimensions, &facsimile(&[white, half])));
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
}

#[test]
fn rows_that_are_missing_are_an_error() {
    let tags: [(u16, &[u16]); 3] = [(258, &[8, 8, 8]), (262, &[2]), (277, &[3])];
    assert!(matches!(shown(&file(2, 2, &tags, &[1; 9])), Err(Error::Malformed { .. })));
}

#[test]
fn fewer_samples_than_colours_are_refused_from_the_header() {
    let tags: [(u16, &[u16]); 3] = [(258, &[8, 8]), (262, &[2]), (277, &[2])];
    assert!(matches!(header(&file(1, 1, &tags, &[0; 2]), &Limits::default()), Err(Error::Malformed { .. })));
}

#[test]
fn shared_chroma_needs_all_of_its_units() {
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 8, 8]), (262, &[6]), (277, &[3]), (530, &[2, 2])];
    let units = [9; 24];
    assert!(shown(&file(4, 4, &tags, &units)).is_ok());
    assert!(shown(&file(4, 4, &tags, &units[..23])).is_err());
    // A width that is there twice is the same for all who look.
    let mut twice = file(4, 4, &tags, &units);
    let at = twice.windows(4).rposition(|entry| entry == [0x01, 0x01, SHORT as u8, 0]).expect("the height's entry");
    twice[at] = 0x00;
    assert!(shown(&twice).is_err(), "no height");
    // A facsimile has no chroma.
    let facsimile: [(u16, &[u16]); 4] = [(258, &[8, 8, 8]), (259, &[3]), (262, &[6]), (277, &[3])];
    assert!(matches!(header(&file(2, 2, &facsimile, &units), &Limits::default()), Err(Error::Unsupported { .. })));
}

/// A baseline JPEG of one colour, and what its header says of its size.
fn jpeg(said: Option<(u16, u16)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    image::ImageEncoder::write_image(encoder, &[100; 64], 8, 8, image::ExtendedColorType::L8).unwrap();
    if let Some((width, height)) = said {
        let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    }
    bytes
}

#[test]
fn a_jpeg_larger_than_its_place_is_refused_before_it_is_unpacked() {
    let tags: [(u16, &[u16]); 3] = [(258, &[8]), (259, &[7]), (262, &[1])];
    assert_eq!(grey(&shown(&file(8, 8, &tags, &jpeg(None))).unwrap()), [100; 64]);
    let refused = shown(&file(8, 8, &tags, &jpeg(Some((16_000, 16_000)))));
    assert!(matches!(&refused, Err(Error::Malformed { detail, .. }) if detail.contains("larger")), "{refused:?}");
}

#[test]
fn strips_that_lie_on_each_other_are_bounded_work() {
    // So many strips of a row each, all of the same 40 kB.
    let (rows, strip) = (20_000, vec![0; 40_000]);
    let tags: [(u16, &[u16]); 4] = [(258, &[8]), (259, &[5]), (262, &[1]), (278, &[1])];
    let mut bytes = file(1, rows, &tags, &strip);
    let tail = bytes.len() as u32;
    bytes.extend((0..rows).flat_map(|_| 8u32.to_le_bytes()));
    let lengths = bytes.len() as u32;
    bytes.extend((0..rows).flat_map(|_| (strip.len() as u32).to_le_bytes()));
    for (tag, values) in [(273u16, tail), (279, lengths)] {
        let start = [tag.to_le_bytes(), LONG.to_le_bytes()].concat();
        let at = bytes.windows(4).position(|entry| entry == start).expect("the entry");
        bytes[at + 4..at + 8].copy_from_slice(&u32::from(rows).to_le_bytes());
        bytes[at + 8..at + 12].copy_from_slice(&values.to_le_bytes());
    }
    let refused = shown(&bytes);
    assert!(
        matches!(&refused, Err(Error::Malformed { detail, .. }) if detail.contains("on each other")),
        "{refused:?}"
    );
}
