//! `/placeholder`: the object that Next.js takes as a static import, and the same thing as hash, picture, SVG and CSS.
//! Law: hashes are judged by the average colour they carry (their published layouts, read by hand here), pictures by
//! decoding them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;

use crate::harness::app::{App, Setup};
use crate::harness::client::{Response, enc};
use crate::harness::code;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{self, assert_colour, decoded, half_transparent, jpeg, oriented, png};

/// Any one colour, so that every average is known.
const TONE: [u8; 3] = [138, 111, 77];

fn flat(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb(TONE));
    pictures::encoded(&image::DynamicImage::ImageRgb8(picture), ImageFormat::Png)
}

async fn placeholder(app: &App, url: &str, rest: &str) -> Response {
    app.get(&format!("/placeholder?url={}{rest}", enc(url))).await
}

fn data_url(url: &str) -> Vec<u8> {
    let coded = url.strip_prefix("data:image/png;base64,").unwrap_or_else(|| panic!("no PNG data URL: {url}"));
    STANDARD.decode(coded).expect("base64")
}

fn near(seen: [u8; 3], expected: [u8; 3], tolerance: u8) {
    let near = seen.iter().zip(expected).all(|(have, want)| have.abs_diff(want) <= tolerance);
    assert!(near, "{seen:?}, expected {expected:?}");
}

/// Blurhash: characters 3 to 6 are the average colour, base 83, as 0xRRGGBB in sRGB.
fn blurhash_average(hash: &str) -> [u8; 3] {
    const DIGITS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";
    let digit = |c: char| DIGITS.find(c).unwrap_or_else(|| panic!("{c} in {hash}")) as u32;
    let components = digit(hash.chars().next().expect("a first character"));
    let (x, y) = (components % 9 + 1, components / 9 + 1);
    assert_eq!(hash.len() as u32, 4 + 2 * x * y, "{hash}");
    let value = hash.chars().skip(2).take(4).fold(0, |value, c| value * 83 + digit(c));
    [(value >> 16) as u8, (value >> 8) as u8, value as u8]
}

/// ThumbHash: the first three bytes are lightness, two colour differences and the alpha flag.
fn thumbhash_average(hash: &[u8]) -> ([u8; 3], bool) {
    let header = u32::from(hash[0]) | u32::from(hash[1]) << 8 | u32::from(hash[2]) << 16;
    let l = f64::from(header & 63) / 63.0;
    let p = f64::from((header >> 6) & 63) / 31.5 - 1.0;
    let q = f64::from((header >> 12) & 63) / 31.5 - 1.0;
    let blue = l - 2.0 / 3.0 * p;
    let red = (3.0 * l - blue + q) / 2.0;
    let channel = |level: f64| (level.clamp(0.0, 1.0) * 255.0) as u8;
    ([channel(red), channel(red - q), channel(blue)], header >> 23 & 1 == 1)
}

#[tokio::test]
async fn the_object_has_the_shape_of_a_static_import() {
    let file = jpeg(1600, 1000);
    let origin = Origin::with("/a.jpg", file.clone(), "image/jpeg").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.jpg");
    let answer = placeholder(&app, &url, "").await;
    assert_eq!((answer.status, answer.must("content-type")), (200, "application/json"));
    assert!(answer.must("cache-control").starts_with("public"), "{:?}", answer.headers);
    assert_eq!(answer.must("access-control-allow-origin"), "*");
    assert_eq!(answer.must("x-content-type-options"), "nosniff");
    let object = answer.json();
    let text = answer.text();
    let keys = [
        "src",
        "width",
        "height",
        "blurDataURL",
        "blurWidth",
        "blurHeight",
        "blurhash",
        "thumbhash",
        "dominantColor",
        "hasAlpha",
        "format",
        "bytes",
    ];
    let places: Vec<_> =
        keys.iter().map(|key| text.find(&format!("\"{key}\"")).unwrap_or_else(|| panic!("no {key}"))).collect();
    assert!(places.is_sorted(), "in the order of the contract: {text}");
    assert_eq!(object.as_object().map(|o| o.len()), Some(keys.len()), "{text}");
    assert_eq!(object["src"], url.as_str());
    assert_eq!((&object["width"], &object["height"]), (&1600.into(), &1000.into()));
    assert_eq!((&object["blurWidth"], &object["blurHeight"]), (&8.into(), &5.into()));
    assert_eq!((&object["format"], &object["bytes"]), (&"jpeg".into(), &file.len().into()));
    assert_eq!(object["hasAlpha"], false);
    let blur = data_url(object["blurDataURL"].as_str().expect("a string"));
    assert_eq!((pictures::look(&blur).mime, pictures::look(&blur).size()), ("image/png", (8, 5)));
    assert_colour(&decoded(&blur), (10, 10), pictures::RED, 40);
    assert_colour(&decoded(&blur), (90, 90), pictures::YELLOW, 40);
    assert!(object["blurDataURL"].as_str().is_some_and(|url| url.len() < 600), "small enough to inline");
    assert_eq!(placeholder(&app, &url, "&format=json").await.json(), object);
    assert_eq!(origin.hits("/a.jpg"), 1);
}

#[tokio::test]
async fn colours_are_the_pictures_own() {
    let origin = Origin::with("/a.png", flat(300, 200), "image/png").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.png");
    let object = placeholder(&app, &url, "").await.json();
    near(blurhash_average(object["blurhash"].as_str().expect("a string")), TONE, 4);
    let thumbhash = STANDARD.decode(object["thumbhash"].as_str().expect("a string")).expect("base64");
    let (average, alpha) = thumbhash_average(&thumbhash);
    near(average, TONE, 10);
    assert!(!alpha);
    let dominant = object["dominantColor"].as_str().and_then(|c| c.strip_prefix('#')).expect("#rrggbb");
    assert!(
        dominant.len() == 6 && dominant.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        "{dominant}"
    );
    let value = u32::from_str_radix(dominant, 16).expect("hexadecimal");
    near([(value >> 16) as u8, (value >> 8) as u8, value as u8], TONE, 8);
    assert_colour(&decoded(&data_url(object["blurDataURL"].as_str().expect("a string"))), (50, 50), TONE, 6);
}

#[tokio::test]
async fn every_format_has_its_type() {
    let origin = Origin::with("/a.png", png(400, 300), "image/png").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.png");
    let object = placeholder(&app, &url, "").await.json();
    let get = async |format: &str, mime: &str| {
        let answer = placeholder(&app, &url, &format!("&format={format}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.must("content-type").starts_with(mime), "{format}: {:?}", answer.headers);
        assert!(answer.must("cache-control").starts_with("public"));
        assert!(answer.must("etag").starts_with('"'));
        answer
    };
    assert_eq!(get("blurhash", "text/plain").await.text().trim(), object["blurhash"].as_str().expect("a string"));
    assert_eq!(get("thumbhash", "text/plain").await.text().trim(), object["thumbhash"].as_str().expect("a string"));
    let picture = get("png", "image/png").await;
    assert_eq!((picture.look().mime, picture.look().size()), ("image/png", (8, 6)));
    let svg = get("svg", "image/svg+xml").await;
    assert!(svg.text().starts_with("<svg") && svg.text().contains("data:image/png;base64,"), "{}", svg.text());
    assert!(svg.text().contains("feGaussianBlur") && svg.must("content-security-policy").contains("sandbox"));
    let css = get("css", "text/css").await;
    assert!(css.text().contains("background") && css.text().contains("url("), "{}", css.text());
    assert_eq!(origin.hits("/a.png"), 1, "one fetch for all of them");
    let again = app
        .get_with(&format!("/placeholder?url={}&format=png", enc(&url)), &[("if-none-match", picture.must("etag"))])
        .await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = app.send("HEAD", &format!("/placeholder?url={}", enc(&url)), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn odd_shapes_alpha_and_turned_pictures() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let clear = pictures::encoded(&half_transparent(200, 100), ImageFormat::Png);
    let webp = pictures::encoded(&half_transparent(100, 200), ImageFormat::WebP);
    let rows = [
        ("/dot.png", png(1, 1), (1, 1), (1, 1), "png", false),
        ("/panorama.png", png(2000, 20), (2000, 20), (8, 1), "png", false),
        ("/portrait.jpg", jpeg(300, 1200), (300, 1200), (2, 8), "jpeg", false),
        ("/square.png", png(500, 500), (500, 500), (8, 8), "png", false),
        ("/small.png", png(4, 2), (4, 2), (4, 2), "png", false),
        ("/clear.png", clear, (200, 100), (8, 4), "png", true),
        ("/clear.webp", webp, (100, 200), (4, 8), "webp", true),
        ("/turned.jpg", oriented(&jpeg(400, 200), 6), (200, 400), (4, 8), "jpeg", false),
        ("/moving.gif", pictures::animated_gif(80, 40, 3), (80, 40), (8, 4), "gif", false),
    ];
    for (path, file, size, blur, format, alpha) in rows {
        origin.set(path, Reply::new(file, "image/png"));
        let object = placeholder(&app, &origin.url(path), "").await.json();
        let number = |key: &str| object[key].as_u64().unwrap_or_default() as u32;
        assert_eq!((number("width"), number("height")), size, "{path}");
        assert_eq!((object["format"].as_str(), object["hasAlpha"].as_bool()), (Some(format), Some(alpha)), "{path}");
        let tiny = data_url(object["blurDataURL"].as_str().expect("a string"));
        assert_eq!(pictures::look(&tiny).size(), (number("blurWidth"), number("blurHeight")), "{path}");
        // A picture below eight pixels may stay as small as it is, or be shown at eight.
        if size.0.max(size.1) >= 8 {
            assert_eq!((number("blurWidth"), number("blurHeight")), blur, "{path}");
        }
        blurhash_average(object["blurhash"].as_str().expect("a string"));
        let thumbhash = STANDARD.decode(object["thumbhash"].as_str().expect("a string")).expect("base64");
        assert_eq!(thumbhash_average(&thumbhash).1, alpha, "{path}");
    }
    // Turned, what was bottom left is top left.
    let object = placeholder(&app, &origin.url("/turned.jpg"), "").await.json();
    assert_colour(&decoded(&data_url(object["blurDataURL"].as_str().expect("a string"))), (10, 10), pictures::BLUE, 40);
}

#[tokio::test]
async fn errors_are_problems() {
    let origin = Origin::with("/a.png", png(40, 20), "image/png").await;
    origin.set("/page", Reply::new(*b"<html>no picture at all</html>", "image/png"));
    origin.set("/bomb.png", Reply::new(pictures::png_header_only(60_000, 50_000), "image/png"));
    let app = Setup::new().start().await;
    let good = enc(&origin.url("/a.png"));
    app.get("/placeholder").await.problem(400, code::URL_MISSING);
    app.get("/placeholder?url=").await.problem(400, code::URL_MISSING);
    app.get(&format!("/placeholder?url={good}&url={good}")).await.problem(400, "url_repeated");
    app.get(&format!("/placeholder?url={good}&format=bmp")).await.problem(400, "format_invalid");
    app.get(&format!("/placeholder?url={good}&w=64")).await.problem(400, code::PARAMETER_UNKNOWN);
    app.get("/placeholder?url=http%3A%2F%2Fother.example%2Fa").await.problem(403, code::URL_NOT_ALLOWED);
    placeholder(&app, &origin.url("/none"), "").await.problem(404, code::SOURCE_NOT_FOUND);
    placeholder(&app, &origin.url("/page"), "").await.problem(415, code::NOT_AN_IMAGE);
    let bomb = placeholder(&app, &origin.url("/bomb.png"), "").await;
    bomb.problem(bomb.status, code::IMAGE_TOO_LARGE);
    assert_eq!(origin.hits("/a.png"), 0);
}

#[tokio::test]
async fn the_first_decode_pays_for_it() {
    let origin = Origin::with("/a.jpg", jpeg(400, 300), "image/jpeg").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.jpg");
    app.image(&url, "w=64&f=webp").await.look();
    assert_eq!(placeholder(&app, &url, "").await.status, 200);
    assert_eq!(origin.hits("/a.jpg"), 1);
}

async fn decodes(app: &App) -> u64 {
    let page = app.admin("/metrics", &[]).await.text();
    let line = page.lines().find_map(|line| line.strip_prefix("pixgate_render_seconds_count{stage=\"decode\"} "));
    line.expect("a count").parse().expect("a number")
}

/// A page that was told it asks for the picture at once; later, its pixels are not kept for anybody.
#[tokio::test]
async fn what_a_placeholder_was_made_of_serves_the_pictures_that_follow() {
    let origin = Origin::with("/a.jpg", jpeg(400, 300), "image/jpeg").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.jpg");
    assert_eq!(placeholder(&app, &url, "").await.status, 200);
    for width in [64, 96] {
        assert_eq!(app.image(&url, &format!("w={width}&f=webp")).await.look().width, width);
    }
    assert_eq!(decodes(&app).await, 1);
    let formats = ["webp", "jpeg", "png", "avif"];
    for rest in [128, 256, 384].iter().flat_map(|width| formats.map(|format| format!("w={width}&f={format}"))) {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        app.image(&url, &rest).await.look();
        if decodes(&app).await == 2 {
            return;
        }
    }
    panic!("its pixels are still there after six seconds");
}

#[tokio::test]
async fn pixels_that_are_kept_for_who_follows_have_a_small_budget() {
    let origin = Origin::with("/a.jpg", jpeg(400, 300), "image/jpeg").await;
    let app = Setup::new().text("limits.decode_memory", "5600kB").text("sources.max_bytes", "300kB").start().await;
    let url = origin.url("/a.jpg");
    assert_eq!(placeholder(&app, &url, "").await.status, 200);
    app.image(&url, "w=64&f=webp").await.look();
    assert_eq!(decodes(&app).await, 2, "a sixteenth of the budget is less than 360 kB");
}

#[tokio::test]
async fn a_moving_picture_is_stood_in_for_by_its_first_frame() {
    let origin = Origin::start().await;
    // From black to light grey.
    origin.set("/a.gif", Reply::new(pictures::animated_gif(60, 30, 8), "image/gif"));
    origin.set("/a.webp", Reply::new(pictures::animated_webp(60, 30, 8), "image/webp"));
    let app = Setup::new().start().await;
    for path in ["/a.gif", "/a.webp"] {
        let document = placeholder(&app, &origin.url(path), "").await.json();
        assert_eq!((&document["width"], &document["height"]), (&60.into(), &30.into()), "{document}");
        assert_eq!(
            (&document["dominantColor"], &document["hasAlpha"]),
            (&"#000000".into(), &false.into()),
            "{path}: {document}"
        );
        let small = decoded(&data_url(document["blurDataURL"].as_str().expect("a URL")));
        assert_colour(&small, (4, 2), [0, 0, 0], 3);
        assert_eq!(blurhash_average(document["blurhash"].as_str().expect("a hash")), [0, 0, 0]);
    }
}
