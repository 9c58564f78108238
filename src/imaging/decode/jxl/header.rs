//! The first bits of a JPEG XL codestream (ISO/IEC 18181-1, annex D): size, orientation, sample kind, extra channels.
//!
//! Invariant: nothing after the extra channels is read. The colour profile that may follow is compressed, and only the
//! process of the decoder may unfold it. Field names are those of the standard.

/// What the first bits say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageHeader {
    pub(super) width: u32,
    pub(super) height: u32,
    /// 1 to 8, as in Exif.
    pub(super) orientation: u8,
    pub(super) animated: bool,
    pub(super) bits: u32,
    pub(super) float: bool,
    pub(super) extra_channels: u32,
    pub(super) alpha: bool,
    /// The black of ink.
    pub(super) black: bool,
    /// Lossy as a rule: three channels of floating point inside.
    pub(super) xyb: bool,
}

/// Bits, from the lowest of each byte.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One of four ways to write a number: `(bits, offset)`.
type Choice = [(u32, u32); 4];

const SIZE: Choice = [(9, 1), (13, 1), (18, 1), (30, 1)];
const ENUM: Choice = [(0, 0), (0, 1), (4, 2), (6, 18)];

impl Bits<'_> {
    fn u(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for bit in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.u(1)? == 1)
    }

    fn choose(&mut self, choices: Choice) -> Option<u32> {
        let (bits, offset) = choices[self.u(2)? as usize];
        self.u(bits)?.checked_add(offset)
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        self.at = self.at.checked_add(bits as usize)?;
        Some(())
    }

    fn size(&mut self) -> Option<(u32, u32)> {
        const RATIOS: [(u64, u64); 7] = [(1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)];
        let small = self.flag()?;
        let edge = |bits: &mut Self| if small { Some((bits.u(5)? + 1) * 8) } else { bits.choose(SIZE) };
        let height = edge(self)?;
        let ratio = self.u(3)? as usize;
        let width = match ratio.checked_sub(1) {
            None => edge(self)?,
            Some(ratio) => u32::try_from(u64::from(height) * RATIOS[ratio].0 / RATIOS[ratio].1).ok()?,
        };
        Some((width, height))
    }

    /// The size of a preview, which is of no use here.
    fn preview(&mut self) -> Option<()> {
        const BY_EIGHT: Choice = [(0, 16), (0, 32), (5, 1), (9, 33)];
        const PLAIN: Choice = [(6, 1), (8, 65), (10, 321), (12, 1345)];
        let choices = if self.flag()? { BY_EIGHT } else { PLAIN };
        self.choose(choices)?;
        if self.u(3)? == 0 {
            self.choose(choices)?;
        }
        Some(())
    }

    fn animation(&mut self) -> Option<()> {
        self.choose([(0, 100), (0, 1000), (10, 1), (30, 1)])?;
        self.choose([(0, 1), (0, 1001), (8, 1), (10, 1)])?;
        self.choose([(0, 0), (3, 0), (16, 0), (32, 0)])?;
        self.flag().map(drop)
    }

    /// Bits of a sample, and whether it is a floating-point number.
    fn depth(&mut self) -> Option<(u32, bool)> {
        let float = self.flag()?;
        let bits = if float {
            let bits = self.choose([(0, 32), (0, 16), (0, 24), (6, 1)])?;
            self.skip(4)?;
            bits
        } else {
            self.choose([(0, 8), (0, 10), (0, 12), (6, 1)])?
        };
        Some((bits, float))
    }

    /// The kind of an extra channel.
    fn extra_channel(&mut self) -> Option<u32> {
        if self.flag()? {
            return Some(ALPHA);
        }
        let kind = self.choose(ENUM)?;
        self.depth()?;
        self.choose([(0, 0), (0, 3), (0, 4), (3, 1)])?;
        let name = self.choose([(0, 0), (4, 0), (5, 16), (10, 48)])?;
        self.skip(name * 8)?;
        match kind {
            ALPHA => self.skip(1)?,
            SPOT => self.skip(4 * 16)?,
            FILTER_ARRAY => self.choose([(0, 1), (2, 0), (4, 3), (8, 19)]).map(drop)?,
            _ => {}
        }
        Some(kind)
    }
}

const ALPHA: u32 = 0;
const SPOT: u32 = 2;
const BLACK: u32 = 4;
const FILTER_ARRAY: u32 = 5;

/// Reads a codestream's beginning, its two bytes of signature included; `None` when it ends too early.
pub(super) fn read(codestream: &[u8]) -> Option<ImageHeader> {
    let mut bits = Bits { bytes: codestream.strip_prefix(&[0xFF, 0x0A])?, at: 0 };
    let (width, height) = bits.size()?;
    let plain = ImageHeader { width, height, orientation: 1, bits: 8, xyb: true, ..ImageHeader::default() };
    // All that follows is as usual.
    if bits.flag()? {
        return Some(plain);
    }
    let (mut orientation, mut animated) = (1, false);
    if bits.flag()? {
        orientation = bits.u(3)? as u8 + 1;
        if bits.flag()? {
            bits.size()?;
        }
        if bits.flag()? {
            bits.preview()?;
        }
        animated = bits.flag()?;
        if animated {
            bits.animation()?;
        }
    }
    let (depth, float) = bits.depth()?;
    // Whether 16 bits are enough inside.
    bits.flag()?;
    let extra_channels = bits.choose([(0, 0), (0, 1), (4, 2), (12, 1)])?;
    let (mut alpha, mut black) = (false, false);
    for _ in 0..extra_channels {
        let kind = bits.extra_channel()?;
        alpha |= kind == ALPHA;
        black |= kind == BLACK;
    }
    let xyb = bits.flag()?;
    Some(ImageHeader { orientation, animated, bits: depth, float, extra_channels, alpha, black, xyb, ..plain })
}
