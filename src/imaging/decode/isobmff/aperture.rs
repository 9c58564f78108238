//! The clean aperture (ISO/IEC 14496-12, section 12.1.4): the part of a coded image that is shown.
//!
//! Invariant: an aperture lies within its image; one that does not is none.

use super::reader::{Parsed, Reader};
use crate::imaging::decode::colour::{Raw, Samples};

/// A rectangle of an image in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::imaging::decode) struct Aperture {
    pub(in crate::imaging::decode) left: u32,
    pub(in crate::imaging::decode) top: u32,
    pub(in crate::imaging::decode) width: u32,
    pub(in crate::imaging::decode) height: u32,
}

impl Aperture {
    /// Reads the box for an image of this size; `None` for what lies outside, is broken, or is the whole image.
    pub(super) fn read(mut body: Reader<'_>, (width, height): (u32, u32)) -> Option<Self> {
        let mut fraction = || -> Parsed<(i64, i64)> {
            let (numerator, denominator) = (body.u32()?.cast_signed(), body.u32()?.cast_signed());
            Ok((i64::from(numerator), i64::from(denominator)))
        };
        let [w, h, x, y] = [fraction().ok()?, fraction().ok()?, fraction().ok()?, fraction().ok()?];
        let (left, shown_width) = side(w, x, width)?;
        let (top, shown_height) = side(h, y, height)?;
        let aperture = Self { left, top, width: shown_width, height: shown_height };
        (aperture != Self { left: 0, top: 0, width, height }).then_some(aperture)
    }

    /// That part of a decoded image; all of it if it is smaller than was said.
    pub(in crate::imaging::decode) fn cut(self, raw: Raw) -> Raw {
        fn part<T: Copy>(
            values: &[T],
            of: usize,
            rows: std::ops::Range<usize>,
            columns: std::ops::Range<usize>,
        ) -> Vec<T> {
            let rows = values.chunks_exact(of).skip(rows.start).take(rows.len());
            rows.flat_map(|row| row[columns.clone()].iter().copied()).collect()
        }
        if self.left + self.width > raw.width || self.top + self.height > raw.height {
            return raw;
        }
        let count = raw.channels.count();
        let stride = raw.width as usize * count;
        let rows = self.top as usize..(self.top + self.height) as usize;
        let columns = self.left as usize * count..(self.left + self.width) as usize * count;
        let samples = match raw.samples {
            Samples::Eight(values) => Samples::Eight(part(&values, stride, rows, columns)),
            Samples::Sixteen(values) => Samples::Sixteen(part(&values, stride, rows, columns)),
        };
        Raw { width: self.width, height: self.height, samples, ..raw }
    }
}

/// Start and length along one side: the offset is that of the centres from each other.
fn side(length: (i64, i64), offset: (i64, i64), whole: u32) -> Option<(u32, u32)> {
    if length.1 <= 0 || offset.1 <= 0 || length.0 <= 0 {
        return None;
    }
    // Sizes that are no whole numbers are rounded down, as libheif has them.
    let shown = length.0 / length.1;
    let start = offset.0 as f64 / offset.1 as f64 + (i64::from(whole) - shown) as f64 / 2.0;
    let (start, shown) = (start.round() as i64, shown);
    if shown < 1 || start < 0 || start + shown > i64::from(whole) {
        return None;
    }
    Some((u32::try_from(start).ok()?, u32::try_from(shown).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::decode::colour::{Channels, Space};

    fn clap(fields: [i32; 8]) -> Vec<u8> {
        fields.iter().flat_map(|field| field.to_be_bytes()).collect()
    }

    #[test]
    fn an_aperture_is_cut_out_about_the_centre() {
        // 100 x 60 of 130 x 98, at 10, 20: centres differ by -5 and 1.
        let body = clap([100, 1, 60, 1, -5, 1, 1, 1]);
        let wanted = Aperture { left: 10, top: 20, width: 100, height: 60 };
        assert_eq!(Aperture::read(Reader(&body), (130, 98)), Some(wanted));
        let body = clap([200, 2, 120, 2, -10, 2, 3, 3]);
        assert_eq!(Aperture::read(Reader(&body), (130, 98)), Some(wanted), "fractions");
    }

    #[test]
    fn the_whole_picture_and_what_lies_outside_are_no_aperture() {
        for fields in [
            [130, 1, 98, 1, 0, 1, 0, 1],
            [131, 1, 98, 1, 0, 1, 0, 1],
            [100, 1, 60, 1, -16, 1, 0, 1],
            [100, 0, 60, 1, 0, 1, 0, 1],
            [-100, 1, 60, 1, 0, 1, 0, 1],
        ] {
            assert_eq!(Aperture::read(Reader(&clap(fields)), (130, 98)), None, "{fields:?}");
        }
        assert_eq!(Aperture::read(Reader(&[0; 20]), (130, 98)), None, "cut short");
    }

    #[test]
    fn rows_and_columns_of_the_part_are_kept() {
        let samples = Samples::Eight((0..3 * 3 * 3).collect());
        let raw = Raw { width: 3, height: 3, channels: Channels::Rgb, samples, space: Space::Srgb };
        let cut = Aperture { left: 1, top: 2, width: 2, height: 1 }.cut(raw);
        let Samples::Eight(values) = cut.samples else { panic!("8 bits") };
        assert_eq!((cut.width, cut.height, values), (2, 1, vec![21, 22, 23, 24, 25, 26]));
    }
}
