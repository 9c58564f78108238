//! Headers that the decoder does not know, and what browsers make of them.

use super::*;

/// A file of 2 x 1 pixels of 32 bits: red, then green, half transparent where alpha counts.
fn file(header: &[u8]) -> Vec<u8> {
    let offset = (FILE_HEADER + header.len()) as u32;
    // The reserved fields hold what some writer left there.
    let mut bytes = b"BM\0\0\0\0\x07\x01\x02\x03".to_vec();
    bytes.extend(offset.to_le_bytes());
    bytes.extend(header);
    bytes.extend([0, 0, 255, 255, 0, 255, 0, 128]);
    bytes
}

fn info(size: usize, depth: u16, compression: u32) -> Vec<u8> {
    let mut header = vec![0; size];
    header[..4].copy_from_slice(&(size as u32).to_le_bytes());
    header[4] = 2;
    header[8] = 1;
    header[12] = 1;
    header[14..16].copy_from_slice(&depth.to_le_bytes());
    header[16..20].copy_from_slice(&compression.to_le_bytes());
    header
}

fn pixels(bytes: &[u8]) -> Vec<u8> {
    let limits = Limits::default();
    let header = header(bytes, &limits).unwrap();
    let picture = decode(bytes, &limits).unwrap().into_picture();
    assert_eq!((header.width, header.height), (picture.width, picture.height));
    assert!(header.alpha || !picture.alpha);
    picture.pixels
}

#[test]
fn reserved_fields_may_hold_anything() {
    let bytes = file(&info(40, 32, 0));
    assert_eq!(crate::format::sniff(&bytes), Some(ImageFormat::Bmp));
    assert_eq!(crate::format::sniff(b"BM is no bitmap, only a text that begins so"), None);
    assert_eq!(pixels(&bytes), [255, 0, 0, 0, 255, 0]);
}

#[test]
fn an_alpha_mask_counts_without_bit_fields_too() {
    let mut header = info(124, 32, 0);
    header[52..56].copy_from_slice(&0xFF00_0000u32.to_le_bytes());
    let mut bytes = file(&header);
    assert_eq!(pixels(&bytes), [255, 0, 0, 255, 0, 255, 0, 128]);
    // Without any alpha in it, the image is opaque.
    let end = bytes.len();
    (bytes[end - 5], bytes[end - 1]) = (0, 0);
    assert_eq!(pixels(&bytes), [255, 0, 0, 0, 255, 0]);
}

#[test]
fn headers_of_os2_are_read_however_long_they_are() {
    for size in [16, 24, 64] {
        assert_eq!(
            pixels(&file(
                &info(40, 32, 0)[..]
                    .iter()
                    .copied()
                    .chain([0; 24])
                    .take(size)
                    .enumerate()
                    .map(|(at, byte)| if at == 0 { size as u8 } else { byte })
                    .collect::<Vec<_>>()
            )),
            [255, 0, 0, 0, 255, 0],
            "{size} bytes"
        );
    }
    let mut coded = info(64, 32, 4);
    coded[0] = 64;
    assert!(decode(&file(&coded), &Limits::default()).is_err(), "run lengths of 24 bits");
}

#[test]
fn the_profile_in_the_file_is_used() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut header = info(124, 32, 0);
    header[56..60].copy_from_slice(&EMBEDDED.to_le_bytes());
    header[112..116].copy_from_slice(&(124u32 + 8).to_le_bytes());
    header[116..120].copy_from_slice(&(profile.len() as u32).to_le_bytes());
    let mut bytes = file(&header);
    bytes.extend(&profile);
    // Green of P3 under sRGB is out of range; red and blue go to 0, and this one's red would be below it.
    let wide = pixels(&bytes);
    assert_eq!(&wide[..3], [255, 0, 0]);
    let last = bytes.len() - profile.len() - 8;
    bytes[last..last + 3].copy_from_slice(&[100, 150, 200]);
    let shifted = pixels(&bytes);
    assert!(shifted[0] > 203 && shifted[2] < 98, "{shifted:?}");
    bytes.truncate(bytes.len() - 1);
    assert_eq!(&pixels(&bytes)[..3], [200, 150, 100], "a profile beyond the end is ignored");
}
