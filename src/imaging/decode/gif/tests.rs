//! Files that writers and cut connections leave, as browsers show them.

use super::*;

const RED: u8 = 1;
const BLUE: u8 = 2;

/// Signature, screen, and a palette of transparent black, red, blue and green.
fn head(width: u8, height: u8) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend([width, 0, height, 0, 0x81, 0, 0]);
    bytes.extend([0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 255, 0]);
    bytes
}

/// How the next frame is shown; index 0 is transparent.
fn control(dispose: u8) -> Vec<u8> {
    vec![0x21, 0xF9, 4, dispose << 2 | 1, 10, 0, 0, 0]
}

/// A frame of these indices; of fewer than its size needs, if so given.
fn frame(left: u8, top: u8, width: u8, height: u8, indices: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x2C, left, 0, top, 0, width, 0, height, 0, 0, 2];
    let coded = weezl::encode::Encoder::new(BitOrder::Lsb, 2).encode(indices).unwrap();
    for block in coded.chunks(255) {
        bytes.push(block.len() as u8);
        bytes.extend(block);
    }
    bytes.push(0);
    bytes
}

/// The pixels of a frame.
type Pixels = Vec<[u8; 4]>;

/// Size, whether the header promises alpha, and every frame.
fn shown(bytes: &[u8]) -> Result<(u32, u32, bool, Vec<Pixels>), Error> {
    let header = header(bytes, &Limits::default())?;
    let mut all = Vec::new();
    frames(bytes, &header, Instant::now() + Duration::from_secs(60), &mut |picture, _| {
        assert!(header.alpha || !picture.alpha, "alpha that the header does not know of");
        all.push(picture.into_rgba().as_chunks::<4>().0.to_vec());
        Ok(())
    })?;
    assert_eq!(all.len(), header.frames as usize);
    Ok((header.width, header.height, header.alpha, all))
}

const NONE: [u8; 4] = [0; 4];
const R: [u8; 4] = [255, 0, 0, 255];
const B: [u8; 4] = [0, 0, 255, 255];

#[test]
fn the_trailer_decides_nothing() {
    let whole = [head(2, 1), frame(0, 0, 2, 1, &[RED, BLUE])].concat();
    for end in [&b";"[..], b"", b"\0;", b"\0\0\0\0", b"junk", b"\x2C\0\0", b"\x21\xFE\x05ab"] {
        let (_, _, alpha, frames) = shown(&[&whole, end].concat()).unwrap();
        assert_eq!((alpha, frames), (false, vec![vec![R, B]]), "{end:?}");
    }
    assert!(shown(&[head(2, 1), b";".to_vec()].concat()).is_err(), "no frame");
}

#[test]
fn a_file_that_is_cut_shows_the_frames_that_are_whole() {
    let first = [head(2, 1), frame(0, 0, 2, 1, &[RED, BLUE])].concat();
    let both = [first.clone(), control(1), frame(0, 0, 2, 1, &[BLUE, BLUE])].concat();
    for length in first.len()..both.len() {
        assert_eq!(shown(&both[..length]).unwrap().3, [vec![R, B]], "{length} bytes");
    }
    assert_eq!(shown(&both).unwrap().3.len(), 2);
    assert!(shown(&first[..first.len() - 2]).is_err(), "of the only frame rows are missing");
}

#[test]
fn unknown_extensions_are_skipped() {
    let unknown = [0x21, 0x77, 3, 1, 2, 3, 0];
    let bytes = [&head(2, 1)[..], &unknown, &frame(0, 0, 2, 1, &[RED, BLUE])].concat();
    assert_eq!(shown(&bytes).unwrap().3, [vec![R, B]]);
}

#[test]
fn data_that_ends_as_it_should_leaves_the_rest_transparent() {
    let bytes = [head(2, 2), frame(0, 0, 2, 2, &[RED, BLUE, RED])].concat();
    let header = header(&bytes, &Limits::default()).unwrap();
    let mut pixels = Vec::new();
    frames(&bytes, &header, Instant::now() + Duration::from_secs(60), &mut |picture, _| {
        pixels = picture.into_rgba();
        Ok(())
    })
    .unwrap();
    assert_eq!(pixels, [R, B, R, NONE].concat());
    // Codes that mean nothing are damage.
    let mut damaged = bytes;
    let data = damaged.len() - 4;
    damaged[data..].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0]);
    assert!(shown(&damaged).is_err());
}

#[test]
fn a_frame_of_no_size_is_one_of_the_screens() {
    let bytes = [head(2, 1), frame(0, 0, 0, 0, &[RED, BLUE])].concat();
    assert_eq!(shown(&bytes).unwrap().3, [vec![R, B]]);
}

#[test]
fn a_frame_of_no_size_on_a_screen_of_none_is_refused() {
    for (left, width, height) in [(0, 0, 0), (5, 0, 0), (5, 0, 1), (0, 1, 0)] {
        let bytes = [head(0, 0), frame(left, left, width, height, &[RED])].concat();
        assert!(header(&bytes, &Limits::default()).is_err(), "{left} {width} {height}");
    }
    // After the first frame, the screen is what it has grown to.
    let bytes = [head(1, 1), frame(0, 0, 3, 1, &[RED, RED, RED]), frame(0, 0, 0, 0, &[BLUE, BLUE, BLUE])].concat();
    assert_eq!(shown(&bytes).unwrap().3, [vec![R; 3], vec![B; 3]]);
}

#[test]
fn without_a_palette_nothing_is_seen() {
    let mut bytes = b"GIF89a\x02\0\x01\0\0\0\0".to_vec();
    bytes.extend(control(0));
    bytes.extend(frame(0, 0, 2, 1, &[RED, BLUE]));
    assert_eq!(shown(&bytes).unwrap().3, [vec![NONE, NONE]]);
}

#[test]
fn the_screen_grows_to_the_first_frame_and_cuts_the_others() {
    let bytes = [head(1, 1), frame(1, 0, 2, 1, &[RED, BLUE]), frame(2, 0, 2, 1, &[RED, RED])].concat();
    let (width, height, alpha, frames) = shown(&bytes).unwrap();
    assert_eq!((width, height, alpha), (3, 1, true));
    assert_eq!(frames, [vec![NONE, R, B], vec![NONE, R, R]]);
}

#[test]
fn alpha_is_what_the_canvas_shows() {
    let full = |dispose| [control(dispose), frame(0, 0, 2, 1, &[RED, BLUE])].concat();
    // The control says that index 0 is transparent, which counts as alpha that may be.
    let opaque = [head(2, 1), frame(0, 0, 2, 1, &[RED, RED]), frame(0, 0, 1, 1, &[BLUE])].concat();
    assert!(!shown(&opaque).unwrap().2);
    let mut plain = control(2);
    plain[3] = 2 << 2;
    let cleared = [head(2, 1), plain.clone(), frame(0, 0, 2, 1, &[RED, RED]), frame(0, 0, 1, 1, &[BLUE])].concat();
    let (_, _, alpha, frames) = shown(&cleared).unwrap();
    assert_eq!((alpha, &frames[1]), (true, &vec![B, NONE]), "cleared, then covered in part");
    plain[3] = 3 << 2;
    let undone = [head(2, 1), plain, frame(0, 0, 2, 1, &[RED, RED]), frame(0, 0, 1, 1, &[BLUE])].concat();
    let (_, _, alpha, frames) = shown(&undone).unwrap();
    assert_eq!((alpha, &frames[1]), (true, &vec![B, NONE]), "the first is undone to nothing");
    assert!(shown(&[head(2, 1), full(1)].concat()).unwrap().2);
}

#[test]
fn interlaced_rows_are_put_in_order() {
    let mut bytes = frame(0, 0, 1, 5, &[RED, BLUE, RED, BLUE, BLUE]);
    bytes[9] = 0x40;
    // Stored: rows 0, 4, 2, 1, 3.
    assert_eq!(shown(&[head(1, 5), bytes].concat()).unwrap().3, [vec![R, B, R, B, B]]);
}

#[test]
fn frames_beyond_the_screen_are_priced_by_their_own_size() {
    let small = [head(1, 1), frame(0, 0, 1, 1, &[RED])].concat();
    let more = [small.clone(), frame(0, 0, 200, 100, &[RED; 20_000])].concat();
    let of = |bytes: &[u8], limits: &Limits| header(bytes, limits).map(|header| header.working);
    assert_eq!(of(&small, &Limits::default()), Ok(17));
    assert_eq!(of(&more, &Limits::default()), Ok(12 + 5 * 20_000));
    let few = Limits { max_frame_pixels: 20_000, ..Limits::default() };
    assert!(matches!(of(&more, &few), Err(Error::LimitExceeded { what: "frames times pixels", value: 20_001, .. })));
}
