//! Each stage of a cold picture by itself, on one thread: decode, scale, encode, placeholders.
//!
//! `cargo bench --bench bench_stages -- [FILTER]`, for example `scale`. The pictures are the repository's fixtures, a
//! photograph of 3.8 megapixels first. Reads only; how the stages add up under load is the matter of bench_compare.

use std::path::Path;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use pixgate::format::ImageFormat;
use pixgate::imaging::Picture;
use pixgate::imaging::calibration;
use pixgate::variant::{Effort, Quality};

const PICTURES: [&str; 5] = ["lake.jpg", "dusk.jpg", "screenshot.png", "logo.png", "cat.webp"];
const WIDTHS: [u32; 3] = [256, 640, 1080];

static SOURCES: LazyLock<Vec<(&str, Vec<u8>, Picture)>> = LazyLock::new(|| {
    let of = |name: &'static str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images").join(name);
        let bytes = std::fs::read(&path).expect("a fixture");
        let picture = calibration::decode(&bytes).expect("a picture");
        (name, bytes, picture)
    };
    PICTURES.into_iter().map(of).collect()
});

fn main() {
    LazyLock::force(&SOURCES);
    divan::main();
}

fn source(name: &str) -> &'static (&'static str, Vec<u8>, Picture) {
    SOURCES.iter().find(|(known, ..)| *known == name).expect("one of PICTURES")
}

/// Items are pixels, so that pictures of different sizes can be compared.
fn pixels(picture: &Picture) -> ItemsCount {
    ItemsCount::new(picture.width as usize * picture.height as usize)
}

#[divan::bench(args = PICTURES)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let (_, bytes, picture) = source(name);
    bencher.counter(pixels(picture)).bench(|| calibration::decode(bytes).expect("a picture"));
}

/// Of the source's pixels: the scaler reads all of them.
#[divan::bench(args = PICTURES, consts = WIDTHS)]
fn scale<const WIDTH: u32>(bencher: Bencher<'_, '_>, name: &str) {
    let (.., picture) = source(name);
    bencher.counter(pixels(picture)).bench(|| calibration::scale(picture, WIDTH).expect("a picture").pixels.len());
}

/// At quality 75 and 640 pixels across, as whoever asks first gets it, and as what is asked for again is refined.
mod encode {
    use super::*;

    fn run(bencher: Bencher<'_, '_>, name: &str, format: ImageFormat, effort: Effort) {
        let scaled = calibration::scale(&source(name).2, 640).expect("a picture");
        let encode = || calibration::encode(&scaled, format, Quality::DEFAULT, effort).expect("bytes");
        bencher.counter(pixels(&scaled)).bench(encode);
    }

    #[divan::bench(args = PICTURES)]
    fn avif(bencher: Bencher<'_, '_>, name: &str) {
        run(bencher, name, ImageFormat::Avif, Effort::Fast);
    }

    #[divan::bench(args = PICTURES)]
    fn avif_dense(bencher: Bencher<'_, '_>, name: &str) {
        run(bencher, name, ImageFormat::Avif, Effort::Dense);
    }

    #[divan::bench(args = PICTURES)]
    fn webp(bencher: Bencher<'_, '_>, name: &str) {
        run(bencher, name, ImageFormat::Webp, Effort::Fast);
    }

    #[divan::bench(args = PICTURES)]
    fn webp_dense(bencher: Bencher<'_, '_>, name: &str) {
        run(bencher, name, ImageFormat::Webp, Effort::Dense);
    }

    #[divan::bench(args = PICTURES)]
    fn jpeg(bencher: Bencher<'_, '_>, name: &str) {
        run(bencher, name, ImageFormat::Jpeg, Effort::Fast);
    }

    #[divan::bench(args = PICTURES)]
    fn png(bencher: Bencher<'_, '_>, name: &str) {
        run(bencher, name, ImageFormat::Png, Effort::Fast);
    }
}

#[divan::bench(args = PICTURES)]
fn placeholders(bencher: Bencher<'_, '_>, name: &str) {
    let (.., picture) = source(name);
    bencher.counter(pixels(picture)).bench(|| calibration::placeholder(picture).expect("placeholders"));
}
