//! What an origin's word does to what it gave before: refusals, outages, terms of use past freshness, requests for quiet.
//! Law: judged by the origin's counters and by what clients are told; time is waited for only where a lifetime must end.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup};
use crate::harness::code;
use crate::harness::origin::{Gate, Origin, Reply, eventually};
use crate::harness::pictures::png;

/// Just past the lifetime of one second that these tests configure.
async fn expire() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

fn short_lived() -> Setup {
    Setup::new().text("images.minimum_cache_ttl", "1s").text("cache.negative_ttl", "1s")
}

fn picture() -> Reply {
    Reply::new(png(200, 100), "image/png")
}

async fn is_stale(app: &App, url: &str) -> bool {
    let answer = app.image(url, "w=64&f=png").await;
    answer.status == 200 && answer.must("cache-status").contains("stale")
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_ends_what_was_given_before() {
    let origin = Origin::start().await;
    let behind = short_lived().start().await;
    let at_once = short_lived().text("cache.stale_while_revalidate", "0s").start().await;
    for (status, told) in [(400, 400), (401, 502), (403, 403), (404, 404), (410, 410), (451, 451)] {
        // With a validator, so that the question is a conditional one; and behind a redirect.
        let (path, moved) = (format!("/{status}.png"), format!("/moved/{status}.png"));
        origin.set(&path, picture().header("etag", "\"1\""));
        origin.set(&moved, Reply::redirect(302, &path));
        for app in [&behind, &at_once] {
            for url in [origin.url(&path), origin.url(&moved)] {
                assert_eq!(app.image(&url, "w=64&f=png").await.status, 200);
                assert_eq!(app.next(&url, 64, 75).await.status, 200);
            }
        }
        origin.set(&path, Reply::status(status));
        let before = origin.hits(&path);
        expire().await;
        for path in [&path, &moved] {
            let url = origin.url(path);
            at_once.image(&url, "w=64&f=png").await.problem(told, code::SOURCE_FAILED);
            assert_eq!(at_once.next(&url, 64, 75).await.status, status);
            // Whoever asks first may get what there was, while the origin is asked.
            assert!(is_stale(&behind, &url).await, "{status}");
        }
        eventually("the refreshes", || origin.hits(&path) == before + 4).await;
        for path in [&path, &moved] {
            let url = origin.url(path);
            let mut answer = behind.image(&url, "w=64&f=png").await;
            for _ in 0..100 {
                if answer.status != 200 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer = behind.image(&url, "w=64&f=png").await;
            }
            answer.problem(told, code::SOURCE_FAILED);
            assert_eq!(behind.next(&url, 64, 75).await.status, status);
        }
    }
}

#[tokio::test]
async fn a_picture_that_moved_out_of_the_allow_list_is_not_served_on() {
    let origin = Origin::with("/a.png", png(200, 100), "image/png").await;
    let app = short_lived().text("cache.stale_while_revalidate", "0s").start().await;
    let url = origin.url("/a.png");
    assert_eq!(app.image(&url, "w=64").await.status, 200);
    origin.set("/a.png", Reply::redirect(302, "http://elsewhere.example/a.png"));
    expire().await;
    app.image(&url, "w=64").await.problem(403, code::URL_NOT_ALLOWED);
}

#[tokio::test]
async fn an_outage_leaves_the_stale_picture_standing_within_its_bound() {
    let origin = Origin::start().await;
    let app = short_lived().text("cache.stale_while_revalidate", "0s").start().await;
    let strict =
        short_lived().text("cache.stale_while_revalidate", "0s").text("cache.stale_if_error", "0s").start().await;
    let failures = [408, 429, 500, 502, 503, 504].map(|status| (status.to_string(), Reply::status(status)));
    let never = Gate::shut();
    let more = [("closed".to_owned(), Reply::closed()), ("silent".to_owned(), picture().held(&never))];
    let failures: Vec<_> = failures.into_iter().chain(more).collect();
    for (name, _) in &failures {
        origin.set(&format!("/{name}"), picture());
        for app in [&app, &strict] {
            assert_eq!(app.image(&origin.url(&format!("/{name}")), "w=64&f=png").await.status, 200, "{name}");
        }
    }
    expire().await;
    for (name, failure) in failures {
        let path = format!("/{name}");
        origin.set(&path, failure);
        // The second time the failure is remembered, which makes no difference.
        for _ in 0..2 {
            assert!(is_stale(&app, &origin.url(&path)).await, "{name}");
        }
        let told = strict.image(&origin.url(&path), "w=64&f=png").await.status;
        assert!(told == 429 || told >= 502, "{name}: {told}");
    }
}

#[tokio::test]
async fn the_origins_terms_are_obeyed_and_passed_on() {
    let origin = Origin::start().await;
    let app = Setup::new().text("images.minimum_cache_ttl", "0s").text("cache.negative_ttl", "0s").start().await;
    // What the origin says, what clients are told, and whether it may be used when the origin is asked and fails.
    for (at, (says, told, stale)) in [
        ("no-cache", "public, max-age=0, must-revalidate", false),
        ("max-age=0, must-revalidate", "public, max-age=0, must-revalidate", false),
        ("max-age=0, proxy-revalidate", "public, max-age=0, must-revalidate", false),
        ("s-maxage=0", "public, max-age=0, must-revalidate", false),
        ("max-age=0, stale-while-revalidate=0", "public, max-age=0", false),
        ("max-age=0, stale-while-revalidate=0, stale-if-error=600", "public, max-age=0", true),
        ("s-maxage=0, stale-while-revalidate=600", "public, max-age=0, stale-while-revalidate=600", true),
        ("max-age=0", "public, max-age=0, stale-while-revalidate=86400", true),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{at}.png");
        let url = origin.url(&path);
        origin.set(&path, picture().header("cache-control", says));
        let first = app.image(&url, "w=64&f=png").await;
        assert_eq!(first.must("cache-control"), told, "{says}");
        // A change shows at once where nothing may be used past its freshness.
        origin.set(&path, Reply::new(png(100, 100), "image/png").header("cache-control", says));
        if !told.contains("while") {
            let second = app.image(&url, "w=64&f=png").await;
            assert_eq!((second.look().height, first.look().height), (64, 32), "{says}");
        }
        origin.set(&path, Reply::status(500));
        let failed = app.image(&url, "w=64&f=png").await;
        assert_eq!(failed.status == 200, stale || says.ends_with("revalidate=0"), "{says}: {}", failed.status);
        // On this path the configuration counts, as in Next.js.
        let next = app.next(&url, 64, 75).await;
        assert_eq!((next.status, next.must("x-nextjs-cache")), (200, "STALE"), "{says}");
        assert_eq!(next.must("cache-control"), "public, max-age=0, must-revalidate");
    }
}

#[tokio::test]
async fn the_floor_stands_in_for_a_lifetime_and_not_for_no_cache() {
    let origin = Origin::start().await;
    let app = Setup::new().set("refine.cpu_percent", 0).start().await;
    for (says, asked) in [("max-age=0, must-revalidate", 1), ("s-maxage=1", 1), ("no-cache", 4)] {
        let path = format!("/{asked}-{}.png", says.len());
        origin.set(&path, picture().header("cache-control", says).header("etag", "\"1\""));
        for width in [64, 64, 128, 64] {
            let answer = app.image(&origin.url(&path), &format!("w={width}&f=png")).await;
            assert_eq!(answer.status, 200);
            assert!(answer.must("cache-control").ends_with(", must-revalidate"), "{}", answer.must("cache-control"));
        }
        assert_eq!(origin.hits(&path), asked, "{says}");
        assert!(origin.received(&path).iter().skip(1).all(|request| request.unchanged), "{says}");
        assert_eq!(
            app.next(&origin.url(&path), 64, 75).await.must("cache-control"),
            "public, max-age=2592000, must-revalidate"
        );
        assert_eq!(origin.hits(&path), asked, "{says}: Next.js's own cache does not ask for it again");
    }
}

#[tokio::test]
async fn the_terms_of_a_redirect_hold_for_what_it_leads_to() {
    let origin = Origin::start().await;
    let app = Setup::new().set("refine.cpu_percent", 0).start().await;
    origin.set("/to.png", picture().header("cache-control", "public, max-age=600"));
    origin.set("/moved.png", Reply::redirect(302, "/to.png").header("cache-control", "no-cache"));
    for asked in 1..=2 {
        let answer = app.image(&origin.url("/moved.png"), "w=64&f=png").await;
        assert_eq!(answer.status, 200);
        assert!(answer.must("cache-control").ends_with(", must-revalidate"), "{}", answer.must("cache-control"));
        assert_eq!(origin.hits("/moved.png"), asked);
    }
}

#[tokio::test]
async fn what_never_changes_is_told_so() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    origin.set("/a.png", picture().header("cache-control", "public, max-age=31536000, immutable"));
    let answer = app.image(&origin.url("/a.png"), "w=64&f=png").await;
    let told = answer.must("cache-control");
    assert!(told.starts_with("public, max-age=3153") && told.ends_with(", immutable"), "{told}");
    // Past the origin's own lifetime nothing says that it never changes.
    origin.set("/short.png", picture().header("cache-control", "public, max-age=60, immutable"));
    let short = app.image(&origin.url("/short.png"), "w=64&f=png").await;
    assert!(!short.must("cache-control").contains("immutable"), "{}", short.must("cache-control"));
    // One that is going to be smaller changes soon.
    let interim = app.image(&origin.url("/a.png"), "w=64&f=webp").await;
    assert!(!interim.must("cache-control").contains("immutable"), "{}", interim.must("cache-control"));
}

#[tokio::test]
async fn failures_that_pass_are_remembered_for_a_moment() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    for status in [429, 500, 502, 503, 504] {
        let path = format!("/{status}.png");
        origin.set(&path, Reply::status(status));
        let told = if status == 429 { 429 } else { 502 };
        for width in [64, 64, 128, 256] {
            let answer = app.image(&origin.url(&path), &format!("w={width}")).await;
            answer.problem(told, code::SOURCE_FAILED);
            assert_eq!(answer.header("retry-after"), None);
        }
        assert_eq!(app.next(&origin.url(&path), 64, 75).await.status, status);
        assert_eq!(origin.hits(&path), 1, "{status}");
    }
    // A moment: the origin is asked again soon.
    origin.set("/500.png", picture());
    let started = Instant::now();
    while app.image(&origin.url("/500.png"), "w=64").await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(10), "the origin is not asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_origin_that_asks_for_quiet_gets_it_and_clients_are_told() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    for status in [429, 503] {
        let path = format!("/{status}.png");
        let url = origin.url(&path);
        origin.set(&path, Reply::status(status).header("retry-after", "7"));
        for _ in 0..3 {
            for answer in [app.image(&url, "w=64").await, app.next(&url, 64, 75).await] {
                let wait: u64 = answer.must("retry-after").parse().expect("seconds");
                assert!((2..=7).contains(&wait), "{status}: {wait}");
            }
        }
        tokio::time::sleep(Duration::from_millis(2300)).await;
        assert!(app.image(&url, "w=64").await.status >= 429, "{status}");
        assert_eq!(origin.hits(&path), 1, "{status}");
    }
}
