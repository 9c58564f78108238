//! `q=auto`: flat pictures get fewer bytes and hard ones enough, by a quality that is learned once for each source.
//! Law: what was learned is read where an operator reads it, in `/variants`, and costs no second decode.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, TempDir};
use crate::harness::client::enc;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{animated_gif, encoded};
use crate::metadata::{over, stop, up};

/// The quality of each lossy variant of a source that the store knows by now, once there are so many.
async fn qualities(app: &App, url: &str, count: usize) -> Vec<u64> {
    let started = Instant::now();
    loop {
        let variants = app.admin(&format!("/variants?url={}", enc(url)), &[]).await.json();
        let known: Vec<u64> =
            variants.as_array().into_iter().flatten().filter_map(|row| row["quality"].as_u64()).collect();
        if known.len() >= count {
            return known;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{variants}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn flat() -> image::DynamicImage {
    image::DynamicImage::ImageRgb8(image::RgbImage::from_fn(900, 600, |x, y| {
        image::Rgb([(x / 5) as u8, (y / 4) as u8, 90])
    }))
}

#[tokio::test]
async fn flat_pictures_get_less_and_hard_ones_more() {
    let origin = Origin::start().await;
    origin.set("/flat.png", Reply::new(encoded(&flat(), image::ImageFormat::Png), "image/png"));
    for (path, name) in [("/photo.jpg", "lake.jpg"), ("/stars.jpg", "hubble.jpg")] {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images").join(name);
        origin.set(path, Reply::new(std::fs::read(fixture).expect("a fixture"), "image/jpeg"));
    }
    let dir = TempDir::new();
    let setup = || over(&dir).text("metadata.flush_interval", "100ms").set("avif.progressive", false);
    let app = setup().start().await;
    up(&app).await;
    let mut learned = Vec::new();
    for path in ["/flat.png", "/photo.jpg", "/stars.jpg"] {
        let url = origin.url(path);
        // Each format and width is of the same quality, and the second costs neither download nor decode.
        for rest in ["w=640&f=webp&q=auto", "w=256&f=avif&q=auto", "w=256&f=jpeg&q=auto"] {
            let miss = app.image(&url, rest).await;
            miss.look();
            assert_eq!(miss.must("cache-status"), "pixgate; fwd=miss", "{path} {rest}");
            assert_eq!(app.image(&url, rest).await.must("cache-status"), "pixgate; hit; detail=memory");
        }
        let qualities = qualities(&app, &url, 3).await;
        assert!(qualities.iter().all(|quality| *quality == qualities[0]), "{path}: {qualities:?}");
        assert_eq!(origin.hits(path), 1);
        learned.push(qualities[0]);
    }
    let [flat, photo, hard] = learned[..] else { panic!("{learned:?}") };
    assert!(flat < photo && flat < hard, "{learned:?}");
    assert!((40..=90).contains(&flat) && (40..=90).contains(&hard), "{learned:?}");
    let url = origin.url("/flat.png");
    let fixed = app.image(&url, "w=640&f=webp&q=75").await.body.len();
    let auto = app.image(&url, "w=640&f=webp&q=auto").await.body.len();
    assert!(auto < fixed, "{auto} at {flat}, {fixed} at 75");
    assert_eq!(app.image(&url, "w=640&f=png&q=auto").await.status, 200, "no loss, no quality");

    // What was learned outlives the process.
    stop(app).await;
    let app = setup().start().await;
    up(&app).await;
    let name = app.image(&url, "w=640&f=webp&q=auto").await;
    assert_eq!(name.look().size(), (640, 427));
    assert_eq!(qualities(&app, &url, 4).await.iter().filter(|quality| **quality == flat).count(), 3);
}

#[tokio::test]
async fn what_has_no_one_decode_has_the_usual_quality() {
    let origin = Origin::with("/a.gif", animated_gif(64, 32, 3), "image/gif").await;
    let url = origin.url("/a.gif");
    let app = Setup::new().text("metadata.flush_interval", "100ms").start().await;
    up(&app).await;
    app.image(&url, "w=32&f=webp&q=auto").await.look();
    assert_eq!(qualities(&app, &url, 1).await, [75]);
    let detail = app.image(&url, "w=32&q=automatic").await.problem(400, "quality_invalid");
    assert!(detail.contains("auto or an integer from 1 to 100"), "{detail}");
}
