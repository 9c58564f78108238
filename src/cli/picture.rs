//! `pixgate render` and `pixgate placeholder`: one image, from a file or a URL, without a service.
//!
//! Invariant: the same limits, address guard and pipeline as the service's; only the lists of sizes and qualities are not
//! asked, because the operator is the one who asks. A URL that he names is a source he allows, by that host.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use url::Url;

use super::write_result;
use crate::config::Config;
use crate::format::ImageFormat;
use crate::imaging::{self, Probe};
use crate::source::{Fetched, Fetcher, SourcePolicy};
use crate::telemetry::{Loggable, Metrics};
use crate::variant::{Fit, FormatWish, Quality, Rgb, Wish};

/// What `/image` draws when no quality is asked for.
const QUALITY: u8 = 75;

/// Arguments of `render`.
#[derive(Args, Debug)]
pub(super) struct Render {
    /// A file, or an http(s) URL
    source: String,
    /// Width in pixels; the image is never enlarged
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    width: Option<u32>,
    /// Height in pixels
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    height: Option<u32>,
    /// avif, webp, jpeg or png; without it by OUT's extension, else the first of images.formats
    #[arg(short, long, value_parser = format)]
    format: Option<ImageFormat>,
    /// Visible quality, 1 to 100
    #[arg(short, long, default_value_t = QUALITY, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// inside, cover, contain or fill
    #[arg(long, default_value = "inside", value_parser = fit)]
    fit: Fit,
    /// Colour for padding and behind transparency, rrggbb
    #[arg(long, value_name = "RRGGBB", value_parser = colour)]
    bg: Option<Rgb>,
    /// Where to write the image; - is standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
}

fn format(name: &str) -> Result<ImageFormat, &'static str> {
    ImageFormat::output_from_name(name).ok_or("must be avif, webp, jpeg or png")
}

fn fit(name: &str) -> Result<Fit, &'static str> {
    Fit::from_name(name).ok_or("must be inside, cover, contain or fill")
}

fn colour(text: &str) -> Result<Rgb, &'static str> {
    Rgb::from_hex(text).ok_or("must be six hexadecimal digits, rrggbb")
}

impl Render {
    pub(super) fn run(self, config: Config) -> anyhow::Result<()> {
        let named = self.output.extension().and_then(|extension| ImageFormat::output_from_name(extension.to_str()?));
        if let (None, None, Some(ending)) = (self.format, named, self.output.extension()) {
            let message = format!(
                ".{} is not a format that is written; OUT must end in .avif, .webp, .jpg or .png, or -f must say the format\n",
                ending.display()
            );
            return Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, message).into());
        }
        let format = self.format.or(named).or_else(|| config.http.formats.first().copied());
        let sizes = &config.http.sizes;
        let wish = Wish {
            width: self.width,
            height: self.height,
            cap: sizes.device_sizes.iter().chain(&sizes.image_sizes).copied().max().unwrap_or(u32::MAX),
            max_pixels: sizes.max_output_pixels,
            fit: self.fit,
            quality: Some(Quality::new(self.quality).context("quality must be 1 to 100")?),
            format: FormatWish::Exactly(format.unwrap_or(ImageFormat::Webp)),
            background: self.bg,
        };
        let (bytes, probe) = open(&self.source, &config)?;
        let start = Instant::now();
        let transform = wish.resolve(&probe.shape());
        let deadline = start + config.schedule.render_timeout;
        let rendered = imaging::render(&bytes, &probe, &transform, &config.imaging, deadline)
            .with_context(|| format!("cannot render {}", Loggable::text(&self.source)))?;
        write_result(Some(&self.output), &rendered.bytes)?;
        let (before, after) = (bytes.len(), rendered.bytes.len());
        let kept = if rendered.original { ", the source's own bytes" } else { "" };
        writeln!(
            io::stderr(),
            "{} {}x{} {before} bytes -> {} {}x{} {after} bytes in {} ms{kept}",
            probe.format,
            probe.width,
            probe.height,
            rendered.format,
            rendered.width,
            rendered.height,
            start.elapsed().as_millis(),
        )?;
        Ok(())
    }
}

/// Which of the placeholders is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// All of them, in the shape of a Next.js static import
    #[default]
    Json,
    /// BlurHash text
    Blurhash,
    /// ThumbHash in base64
    Thumbhash,
    /// A blurred SVG of the image's own aspect
    Svg,
    /// A CSS background
    Css,
    /// The tiny image itself
    Png,
}

/// Arguments of `placeholder`.
#[derive(Args, Debug)]
pub(super) struct Placeholder {
    /// A file, or an http(s) URL
    source: String,
    /// Which placeholder
    #[arg(long, value_enum, default_value_t)]
    format: Shape,
    /// Where to write it; standard output when absent or -
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

impl Placeholder {
    pub(super) fn run(self, config: Config) -> anyhow::Result<()> {
        let (bytes, probe) = open(&self.source, &config)?;
        let deadline = Instant::now() + config.schedule.render_timeout;
        let set = imaging::placeholder(&bytes, &probe, &config.imaging, deadline)
            .with_context(|| format!("cannot make a placeholder of {}", Loggable::text(&self.source)))?;
        let mut text = match self.format {
            Shape::Png => return write_result(self.output.as_deref(), &set.png),
            Shape::Json => {
                serde_json::to_string_pretty(&set.document(&self.source, &probe.shape(), bytes.len() as u64))?
            }
            Shape::Blurhash => set.blurhash,
            Shape::Thumbhash => STANDARD.encode(&set.thumbhash),
            Shape::Svg => set.svg(probe.width, probe.height),
            Shape::Css => set.css(),
        };
        text.push('\n');
        write_result(self.output.as_deref(), text.as_bytes())
    }
}

/// An image's bytes, and what its header says.
fn open(source: &str, config: &Config) -> anyhow::Result<(Bytes, Probe)> {
    let shown = Loggable::text(source);
    let bytes = match Url::parse(source) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => fetch(&url, config)?,
        _ => std::fs::read(source).with_context(|| format!("cannot read {shown}"))?.into(),
    };
    let probe = imaging::probe(&bytes, &config.imaging.limits).with_context(|| format!("cannot use {shown}"))?;
    Ok((bytes, probe))
}

/// Through the service's own fetcher, with the named host admitted and the address guard as configured.
fn fetch(url: &Url, config: &Config) -> anyhow::Result<Bytes> {
    let mut settings = config.sources.clone();
    settings.domains.push(url.host_str().context("the URL has no host")?.to_owned());
    let policy = Arc::new(SourcePolicy::new(&settings));
    let shown = Loggable::of(url);
    let source = policy.admit(url.as_str()).with_context(|| format!("{shown} is refused"))?;
    let fetcher = Fetcher::new(policy, &settings, Arc::new(Metrics::new()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(fetcher.fetch(&source, None)).with_context(|| format!("cannot fetch {shown}"))? {
        Fetched::Modified(download) => Ok(download.bytes),
        Fetched::NotModified(_) => bail!("{shown} answers that nothing was modified, though nothing was known"),
    }
}
