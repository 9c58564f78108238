//! High dynamic range (PQ, HLG) to sRGB: a plain, stable mapping, not a grading.
//!
//! Reference white (203 cd/m², ITU-R BT.2408) becomes white of the knee: up to 80 % of it light is kept as it is, above
//! it highlights are compressed exponentially towards 1, all three channels by one factor so that hues hold.

use super::colour::{Channels, Samples};

/// Light of diffuse white in cd/m², BT.2408.
const REFERENCE_WHITE: f32 = 203.0;
/// Where compression begins, as a share of white.
const KNEE: f32 = 0.8;

/// A transfer characteristic with more range than a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// SMPTE ST 2084, absolute light up to 10 000 cd/m².
    Pq,
    /// ARIB STD-B67, relative, shown as on a display of 1000 cd/m².
    Hlg,
}

impl Transfer {
    /// By its code point in ITU-T H.273.
    pub(super) fn of(code: u8) -> Option<Self> {
        match code {
            16 => Some(Self::Pq),
            18 => Some(Self::Hlg),
            _ => None,
        }
    }

    /// Signal to light; 1 is reference white for PQ, scene light 0 to 1 for HLG.
    fn light(self, signal: f32) -> f32 {
        match self {
            Self::Pq => {
                let power = signal.powf(1.0 / 78.843_75);
                let light = ((power - 0.835_937_5).max(0.0) / (18.851_562 - 18.6875 * power)).powf(1.0 / 0.159_301_76);
                light * 10_000.0 / REFERENCE_WHITE
            }
            Self::Hlg if signal <= 0.5 => signal * signal / 3.0,
            Self::Hlg => (((signal - 0.559_910_7) / 0.178_832_77).exp() + 0.284_668_92) / 12.0,
        }
    }
}

/// To sRGB, or `None` for samples that cannot be high dynamic range.
pub(super) fn to_srgb(
    samples: &Samples,
    channels: Channels,
    primaries: u8,
    transfer: Transfer,
) -> Option<(Samples, Channels)> {
    let (count, alpha) = match channels {
        Channels::Rgb => (3, false),
        Channels::Rgba => (4, true),
        Channels::Grey => (1, false),
        Channels::GreyAlpha => (2, true),
        Channels::Cmyk => return None,
    };
    let curve = Curves::new(transfer);
    let matrix = to_bt709(primaries);
    let colours = if count < 3 { 1 } else { 3 };
    let pixel = |sample: &dyn Fn(usize) -> u16, out: &mut Vec<u16>| {
        let of = |at: usize| curve.light[usize::from(sample(at.min(colours - 1)) >> 4)];
        let rgb = curve.shown(transfer, matrix, [of(0), of(1), of(2)]);
        out.extend(rgb);
        if alpha {
            out.push(sample(count - 1));
        }
    };
    let mut out = Vec::new();
    match samples {
        Samples::Eight(values) => {
            out.reserve_exact(values.len() / count * if alpha { 4 } else { 3 });
            values.chunks_exact(count).for_each(|p| pixel(&|at| u16::from(p[at]) * 257, &mut out));
        }
        Samples::Sixteen(values) => {
            out.reserve_exact(values.len() / count * if alpha { 4 } else { 3 });
            values.chunks_exact(count).for_each(|p| pixel(&|at| p[at], &mut out));
        }
    }
    Some((Samples::Sixteen(out), if alpha { Channels::Rgba } else { Channels::Rgb }))
}

/// Tables, so that a pixel costs no powers: 12 bits of signal in, sRGB by the root of light out.
struct Curves {
    light: Vec<f32>,
    srgb: Vec<u16>,
}

impl Curves {
    fn new(transfer: Transfer) -> Self {
        let light = (0..4096).map(|at| transfer.light(at as f32 / 4095.0)).collect();
        let encode = |light: f32| {
            if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
        };
        let srgb = (0..4096)
            .map(|at| {
                let root = at as f32 / 4095.0;
                (encode(root * root) * 65_535.0 + 0.5) as u16
            })
            .collect();
        Self { light, srgb }
    }

    fn shown(&self, transfer: Transfer, matrix: Option<[[f32; 3]; 3]>, mut rgb: [f32; 3]) -> [u16; 3] {
        if transfer == Transfer::Hlg {
            // The system gamma of 1.2 for a 1000 cd/m² display, BT.2100.
            let luminance = 0.2627 * rgb[0] + 0.6780 * rgb[1] + 0.0593 * rgb[2];
            let gain = 1000.0 / REFERENCE_WHITE * luminance.powf(0.2);
            rgb = rgb.map(|v| v * gain);
        }
        if let Some(m) = matrix {
            rgb = m.map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2]);
        }
        let peak = rgb[0].max(rgb[1]).max(rgb[2]);
        let factor = if peak > KNEE {
            (KNEE + (1.0 - KNEE) * (1.0 - (-(peak - KNEE) / (1.0 - KNEE)).exp())) / peak
        } else {
            1.0
        };
        rgb.map(|v| self.srgb[((v * factor).clamp(0.0, 1.0).sqrt() * 4095.0 + 0.5) as usize])
    }
}

/// Linear light of these primaries to BT.709's; `None` when they are the same or unknown.
fn to_bt709(primaries: u8) -> Option<[[f32; 3]; 3]> {
    match primaries {
        // ITU-R BT.2087.
        9 => Some([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
        // Display P3 (SMPTE EG 432-1), both with a D65 white.
        12 => Some([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(signal: u16, transfer: Transfer) -> u8 {
        let (samples, _) = to_srgb(&Samples::Sixteen(vec![signal; 3]), Channels::Rgb, 9, transfer).expect("converted");
        match samples {
            Samples::Sixteen(values) => {
                assert!(values[0].abs_diff(values[1]) < 300 && values[1].abs_diff(values[2]) < 300, "{values:?}");
                (values[0] / 257) as u8
            }
            Samples::Eight(_) => unreachable!("HDR is converted at 16 bits"),
        }
    }

    #[test]
    fn known_signals_have_their_light() {
        // ST 2084: 58 % of the signal is about 203 cd/m²; full signal is 10 000.
        assert!((Transfer::Pq.light(0.5807) - 1.0).abs() < 0.02);
        assert!((Transfer::Pq.light(1.0) * REFERENCE_WHITE - 10_000.0).abs() < 5.0);
        // STD-B67: half the signal is a twelfth of the light, full signal all of it.
        assert!((Transfer::Hlg.light(0.5) - 1.0 / 12.0).abs() < 1e-4);
        assert!((Transfer::Hlg.light(1.0) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn brighter_stays_brighter_and_white_is_near_white() {
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            let ramp: Vec<u8> = (0..=64).map(|at| grey((at * 1023).min(65_535) as u16, transfer)).collect();
            assert!(ramp.is_sorted(), "{ramp:?}");
            assert_eq!(ramp[0], 0);
            assert_eq!(ramp[64], 255);
        }
        let white = grey((0.5807 * 65_535.0) as u16, Transfer::Pq);
        assert!((225..=250).contains(&white), "{white}");
    }
}
