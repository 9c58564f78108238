//! `/image`, the good cases: formats and negotiation, sizes, fits, density, background, headers, HEAD and
//! conditional requests. Law: pictures are judged by type, size and colour; a negotiated answer says `Vary: Accept`
//! and an explicit one does not.

use image::ImageFormat;

use crate::harness::app::{App, Setup, image};
use crate::harness::code;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{
    self, BLUE, GREEN, RED, YELLOW, assert_colour, decoded, half_transparent, jpeg, oriented, png, quadrants,
};

/// 800 × 400 in four colours.
async fn wide() -> (Origin, App, String) {
    let origin = Origin::with("/wide.jpg", jpeg(800, 400), "image/jpeg").await;
    let url = origin.url("/wide.jpg");
    // What is asked for again stays as it was: these tests compare answers.
    (origin, Setup::new().set("avif.progressive", false).start().await, url)
}

#[tokio::test]
async fn renders_every_format_that_is_named() {
    let (_origin, app, url) = wide().await;
    for (f, mime) in [("avif", "image/avif"), ("webp", "image/webp"), ("jpeg", "image/jpeg"), ("png", "image/png")] {
        let answer = app.image(&url, &format!("w=256&f={f}")).await;
        let seen = answer.look();
        assert_eq!((seen.mime, seen.size()), (mime, (256, 128)));
        assert_eq!(answer.header("vary"), None, "named, not negotiated");
        if f != "avif" {
            let picture = decoded(&answer.body);
            for (at, colour) in [((25, 25), RED), ((75, 25), GREEN), ((25, 75), BLUE), ((75, 75), YELLOW)] {
                assert_colour(&picture, at, colour, 12);
            }
        }
        // The long names mean the same, and share the entry.
        let long = app.image(&url, &format!("width=256&format={f}&quality=75")).await;
        assert_eq!(long.body, answer.body);
        assert!(long.must("cache-status").contains("hit"), "{:?}", long.headers);
    }
}

#[tokio::test]
async fn reads_back_its_own_avif() {
    let (origin, app, url) = wide().await;
    let avif = app.image(&url, "w=384&f=avif&q=90").await;
    origin.set("/again.avif", Reply::new(avif.body, "image/avif"));
    let answer = app.image(&origin.url("/again.avif"), "w=256&f=png").await;
    assert_eq!(answer.look().size(), (256, 128));
    let picture = decoded(&answer.body);
    for (at, colour) in [((25, 25), RED), ((75, 25), GREEN), ((25, 75), BLUE), ((75, 75), YELLOW)] {
        assert_colour(&picture, at, colour, 16);
    }
}

#[tokio::test]
async fn negotiates_by_accept() {
    let (origin, app, url) = wide().await;
    let set = |path: &str, file: Vec<u8>| {
        origin.set(path, Reply::new(file, "application/octet-stream"));
        origin.url(path)
    };
    let png = set("/p.png", png(300, 200));
    let webp = set("/w.webp", pictures::encoded(&quadrants(300, 200), ImageFormat::WebP));
    let clear = set("/a.webp", pictures::encoded(&half_transparent(300, 200), ImageFormat::WebP));
    let rows: &[(&str, Option<&str>, &str)] = &[
        (&url, Some("image/avif,image/webp,*/*"), "image/avif"),
        (&url, Some("image/webp,image/avif"), "image/avif"),
        (&url, Some("image/webp,*/*;q=0.8"), "image/webp"),
        (&url, Some("image/avif;q=0.5, image/webp;q=0.9"), "image/webp"),
        (&url, Some("image/avif;q=0, image/webp;q=0.1"), "image/webp"),
        (&url, Some("image/avif;q=0,image/webp;q=0,*/*"), "image/jpeg"),
        (&url, Some("*/*"), "image/jpeg"),
        (&url, Some("image/*"), "image/jpeg"),
        (&url, Some("text/html"), "image/jpeg"),
        (&url, Some(";;;=,q"), "image/jpeg"),
        (&url, None, "image/jpeg"),
        (&png, Some("*/*"), "image/png"),
        (&png, None, "image/png"),
        (&webp, None, "image/jpeg"),
        (&webp, Some("image/webp"), "image/webp"),
        (&clear, None, "image/png"),
        (&clear, Some("*/*"), "image/png"),
    ];
    for (url, accept, mime) in rows {
        let accept: Vec<(&str, &str)> = accept.iter().map(|value| ("accept", *value)).collect();
        for rest in ["w=128", "w=128&f=auto"] {
            let answer = app.get_with(&image(url, rest), &accept).await;
            assert_eq!(answer.look().mime, *mime, "{url} {accept:?}");
            assert_eq!(answer.must("vary"), "Accept");
        }
    }
    // Transparency outlives the fallback.
    let answer = app.image(&clear, "w=128").await;
    let picture = decoded(&answer.body).to_rgba8();
    assert_eq!((picture.get_pixel(120, 40).0[3], picture.get_pixel(8, 40).0[3]), (0, 255));
}

#[tokio::test]
async fn sizes_follow_the_request_and_never_grow() {
    let (origin, app, url) = wide().await;
    origin.set("/small.png", Reply::new(png(40, 20), "image/png"));
    let small = origin.url("/small.png");
    for (url, rest, size) in [
        (&url, "w=256", (256, 128)),
        (&url, "h=256", (512, 256)),
        (&url, "height=128", (256, 128)),
        (&url, "w=256&h=256", (256, 128)),
        (&url, "w=384&h=64", (128, 64)),
        (&url, "w=1080", (800, 400)),
        (&url, "w=3840&h=3840", (800, 400)),
        (&url, "", (800, 400)),
        (&url, "w=128&dpr=2", (256, 128)),
        (&url, "w=64&h=64&dpr=4", (256, 128)),
        (&url, "w=384&dpr=1", (384, 192)),
        (&small, "w=256", (40, 20)),
        (&small, "w=16", (16, 8)),
        (&small, "", (40, 20)),
    ] {
        let answer = app.image(url, format!("{rest}&f=png").trim_start_matches('&')).await;
        assert_eq!(answer.look().size(), size, "{url} {rest}");
    }
}

#[tokio::test]
async fn without_a_size_the_largest_list_entry_is_the_cap() {
    let origin = Origin::with("/a.png", png(300, 200), "image/png").await;
    let app = Setup::new().set("images.device_sizes", "[96, 150]").set("images.image_sizes", "[16]").start().await;
    assert_eq!(app.image(&origin.url("/a.png"), "f=png").await.look().size(), (150, 100));
}

#[tokio::test]
async fn heights_may_have_a_list_of_their_own() {
    let origin = Origin::with("/a.png", png(300, 200), "image/png").await;
    let app = Setup::new().set("images.heights", "[50]").start().await;
    let url = origin.url("/a.png");
    assert_eq!(app.image(&url, "h=50&f=png").await.look().size(), (75, 50));
    app.image(&url, "w=50&f=png").await.problem(400, code::WIDTH_NOT_ALLOWED);
}

#[tokio::test]
async fn snap_rounds_up_to_the_lists() {
    let origin = Origin::with("/a.png", png(1600, 800), "image/png").await;
    let app = Setup::new().set("images.snap", true).start().await;
    let url = origin.url("/a.png");
    for (rest, width) in [("w=100", 128), ("w=128", 128), ("w=257", 384), ("w=641", 750), ("w=1", 16)] {
        assert_eq!(app.image(&url, &format!("{rest}&f=png")).await.look().width, width, "{rest}");
    }
    // Beyond the last entry there is nothing to round up to: the largest is meant, and the source is smaller.
    assert_eq!(app.image(&url, "w=9000&f=png").await.look().width, 1600);
}

#[tokio::test]
async fn fits_crop_pad_and_stretch() {
    let (_origin, app, url) = wide().await;
    let get = async |rest: &str| {
        let answer = app.image(&url, &format!("{rest}&f=png")).await;
        assert_eq!(answer.look().size(), (256, 256), "{rest}");
        decoded(&answer.body)
    };
    // cover keeps the middle: all four colours still meet in the centre, nothing is padded.
    let cover = get("w=256&h=256&fit=cover").await;
    for (at, colour) in [((10, 10), RED), ((90, 10), GREEN), ((10, 90), BLUE), ((90, 90), YELLOW)] {
        assert_colour(&cover, at, colour, 8);
    }
    // contain keeps all of it between two bars of the background.
    let contain = get("w=256&h=256&fit=contain&bg=000000").await;
    for (at, colour) in [((50, 5), [0, 0, 0]), ((50, 95), [0, 0, 0]), ((25, 40), RED), ((75, 60), YELLOW)] {
        assert_colour(&contain, at, colour, 8);
    }
    // fill stretches: each quadrant is a quarter.
    let fill = get("w=256&h=256&fit=fill").await;
    for (at, colour) in [((5, 5), RED), ((95, 5), GREEN), ((5, 95), BLUE), ((95, 95), YELLOW)] {
        assert_colour(&fill, at, colour, 8);
    }
}

#[tokio::test]
async fn background_fills_what_was_transparent() {
    let file = pictures::encoded(&half_transparent(200, 100), ImageFormat::Png);
    let origin = Origin::with("/a.png", file, "image/png").await;
    let app = Setup::new().set("images.backgrounds", r#"["00ff80"]"#).start().await;
    let url = origin.url("/a.png");
    app.image(&url, "w=128&f=jpeg&bg=ffffff").await.problem(400, "background_not_allowed");
    let answer = app.image(&url, "w=128&f=jpeg&bg=00ff80").await;
    assert_eq!(answer.look().mime, "image/jpeg");
    assert_colour(&decoded(&answer.body), (80, 50), [0, 255, 128], 12);
    assert_colour(&decoded(&answer.body), (20, 20), RED, 12);
    // Without bg, formats that know transparency keep it, and the edge does not darken.
    let answer = app.image(&url, "w=128&f=webp").await;
    let picture = decoded(&answer.body).to_rgba8();
    assert_eq!((picture.get_pixel(110, 30).0[3], picture.get_pixel(10, 10).0[3]), (0, 255));
    assert_colour(&decoded(&answer.body), (20, 20), RED, 14);
}

#[tokio::test]
async fn turns_the_picture_as_exif_says() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    // What stands top left, top right, bottom left, bottom right after turning (Exif 2.3, tag 0x0112).
    let turned = [
        (1, [RED, GREEN, BLUE, YELLOW]),
        (2, [GREEN, RED, YELLOW, BLUE]),
        (3, [YELLOW, BLUE, GREEN, RED]),
        (4, [BLUE, YELLOW, RED, GREEN]),
        (5, [RED, BLUE, GREEN, YELLOW]),
        (6, [BLUE, RED, YELLOW, GREEN]),
        (7, [YELLOW, GREEN, BLUE, RED]),
        (8, [GREEN, YELLOW, RED, BLUE]),
    ];
    for (orientation, colours) in turned {
        let path = format!("/{orientation}.jpg");
        origin.set(&path, Reply::new(oriented(&jpeg(400, 200), orientation), "image/jpeg"));
        let answer = app.image(&origin.url(&path), "w=128&f=png").await;
        let size = if orientation < 5 { (128, 64) } else { (128, 256) };
        assert_eq!(answer.look().size(), size, "orientation {orientation}");
        for (at, colour) in [(20, 20), (80, 20), (20, 80), (80, 80)].into_iter().zip(colours) {
            assert_colour(&decoded(&answer.body), at, colour, 12);
        }
    }
}

#[tokio::test]
async fn every_header_of_the_contract_is_there() {
    let (_origin, app, url) = wide().await;
    let miss = app.image(&url, "w=256&f=webp").await;
    let hit = app.image(&url, "w=256&f=webp").await;
    for answer in [&miss, &hit] {
        assert_eq!(answer.must("content-type"), "image/webp");
        assert_eq!(answer.must("content-length"), answer.body.len().to_string());
        let tag = answer.must("etag");
        assert!(tag.len() > 4 && tag.starts_with('"') && tag.ends_with('"'), "quoted and strong: {tag}");
        assert!(answer.must("cache-control").starts_with("public"), "{:?}", answer.headers);
        assert!(answer.must("cache-control").contains("max-age="), "{:?}", answer.headers);
        assert_eq!(answer.must("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(answer.must("x-content-type-options"), "nosniff");
        assert_eq!(answer.must("access-control-allow-origin"), "*");
        assert_eq!(answer.must("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(answer.must("timing-allow-origin"), "*");
        assert_eq!(answer.must("content-disposition"), "inline; filename=\"wide.webp\"");
        assert!(answer.must("cache-status").starts_with("pixgate;"), "{:?}", answer.headers);
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert!(miss.must("cache-status").contains("fwd=miss"), "{:?}", miss.headers);
    assert!(hit.must("cache-status").contains("hit; detail=memory"), "{:?}", hit.headers);
    for stage in ["fetch", "queue", "decode", "resize", "encode"] {
        assert!(miss.must("server-timing").contains(stage), "{stage} in {:?}", miss.headers);
    }
    assert_eq!((miss.must("etag"), &miss.body), (hit.must("etag"), &hit.body));
    let other = app.image(&url, "w=128&f=webp").await;
    assert_ne!(other.must("etag"), hit.must("etag"));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let (_origin, app, url) = wide().await;
    let target = image(&url, "w=256&f=webp");
    let cold = app.send("HEAD", &target, &[]).await;
    let get = app.get(&target).await;
    let warm = app.send("HEAD", &target, &[]).await;
    for head in [&cold, &warm] {
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-type", "content-length", "etag", "cache-control", "content-disposition"] {
            assert_eq!(head.must(name), get.must(name), "{name}");
        }
    }
    assert_eq!(get.must("content-length"), get.body.len().to_string());
    let refused = app.send("HEAD", &image(&url, "w=7"), &[]).await;
    assert_eq!((refused.status, refused.body.len()), (400, 0));
}

#[tokio::test]
async fn conditional_requests_get_304() {
    let (_origin, app, url) = wide().await;
    let target = image(&url, "w=256");
    let tag = app.get(&target).await.must("etag").to_owned();
    for known in [tag.clone(), format!("W/{tag}"), "*".to_owned(), format!("\"x\", {tag}")] {
        let answer = app.get_with(&target, &[("if-none-match", &known)]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!((answer.must("etag"), answer.must("vary")), (tag.as_str(), "Accept"));
        assert!(answer.must("cache-control").starts_with("public"));
    }
    assert_eq!(app.get_with(&target, &[("if-none-match", "\"other\"")]).await.status, 200);
}
