//! Two passes of Lanczos3 in linear light: down, over rows of the source as they come, then across, row by row.
//!
//! Down comes first because it adds whole rows, which the processor does for many samples at once, and because only as
//! many rows are held as one output row is made of. For large reductions rows are first averaged in boxes.
//! Why not a library's: the best one for this measured twice as long, with a linear copy as high as the source.

use std::collections::VecDeque;

use multiversion::target::target_cfg_f;

use super::light::{self, fused};
use super::taps::Taps;
use super::{Area, Picture};

/// What is left of the scale factor after the boxes: at three samples a pixel and more, Lanczos over boxes is not told
/// from Lanczos over pixels.
const KEPT_SCALE: usize = 3;

/// Rows of light that are added to output rows at a time: the more, the fewer times are those read and written.
const BATCH: usize = 8;

/// Samples of a row that are worked on at a time, so that a batch of them stays in the nearest cache (24 kB).
const STRIPE: usize = 768;

/// Sums that are kept in registers.
const LANES: usize = 64;

/// How far below the darkest sample of its middle an output may fall, as a part of that sample's light. Lanczos in linear
/// light would draw black outlines about what is bright on a dark ground, where the eye sees the ground best. At this part
/// photographs in WebP score as they do without a bound (SSIMULACRA2, 256 and 640 px), in a hundredth fewer bytes; at 0.9
/// they score 0.2 to 0.4 less.
const FLOOR: f32 = 0.6;

/// Output rows that are narrowed together, so that a weight is loaded once for all.
const ROWS: usize = 2;

/// Four samples of each of those rows.
pub(super) type Wide = [f32; 4 * ROWS];

/// Working memory for one image, in bytes.
pub(in crate::imaging) fn working_bytes(width: u32, target: u32, channels: usize) -> u64 {
    // Output rows that are open at once: a kernel of six output samples, and those a batch reaches beyond.
    const OPEN: u64 = 2 * (6 + BATCH as u64);
    let (row, wide) = (u64::from(width) * channels as u64 * 4, size_of::<Wide>() as u64);
    OPEN * row + wide * (u64::from(width) + u64::from(target))
}

/// `area` of `picture`, of so many `CHANNELS`, scaled to `size`. Of each box of rows at most `box_rows` are looked at.
pub(super) fn convolve<const CHANNELS: usize>(
    picture: &Picture,
    area: Area,
    size: (u32, u32),
    box_rows: usize,
) -> Vec<u8> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    let rows = Rows::<CHANNELS>::of(picture, area, height, box_rows);
    let down = Taps::new(rows.content(), rows.count(), height);
    let mut narrower = Narrower::<CHANNELS>::new(area.width as usize, width, height);
    let mut lines = vec![[0.0_f32; STRIPE]; BATCH];
    let mut open: VecDeque<(usize, Open)> = VecDeque::new();
    let mut spare: Vec<Open> = Vec::new();
    let samples = area.width as usize * CHANNELS;
    let mut begun = 0;
    for first in (0..rows.count()).step_by(BATCH) {
        let end = (first + BATCH).min(rows.count());
        while begun < height && down.of(begun).0 < end {
            let mut row = spare.pop().unwrap_or_else(|| Open::new(samples.next_multiple_of(LANES)));
            row.sums.fill(0.0);
            row.least.fill(f32::INFINITY);
            open.push_back((begun, row));
            begun += 1;
        }
        for left in (0..samples).step_by(STRIPE) {
            let stripe = left..(left + STRIPE).min(samples);
            for (line, row) in lines.iter_mut().zip(first..end) {
                rows.light(row, stripe.clone(), line);
            }
            for (output, row) in &mut open {
                let (start, weights) = down.of(*output);
                let (from, to) = (start.max(first), (start + weights.len()).min(end));
                if from < to {
                    let all = left..stripe.end.next_multiple_of(LANES);
                    accumulate(
                        &mut row.sums[all.clone()],
                        &lines[from - first..to - first],
                        &weights[from - start..to - start],
                    );
                    let middle = down.middle(*output);
                    let (from, to) = (middle.start.max(from), middle.end.min(to));
                    if from < to {
                        darken(&mut row.least[all], &lines[from - first..to - first]);
                    }
                }
            }
        }
        let done = |output: usize| {
            let (start, weights) = down.of(output);
            start + weights.len() <= end
        };
        while let Some((_, mut row)) = open.pop_front_if(|(output, _)| done(*output)) {
            row.bound();
            narrower.push(&row.sums);
            spare.push(row);
        }
    }
    narrower.finish()
}

/// An output row that is being added up, and the least light in the middle of each of its samples.
struct Open {
    sums: Vec<f32>,
    least: Vec<f32>,
}

impl Open {
    fn new(samples: usize) -> Self {
        Self { sums: vec![0.0; samples], least: vec![0.0; samples] }
    }

    fn bound(&mut self) {
        bound(&mut self.sums, &self.least);
    }
}

for_processors! {
    /// Keeps sums from falling below the floor.
    fn bound(sums: &mut [f32], least: &[f32]) {
        for (sum, least) in sums.iter_mut().zip(least) {
            *sum = sum.max(*least * FLOOR);
        }
    }
}

for_processors! {
    /// Keeps the least of each sample.
    fn darken(least: &mut [f32], lines: &[[f32; STRIPE]]) {
        let (blocks, _) = least.as_chunks_mut::<LANES>();
        for (at, block) in blocks.iter_mut().enumerate() {
            let mut kept = *block;
            for line in lines {
                for (kept, sample) in kept.iter_mut().zip(&line[at * LANES..(at + 1) * LANES]) {
                    *kept = kept.min(*sample);
                }
            }
            *block = kept;
        }
    }
}

for_processors! {
    /// Adds weighed lines.
    fn accumulate(sums: &mut [f32], lines: &[[f32; STRIPE]], weights: &[f32]) {
        const FUSED: bool = target_cfg_f!(target_feature = "fma");
        let (blocks, _) = sums.as_chunks_mut::<LANES>();
        for (at, block) in blocks.iter_mut().enumerate() {
            let mut sum = *block;
            for (line, weight) in lines.iter().zip(weights) {
                for (sum, sample) in sum.iter_mut().zip(&line[at * LANES..(at + 1) * LANES]) {
                    *sum = fused::<FUSED>(*weight, *sample, *sum);
                }
            }
            *block = sum;
        }
    }
}

/// The rows of an area as light, each the mean of a box of the source's rows.
struct Rows<'a, const CHANNELS: usize> {
    picture: &'a Picture,
    area: Area,
    /// Source rows in a box.
    high: usize,
    /// At most so many of them are looked at.
    seen: usize,
}

impl<'a, const CHANNELS: usize> Rows<'a, CHANNELS> {
    fn of(picture: &'a Picture, area: Area, target: usize, seen: usize) -> Self {
        Self { picture, area, high: (area.height as usize / target / KEPT_SCALE).max(1), seen }
    }

    fn count(&self) -> usize {
        (self.area.height as usize).div_ceil(self.high)
    }

    /// The count, with the last box in proportion to what it holds.
    fn content(&self) -> f64 {
        f64::from(self.area.height) / self.high as f64
    }

    /// The light of samples `stripe` of row `row`.
    fn light(&self, row: usize, stripe: std::ops::Range<usize>, line: &mut [f32]) {
        let line = &mut line[..stripe.len()];
        let top = row * self.high;
        let rows = self.high.min(self.area.height as usize - top);
        let seen = rows.min(self.seen);
        for at in 0..seen {
            // One of each group, and not always the same one: a pattern of lines in the image shall not meet one of ours.
            let scattered = (top + at).wrapping_mul(0x9E37_79B1) >> 16 & 0xFFFF;
            let codes = &self.codes(top + (at * rows + scattered % rows) / seen)[stripe.clone()];
            if at == 0 { light::write::<CHANNELS>(codes, line) } else { light::add::<CHANNELS>(codes, line) }
        }
        if seen > 1 {
            let part = 1.0 / seen as f32;
            line.iter_mut().for_each(|sample| *sample *= part);
        }
    }

    /// The samples of row `y` of the area.
    fn codes(&self, y: usize) -> &[u8] {
        let (left, top) = (self.area.left as usize, self.area.top as usize);
        let start = ((top + y) * self.picture.width as usize + left) * CHANNELS;
        &self.picture.pixels[start..start + self.area.width as usize * CHANNELS]
    }
}

/// The pass across, and back to sRGB.
struct Narrower<const CHANNELS: usize> {
    across: Taps,
    /// Rows that wait, side by side in each pixel.
    wide: Vec<Wide>,
    waiting: usize,
    narrow: Vec<Wide>,
    out: Vec<u8>,
}

impl<const CHANNELS: usize> Narrower<CHANNELS> {
    fn new(source: usize, target: usize, height: usize) -> Self {
        Self {
            across: Taps::new(source as f64, source, target),
            wide: vec![Wide::default(); source],
            waiting: 0,
            narrow: vec![Wide::default(); target],
            out: Vec::with_capacity(target * height * CHANNELS),
        }
    }

    fn push(&mut self, row: &[f32]) {
        let place = 4 * self.waiting;
        for (pixels, pixel) in self.wide.iter_mut().zip(row.chunks_exact(CHANNELS)) {
            pixels[place..place + CHANNELS].copy_from_slice(pixel);
        }
        self.waiting += 1;
        if self.waiting == ROWS {
            self.narrow();
        }
    }

    fn narrow(&mut self) {
        narrow(&self.wide, &self.across, &mut self.narrow);
        for row in 0..std::mem::take(&mut self.waiting) {
            let start = self.out.len();
            self.out.resize(start + self.narrow.len() * CHANNELS, 0);
            light::store::<CHANNELS>(&self.narrow, row, &mut self.out[start..]);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.waiting > 0 {
            self.narrow();
        }
        self.out
    }
}

for_processors! {
    /// Weighs pixels of several rows at once. Two sums, so that one addition need not wait for the other.
    fn narrow(wide: &[Wide], across: &Taps, out: &mut [Wide]) {
        const FUSED: bool = target_cfg_f!(target_feature = "fma");
        for (output, out) in out.iter_mut().enumerate() {
            let (first, weights) = across.of(output);
            let (pairs, last) = wide[first..first + weights.len()].as_chunks::<2>();
            let mut sums = [Wide::default(); 2];
            for (pair, weights) in pairs.iter().zip(weights.as_chunks::<2>().0) {
                for side in 0..2 {
                    for (sum, sample) in sums[side].iter_mut().zip(&pair[side]) {
                        *sum = fused::<FUSED>(weights[side], *sample, *sum);
                    }
                }
            }
            for (pixel, weight) in last.iter().zip(weights.last()) {
                for (sum, sample) in sums[0].iter_mut().zip(pixel) {
                    *sum = fused::<FUSED>(*weight, *sample, *sum);
                }
            }
            let mut least = [f32::INFINITY; 4 * ROWS];
            for pixel in &wide[across.middle(output)] {
                for (least, sample) in least.iter_mut().zip(pixel) {
                    *least = least.min(*sample);
                }
            }
            for ((out, least), (a, b)) in out.iter_mut().zip(least).zip(sums[0].iter().zip(&sums[1])) {
                *out = (a + b).max(least * FLOOR);
            }
        }
    }
}
