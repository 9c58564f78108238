//! Files put together chunk by chunk, against what libwebp and Chromium show of them.

use super::*;

const R: [u8; 4] = [255, 0, 0, 255];
const B: [u8; 4] = [0, 0, 255, 255];
const HALF: [u8; 4] = [0, 255, 0, 128];
const NONE: [u8; 4] = [0; 4];

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((body.len() as u32 + 4).to_le_bytes());
    bytes.extend(b"WEBP");
    bytes.extend(body);
    bytes
}

/// The chunk of a lossless image.
fn coded(width: u32, height: u32, pixels: &[[u8; 4]]) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut file);
    if pixels.iter().all(|pixel| pixel[3] == 255) {
        let opaque: Vec<u8> = pixels.iter().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        encoder.encode(&opaque, width, height, image_webp::ColorType::Rgb8).unwrap();
    } else {
        encoder.encode(&pixels.concat(), width, height, image_webp::ColorType::Rgba8).unwrap();
    }
    let size = u32::from_le_bytes([file[16], file[17], file[18], file[19]]) as usize;
    chunk(b"VP8L", &file[20..20 + size])
}

fn extended(flags: u8, width: u8, height: u8) -> Vec<u8> {
    chunk(b"VP8X", &[flags, 0, 0, 0, width - 1, 0, 0, height - 1, 0, 0])
}

fn frame(left: u8, top: u8, (width, height): (u8, u8), flags: u8, pixels: &[[u8; 4]]) -> Vec<u8> {
    let mut data = vec![left / 2, 0, 0, top / 2, 0, 0, width - 1, 0, 0, height - 1, 0, 0, 100, 0, 0, flags];
    data.extend(coded(width.into(), height.into(), pixels));
    chunk(b"ANMF", &data)
}

/// No blending; disposed of.
const PUT: u8 = 2;
const CLEARED: u8 = 1;

fn animation(width: u8, height: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut chunks = vec![extended(ANIMATED, width, height), chunk(b"ANIM", &[0; 6])];
    chunks.extend(frames.iter().cloned());
    riff(&chunks)
}

/// The pixels of a frame.
type Pixels = Vec<[u8; 4]>;

/// Whether the header promises alpha, and every frame.
fn shown(bytes: &[u8]) -> Result<(bool, Vec<Pixels>), Error> {
    let limits = Limits::default();
    let header = header(bytes, &limits)?;
    let mut all = Vec::new();
    frames(bytes, &limits, Instant::now() + Duration::from_secs(60), &mut |picture, _| {
        assert!(header.alpha || !picture.alpha, "alpha that the header does not know of");
        all.push(picture.into_rgba().as_chunks::<4>().0.to_vec());
        Ok(())
    })?;
    assert_eq!(all.len(), header.frames as usize);
    let first = decode(bytes, &limits)?.into_picture().into_rgba();
    assert_eq!(Some(&first.as_chunks::<4>().0.to_vec()), all.first(), "a still is the first frame");
    Ok((header.alpha, all))
}

#[test]
fn what_opaque_frames_leave_uncovered_is_transparent_whatever_the_flag_says() {
    let bytes = animation(3, 1, &[frame(2, 0, (1, 1), 0, &[R]), frame(0, 0, (1, 1), 0, &[B])]);
    assert_eq!(shown(&bytes).unwrap(), (true, vec![vec![NONE, NONE, R], vec![B, NONE, R]]));
    let bytes = animation(1, 1, &[frame(0, 0, (1, 1), 0, &[R]), frame(0, 0, (1, 1), 0, &[B])]);
    assert_eq!(shown(&bytes).unwrap(), (false, vec![vec![R], vec![B]]));
}

#[test]
fn only_the_rectangle_that_is_disposed_of_is_cleared() {
    // Blended frames of the whole canvas after a cleared part, with alpha and without.
    let all = [R, R, R, R];
    let bytes = animation(
        4,
        1,
        &[
            frame(0, 0, (4, 1), 0, &all),
            frame(2, 0, (1, 1), CLEARED, &[B]),
            frame(0, 0, (4, 1), 0, &[NONE, HALF, NONE, NONE]),
        ],
    );
    let (alpha, frames) = shown(&bytes).unwrap();
    assert!(alpha);
    assert_eq!(frames[1], [R, R, B, R]);
    assert_eq!(frames[2], [R, [127, 128, 0, 255], NONE, R]);
    let bytes = animation(
        4,
        1,
        &[frame(0, 0, (4, 1), 0, &all), frame(2, 0, (1, 1), CLEARED, &[B]), frame(0, 0, (1, 1), 0, &[B])],
    );
    assert_eq!(shown(&bytes).unwrap().1[2], [B, R, NONE, R]);
}

#[test]
fn frames_that_are_not_blended_bring_their_transparency() {
    let bytes = animation(2, 1, &[frame(0, 0, (2, 1), 0, &[R, R]), frame(0, 0, (1, 1), PUT, &[HALF])]);
    assert_eq!(shown(&bytes).unwrap().1[1], [HALF, R]);
}

#[test]
fn a_file_that_is_cut_shows_the_frames_that_are_whole() {
    let first = frame(0, 0, (1, 1), 0, &[R]);
    let both = animation(1, 1, &[first.clone(), frame(0, 0, (1, 1), 0, &[B])]);
    let whole = both.len() - frame(0, 0, (1, 1), 0, &[B]).len();
    for length in whole..both.len() - 1 {
        assert_eq!(shown(&both[..length]).unwrap().1, [vec![R]], "{length} bytes");
    }
    assert_eq!(shown(&both).unwrap().1.len(), 2);
    assert!(shown(&both[..whole - 2]).is_err(), "no whole frame");
}

#[test]
fn a_still_needs_its_pixels_only() {
    let pixels = coded(2, 1, &[R, HALF]);
    let still = riff(&[extended(0, 2, 1), pixels.clone(), chunk(b"XMP ", &[7; 100])]);
    let limits = Limits::default();
    for length in [still.len(), still.len() - 1, still.len() - 60] {
        let picture = decode(&still[..length], &limits).unwrap().into_picture();
        assert_eq!(picture.pixels, [R, HALF].concat(), "alpha without its flag");
        assert!(header(&still[..length], &limits).unwrap().alpha);
    }
    assert!(decode(&still[..12 + 18 + pixels.len() - 4], &limits).is_err(), "pixels are missing");
    // The flag without any alpha.
    let opaque = riff(&[extended(0x10, 1, 1), coded(1, 1, &[R])]);
    assert_eq!(decode(&opaque, &limits).unwrap().into_picture().pixels, R[..3]);
    let other = riff(&[extended(0, 3, 1), pixels]);
    assert!(header(&other, &limits).is_err(), "a canvas of another size");
}

#[test]
fn metadata_counts_with_its_flag_only() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let file = |flags| {
        let pixels = coded(1, 2, &[R, B]);
        riff(&[extended(flags, 1, 2), chunk(b"ICCP", &profile), pixels, chunk(b"EXIF", exif)])
    };
    let limits = Limits::default();
    let of = |flags| {
        let file = file(flags);
        (header(&file, &limits).unwrap().orientation, decode(&file, &limits).unwrap().space != Space::Srgb)
    };
    assert_eq!(of(0), (Orientation::NoTransforms, false));
    assert_eq!(of(EXIF | PROFILE), (Orientation::Rotate90, true));
}

#[test]
fn frames_outside_the_canvas_are_refused_from_the_header() {
    let limits = Limits::default();
    assert!(header(&animation(2, 1, &[frame(2, 0, (1, 1), 0, &[R])]), &limits).is_err());
    let mut lying = frame(0, 0, (1, 1), 0, &[R]);
    lying[8 + 6] = 1;
    assert!(header(&animation(2, 1, &[lying]), &limits).is_err(), "a frame larger than its image");
    let most = Limits { max_frames: 1, ..limits };
    let two = animation(1, 1, &[frame(0, 0, (1, 1), 0, &[R]), frame(0, 0, (1, 1), 0, &[B])]);
    assert!(matches!(header(&two, &most), Err(Error::LimitExceeded { what: "frames", .. })));
}
