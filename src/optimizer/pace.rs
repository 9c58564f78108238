//! How long an encoder will take, by what it took on this machine so far.
//!
//! Invariant: it is a guess, for choosing what a client gets now; nothing that is right or wrong depends on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Optimizer;
use crate::format::{ImageFormat, Negotiated};
use crate::imaging::{self, AvifEngine, SMALL, is_thorough};
use crate::record::SourceRecord;
use crate::variant::{Effort, FormatWish, Output, Quality, VariantKey, Wish};

/// Picoseconds a pixel before anything was measured: two cores of a server of these years, rounded up.
const AOM: u64 = 50_000;
const AOM_THOROUGH: u64 = 130_000;
const RAV1E: u64 = 500_000;
const WEBP: u64 = 45_000;
/// Smaller outputs say more about the fixed cost of a call, and smaller photographs are encoded otherwise.
const TELLING: u64 = SMALL;

/// What the formats that compete take for a pixel, in picoseconds: a moving average over about eight renders.
pub(super) struct Pace {
    avif: AtomicU64,
    /// At the settings that search longer.
    avif_thorough: AtomicU64,
    webp: AtomicU64,
}

impl Pace {
    pub(super) fn new(engine: AvifEngine) -> Self {
        let rav1e = engine == AvifEngine::Rav1e;
        let [avif, avif_thorough] = [AOM, AOM_THOROUGH].map(|aom| AtomicU64::new(if rav1e { RAV1E } else { aom }));
        Self { avif, avif_thorough, webp: AtomicU64::new(WEBP) }
    }

    fn of(&self, format: ImageFormat, pixels: u64, quality: Quality) -> Option<&AtomicU64> {
        match format {
            ImageFormat::Avif if is_thorough(pixels, quality) => Some(&self.avif_thorough),
            ImageFormat::Avif => Some(&self.avif),
            ImageFormat::Webp => Some(&self.webp),
            _ => None,
        }
    }

    /// Notes what encoding `pixels` took.
    pub(super) fn note(&self, format: ImageFormat, pixels: u64, quality: Option<Quality>, took: Duration) {
        let pace = self.of(format, pixels, quality.unwrap_or(Quality::DEFAULT));
        let Some(pace) = pace.filter(|_| pixels > TELLING) else { return };
        let now = u64::try_from(took.as_nanos() * 1_000 / u128::from(pixels)).unwrap_or(u64::MAX);
        // Two at once may lose one of them, which is one of many.
        let before = pace.load(Ordering::Relaxed);
        pace.store(before - before / 8 + now / 8, Ordering::Relaxed);
    }

    fn predicted(&self, format: ImageFormat, pixels: u64, quality: Option<Quality>) -> Duration {
        let pace = self.of(format, pixels, quality.unwrap_or(Quality::DEFAULT));
        let pace = pace.map_or(0, |pace| pace.load(Ordering::Relaxed));
        Duration::from_nanos(pace.saturating_mul(pixels) / 1_000)
    }
}

impl Optimizer {
    /// What a client that leaves the format to us gets now, when AVIF would take too long for it: WebP, if that is sooner.
    pub(super) fn instead(&self, wish: &Wish, record: &SourceRecord) -> Option<Wish> {
        let FormatWish::Negotiated(negotiated @ Negotiated { preferred: Some(ImageFormat::Avif), webp: true }) =
            wish.format
        else {
            return None;
        };
        let imaging = &self.tuning.load().imaging;
        let transform = wish.resolve(&record.shape());
        if transform.output != Output::Still(ImageFormat::Avif) {
            return None;
        }
        let format = FormatWish::Negotiated(Negotiated { preferred: Some(ImageFormat::Webp), ..negotiated });
        if imaging::judge_peak(self.peak(record, &transform, Effort::Fast), &imaging.limits).is_err() {
            // AVIF takes several times the memory of WebP; nothing better is to come.
            self.prospects.give_up(VariantKey::new(&record.content, &transform));
            return Some(Wish { format, ..*wish });
        }
        if !imaging.progressive || !self.prospects.of_source(record) {
            return None;
        }
        let (width, height) = transform.geometry.size();
        let pixels = u64::from(width) * u64::from(height);
        let [avif, webp] =
            [ImageFormat::Avif, ImageFormat::Webp].map(|format| self.pace.predicted(format, pixels, transform.quality));
        let late = avif > imaging.progressive_budget && webp < avif;
        late.then_some(Wish { format, ..*wish })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_follows_what_was_measured_and_tiny_outputs_do_not_count() {
        let pace = Pace::new(AvifEngine::Auto);
        let huge = 10_000_000;
        assert_eq!(pace.predicted(ImageFormat::Avif, huge, None), Duration::from_millis(500));
        for _ in 0..60 {
            pace.note(ImageFormat::Avif, 1_000_000, None, Duration::from_millis(10));
            pace.note(ImageFormat::Avif, SMALL, None, Duration::from_millis(10));
            pace.note(ImageFormat::Png, 1_000_000, None, Duration::from_secs(9));
        }
        let predicted = pace.predicted(ImageFormat::Avif, huge, None);
        assert!(predicted > Duration::from_millis(95) && predicted < Duration::from_millis(110), "{predicted:?}");
        assert_eq!(pace.predicted(ImageFormat::Webp, huge, None), Duration::from_millis(450), "each for itself");
        let large = pace.predicted(ImageFormat::Avif, 2_000_000, None);
        assert_eq!(large, Duration::from_millis(260), "another setting");
        assert_eq!(pace.predicted(ImageFormat::Avif, 1_000_000, Quality::new(50)), Duration::from_millis(130));
    }
}
