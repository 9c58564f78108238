//! The repository's own pictures, every one of them, against what `fixtures/manifest.json` says of it: size upright,
//! transparency, frames, format; the colours of the managed and turned ones; and the hostile ones with the answer
//! each must meet. Law: a file that is in the folder and not in the manifest fails, so none goes untested.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::app::{App, Setup, image};
use crate::harness::client::Response;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{assert_colour, decoded, webp_frames};

const QUAD: [[u8; 3]; 4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]];
const P3: [[u8; 3]; 4] = [[200, 60, 40], [40, 180, 60], [128, 128, 128], [255, 0, 0]];
const CMYK: [[u8; 3]; 4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [127, 127, 127]];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The manifest's section, after checking that it names exactly the files there are.
fn section(name: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder().join("manifest.json")).expect("fixtures/manifest.json");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let section = manifest[name].as_object().expect("a section").clone();
    let named: BTreeSet<String> = section.keys().cloned().collect();
    let there: BTreeSet<String> = std::fs::read_dir(folder().join(name))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, there);
    section.into_iter().collect()
}

/// Puts a fixture on the origin, mislabelled, and returns its URL.
fn offer(origin: &Origin, folder_name: &str, name: &str) -> String {
    let path = format!("/{folder_name}/{name}");
    let bytes = std::fs::read(folder().join(folder_name).join(name)).expect("a fixture");
    origin.set(&path, Reply::new(bytes, "application/octet-stream"));
    origin.url(&path)
}

async fn webp(app: &App, url: &str, rest: &str) -> Response {
    app.get_with(&image(url, rest), &[("accept", "image/webp")]).await
}

#[tokio::test]
async fn every_picture_renders_as_the_manifest_says() {
    let origin = Origin::start().await;
    let app = Setup::new().set("images.allow_svg", true).set("images.allow_heic", true).start().await;
    let mut wrong = Vec::new();
    for (name, says) in section("images") {
        let url = offer(&origin, "images", &name);
        let number = |key: &str| says[key].as_u64().unwrap_or_default() as u32;
        let (width, height) = (number("width"), number("height"));
        let answer = webp(&app, &url, "w=64").await;
        if says["format"] == "icns" {
            answer.problem(415, "format_not_decoded");
            continue;
        }
        if answer.status != 200 {
            wrong.push(format!("{name}: {} {}", answer.status, answer.text()));
            continue;
        }
        let seen = answer.look();
        let exact = f64::from(height) * f64::from(width.min(64)) / f64::from(width);
        let fits = seen.width == width.min(64) && (f64::from(seen.height) - exact.max(1.0)).abs() <= 1.0;
        if seen.mime != "image/webp" || !fits {
            wrong.push(format!("{name}: {seen:?} from {width}x{height}"));
        }
        if matches!(says["format"].as_str(), Some("gif" | "webp")) && number("frames") > 1 {
            if webp_frames(&answer.body) != number("frames") as usize {
                wrong.push(format!("{name}: {} frames", webp_frames(&answer.body)));
            }
        } else if says["alpha"] == false && decoded(&answer.body).to_rgba8().pixels().any(|p| p.0[3] != 255) {
            wrong.push(format!("{name}: became transparent"));
        }
        let target = format!("/placeholder?url={}", crate::harness::client::enc(&url));
        let object = app.get(&target).await.json();
        for key in ["width", "height", "format"] {
            if object[key] != says[key] {
                wrong.push(format!("{name}: {key} {} and not {}", object[key], says[key]));
            }
        }
        // A vector picture or an icon may be opaque where it was said that it can be transparent.
        if object["hasAlpha"] != says["alpha"] && !matches!(says["format"].as_str(), Some("svg" | "ico")) {
            wrong.push(format!("{name}: hasAlpha {} and not {}", object["hasAlpha"], says["alpha"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn colours_come_out_right() {
    let origin = Origin::start().await;
    let app = Setup::new().set("images.allow_svg", true).set("images.allow_heic", true).start().await;
    let rows = [
        (&["p3.png", "p3.webp", "p3.jxl"][..], P3, 4),
        (&["p3.jpg", "p3.avif", "p3.heic"], P3, 8),
        (&["cmyk.jpg", "ycck.jpg"], CMYK, 14),
        (&["cmyk.tiff"], CMYK, 4),
        (
            &["orientation-6.png", "orientation-6.webp", "plain.svg", "href-http.svg", "href-file.svg", "script.svg"],
            QUAD,
            4,
        ),
        (&["opaque.jxl", "orientation-6.jxl"], QUAD, 4),
        (&["opaque.heic", "orientation-6.heic"], QUAD, 16),
        (&["orientation-3.avif", "orientation-5.avif", "orientation-6.avif", "orientation-7.avif"], QUAD, 16),
        (&["orientation-1.jpg", "orientation-2.jpg", "orientation-3.jpg", "orientation-4.jpg"], QUAD, 16),
        (&["orientation-5.jpg", "orientation-6.jpg", "orientation-7.jpg", "orientation-8.jpg"], QUAD, 16),
    ];
    for (names, colours, tolerance) in rows {
        for name in names {
            let answer = app.image(&offer(&origin, "images", name), "f=png").await;
            assert_eq!(answer.look().mime, "image/png", "{name}");
            for (at, colour) in [(20, 20), (80, 20), (20, 80), (80, 80)].into_iter().zip(colours) {
                let picture = decoded(&answer.body);
                let (x, y) = (picture.width() * at.0 / 100, picture.height() * at.1 / 100);
                let seen = picture.to_rgb8().get_pixel(x, y).0;
                let near = seen.iter().zip(colour).all(|(have, want)| have.abs_diff(want) <= tolerance);
                assert!(near, "{name} at {at:?}: {seen:?}, expected {colour:?}");
            }
        }
    }
}

#[tokio::test]
async fn transparent_neighbours_do_not_bleed() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let answer = app.image(&offer(&origin, "images", "alpha-edge.png"), "w=32&f=png").await;
    let picture = decoded(&answer.body).to_rgba8();
    for (x, y, pixel) in picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[3] > 8) {
        assert!(pixel.0[0] > 240 && pixel.0[1] < 16, "{pixel:?} at {x},{y}: the hidden green shows");
    }
    assert_colour(
        &decoded(&app.image(&offer(&origin, "images", "one.png"), "f=png").await.body),
        (0, 0),
        [12, 34, 56],
        1,
    );
}

#[tokio::test]
async fn every_hostile_file_meets_what_it_must() {
    let origin = Origin::start().await;
    // Longer than the default, because this build is not optimised as a release is and the machine may be busy.
    let closed = Setup::new().text("limits.render_timeout", "60s").start().await;
    let open = Setup::new().text("limits.render_timeout", "60s").set("images.allow_svg", true).start().await;
    let mut wrong = Vec::new();
    for (name, says) in section("hostile") {
        let url = offer(&origin, "hostile", &name);
        for (app, kind) in [(&closed, "svg off"), (&open, "svg on")] {
            if kind == "svg on" && !name.ends_with(".svg") {
                continue;
            }
            for rest in ["w=64&f=webp", "w=256&f=png"] {
                let started = Instant::now();
                let answer = app.image(&url, rest).await;
                let refused = (400..500).contains(&answer.status);
                let fine = refused || answer.status == 200 && says["expect"] == "either";
                let took = started.elapsed();
                if !fine || took > Duration::from_secs(60) {
                    wrong.push(format!("{name} ({kind}) {rest}: {} after {took:?}: {}", answer.status, says["why"]));
                } else if refused {
                    assert_eq!(answer.must("cache-control"), "no-store", "{name}");
                } else {
                    answer.look();
                    assert!(!answer.text().contains("<script"), "{name}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(closed.lives().await && open.lives().await);
}
