//! Animated WebP, frame by frame: libwebp's animation encoder finds what changed and muxes.
//!
//! Why unsafe is right here: as in the parent module. Invariant: **frames are handed over one at a time and not kept**,
//! so memory is a few canvases whatever the number of frames; the encoder is deleted on every path.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::time::Duration;

use libwebp_sys as sys;

use super::{Error, Frame, Kind, Picture, failed, graphic, lossy, quality};
use crate::variant::{Effort, Quality};

/// A whole frame is written at least this often, so that players can seek; and not before a few have passed.
const KEY_FRAMES: (c_int, c_int) = (9, 17);

/// Where the extended header has its flags, and the one that says that the image can be transparent.
const FLAGS: usize = 20;
const ALPHA: u8 = 0x10;

/// Writes an animated WebP.
pub(crate) struct AnimationEncoder {
    size: (u32, u32),
    loop_count: u32,
    config: sys::WebPConfig,
    /// Made with the first frame, which decides whether lossless frames are tried.
    encoder: Option<Encoder>,
    /// When the next frame begins, from the start.
    clock: Duration,
    /// Any frame so far is transparent somewhere.
    transparent: bool,
}

impl AnimationEncoder {
    /// Begins an animation of `width` x `height` pixels, at most 16383 each; `loop_count` 0 plays for ever.
    pub(crate) fn new(width: u32, height: u32, loop_count: u32, quality: Quality) -> Result<Self, Error> {
        let limit = crate::format::ImageFormat::Webp.max_edge();
        if width.max(height) > limit {
            let (value, limit) = (u64::from(width.max(height)), u64::from(limit));
            return Err(Error::OutputTooLarge { what: "edge", value, limit });
        }
        let kind = Kind::of_pixels(u64::from(width) * u64::from(height));
        let config = lossy(quality::webp_quality(quality, Effort::Fast, kind), Effort::Fast)?;
        Ok(Self { size: (width, height), loop_count, config, encoder: None, clock: Duration::ZERO, transparent: false })
    }

    /// Adds a frame of the whole canvas, shown for `delay` (whole milliseconds count; rounding does not add up).
    pub(crate) fn add(&mut self, picture: &Picture, delay: Duration) -> Result<(), Error> {
        if (picture.width, picture.height) != self.size {
            return Err(failed("a frame of another size"));
        }
        let mut frame = Frame::of(picture, true)?;
        if self.encoder.is_none() {
            self.encoder = Some(Encoder::new(self.size, self.loop_count, graphic::is_graphic(picture))?);
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.add(Some(&mut frame), self.clock, &self.config)?;
        }
        self.clock += delay;
        self.transparent |= picture.alpha;
        Ok(())
    }

    /// Ends the last frame and muxes.
    ///
    /// # Errors
    /// [`Error::Encode`] when no frame was added, and with libwebp's own words when it fails.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        let mut encoder = self.encoder.ok_or_else(|| failed("an animation without frames"))?;
        // The frame that is none tells how long the last one shows.
        encoder.add(None, self.clock, &self.config)?;
        let mut bytes = encoder.assemble()?;
        // libwebp judges the frames that it wrote, not the canvas that shows between them: readers that believe the flag
        // of the extended header would show black there.
        if self.transparent && bytes.get(12..16) == Some(b"VP8X") {
            bytes[FLAGS] |= ALPHA;
        }
        Ok(bytes)
    }
}

/// libwebp's encoder, deleted when dropped.
struct Encoder(NonNull<sys::WebPAnimEncoder>);

impl Encoder {
    fn new(size: (u32, u32), loop_count: u32, graphic: bool) -> Result<Self, Error> {
        let version = sys::WebPGetMuxABIVersion();
        let mut options = MaybeUninit::<sys::WebPAnimEncoderOptions>::zeroed();
        // SAFETY: `options` is writable and read only after libwebp says that it has filled it.
        let mut options = unsafe {
            if sys::WebPAnimEncoderOptionsInitInternal(options.as_mut_ptr(), version) == 0 {
                return Err(failed("version"));
            }
            options.assume_init()
        };
        // 16 bits in the ANIM chunk.
        options.anim_params.loop_count = loop_count.min(65_535) as c_int;
        options.anim_params.bgcolor = 0;
        (options.kmin, options.kmax) = KEY_FRAMES;
        // Tries both for every frame: two to three times the time, worth it for drawings only.
        options.allow_mixed = c_int::from(graphic);
        // SAFETY: `options` is initialised and copied; sizes are at most 16383.
        let encoder = unsafe { sys::WebPAnimEncoderNewInternal(size.0 as c_int, size.1 as c_int, &options, version) };
        NonNull::new(encoder).map(Self).ok_or_else(|| failed("the animation is not accepted"))
    }

    fn add(&mut self, frame: Option<&mut Frame>, at: Duration, config: &sys::WebPConfig) -> Result<(), Error> {
        let at = c_int::try_from(at.as_millis()).map_err(|_| failed("the animation is too long"))?;
        let frame = frame.map_or(ptr::null_mut(), |frame| ptr::from_mut(&mut *frame.0));
        // SAFETY: the encoder is alive; `frame` is null or a whole ARGB image, which libwebp does not keep.
        if unsafe { sys::WebPAnimEncoderAdd(self.0.as_ptr(), frame, at, config) } == 0 {
            return Err(self.error());
        }
        Ok(())
    }

    fn assemble(&mut self) -> Result<Vec<u8>, Error> {
        let mut data = Data(sys::WebPData { bytes: ptr::null(), size: 0 });
        // SAFETY: the encoder is alive and `data` is an empty buffer for libwebp to fill.
        if unsafe { sys::WebPAnimEncoderAssemble(self.0.as_ptr(), &mut data.0) } == 0 || data.0.bytes.is_null() {
            return Err(self.error());
        }
        // SAFETY: not null, and holds `size` bytes.
        Ok(unsafe { std::slice::from_raw_parts(data.0.bytes, data.0.size) }.to_vec())
    }

    fn error(&mut self) -> Error {
        // SAFETY: the encoder is alive; its message ends in NUL and lives as long.
        let words = unsafe {
            let words = sys::WebPAnimEncoderGetError(self.0.as_ptr());
            if words.is_null() { None } else { Some(CStr::from_ptr(words).to_string_lossy()) }
        };
        failed(words.as_deref().unwrap_or("animation"))
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by `new`, deleted only here.
        unsafe { sys::WebPAnimEncoderDelete(self.0.as_ptr()) }
    }
}

/// A buffer of libwebp's.
struct Data(sys::WebPData);

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: null or allocated by libwebp; freed only here.
        unsafe { sys::WebPDataClear(&mut self.0) }
    }
}
