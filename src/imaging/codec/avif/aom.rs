//! One AV1 still image through libaom's C interface.
//!
//! Why unsafe is right here: libaom is 5 to 12 times faster than the encoders written in Rust at equal bytes and score,
//! and encoding is not where a stranger's bytes are parsed: it reads planes this process made, of sizes checked here.
//! Invariant: **every pointer handed over outlives the call, every context is destroyed on every path** ([`Context`]).
#![expect(unsafe_code, reason = "libaom has a C interface; see the argument above")]

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr;

use libaom_sys as sys;

use super::super::Error;
use super::Kind;
use super::detail::{self, Detail};
use super::yuv::{Sample, Yuv};
use crate::variant::Effort;

/// How libaom goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// `cpu-used`, fastest at 9.
    cpu_used: c_int,
    /// The lowest and the highest quantiser matrix: 0 spares fine detail least of all, 15 treats all frequencies alike.
    matrices: (c_int, c_int),
    /// Whether blocks may be drawn from palettes and copied from elsewhere in the image.
    palettes: bool,
    /// A search made short: square blocks of at least 8 px, one transform, and more weight on detail than on error.
    short: bool,
}

impl Setting {
    /// The `cpu-used` that measures best for each, 9 being the fastest for stills: a tenth of the time of Next.js's AVIF.
    ///
    /// 8 saves 7 % of the bytes for three to four times the time: 97 ms for 28 at 1080 px wide, 222 for 59 at 1920. It is taken
    /// where that is little time (small photographs: 33 ms at 384 px), and about 1920 px wide, where 9 takes 13 % more bytes than
    /// Next.js at the same score. Of graphics 9 makes poor work, because it tries no palettes: 8 takes a third fewer bytes for
    /// three times the time.
    ///
    /// At coarse qualities, scores of 50 and less, 8 saves next to nothing. A short search at 6 takes 8 % fewer bytes than 9 at 640
    /// and 1080 px (69 and 128 ms for 10 and 25); the whole search saves 6 % more for 1.6 times its time.
    ///
    /// More effort: 5 takes 7 to 9 % fewer bytes than 6, of photographs whose grain 9 already codes well too, where 6 saves
    /// nothing; but four times the time: about a second a megapixel, so not of huge ones.
    ///
    /// The matrices are what measures best with each, by SSIMULACRA2: 9 leaves to them what it does not weigh itself.
    ///
    /// libaom takes a photograph without grain, a blurred one for one, for a drawing. With palettes 8 makes three times
    /// the bytes of it, and 5 takes twice its time.
    pub(super) const fn of(effort: Effort, kind: Kind, coarse: bool) -> Self {
        let short = coarse && matches!((effort, kind), (Effort::Fast, Kind::Small | Kind::Medium | Kind::Large));
        let (cpu_used, matrices) = match (effort, kind) {
            _ if short => (6, (5, 6)),
            (Effort::Fast, Kind::Medium | Kind::Huge) => (9, (0, 4)),
            (Effort::Fast, Kind::Small | Kind::Large) => (8, (5, 10)),
            (Effort::Dense, Kind::Small | Kind::Medium | Kind::Large) => (5, (5, 10)),
            (Effort::Dense, Kind::Huge) => (6, (5, 10)),
            (Effort::Fast, Kind::Graphic) => (8, (2, 10)),
            (Effort::Dense, Kind::Graphic) => (6, (2, 10)),
        };
        Self { cpu_used, matrices, palettes: matches!(kind, Kind::Graphic), short }
    }

    /// Steps of `cq-level` by which a photograph's level is coarser than that of its kind, so that each has about the score
    /// that Next.js gives it: so many for each doubling of grain, and finer in the dark. Fitted over nineteen photographs at
    /// 256, 384, 640 and 1080 px (r² 0.7 to 0.9; 0.4 for 9, which weighs grain itself).
    pub(super) fn shift(self, detail: Detail, kind: Kind) -> f32 {
        let (grain, dark) = match self.cpu_used {
            9 => (1.2, 3.0),
            8 => (2.7, 3.0),
            _ if self.short => (1.9, 3.0),
            _ => (2.5, 1.5),
        };
        grain * (detail.grain - detail::typical(kind)) - dark * detail.dark
    }
}

/// Encodes `picture` at `cq_level`, 0 best to 63 worst, and returns its OBUs (AV1 specification §5.3).
pub(super) fn encode<S: Sample>(picture: &Yuv<S>, cq_level: u8, setting: Setting) -> Result<Vec<u8>, Error> {
    let (width, height) = (picture.width, picture.height);
    let side = |size: u32| if picture.subsampled { size.div_ceil(2) } else { size };
    let chroma = side(width) as usize * side(height) as usize;
    let luma = width as usize * height as usize;
    if luma == 0 || width > 65_535 || picture.y.len() != luma || picture.u.len() != chroma || picture.v.len() != chroma
    {
        return Err(Error::Encode("libaom: planes do not match the size".to_owned()));
    }
    let mut context = Context::new(picture, cq_level, setting)?;
    let narrow = if picture.subsampled { sys::AOM_IMG_FMT_I420 } else { sys::AOM_IMG_FMT_I444 };
    let format = if size_of::<S>() == 2 { narrow | sys::AOM_IMG_FMT_HIGHBITDEPTH } else { narrow };
    let mut image = MaybeUninit::<sys::aom_image_t>::zeroed();
    // libaom's image type is mutable for its decoder; its encoder only reads (it would denoise in place, which stays
    // off), so planes borrowed as shared are never written.
    let plane = |samples: &[S]| samples.as_ptr().cast_mut().cast::<u8>();
    // SAFETY: `image` is writable and zeroed; a non-null buffer makes libaom only fill in the description, without
    // reading the buffer. On success (not null) the structure is initialised.
    let mut image = unsafe {
        if sys::aom_img_wrap(image.as_mut_ptr(), format, width, height, 1, plane(&picture.y)).is_null() {
            return Err(Error::Encode("libaom: the size is not accepted".to_owned()));
        }
        image.assume_init()
    };
    // `aom_img_wrap` assumes even sizes and one buffer; ours are exact and three.
    (image.w, image.h) = (width, height);
    image.planes = [plane(&picture.y), plane(&picture.u), plane(&picture.v)];
    image.stride = [width, side(width), side(width)].map(|samples| samples as c_int * size_of::<S>() as c_int);
    image.bit_depth = c_uint::from(S::BITS);
    image.range = sys::AOM_CR_FULL_RANGE;
    image.monochrome = c_int::from(picture.monochrome);

    let mut obus = Vec::new();
    context.send(Some(&image))?;
    // The flush: each call that says "no more" is asked once; asking again without a call gives the same data again.
    while context.receive(&mut obus) {
        context.send(None)?;
    }
    // A temporal delimiter, which libaom puts first, does not belong in AVIF (AV1 in HEIF §2.1).
    if obus.starts_with(&[0x12, 0x00]) {
        obus.drain(..2);
    }
    if obus.is_empty() { Err(Error::Encode("libaom: no data".to_owned())) } else { Ok(obus) }
}

/// An initialised encoder, destroyed when dropped.
struct Context(Box<sys::aom_codec_ctx_t>);

impl Context {
    fn new<S: Sample>(picture: &Yuv<S>, cq_level: u8, setting: Setting) -> Result<Self, Error> {
        // SAFETY: takes nothing and returns a pointer to a static description.
        let interface = unsafe { sys::aom_codec_av1_cx() };
        let mut config = MaybeUninit::<sys::aom_codec_enc_cfg_t>::zeroed();
        // SAFETY: `interface` is libaom's encoder, `config` is writable; read only after success.
        let mut config = unsafe {
            let code = sys::aom_codec_enc_config_default(interface, config.as_mut_ptr(), sys::AOM_USAGE_ALL_INTRA);
            if code != sys::AOM_CODEC_OK {
                return Err(failed("defaults", text(sys::aom_codec_err_to_string(code))));
            }
            config.assume_init()
        };
        config.g_w = picture.width;
        config.g_h = picture.height;
        // One frame: the still-image header.
        config.g_limit = 1;
        config.g_lag_in_frames = 0;
        config.g_threads = 1;
        config.g_bit_depth = c_uint::from(S::BITS);
        config.g_input_bit_depth = c_uint::from(S::BITS);
        // Main profile is 4:2:0 and monochrome, of 8 or 10 bits; 4:4:4 wants the high one.
        config.g_profile = c_uint::from(!picture.subsampled);
        config.monochrome = c_uint::from(picture.monochrome);
        config.rc_end_usage = sys::AOM_Q;
        config.rc_min_quantizer = 0;
        config.rc_max_quantizer = 63;

        let mut context = Box::new(MaybeUninit::<sys::aom_codec_ctx_t>::zeroed());
        let version = sys::AOM_ENCODER_ABI_VERSION as c_int;
        let flags = if size_of::<S>() == 2 { sys::AOM_CODEC_USE_HIGHBITDEPTH as sys::aom_codec_flags_t } else { 0 };
        // SAFETY: `context` is writable, zeroed and at a fixed address; libaom copies `config`. After success it is
        // initialised. On failure libaom has freed what it made, and the zeroed structure only lends its error.
        let mut context = unsafe {
            let code = sys::aom_codec_enc_init_ver(context.as_mut_ptr(), interface, &config, flags, version);
            if code != sys::AOM_CODEC_OK {
                return Err(failed("start", text(sys::aom_codec_error(context.as_ptr()))));
            }
            Self(context.assume_init())
        };
        for (what, control, value) in [
            ("cpu-used", sys::AOME_SET_CPUUSED, setting.cpu_used),
            ("cq-level", sys::AOME_SET_CQ_LEVEL, c_int::from(cq_level.min(63))),
            ("tune", sys::AOME_SET_TUNING, sys::AOM_TUNE_SSIM as c_int),
            ("enable-qm", sys::AV1E_SET_ENABLE_QM, 1),
            ("qm-min", sys::AV1E_SET_QM_MIN, setting.matrices.0),
            ("qm-max", sys::AV1E_SET_QM_MAX, setting.matrices.1),
            ("enable-palette", sys::AV1E_SET_ENABLE_PALETTE, c_int::from(setting.palettes)),
            ("enable-intrabc", sys::AV1E_SET_ENABLE_INTRABC, c_int::from(setting.palettes)),
            ("sharpness", sys::AOME_SET_SHARPNESS, c_int::from(setting.short)),
            ("rect-partitions", sys::AV1E_SET_ENABLE_RECT_PARTITIONS, c_int::from(!setting.short)),
            ("min-partition", sys::AV1E_SET_MIN_PARTITION_SIZE, if setting.short { 8 } else { 4 }),
            ("intra-dct-only", sys::AV1E_SET_INTRA_DCT_ONLY, c_int::from(setting.short)),
            ("primaries", sys::AV1E_SET_COLOR_PRIMARIES, sys::AOM_CICP_CP_BT_709 as c_int),
            ("transfer", sys::AV1E_SET_TRANSFER_CHARACTERISTICS, sys::AOM_CICP_TC_SRGB as c_int),
            ("matrix", sys::AV1E_SET_MATRIX_COEFFICIENTS, sys::AOM_CICP_MC_BT_601 as c_int),
            ("range", sys::AV1E_SET_COLOR_RANGE, sys::AOM_CR_FULL_RANGE as c_int),
        ] {
            context.control(what, control as c_int, value)?;
        }
        Ok(context)
    }

    fn control(&mut self, what: &str, control: c_int, value: c_int) -> Result<(), Error> {
        // SAFETY: the context is initialised, and every control used above takes one `int` or `unsigned int`.
        let code = unsafe { sys::aom_codec_control(&mut *self.0, control, value) };
        self.checked(what, code)
    }

    /// Hands over the image, or `None` for the end.
    fn send(&mut self, image: Option<&sys::aom_image_t>) -> Result<(), Error> {
        let image = image.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the context is initialised; `image` is null or describes planes that outlive this call, of the
        // sizes and strides checked in `encode`; libaom copies what it keeps.
        let code = unsafe { sys::aom_codec_encode(&mut *self.0, image, 0, 1, 0) };
        self.checked("encode", code)
    }

    /// Appends the data the last call of `send` made ready; false when there was none.
    fn receive(&mut self, obus: &mut Vec<u8>) -> bool {
        let mut position: sys::aom_codec_iter_t = ptr::null();
        let mut any = false;
        loop {
            // SAFETY: the context is initialised and `position` is this loop's own. A packet lives until the next call.
            let packet = unsafe { sys::aom_codec_get_cx_data(&mut *self.0, &mut position).as_ref() };
            let Some(packet) = packet else { return any };
            if packet.kind != sys::AOM_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: `kind` says that `frame` is the member in use; its buffer holds `sz` bytes.
            unsafe {
                let frame = packet.data.frame;
                if !frame.buf.is_null() {
                    obus.extend_from_slice(std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz));
                }
            }
            any = true;
        }
    }

    fn checked(&self, what: &str, code: sys::aom_codec_err_t) -> Result<(), Error> {
        if code == sys::AOM_CODEC_OK {
            return Ok(());
        }
        // SAFETY: the context is initialised; both texts are null or live as long as it.
        let (short, detail) =
            unsafe { (text(sys::aom_codec_error(&*self.0)), text(sys::aom_codec_error_detail(&*self.0))) };
        Err(failed(what, [short, detail].join(" ")))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed only here.
        unsafe {
            sys::aom_codec_destroy(&mut *self.0);
        }
    }
}

fn failed(what: &str, why: String) -> Error {
    Error::Encode(format!("libaom: {what}: {}", why.trim_end()))
}

/// A C string of libaom's as text; empty for null.
fn text(words: *const c_char) -> String {
    if words.is_null() {
        return String::new();
    }
    // SAFETY: not null, and libaom's messages end in NUL and are static or owned by a live context.
    unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Setting = Setting::of(Effort::Fast, Kind::Medium, false);

    fn grey<S: Sample>(width: u32, height: u32) -> Yuv<S> {
        let half = width.div_ceil(2) as usize * height.div_ceil(2) as usize;
        let y = vec![S::of(90); width as usize * height as usize];
        let middle = vec![S::of(1 << (S::BITS - 1)); half];
        Yuv { width, height, y, u: middle.clone(), v: middle, subsampled: true, monochrome: false }
    }

    #[test]
    fn planes_that_do_not_match_are_never_handed_over() {
        let mut short = grey::<u16>(17, 5);
        short.v.pop();
        assert!(encode(&short, 30, FAST).is_err());
        assert!(encode(&grey::<u8>(0, 0), 30, FAST).is_err());
    }

    #[test]
    fn what_is_smooth_or_dark_is_coded_finer() {
        let at = |grain, dark| FAST.shift(Detail { grain, dark }, Kind::Medium);
        assert_eq!(at(detail::typical(Kind::Medium), 0.0), 0.0);
        assert!(at(0.0, 0.0) < -1.0 && at(4.0, 0.0) > 1.0 && at(4.0, 1.0) < at(4.0, 0.0));
        // The fastest search weighs grain itself.
        let small = Setting::of(Effort::Fast, Kind::Small, false).shift(Detail { grain: 0.0, dark: 0.0 }, Kind::Medium);
        assert!(small < at(0.0, 0.0));
    }

    #[test]
    fn libaoms_own_words_reach_the_error() {
        let mut context = Context::new(&grey::<u8>(16, 16), 30, FAST).unwrap();
        let error = context.control("cq-level", sys::AOME_SET_CQ_LEVEL as c_int, 999).unwrap_err();
        assert!(error.to_string().contains("Invalid parameter"), "{error}");
    }

    #[test]
    fn a_still_begins_with_its_sequence_header() {
        let dense = Setting::of(Effort::Dense, Kind::Medium, false);
        // OBU type 1 in bits 6..3, size field present: no temporal delimiter before it.
        assert_eq!(encode(&grey::<u8>(33, 7), 40, dense).unwrap()[0], 0x0A);
        assert_eq!(encode(&grey::<u16>(33, 7), 40, dense).unwrap()[0], 0x0A);
    }
}
