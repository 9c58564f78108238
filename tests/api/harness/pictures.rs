//! Test pictures made in code, and the eyes that judge the service's: format by magic bytes, size, frames, colours at
//! places. Law: a picture is four flat quadrants unless a test needs otherwise, so that crops, turns and padding
//! show in a colour; AVIF is judged by its boxes (`ispe`, ISO/IEC 23008-12), since no AVIF decoder belongs to the tests.

use std::io::Cursor;

use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Delay, DynamicImage, Frame, GenericImageView, ImageFormat, Rgb, RgbImage, RgbaImage};

pub(crate) const RED: [u8; 3] = [214, 40, 44];
pub(crate) const GREEN: [u8; 3] = [36, 160, 70];
pub(crate) const BLUE: [u8; 3] = [40, 70, 200];
pub(crate) const YELLOW: [u8; 3] = [236, 208, 60];

/// Red and green above blue and yellow.
pub(crate) fn quadrants(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => YELLOW,
        })
    }))
}

/// The same, with the right half transparent.
pub(crate) fn half_transparent(width: u32, height: u32) -> DynamicImage {
    let mut picture: RgbaImage = quadrants(width, height).to_rgba8();
    for (x, _, pixel) in picture.enumerate_pixels_mut() {
        pixel.0[3] = if x < width / 2 { 255 } else { 0 };
    }
    DynamicImage::ImageRgba8(picture)
}

/// Smooth waves with grain: costs a codec real work, and no two seeds are alike.
pub(crate) fn busy(width: u32, height: u32, seed: u32) -> DynamicImage {
    let wave: Vec<u8> = (0..251).map(|n| (100.0 + 80.0 * (f64::from(n) * 0.025).sin()) as u8).collect();
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (place, grain) = ((x * 3 + y * 2 + seed * 17) as usize, (state >> 27) as u8);
            for stretch in [1, 2, 5] {
                pixels.push(wave[place * stretch % wave.len()] + grain);
            }
        }
    }
    DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, pixels).expect("three bytes a pixel"))
}

/// The picture as a file of that format (WebP lossless, JPEG of the crate's default quality).
pub(crate) fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("the test picture encodes");
    file.into_inner()
}

pub(crate) fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encoded(&quadrants(width, height), ImageFormat::Jpeg)
}

pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(&quadrants(width, height), ImageFormat::Png)
}

/// A JPEG whose Exif says how it is to be turned (1 to 8), in an APP1 segment right after SOI.
pub(crate) fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).expect("a short segment");
    let mut file = jpeg[..2].to_vec();
    file.extend_from_slice(&[0xFF, 0xE1]);
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(&exif);
    file.extend_from_slice(&jpeg[2..]);
    file
}

/// Frames of one flat grey each, from black up.
fn greys(width: u32, height: u32, frames: u32) -> impl Iterator<Item = RgbaImage> {
    (0..frames).map(move |n| {
        let level = u8::try_from(n * 200 / frames).expect("under 200");
        RgbaImage::from_pixel(width, height, image::Rgba([level, level, level, 255]))
    })
}

pub(crate) fn animated_gif(width: u32, height: u32, frames: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    encoder.set_repeat(Repeat::Infinite).expect("a loop");
    for picture in greys(width, height, frames) {
        let frame = Frame::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(100, 1));
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    file
}

/// An animated WebP in the extended layout: VP8X, ANIM, then ANMF around each lossless frame.
pub(crate) fn animated_webp(width: u32, height: u32, frames: u32) -> Vec<u8> {
    let u24 = |n: u32| [n as u8, (n >> 8) as u8, (n >> 16) as u8];
    let chunk = |name: &[u8; 4], payload: &[u8]| {
        let mut chunk = name.to_vec();
        chunk.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        chunk.extend_from_slice(payload);
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    };
    let mut extended = vec![0b10, 0, 0, 0];
    extended.extend(u24(width - 1));
    extended.extend(u24(height - 1));
    let mut body = b"WEBP".to_vec();
    body.extend(chunk(b"VP8X", &extended));
    body.extend(chunk(b"ANIM", &[0; 6]));
    for picture in greys(width, height, frames) {
        let still = encoded(&DynamicImage::ImageRgba8(picture), ImageFormat::WebP);
        let mut frame = vec![0; 6];
        frame.extend(u24(width - 1));
        frame.extend(u24(height - 1));
        frame.extend(u24(100));
        frame.push(0);
        frame.extend_from_slice(&still[12..]);
        body.extend(chunk(b"ANMF", &frame));
    }
    chunk(b"RIFF", &body)
}

/// A PNG whose header promises that size and whose pixels are not there.
pub(crate) fn png_header_only(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[8, 6, 0, 0, 0]);
    for (name, payload) in [(b"IHDR", header.as_slice()), (b"IDAT", b"\x78\x9c\x03\0\0\0\0\x01"), (b"IEND", b"")] {
        let mut sum = flate2::Crc::new();
        sum.update(name);
        sum.update(payload);
        file.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        file.extend_from_slice(name);
        file.extend_from_slice(payload);
        file.extend_from_slice(&sum.sum().to_be_bytes());
    }
    file
}

/// A GIF of few bytes whose frames, each one pixel, are composed on a canvas of that size.
pub(crate) fn gif_frame_bomb(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend_from_slice(&width.to_le_bytes());
    file.extend_from_slice(&height.to_le_bytes());
    file.extend_from_slice(&[0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    for _ in 0..frames {
        file.extend_from_slice(&[0x21, 0xF9, 4, 0, 10, 0, 0, 0]);
        file.extend_from_slice(&[0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]);
    }
    file.push(0x3B);
    file
}

/// What can be seen of a picture without trusting its label.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) mime: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Look {
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

/// Judges a file by its own bytes.
pub(crate) fn look(file: &[u8]) -> Look {
    let (mime, (width, height)) = match file {
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => ("image/avif", ispe(file)),
        [0xFF, 0xD8, 0xFF, ..] => ("image/jpeg", decoded(file).dimensions()),
        [0x89, b'P', b'N', b'G', ..] => ("image/png", decoded(file).dimensions()),
        [b'G', b'I', b'F', b'8', ..] => ("image/gif", decoded(file).dimensions()),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("image/webp", decoded(file).dimensions()),
        _ => panic!("no picture: {:?}", String::from_utf8_lossy(&file[..file.len().min(80)])),
    };
    Look { mime, width, height }
}

/// Width and height of the first `ispe` property: version and flags, then two big-endian words.
fn ispe(file: &[u8]) -> (u32, u32) {
    let at = file.windows(4).position(|window| window == b"ispe").expect("an ispe box") + 8;
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes"));
    (word(at), word(at + 4))
}

/// Decodes what the tests can decode (everything but AVIF).
pub(crate) fn decoded(file: &[u8]) -> DynamicImage {
    image::load_from_memory(file).unwrap_or_else(|error| panic!("undecodable: {error}"))
}

/// The frames of an animated WebP; 0 when it is still.
pub(crate) fn webp_frames(file: &[u8]) -> usize {
    let decoder = WebPDecoder::new(Cursor::new(file)).expect("a WebP");
    if decoder.has_animation() { decoder.into_frames().collect_frames().expect("its frames").len() } else { 0 }
}

/// Asserts the colour at a place given in hundredths of width and height.
pub(crate) fn assert_colour(picture: &DynamicImage, at: (u32, u32), expected: [u8; 3], tolerance: u8) {
    let (x, y) = (picture.width() * at.0 / 100, picture.height() * at.1 / 100);
    let seen = picture.get_pixel(x, y).0;
    let near = seen.iter().zip(expected).all(|(have, want)| have.abs_diff(want) <= tolerance);
    assert!(near, "{seen:?} at {at:?} % of {:?}, expected {expected:?} within {tolerance}", picture.dimensions());
}
