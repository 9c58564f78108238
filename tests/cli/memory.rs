//! What making an image takes in memory, against what is reserved for it before it begins: sources of every format, depth
//! and profile, outputs of every format. Law: judged by what the system counts for the process at its peak.

use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, GrayImage, ImageEncoder as _, ImageFormat, RgbaImage};
use pixgate::imaging::{self, Limits, Settings};
use pixgate::variant::{Effort, Fit, FormatWish, Quality, Wish};

use crate::harness::app::TempDir;
use crate::harness::pictures::{busy, encoded};

const SIZE: (u32, u32) = (2400, 1600);
const MB: f64 = 1e6;
/// What the system counts differs by this from run to run, in bytes.
const NOISE: f64 = 6e6;

/// Resident bytes of `pixgate render` at its peak.
fn peak(file: &Path, width: u32, format: &str) -> f64 {
    // Looked at every millisecond, one that is short may end unseen.
    (0..3).map(|_| peak_of_one(file, width, format)).fold(0.0, f64::max)
}

fn peak_of_one(file: &Path, width: u32, format: &str) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pixgate"));
    command.args(["render", "-o", "/dev/null", "-w", &width.to_string(), "-f", format]).arg(file);
    command.args(["--set", "limits.render_timeout=100s", "--set", "limits.decode_memory=2GB"]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("starts");
    let mut most = 0.0_f64;
    let status = loop {
        most = most.max(high_water(child.id()));
        match child.try_wait().expect("waited for") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(status.success(), "{} as {format}", file.display());
    most
}

/// The most that a process had resident so far, in bytes; 0 when it has ended.
fn high_water(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

fn with_profile(picture: &DynamicImage, png: bool) -> Vec<u8> {
    let profile = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    let (width, height) = (picture.width(), picture.height());
    let mut file = Cursor::new(Vec::new());
    let (bytes, colour) = (picture.as_bytes(), picture.color().into());
    if png {
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_icc_profile(profile).expect("kept");
        encoder.write_image(bytes, width, height, colour).expect("written");
    } else {
        let mut encoder = JpegEncoder::new(&mut file);
        encoder.set_icc_profile(profile).expect("kept");
        encoder.write_image(bytes, width, height, colour).expect("written");
    }
    file.into_inner()
}

fn sources() -> Vec<(&'static str, Vec<u8>)> {
    let rgb = busy(SIZE.0, SIZE.1, 7);
    let grey = DynamicImage::ImageLuma8(rgb.to_luma8());
    let mask: GrayImage = busy(SIZE.0, SIZE.1, 8).to_luma8();
    let mut cut: RgbaImage = rgb.to_rgba8();
    for (pixel, mask) in cut.pixels_mut().zip(mask.pixels()) {
        pixel.0[3] = mask.0[0];
    }
    let rgba = DynamicImage::ImageRgba8(cut);
    let turned = crate::harness::pictures::oriented(&encoded(&rgb, ImageFormat::Jpeg), 6);
    vec![
        ("jpeg", encoded(&rgb, ImageFormat::Jpeg)),
        ("jpeg, turned", turned),
        ("jpeg, grey", encoded(&grey, ImageFormat::Jpeg)),
        ("jpeg, display p3", with_profile(&rgb, false)),
        ("png", encoded(&rgb, ImageFormat::Png)),
        ("png, alpha", encoded(&rgba, ImageFormat::Png)),
        ("png, grey", encoded(&grey, ImageFormat::Png)),
        ("png, 16 bits", encoded(&DynamicImage::ImageRgb16(rgb.to_rgb16()), ImageFormat::Png)),
        ("png, 16 bits, alpha", encoded(&DynamicImage::ImageRgba16(rgba.to_rgba16()), ImageFormat::Png)),
        ("png, display p3", with_profile(&rgb, true)),
        ("png, 16 bits, display p3", with_profile(&DynamicImage::ImageRgb16(rgb.to_rgb16()), true)),
        ("bmp", encoded(&rgb, ImageFormat::Bmp)),
        ("gif", encoded(&rgb, ImageFormat::Gif)),
        ("tiff", encoded(&rgb, ImageFormat::Tiff)),
        ("tiff, 16 bits", encoded(&DynamicImage::ImageRgb16(rgb.to_rgb16()), ImageFormat::Tiff)),
        ("tiff, float", encoded(&DynamicImage::ImageRgb32F(rgb.to_rgb32f()), ImageFormat::Tiff)),
        ("tiff, grey", encoded(&grey, ImageFormat::Tiff)),
        ("webp, lossless", encoded(&rgb, ImageFormat::WebP)),
        ("webp, lossless, alpha", encoded(&rgba, ImageFormat::WebP)),
    ]
}

#[test]
fn what_is_reserved_is_what_is_taken_and_not_much_more() {
    let dir = TempDir::new();
    let tiny = dir.path().join("tiny");
    std::fs::write(&tiny, encoded(&busy(16, 16, 1), ImageFormat::Png)).expect("written");
    let mut sources = sources();
    let moving = crate::harness::pictures::animated_gif(1_200, 900, 6);
    sources.push(("gif, moving", moving));
    for format in ["avif", "webp", "jpg"] {
        let (from, to) = (dir.path().join("from"), dir.path().join(format!("made.{format}")));
        std::fs::write(&from, &sources[5].1).expect("written");
        let made = Command::new(env!("CARGO_BIN_EXE_pixgate")).arg("render").arg(&from).arg("-o").arg(&to).status();
        assert!(made.expect("starts").success());
        let name = match format {
            "avif" => "avif, alpha",
            "webp" => "webp, lossy, alpha",
            _ => "jpeg, progressive",
        };
        sources.push((name, std::fs::read(&to).expect("made")));
    }
    let settings = Settings { limits: Limits { max_memory: u64::MAX, ..Limits::default() }, ..Settings::default() };
    let formats = ["png", "avif", "webp", "jpeg"];
    // The process as such; what an encoder needs for any image at all is reserved too.
    let base = peak(&tiny, 16, "png");
    let mut wrong = Vec::new();
    let jobs: Vec<_> = sources
        .iter()
        .flat_map(|(name, bytes)| {
            let whole = ["jpeg", "png, alpha"].contains(name);
            let widths: &[u32] = match *name {
                _ if whole => &[64, 1500, 2400],
                "gif, moving" => &[1_200],
                _ => &[64],
            };
            let formats: &[&str] = match *name {
                _ if whole => &formats,
                "gif, moving" => &["webp"],
                _ => &formats[..1],
            };
            widths.iter().flat_map(move |width| formats.iter().map(move |format| (*name, bytes, *width, *format)))
        })
        .collect();
    for (name, bytes, width, format) in jobs {
        let file = dir.path().join("source");
        std::fs::write(&file, bytes).expect("written");
        let probe = imaging::probe(bytes, &settings.limits).expect("an image");
        let wish = Wish {
            width: Some(width),
            height: None,
            cap: u32::MAX,
            max_pixels: u64::MAX,
            fit: Fit::Inside,
            quality: Quality::new(75),
            format: FormatWish::Exactly(pixgate::format::ImageFormat::output_from_name(format).expect("a format")),
            background: None,
        };
        let shape = probe.shape();
        let transform = wish.resolve(&shape);
        let reserved = imaging::peak_bytes(&shape, probe.decoded_bytes, &transform, &settings, Effort::Fast) as f64;
        let taken = peak(&file, width, format) - base - bytes.len() as f64;
        // Another process decodes it.
        let most = if name.starts_with("avif") { f64::INFINITY } else { taken.max(0.0) * 1.5 + NOISE };
        if reserved + NOISE < taken || reserved > most {
            wrong.push(format!(
                "{name} as {format} of {width} px: reserved {:.1} MB, taken {:.1}",
                reserved / MB,
                taken / MB
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
