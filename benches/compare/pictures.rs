//! What is rendered: photographs, a graphic with alpha, a screenshot with text, a progressive JPEG of 25 megapixels and,
//! for the widths of one page, a photograph of 12.
//!
//! From the repository's fixtures; the two large ones are made from the largest photograph, enlarged and given a sensor's
//! grain, unless the corpus has pictures of their size. With a corpus the photographs are mostly its own.

use std::path::Path;
use std::sync::Arc;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use mozjpeg::{ColorSpace, Compress};
use pixgate::imaging::calibration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    Photo,
    Alpha,
    Screenshot,
    Huge,
    Page,
    /// More photographs, of fixtures and corpus, for what is measured over many.
    More,
}

impl Class {
    /// Those of the cold rows.
    pub(crate) const COLD: [Self; 4] = [Self::Photo, Self::Alpha, Self::Screenshot, Self::Huge];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Photo => "photograph",
            Self::Alpha => "graphic with alpha",
            Self::Screenshot => "screenshot with text",
            Self::Huge => "25 MP progressive JPEG",
            Self::Page => "12 MP photograph",
            Self::More => "more photographs",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) size: (u32, u32),
}

impl Source {
    fn new(name: &str, class: Class, bytes: Vec<u8>) -> Self {
        let picture = calibration::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), class, bytes: Arc::new(bytes), size: (picture.width, picture.height) }
    }

    /// Of `widths`, those that give different pictures: the first that reaches the source's own width is the last.
    pub(crate) fn widths(&self, widths: &[u32]) -> Vec<u32> {
        let reached = widths.iter().position(|width| *width >= self.size.0);
        widths[..reached.map_or(widths.len(), |last| last + 1)].to_vec()
    }
}

const FROM_CORPUS: usize = 5;
/// All photographs among the fixtures.
const FIXTURES: [&str; 7] =
    ["lake.jpg", "hubble.jpg", "retina.jpg", "coffee.jpg", "dusk.jpg", "astronaut.jpg", "cat.webp"];

pub(crate) fn all(corpus: Option<&Path>, quick: bool) -> Vec<Source> {
    let fixture = |name: &str, class| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images").join(name);
        Source::new(name, class, std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    let found = corpus.map(|corpus| from_corpus(&corpus.join("photos"))).unwrap_or_default();
    let names: &[&str] = match (quick, found.is_empty()) {
        (true, _) => &["lake.jpg", "retina.jpg"],
        (false, true) => &["lake.jpg", "hubble.jpg", "retina.jpg", "coffee.jpg", "dusk.jpg"],
        (false, false) => &["lake.jpg", "hubble.jpg"],
    };
    let mut sources: Vec<Source> = names.iter().map(|name| fixture(name, Class::Photo)).collect();
    sources.push(fixture("logo.png", Class::Alpha));
    sources.push(fixture("screenshot.png", Class::Screenshot));
    let largest = sources[0].clone();
    let kept = if quick { 1 } else { FROM_CORPUS };
    let (photos, more) = split(&found, kept);
    sources.extend(photos);
    let known: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let rest = FIXTURES.iter().filter(|name| !known.iter().any(|known| known == *name));
    sources.extend(rest.map(|name| fixture(name, Class::More)));
    sources.extend(more);
    for (class, size, progressive) in [(Class::Huge, (6144, 4096), true), (Class::Page, (4243, 2829), false)] {
        let own = found.iter().find(|source| source.class == class).cloned();
        sources.push(own.unwrap_or_else(|| enlarged(&largest, class, size, progressive)));
    }
    sources
}

/// The first few photographs of the corpus, and the rest.
fn split(found: &[Source], kept: usize) -> (Vec<Source>, Vec<Source>) {
    let photos = found.iter().filter(|source| source.class == Class::Photo);
    let more = photos.clone().skip(kept).map(|source| Source { class: Class::More, ..source.clone() });
    (photos.clone().take(kept).cloned().collect(), more.collect())
}

/// Every third file, so that a few are of many kinds; the large ones by their size.
fn from_corpus(dir: &Path) -> Vec<Source> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let Ok(picture) = calibration::decode(&bytes) else { continue };
        // SOF2, the frame of a progressive JPEG (ITU-T T.81, B.2.2).
        let progressive = bytes.windows(4).any(|window| window == [0xFF, 0xC2, 0x00, 0x11]);
        let class = match u64::from(picture.width) * u64::from(picture.height) / 1_000_000 {
            20.. if progressive => Class::Huge,
            10..15 => Class::Page,
            0..10 => Class::Photo,
            _ => continue,
        };
        let size = (picture.width, picture.height);
        sources.push(Source { name: name.to_owned(), class, bytes: Arc::new(bytes), size });
    }
    let (photos, mut others): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| source.class == Class::Photo);
    let start = |start: usize| photos.iter().skip(start).step_by(3).cloned();
    others.extend((0..3).flat_map(start));
    others
}

fn enlarged(source: &Source, class: Class, size: (u32, u32), progressive: bool) -> Source {
    let picture = calibration::decode(&source.bytes).expect("decoded before");
    let pixels: Vec<U8x3> = picture.pixels.chunks_exact(3).map(|p| U8x3::new([p[0], p[1], p[2]])).collect();
    let from = TypedImageRef::new(picture.width, picture.height, &pixels).expect("a photograph without alpha");
    let mut to = TypedImage::<U8x3>::new(size.0, size.1);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize_typed(&from, &mut to, &options).expect("enlarges");
    let mut grain = fastrand::Rng::with_seed(u64::from(size.0));
    let noisy = |code: u8, noise: i16| (i16::from(code) + noise).clamp(0, 255) as u8;
    let pixels: Vec<u8> = to
        .pixels()
        .iter()
        .flat_map(|pixel| {
            let noise = grain.i16(-3..=3) + grain.i16(-3..=3);
            pixel.0.map(|code| noisy(code, noise))
        })
        .collect();
    let mut compress = Compress::new(ColorSpace::JCS_RGB);
    compress.set_size(size.0 as usize, size.1 as usize);
    compress.set_quality(88.0);
    compress.set_optimize_scans(false);
    if progressive {
        compress.set_progressive_mode();
    } else {
        compress.set_fastest_defaults();
        compress.set_quality(88.0);
    }
    let mut compress = compress.start_compress(Vec::new()).expect("starts");
    compress.write_scanlines(&pixels).expect("writes");
    let bytes = compress.finish().expect("finishes");
    let name = if progressive { "enlarged-25mp-progressive.jpg" } else { "enlarged-12mp.jpg" };
    Source { name: name.to_owned(), class, bytes: Arc::new(bytes), size }
}
