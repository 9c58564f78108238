//! Files without their end, with too much of something, and animations beside a default image.

use super::*;
use ::png::{Compression, Encoder};

fn still(width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_compression(Compression::Balanced);
    let pixels: Vec<u8> = (0..width * height * 3).map(|at| ((at * 7919) >> 3) as u8).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    file
}

#[test]
fn all_rows_without_an_end_are_a_picture_and_missing_rows_are_none() {
    let whole = still(40, 30);
    let limits = Limits::default();
    let pixels = decode(&whole, &limits).unwrap().into_picture().pixels;
    // IEND, then the sum of IDAT: neither brings rows.
    for cut in 1..=16 {
        let shown = decode(&whole[..whole.len() - cut], &limits).unwrap_or_else(|error| panic!("{cut}: {error}"));
        assert_eq!(shown.into_picture().pixels, pixels, "{cut} bytes less");
        assert!(header(&whole[..whole.len() - cut], &limits).is_ok());
    }
    for length in [whole.len() / 2, whole.len() - 60, 50, 33, 20] {
        assert!(decode(&whole[..length], &limits).is_err(), "{length} bytes");
    }
    // An end that follows too early helps nothing.
    let mut short = whole[..33].to_vec();
    push(&mut short, *b"IDAT", &whole[41..whole.len() / 2]);
    short.extend(END);
    assert!(decode(&short, &limits).is_err());
}

#[test]
fn of_more_alpha_than_colours_the_first_counts() {
    let mut file = still(1, 1)[..SIGNATURE].to_vec();
    push(&mut file, *b"IHDR", &[0, 0, 0, 3, 0, 0, 0, 1, 8, 3, 0, 0, 0]);
    push(&mut file, *b"PLTE", &[255, 0, 0, 0, 255, 0, 0, 0, 255]);
    push(&mut file, *b"tRNS", &[255, 128, 0, 9, 9]);
    let mut data = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut data, &[0, 0, 1, 2]).unwrap();
    push(&mut file, *b"IDAT", &data.finish().unwrap());
    file.extend(END);
    let picture = decode(&file, &Limits::default()).unwrap().into_picture();
    assert_eq!(picture.pixels, [255, 0, 0, 255, 0, 255, 0, 128, 0, 0, 255, 0]);
}

/// An animation of these greys, one frame each; the first is a default image outside of it if so wished.
fn animation(greys: &[u8], hidden: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 2, 1);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_animated(greys.len() as u32 - u32::from(hidden), 0).unwrap();
    encoder.set_sep_def_img(hidden).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for grey in greys {
        writer.write_image_data(&[*grey; 2]).unwrap();
    }
    writer.finish().unwrap();
    file
}

fn greys(file: &[u8]) -> Vec<u8> {
    let limits = Limits::default();
    let mut shown = Vec::new();
    frames(file, &header(file, &limits).unwrap(), &limits, None, &mut |picture, _| {
        shown.push(picture.pixels[0]);
        Ok(())
    })
    .unwrap();
    shown
}

fn grey(file: &[u8]) -> u8 {
    decode(file, &Limits::default()).unwrap().into_picture().pixels[0]
}

#[test]
fn a_default_image_stands_for_an_animation_but_not_for_a_single_frame() {
    let one = animation(&[10, 20], true);
    assert_eq!((header(&one, &Limits::default()).unwrap().frames, grey(&one)), (1, 20));
    let two = animation(&[10, 20, 30], true);
    assert_eq!((header(&two, &Limits::default()).unwrap().frames, grey(&two)), (2, 10));
    assert_eq!(greys(&two), [20, 30]);
    let part = animation(&[20, 30], false);
    assert_eq!((grey(&part), greys(&part)), (20, vec![20, 30]));
}

#[test]
fn an_animation_that_is_cut_shows_the_frames_that_are_whole() {
    let whole = animation(&[10, 20, 30], false);
    assert!(!header(&whole, &Limits::default()).unwrap().alpha, "opaque frames of the whole image");
    for cut in 1..=12 {
        let file = &whole[..whole.len() - cut];
        let shown = greys(file);
        assert!(shown.starts_with(&[10, 20]), "{cut} bytes less: {shown:?}");
    }
    assert_eq!(greys(&whole[..whole.len() - 24]), [10, 20]);
}

#[test]
fn what_lies_after_a_cut_is_not_passed_on() {
    let whole = animation(&[10, 20], false);
    let cut = [&whole[..whole.len() - END.len()], b"\0\0\0\x20teXt<script>".as_slice()].concat();
    let own = crate::imaging::decode::strip::picture_only(&cut, ImageFormat::Png).unwrap();
    assert!(own.ends_with(&END) && !own.windows(8).any(|window| window == b"<script>"), "{own:?}");
    assert_eq!(greys(&own), [10, 20]);
    // Damage within is damage, whether the end is there or not.
    let mut damaged = animation(&[10, 20, 30], false);
    let at = damaged.windows(4).position(|kind| kind == b"fdAT").unwrap() + 10;
    damaged[at] ^= 0xFF;
    damaged.truncate(damaged.len() - END.len());
    let limits = Limits::default();
    assert!(frames(&damaged, &header(&damaged, &limits).unwrap(), &limits, None, &mut |_, _| Ok(())).is_err());
}
