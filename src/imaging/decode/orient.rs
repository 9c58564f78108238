//! Turns an image upright: the eight orientations of EXIF, each a copy with other strides.
//!
//! Walked in tiles, so that a quarter turn reads and writes whole cache lines.

use image::metadata::Orientation;

use super::Picture;

/// Edge of a tile in pixels: 32 rows of 128 bytes stay in the first cache.
const TILE: usize = 32;

/// Whether an orientation exchanges width and height.
pub(crate) const fn swaps(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

/// The orientation that does a counter-clockwise turn by `quarters` and then a mirroring, as AVIF stores them.
pub(crate) const fn turned_and_mirrored(quarters: u8, mirror: Option<Mirror>) -> Orientation {
    match (quarters & 3, mirror) {
        (0, None) => Orientation::NoTransforms,
        (1, None) => Orientation::Rotate270,
        (2, None) => Orientation::Rotate180,
        (_, None) => Orientation::Rotate90,
        (0, Some(Mirror::LeftRight)) | (2, Some(Mirror::TopBottom)) => Orientation::FlipHorizontal,
        (0, Some(Mirror::TopBottom)) | (2, Some(Mirror::LeftRight)) => Orientation::FlipVertical,
        (1, Some(Mirror::LeftRight)) | (3, Some(Mirror::TopBottom)) => Orientation::Rotate270FlipH,
        (_, Some(_)) => Orientation::Rotate90FlipH,
    }
}

/// Which sides a mirroring exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    LeftRight,
    TopBottom,
}

/// The image turned upright.
pub(crate) fn upright(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let Picture { width, height, alpha, pixels } = picture;
    let (w, h) = (width as usize, height as usize);
    let pixels = if alpha { turn::<4>(&pixels, w, h, orientation) } else { turn::<3>(&pixels, w, h, orientation) };
    let (width, height) = if swaps(orientation) { (height, width) } else { (width, height) };
    Picture { width, height, alpha, pixels }
}

fn turn<const N: usize>(source: &[u8], w: usize, h: usize, orientation: Orientation) -> Vec<u8> {
    let (dw, dh) = if swaps(orientation) { (h, w) } else { (w, h) };
    let (right, bottom, row) = (w - 1, (h - 1) * w, w as isize);
    // Source pixel of the target's (0, 0), and what one step right and one step down in the target mean in the source.
    let (start, across, down) = match orientation {
        Orientation::NoTransforms => (0, 1, row),
        Orientation::FlipHorizontal => (right, -1, row),
        Orientation::Rotate180 => (bottom + right, -1, -row),
        Orientation::FlipVertical => (bottom, 1, -row),
        Orientation::Rotate90FlipH => (0, row, 1),
        Orientation::Rotate90 => (bottom, -row, 1),
        Orientation::Rotate270FlipH => (bottom + right, -row, -1),
        Orientation::Rotate270 => (right, row, -1),
    };
    let mut target = vec![0; source.len()];
    for top in (0..dh).step_by(TILE) {
        for left in (0..dw).step_by(TILE) {
            let width = TILE.min(dw - left);
            for y in top..(top + TILE).min(dh) {
                let mut from = start as isize + left as isize * across + y as isize * down;
                let line = &mut target[(y * dw + left) * N..][..width * N];
                for pixel in line.chunks_exact_mut(N) {
                    let at = from as usize * N;
                    pixel.copy_from_slice(&source[at..at + N]);
                    from += across;
                }
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: u32, height: u32) -> Picture {
        let pixels = (0..width * height).flat_map(|n| [(n % 251) as u8, (n / 251) as u8, 7]).collect();
        Picture { width, height, alpha: false, pixels }
    }

    #[test]
    fn every_orientation_agrees_with_the_image_crate() {
        for (width, height) in [(1, 1), (3, 2), (70, 33), (1, 40)] {
            for exif in 1..=8 {
                let orientation = Orientation::from_exif(exif).expect("1 to 8");
                let picture = numbered(width, height);
                let buffer = image::RgbImage::from_raw(width, height, picture.pixels.clone()).expect("sized");
                let mut reference = image::DynamicImage::ImageRgb8(buffer);
                reference.apply_orientation(orientation);
                let got = upright(picture, orientation);
                assert_eq!((got.width, got.height), (reference.width(), reference.height()), "{exif}");
                assert_eq!(got.pixels, reference.to_rgb8().into_raw(), "{exif} {width}x{height}");
            }
        }
    }

    #[test]
    fn a_turn_and_a_mirroring_are_the_same_as_one_after_the_other() {
        for quarters in 0..4 {
            for mirror in [None, Some(Mirror::LeftRight), Some(Mirror::TopBottom)] {
                let mut expected = numbered(5, 3);
                for _ in 0..quarters {
                    expected = upright(expected, Orientation::Rotate270);
                }
                expected = match mirror {
                    None => expected,
                    Some(Mirror::LeftRight) => upright(expected, Orientation::FlipHorizontal),
                    Some(Mirror::TopBottom) => upright(expected, Orientation::FlipVertical),
                };
                let got = upright(numbered(5, 3), turned_and_mirrored(quarters, mirror));
                assert_eq!(got, expected, "{quarters} {mirror:?}");
            }
        }
    }
}
