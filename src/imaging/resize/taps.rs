//! Lanczos3: which source samples make an output sample, and by how much each.
//! Computed once for all rows or columns.

use std::f64::consts::PI;
use std::ops::Range;

/// The weights of all output samples along one side; those of each sum to 1.
pub(super) struct Taps {
    /// The first source sample of each output sample, and where its weights begin.
    spans: Vec<(usize, usize)>,
    /// The source samples of the kernel's middle, for each output sample.
    middles: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

/// Half the width of the kernel, in output samples.
const SUPPORT: f64 = 3.0;

/// The sine of an angle that grows by equal steps, each found from the one before by the addition theorem: four products
/// in place of a sine. What that adds up to over a row of weights stays far below what they are rounded to.
struct Sine {
    now: (f64, f64),
    step: (f64, f64),
}

impl Sine {
    fn new(angle: f64, step: f64) -> Self {
        Self { now: angle.sin_cos(), step: step.sin_cos() }
    }

    fn next(&mut self) -> f64 {
        let ((sin, cos), (step_sin, step_cos)) = (self.now, self.step);
        self.now = (sin * step_cos + cos * step_sin, cos * step_cos - sin * step_sin);
        sin
    }
}

impl Taps {
    /// From `source` samples, of which `content` hold something (the last one perhaps in part), to `target` samples.
    pub(super) fn new(content: f64, source: usize, target: usize) -> Self {
        let scale = content / target as f64;
        // Enlarging interpolates; reducing averages over as much more of the source.
        let stretch = scale.max(1.0);
        let mut taps =
            Self { spans: Vec::with_capacity(target), middles: Vec::with_capacity(target), weights: Vec::new() };
        for output in 0..target {
            let centre = (output as f64 + 0.5) * scale;
            let first = ((centre - SUPPORT * stretch).floor().max(0.0) as usize).min(source - 1);
            let end = ((centre + SUPPORT * stretch).ceil() as usize).clamp(first + 1, source);
            let start = taps.weights.len();
            let place = |at: usize| (at as f64 + 0.5 - centre) / stretch;
            let mut sine = Sine::new(PI * place(first), PI / stretch);
            let mut window = Sine::new(PI / SUPPORT * place(first), PI / SUPPORT / stretch);
            taps.weights.extend((first..end).map(|at| {
                let (x, product) = (place(at), SUPPORT * sine.next() * window.next());
                match x.abs() {
                    near if near < 1e-6 => 1.0,
                    far if far >= SUPPORT => 0.0,
                    _ => (product / (PI * x * PI * x)) as f32,
                }
            }));
            let sum: f32 = taps.weights[start..].iter().sum();
            taps.weights[start..].iter_mut().for_each(|weight| *weight /= sum);
            taps.spans.push((first, start));
            // Within one output sample of the centre, where all weights are positive; the nearest is among them.
            let near = |at: &usize| place(*at).abs() < 1.0;
            let from = (first..end).find(near).unwrap_or(first);
            taps.middles.push((from, (from..end).take_while(near).last().map_or(from, |last| last + 1)));
        }
        taps
    }

    /// The first source sample of output sample `output`, and the weights of it and those that follow.
    #[inline(always)]
    pub(super) fn of(&self, output: usize) -> (usize, &[f32]) {
        let (first, start) = self.spans[output];
        let end = self.spans.get(output + 1).map_or(self.weights.len(), |next| next.1);
        (first, &self.weights[start..end])
    }
}

impl Taps {
    /// The source samples under the middle of output sample `output`'s kernel.
    #[inline(always)]
    pub(super) fn middle(&self, output: usize) -> Range<usize> {
        let (start, end) = self.middles[output];
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_inside_the_source() {
        for (content, source, target) in [(100.0, 100, 10), (10.0, 10, 100), (33.5, 34, 7), (1.0, 1, 1), (5.2, 6, 1)] {
            let taps = Taps::new(content, source, target);
            assert_eq!(taps.spans.len(), target);
            for output in 0..target {
                let (first, weights) = taps.of(output);
                assert!(first + weights.len() <= source, "{source} to {target}");
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{source} to {target}");
            }
        }
    }

    #[test]
    fn a_side_that_is_kept_is_copied() {
        let taps = Taps::new(9.0, 9, 9);
        for output in 0..9 {
            let (first, weights) = taps.of(output);
            for (at, weight) in (first..).zip(weights) {
                assert!((weight - f32::from(u8::from(at == output))).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn weights_are_lanczos3_however_many_there_are() {
        let lanczos3 = |x: f64| match x.abs() {
            0.0 => 1.0,
            far if far >= SUPPORT => 0.0,
            _ => SUPPORT * (PI * x).sin() * (PI * x / SUPPORT).sin() / (PI * x * PI * x),
        };
        for (source, target) in [(20_000, 7), (3000, 1999), (640, 640), (10, 77)] {
            let scale = source as f64 / target as f64;
            let stretch = scale.max(1.0);
            let taps = Taps::new(source as f64, source, target);
            for output in 0..target {
                let (first, weights) = taps.of(output);
                let centre = (output as f64 + 0.5) * scale;
                let exact = |at: usize| lanczos3((at as f64 + 0.5 - centre) / stretch);
                let sum: f64 = (first..first + weights.len()).map(exact).sum();
                for (at, weight) in (first..).zip(weights) {
                    let error = f64::from(*weight) - exact(at) / sum;
                    assert!((error * stretch).abs() < 1e-5, "{source} to {target}: {error}");
                }
            }
        }
    }
}
