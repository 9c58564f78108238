//! WebP through libwebp: still images, lossy or lossless, and animations ([`AnimationEncoder`]).
//!
//! Why unsafe is right here: no encoder for lossy WebP is written in Rust, and libwebp's encoder reads only pixels this
//! process made, of sizes checked before; its decoder, which had the famous hole, is not called.
//! Invariant: **what libwebp allocates is owned by a guard** ([`Frame`], [`Writer`]) and freed on every path.
#![expect(unsafe_code, reason = "libwebp has a C interface; see the argument above")]

mod animation;

use std::ffi::c_int;
use std::ptr;

use libwebp_sys as sys;

pub(crate) use self::animation::AnimationEncoder;
use super::{Error, Kind, Picture, deadline, graphic, quality};
use crate::variant::{Effort, Quality};

/// Method 2 takes 4 % more bytes than method 4, the usual choice, for less than half of the time; method 6 takes 4 % fewer
/// for twice the time. Its segments, filters and noise shaping are at their defaults: each was tried, none is better.
const fn method(effort: Effort) -> i32 {
    match effort {
        Effort::Fast => 2,
        Effort::Dense => 6,
    }
}

/// Lossless coding is tried up to this many pixels, so that its cost is bounded.
const LOSSLESS_PIXELS: usize = 4_000_000;

/// Below this quality lossless coding may round what the eye does not see.
const EXACT_FROM: u8 = 90;

/// Encodes `picture`, whose size was checked; without loss when that is smaller. For whoever waits that is tried only on
/// images of few colours: scaled graphics have soft edges, and then it takes several times as long for more bytes.
pub(super) fn encode(picture: &Picture, quality: Quality, effort: Effort) -> Result<Vec<u8>, Error> {
    let kind = Kind::of(picture);
    let lossy = encode_native(picture, quality::webp_quality(quality, effort, kind), effort)?;
    let pixels = picture.width as usize * picture.height as usize;
    let promising = match effort {
        Effort::Fast => graphic::has_few_colours(picture),
        Effort::Dense => kind == Kind::Graphic,
    };
    if pixels > LOSSLESS_PIXELS || !promising {
        return Ok(lossy);
    }
    let lossless = run(picture, &lossless(quality, effort)?, true)?;
    Ok(if lossless.len() <= lossy.len() { lossless } else { lossy })
}

/// Encodes with loss at libwebp's own quality, 0 to 100.
pub(crate) fn encode_native(picture: &Picture, native: f32, effort: Effort) -> Result<Vec<u8>, Error> {
    run(picture, &lossy(native, effort)?, false)
}

fn lossy(native: f32, effort: Effort) -> Result<sys::WebPConfig, Error> {
    let mut config = sys::WebPConfig::new().map_err(|()| failed("configuration"))?;
    config.quality = native;
    config.method = method(effort);
    Ok(config)
}

fn lossless(quality: Quality, effort: Effort) -> Result<sys::WebPConfig, Error> {
    let mut config = sys::WebPConfig::new().map_err(|()| failed("configuration"))?;
    config.lossless = 1;
    // Effort, not quality, in lossless coding.
    config.quality = 50.0;
    // More takes seconds for a large graphic, and saves next to nothing.
    config.method = method(effort).min(4);
    if quality.get() < EXACT_FROM {
        config.near_lossless = 60;
    }
    Ok(config)
}

fn run(picture: &Picture, config: &sys::WebPConfig, argb: bool) -> Result<Vec<u8>, Error> {
    let mut frame = Frame::of(picture, argb)?;
    let mut writer = Writer::new();
    frame.0.writer = Some(sys::WebPMemoryWrite);
    frame.0.custom_ptr = ptr::from_mut(&mut *writer.0).cast();
    frame.0.progress_hook = Some(goes_on);
    // SAFETY: `config` came from libwebp's own defaults, `frame` holds a whole image, and the writer behind
    // `custom_ptr` has a fixed address and outlives the call.
    if unsafe { sys::WebPEncode(config, &mut *frame.0) } == 0 {
        return Err(match frame.0.error_code {
            sys::WebPEncodingError::VP8_ENC_ERROR_USER_ABORT => Error::Deadline,
            code => failed(&format!("{code:?}")),
        });
    }
    Ok(writer.bytes())
}

/// Asked by libwebp between parts of an image: whether it may go on.
extern "C" fn goes_on(_percent: c_int, _: *const sys::WebPPicture) -> c_int {
    c_int::from(!deadline::is_over())
}

fn failed(why: &str) -> Error {
    Error::Encode(format!("libwebp: {why}"))
}

/// An image in libwebp's memory.
struct Frame(Box<sys::WebPPicture>);

impl Frame {
    /// Copies `picture`: as ARGB, which lossless coding and animations want, or straight to YUV.
    fn of(picture: &Picture, argb: bool) -> Result<Self, Error> {
        let mut frame = Self(Box::new(sys::WebPPicture::new().map_err(|()| failed("version"))?));
        let samples = picture.width as usize * picture.height as usize * picture.channels();
        let (Ok(width), Ok(height)) = (i32::try_from(picture.width), i32::try_from(picture.height)) else {
            return Err(failed("size"));
        };
        if picture.pixels.len() != samples || width > 16_383 || height > 16_383 {
            return Err(failed("size"));
        }
        (frame.0.width, frame.0.height) = (width, height);
        frame.0.use_argb = i32::from(argb);
        let stride = width * picture.channels() as i32;
        // SAFETY: `frame` is initialised; the samples are `height` rows of `stride` bytes, checked above, and copied.
        let taken = unsafe {
            if picture.alpha {
                sys::WebPPictureImportRGBA(&mut *frame.0, picture.pixels.as_ptr(), stride)
            } else {
                sys::WebPPictureImportRGB(&mut *frame.0, picture.pixels.as_ptr(), stride)
            }
        };
        if taken == 0 { Err(failed("out of memory")) } else { Ok(frame) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: initialised by `of`; freed only here.
        unsafe { sys::WebPPictureFree(&mut *self.0) }
    }
}

/// libwebp's growing output buffer.
struct Writer(Box<sys::WebPMemoryWriter>);

impl Writer {
    fn new() -> Self {
        let mut writer = Box::new(sys::WebPMemoryWriter { mem: ptr::null_mut(), size: 0, max_size: 0, pad: [0] });
        // SAFETY: `writer` is writable; the call only clears it.
        unsafe { sys::WebPMemoryWriterInit(&mut *writer) };
        Self(writer)
    }

    fn bytes(&self) -> Vec<u8> {
        if self.0.mem.is_null() {
            return Vec::new();
        }
        // SAFETY: not null, and `size` bytes of it were written.
        unsafe { std::slice::from_raw_parts(self.0.mem, self.0.size) }.to_vec()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; freed only here.
        unsafe { sys::WebPMemoryWriterClear(&mut *self.0) }
    }
}
