//! Planes of luma and chroma to interleaved RGB (ITU-T H.273): 8 to 12 bits, every subsampling, full and limited range.
//!
//! Computed in f32 a row at a time, which compilers vectorise; chroma is interpolated with the weights 3:1 of samples
//! sited between luma's, as JPEG decoders and libavif do.

/// One plane: samples of one byte, or of two in native order.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    /// More than 8 bits.
    pub(super) wide: bool,
}

impl Plane<'_> {
    /// Row `y` as `sample * scale + offset`; rows beyond the last repeat it.
    fn row(&self, y: usize, scale: f32, offset: f32, out: &mut [f32]) {
        let start = y.min(self.height - 1) * self.stride;
        if self.wide {
            let row = &self.bytes[start..start + self.width * 2];
            for (out, pair) in out.iter_mut().zip(row.chunks_exact(2)) {
                *out = f32::from(u16::from_ne_bytes([pair[0], pair[1]])) * scale + offset;
            }
        } else {
            let row = &self.bytes[start..start + self.width];
            out.iter_mut().zip(row).for_each(|(out, value)| *out = f32::from(*value) * scale + offset);
        }
    }
}

/// How colour is coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Matrix {
    /// Shares of red and blue in luma.
    Luma {
        red: f32,
        blue: f32,
    },
    /// Green, blue, red.
    Identity,
    YCgCo,
}

impl Matrix {
    /// By matrix coefficients of H.273; unspecified is BT.601, as libavif has it.
    pub(super) fn of(code: u8, primaries: u8) -> Option<Self> {
        let luma = |red, blue| Some(Self::Luma { red, blue });
        match code {
            0 => Some(Self::Identity),
            1 => luma(0.2126, 0.0722),
            4 => luma(0.30, 0.11),
            2 | 5 | 6 => luma(0.299, 0.114),
            7 => luma(0.212, 0.087),
            8 => Some(Self::YCgCo),
            9 => luma(0.2627, 0.0593),
            // Derived from the primaries; unspecified ones are BT.709's.
            12 => derived(if primaries == 2 { 1 } else { primaries }),
            _ => None,
        }
    }
}

/// The shares of red and blue in luma that primaries lead to (H.273, equations 32 to 37).
fn derived(primaries: u8) -> Option<Matrix> {
    const D65: (f64, f64) = (0.3127, 0.3290);
    const C: (f64, f64) = (0.310, 0.316);
    let (red, green, blue, white) = match primaries {
        1 => ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65),
        4 => ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), C),
        5 => ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), D65),
        6 | 7 => ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
        8 => ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
        9 => ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
        11 => ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
        12 => ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
        22 => ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
        _ => return None,
    };
    let z = |(x, y): (f64, f64)| 1.0 - x - y;
    // Twice the area of a triangle of chromaticities, from z and y, x and z, x and y in turn.
    let share = |first: (f64, f64), second: (f64, f64), third: (f64, f64)| {
        first.1
            * (white.0 * (second.1 * z(third) - third.1 * z(second))
                + white.1 * (third.0 * z(second) - second.0 * z(third))
                + z(white) * (second.0 * third.1 - third.0 * second.1))
    };
    let whole = white.1
        * (red.0 * (green.1 * z(blue) - blue.1 * z(green))
            + green.0 * (blue.1 * z(red) - red.1 * z(blue))
            + blue.0 * (red.1 * z(green) - green.1 * z(red)));
    Some(Matrix::Luma { red: (share(red, green, blue) / whole) as f32, blue: (share(blue, red, green) / whole) as f32 })
}

/// Range of the samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) depth: u32,
    pub(super) full: bool,
}

impl Range {
    /// Scale and offset that bring luma (and RGB) to 0 to 1.
    fn luma(self) -> (f32, f32) {
        let shift = (1u32 << (self.depth - 8)) as f32;
        if self.full { (1.0 / ((1u32 << self.depth) - 1) as f32, 0.0) } else { (1.0 / (219.0 * shift), -16.0 / 219.0) }
    }

    /// Scale and offset that bring chroma to -½ to ½.
    fn chroma(self) -> (f32, f32) {
        let shift = (1u32 << (self.depth - 8)) as f32;
        if self.full {
            let scale = 1.0 / ((1u32 << self.depth) - 1) as f32;
            (scale, -128.0 * shift * scale)
        } else {
            (1.0 / (224.0 * shift), -128.0 / 224.0)
        }
    }
}

/// A sample type that can be written.
pub(super) trait Sample: Copy + Default {
    /// From 0 to 1; what lies outside is clamped.
    fn of(value: f32) -> Self;
}

impl Sample for u8 {
    fn of(value: f32) -> Self {
        // A float cast saturates, so that only the lower end needs the clamp of the addition.
        (value * 255.0 + 0.5) as Self
    }
}

impl Sample for u16 {
    fn of(value: f32) -> Self {
        (value * 65_535.0 + 0.5) as Self
    }
}

/// Luma alone: grey images and alpha.
pub(super) fn grey<T: Sample>(plane: Plane<'_>, range: Range) -> Vec<T> {
    let (scale, offset) = range.luma();
    let mut row = vec![0.0; plane.width];
    let mut out = Vec::with_capacity(plane.width * plane.height);
    for y in 0..plane.height {
        plane.row(y, scale, offset, &mut row);
        out.extend(row.iter().map(|value| T::of(*value)));
    }
    out
}

/// Luma and two chroma planes to RGB. Chroma planes have half or all of luma's columns and rows, rounded up.
pub(super) fn rgb<T: Sample>(planes: [Plane<'_>; 3], matrix: Matrix, range: Range) -> Vec<T> {
    let [luma, u, v] = planes;
    let width = luma.width;
    let (y_scale, y_offset) = range.luma();
    let (c_scale, c_offset) = if matrix == Matrix::Identity { range.luma() } else { range.chroma() };
    let mut y_row = vec![0.0; width];
    let mut chroma = [Chroma::new(u, luma), Chroma::new(v, luma)];
    let mut out = vec![T::default(); width * luma.height * 3];
    for (y, line) in out.chunks_exact_mut(width * 3).enumerate() {
        luma.row(y, y_scale, y_offset, &mut y_row);
        let [u_row, v_row] = chroma.each_mut().map(|chroma| chroma.row(y, c_scale, c_offset));
        let samples = line.chunks_exact_mut(3).zip(y_row.iter().zip(u_row.iter().zip(v_row)));
        match matrix {
            Matrix::Luma { red, blue } => {
                let green = 1.0 - red - blue;
                let (rv, bu) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
                let (gu, gv) = (-bu * blue / green, -rv * red / green);
                for (pixel, (y, (u, v))) in samples {
                    pixel[0] = T::of(y + rv * v);
                    pixel[1] = T::of(y + gu * u + gv * v);
                    pixel[2] = T::of(y + bu * u);
                }
            }
            Matrix::Identity => {
                for (pixel, (g, (b, r))) in samples {
                    pixel.copy_from_slice(&[T::of(*r), T::of(*g), T::of(*b)]);
                }
            }
            Matrix::YCgCo => {
                for (pixel, (y, (cg, co))) in samples {
                    let t = y - cg;
                    pixel.copy_from_slice(&[T::of(t + co), T::of(y + cg), T::of(t - co)]);
                }
            }
        }
    }
    out
}

/// One chroma plane, brought to luma's size row by row.
struct Chroma<'a> {
    plane: Plane<'a>,
    halved: (bool, bool),
    near: Vec<f32>,
    far: Vec<f32>,
    wide: Vec<f32>,
}

impl<'a> Chroma<'a> {
    fn new(plane: Plane<'a>, luma: Plane<'_>) -> Self {
        let halved = (plane.width < luma.width, plane.height < luma.height);
        let line = || vec![0.0; plane.width];
        Self { plane, halved, near: line(), far: line(), wide: vec![0.0; luma.width] }
    }

    fn row(&mut self, y: usize, scale: f32, offset: f32) -> &[f32] {
        if self.halved.1 {
            let at = y / 2;
            let other = if y.is_multiple_of(2) { at.saturating_sub(1) } else { at + 1 };
            self.plane.row(at, scale, offset, &mut self.near);
            self.plane.row(other, scale, offset, &mut self.far);
            self.near.iter_mut().zip(&self.far).for_each(|(near, far)| *near = *near * 0.75 + far * 0.25);
        } else {
            self.plane.row(y, scale, offset, &mut self.near);
        }
        if !self.halved.0 {
            return &self.near;
        }
        let last = self.near.len() - 1;
        for (at, pair) in self.wide.chunks_mut(2).enumerate() {
            let here = self.near[at] * 0.75;
            pair[0] = here + self.near[at.saturating_sub(1)] * 0.25;
            if let Some(right) = pair.get_mut(1) {
                *right = here + self.near[(at + 1).min(last)] * 0.25;
            }
        }
        &self.wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BT709: Matrix = Matrix::Luma { red: 0.2126, blue: 0.0722 };

    fn plane(bytes: &[u8], width: usize) -> Plane<'_> {
        Plane { bytes, stride: width, width, height: bytes.len() / width, wide: false }
    }

    fn one(yuv: [u8; 3], matrix: Matrix, full: bool) -> Vec<u8> {
        let [y, u, v] = &yuv.map(|value| [value]);
        rgb([plane(y, 1), plane(u, 1), plane(v, 1)], matrix, Range { depth: 8, full })
    }

    #[test]
    fn known_colours_in_both_ranges() {
        // BT.709 red, limited range: the values of the standard's colour bars (100 %).
        let red = one([63, 102, 240], BT709, false);
        assert!(red[0] >= 254 && red[1] <= 1 && red[2] <= 1, "{red:?}");
        assert_eq!(one([16, 128, 128], BT709, false), [0, 0, 0]);
        assert_eq!(one([235, 128, 128], BT709, false), [255, 255, 255]);
        assert_eq!(one([0, 128, 128], BT709, true), [0, 0, 0]);
        assert_eq!(one([255, 128, 128], BT709, true), [255, 255, 255]);
        // JFIF red in BT.601.
        let red = one([76, 85, 255], Matrix::Luma { red: 0.299, blue: 0.114 }, true);
        assert!(red[0] >= 253 && red[1] <= 1 && red[2] <= 1, "{red:?}");
        // Beyond the range: clamped, not wrapped.
        assert_eq!(one([255, 128, 255], BT709, false)[0], 255);
        assert_eq!(one([0, 128, 0], BT709, false)[0], 0);
    }

    #[test]
    fn identity_is_green_blue_red() {
        assert_eq!(one([20, 30, 10], Matrix::Identity, true), [10, 20, 30]);
    }

    #[test]
    fn chroma_is_interpolated_between_its_samples() {
        let (y, u, v) = ([128; 8], [128, 128], [64, 192]);
        let got: Vec<u8> = rgb([plane(&y, 4), plane(&u, 2), plane(&v, 2)], BT709, Range { depth: 8, full: true });
        let reds: Vec<u8> = got[..12].chunks_exact(3).map(|pixel| pixel[0]).collect();
        // The outer columns have their own sample, the inner ones a quarter of the other.
        assert!(reds.is_sorted() && reds[0] < reds[1] && reds[1] < reds[2] && reds[2] < reds[3], "{reds:?}");
        assert_eq!(u32::from(reds[1] - reds[0]), u32::from(reds[3] - reds[2]));
        assert_eq!(got[..12], got[12..], "one row of chroma serves two");
    }

    #[test]
    fn odd_sizes_and_high_depths() {
        let words = |values: &[u16]| values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>();
        let (y, c) = (words(&[1023; 9]), words(&[512; 4]));
        let luma = Plane { bytes: &y, stride: 6, width: 3, height: 3, wide: true };
        let chroma = Plane { bytes: &c, stride: 4, width: 2, height: 2, wide: true };
        let range = Range { depth: 10, full: true };
        assert_eq!(rgb::<u16>([luma, chroma, chroma], BT709, range), [65_535; 27]);
        assert_eq!(grey::<u8>(luma, range), [255; 9]);
    }

    #[test]
    fn shares_of_luma_follow_from_the_primaries() {
        for (primaries, red, blue) in
            [(1, 0.2126, 0.0722), (9, 0.2627, 0.0593), (6, 0.2124, 0.0866), (12, 0.2290, 0.0793)]
        {
            let Some(Matrix::Luma { red: r, blue: b }) = Matrix::of(12, primaries) else { panic!("{primaries}") };
            assert!((r - red).abs() < 1e-3 && (b - blue).abs() < 1e-3, "{primaries}: {r} {b}");
        }
        assert_eq!(Matrix::of(12, 10), None);
    }
}
