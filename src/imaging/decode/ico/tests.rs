//! Icons as browsers choose and show them.

use super::*;

/// A bitmap of `side` pixels each way, of one colour, with a mask that hides the first pixel of the top row.
fn bitmap(side: u32, depth: u16, colour: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0; INFO_HEADER];
    bytes[0] = INFO_HEADER as u8;
    bytes[4..8].copy_from_slice(&side.to_le_bytes());
    bytes[8..12].copy_from_slice(&(side * 2).to_le_bytes());
    bytes[12] = 1;
    bytes[14..16].copy_from_slice(&depth.to_le_bytes());
    let [blue, green, red, alpha] = colour;
    if depth == 8 {
        bytes.extend([blue, green, red, 0]);
        bytes.extend([0; 255 * 4]);
    }
    for _ in 0..side {
        let row: Vec<u8> = match depth {
            8 => vec![0; side as usize],
            24 => [blue, green, red].repeat(side as usize),
            _ => [blue, green, red, alpha].repeat(side as usize),
        };
        bytes.extend(&row);
        bytes.resize(bytes.len() + row.len().next_multiple_of(4) - row.len(), 0);
    }
    let mut mask = vec![0; (side as usize).div_ceil(32) * 4 * side as usize];
    let top = mask.len() - (side as usize).div_ceil(32) * 4;
    mask[top] = 0x80;
    bytes.extend(mask);
    bytes
}

/// An icon of these entries: width and height as told, bits as told, data.
fn icon(entries: &[(u8, u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, entries.len() as u8, 0];
    let mut offset = 6 + 16 * entries.len();
    for (side, bits, data) in entries {
        bytes.extend([*side, *side, 0, 0, 1, 0]);
        bytes.extend(bits.to_le_bytes());
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend((offset as u32).to_le_bytes());
        offset += data.len();
    }
    entries.iter().for_each(|(_, _, data)| bytes.extend(*data));
    bytes
}

fn shown(bytes: &[u8]) -> (u32, Vec<u8>) {
    let limits = Limits::default();
    let header = header(bytes, &limits).unwrap();
    let picture = decode(bytes, &limits).unwrap();
    assert_eq!((header.width, header.height), (picture.width, picture.height));
    let Samples::Eight(pixels) = picture.samples else { panic!("8 bits") };
    (picture.width, pixels)
}

const RED: [u8; 4] = [0, 0, 255, 0];
const BLUE: [u8; 4] = [255, 0, 0, 0];

#[test]
fn the_largest_entry_is_shown_whatever_the_directory_says_of_bits() {
    let (large, small) = (bitmap(48, 8, RED), bitmap(16, 32, BLUE));
    for (large_bits, small_bits) in [(8, 32), (0, 0), (60_000, 32)] {
        let (side, pixels) = shown(&icon(&[(16, small_bits, &small), (48, large_bits, &large)]));
        assert_eq!((side, &pixels[4..8]), (48, &[255, 0, 0, 255][..]));
    }
    let (eight, many) = (bitmap(16, 8, RED), bitmap(16, 24, BLUE));
    assert_eq!(&shown(&icon(&[(16, 8, &eight), (16, 24, &many)])).1[4..8], [0, 0, 255, 255], "more bits of equals");
    assert_eq!(shown(&icon(&[(32, 8, &large)])).0, 48, "the bitmap's own size");
}

#[test]
fn the_mask_hides_what_has_no_alpha() {
    for (depth, colour, first) in [
        (8, RED, [255, 0, 0, 0]),
        (24, RED, [255, 0, 0, 0]),
        (32, RED, [255, 0, 0, 0]),
        // Alpha that is set counts alone.
        (32, [0, 0, 255, 9], [255, 0, 0, 9]),
    ] {
        let (_, pixels) = shown(&icon(&[(16, depth, &bitmap(16, depth, colour))]));
        assert_eq!(pixels[..4], first, "{depth} bits");
        assert_eq!(pixels[7], if colour[3] == 0 { 255 } else { colour[3] });
    }
}

#[test]
fn an_icon_without_its_mask_is_opaque() {
    let whole = bitmap(16, 24, RED);
    let (_, pixels) = shown(&icon(&[(16, 24, &whole[..whole.len() - 64])]));
    assert_eq!(pixels[..4], [255, 0, 0, 255]);
}

#[test]
fn entries_outside_the_file_and_rows_that_are_missing_are_errors() {
    let limits = Limits::default();
    let whole = bitmap(16, 24, RED);
    let mut outside = icon(&[(16, 24, &whole)]);
    outside[18..22].copy_from_slice(&1_000_000u32.to_le_bytes());
    assert!(header(&outside, &limits).is_err());
    assert!(decode(&icon(&[(16, 24, &whole[..400])]), &limits).is_err());
    assert!(header(&[0, 0, 1, 0, 1, 0], &limits).is_err());
}
