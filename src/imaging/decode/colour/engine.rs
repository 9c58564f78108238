//! Runs a transform of the colour engine over the samples of an image.
//!
//! Invariant: **a conversion holds one image and a slice**: it writes over what it has read wherever that fits.

use moxcms::TransformExecutor;

use super::Channels;

/// Converts in place where that makes no more samples of a pixel, so that a profile takes no memory; gives the samples back
/// when the engine refuses them, which it does by their layout, so at once or never.
pub(super) fn run<T: Copy + Default>(
    transform: &dyn TransformExecutor<T>,
    mut values: Vec<T>,
    from: Channels,
    to: Channels,
) -> Result<Vec<T>, Vec<T>> {
    // Slices of a bounded size: the engine may buffer what it is given.
    const PIXELS: usize = 1 << 16;
    let (step, made) = (from.count(), to.count());
    let pixels = values.len() / step;
    let refused = |error| tracing::debug!(%error, "colour conversion failed; profile ignored");
    if made > step {
        let mut output = vec![T::default(); pixels * made];
        for (source, target) in values.chunks(PIXELS * step).zip(output.chunks_mut(PIXELS * made)) {
            if let Err(error) = transform.transform(source, target) {
                refused(error);
                return Err(values);
            }
        }
        return Ok(output);
    }
    let mut slice = vec![T::default(); PIXELS.min(pixels) * made];
    for first in (0..pixels).step_by(PIXELS) {
        let count = PIXELS.min(pixels - first);
        let target = &mut slice[..count * made];
        if let Err(error) = transform.transform(&values[first * step..(first + count) * step], target) {
            refused(error);
            return Err(values);
        }
        values[first * made..(first + count) * made].copy_from_slice(target);
    }
    values.truncate(pixels * made);
    values.shrink_to_fit();
    Ok(values)
}

/// Whether a transform to sRGB changes no colour by more than one step: then the profile is sRGB under some name.
pub(super) fn is_identity(transform: &dyn TransformExecutor<u8>, from: Channels, to: Channels) -> bool {
    let mut source = Vec::new();
    let mut expected = Vec::new();
    let mut push = |rgb: [u8; 3]| match from {
        Channels::Grey | Channels::GreyAlpha if rgb[0] != rgb[1] || rgb[1] != rgb[2] => {}
        Channels::Grey | Channels::GreyAlpha => {
            source.extend(std::iter::repeat_n(rgb[0], 1));
            expected.extend(rgb);
            if from == Channels::GreyAlpha {
                source.push(255);
                expected.push(255);
            }
        }
        Channels::Rgb | Channels::Rgba | Channels::Cmyk => {
            source.extend(rgb);
            expected.extend(rgb);
            if from != Channels::Rgb {
                source.push(255);
                expected.push(255);
            }
        }
    };
    let steps = || (0..=255u8).step_by(51);
    for red in steps() {
        for green in steps() {
            for blue in steps() {
                push([red, green, blue]);
            }
        }
    }
    for grey in 0..=255 {
        push([grey; 3]);
    }
    let mut output = vec![0; source.len() / from.count() * to.count()];
    transform.transform(&source, &mut output).is_ok()
        && output.iter().zip(&expected).all(|(got, want)| got.abs_diff(*want) <= 1)
}
