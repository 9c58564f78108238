//! JPEG through mozjpeg: progressive, for clients that name no newer format.
//!
//! Invariant: **libjpeg reports errors by unwinding, so every call into it is caught** and becomes [`Error::Encode`].
//! Photographs are 4:2:0 below quality 90; graphics, and what asks for more, 4:4:4; grey images have one component.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mozjpeg::{ColorSpace, Compress};

use super::{Error, Kind, Picture, deadline, quality};
use crate::imaging::resize;
use crate::variant::{Quality, Rgb};

/// Rows between looks at the clock.
const ROWS: usize = 64;
/// From here on colour is not subsampled.
const FULL_CHROMA_FROM: u8 = 90;

/// Encodes `picture`, whose size was checked; alpha that is left is flattened onto white.
pub(super) fn encode(picture: &Picture, quality: Quality) -> Result<Vec<u8>, Error> {
    let flat;
    let picture = if picture.alpha {
        flat = resize::flatten(picture.clone(), Rgb::WHITE);
        &flat
    } else {
        picture
    };
    let kind = Kind::of(picture);
    let full_chroma = kind == Kind::Graphic || quality.get() >= FULL_CHROMA_FROM;
    encode_native(picture, quality::mozjpeg_quality(quality, kind), full_chroma)
}

/// Encodes what has no alpha at mozjpeg's own quality, 1 to 100.
pub(crate) fn encode_native(picture: &Picture, native: u8, full_chroma: bool) -> Result<Vec<u8>, Error> {
    // Nothing shared is touched inside, so a caught unwind leaves nothing half done.
    let outcome = catch_unwind(AssertUnwindSafe(|| compress(picture, native, full_chroma)));
    match outcome {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Error::Deadline),
        Ok(Err(error)) => Err(Error::Encode(format!("mozjpeg: {error}"))),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map_or("unwound without words", String::as_str);
            Err(Error::Encode(format!("mozjpeg: {words}")))
        }
    }
}

fn compress(picture: &Picture, native: u8, full_chroma: bool) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(ColorSpace::JCS_RGB);
    compress.set_size(picture.width as usize, picture.height as usize);
    compress.set_quality(f32::from(native));
    if picture.pixels.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]) {
        compress.set_color_space(ColorSpace::JCS_GRAYSCALE);
    } else {
        let size = if full_chroma { (1, 1) } else { (2, 2) };
        compress.set_chroma_sampling_pixel_sizes(size, size);
    }
    // The search for the best order of scans doubles the time for about 1 % of the bytes.
    compress.set_optimize_scans(false);
    // After the colour space: the script of scans names its components.
    compress.set_progressive_mode();
    let mut compress = compress.start_compress(Vec::new())?;
    for rows in picture.pixels.chunks(picture.width as usize * 3 * ROWS) {
        if deadline::is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        compress.write_scanlines(rows)?;
    }
    compress.finish()
}
