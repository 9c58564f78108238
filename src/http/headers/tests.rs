//! Tables for each field. Law: every awkward form has a row, and a near miss beside it.

use super::*;

#[test]
fn policies_are_rendered() {
    let seconds = Duration::from_secs;
    let rows = [
        (CachePolicy::default(), "no-store"),
        (CachePolicy::PrivateNoStore, "private, no-store"),
        (CachePolicy::Immutable, "public, max-age=315360000, immutable"),
        (CachePolicy::MustRevalidate { max_age: seconds(60) }, "public, max-age=60, must-revalidate"),
        (
            CachePolicy::StaleWhileRevalidate {
                max_age: Duration::from_millis(1999),
                stale: seconds(86_400),
                immutable: false,
            },
            "public, max-age=1, stale-while-revalidate=86400",
        ),
        (
            CachePolicy::StaleWhileRevalidate { max_age: seconds(9), stale: Duration::ZERO, immutable: true },
            "public, max-age=9, immutable",
        ),
        (
            CachePolicy::StaleWhileRevalidate { max_age: Duration::ZERO, stale: seconds(9), immutable: true },
            "public, max-age=0, stale-while-revalidate=9",
        ),
    ];
    for (policy, expected) in rows {
        assert_eq!(policy.header(), expected);
    }
}

#[test]
fn etags_match_in_every_form() {
    let etag = "\"abc-1_2\"";
    for field in [
        "\"abc-1_2\"",
        "W/\"abc-1_2\"",
        "abc-1_2",
        "W/abc-1_2",
        "*",
        " * ",
        "\"x\", \"abc-1_2\"",
        "\"x\" , W/\"abc-1_2\" , \"y\"",
        "x,abc-1_2",
        "\"a,b\",\"abc-1_2\"",
        ",,abc-1_2 ,",
    ] {
        assert!(names_etag(field, etag), "{field}");
    }
    for field in [
        "",
        ",",
        "\"\"",
        "\"abc\"",
        "abc-1_2x",
        "\"abc-1_2x\"",
        "\"x,abc-1_2\"",
        "\"x, *\"",
        "x, *",
        "w/\"abc-1_2\"",
        "\"ABC-1_2\"",
        "\"\" \"\"",
    ] {
        assert!(!names_etag(field, etag), "{field}");
    }
    assert!(!names_etag("\"\"", "\"\""), "an empty tag names nothing");
}

#[test]
fn a_reload_is_recognised() {
    for field in ["no-cache", "No-Cache", "max-age=0, no-cache", " no-cache "] {
        assert!(asks_no_cache(field), "{field}");
    }
    for field in ["", "max-age=0", "no-cache2", "x-no-cache", "no-store"] {
        assert!(!asks_no_cache(field), "{field}");
    }
}

#[test]
fn timings_name_the_phases_that_took_time() {
    let some = |micros| Some(Duration::from_micros(micros));
    let timings = RequestTimings { fetch: some(12_345), queue: some(0), encode: some(1_000_040), ..Default::default() };
    let expected = "cache;desc=miss, fetch;dur=12.3, queue;dur=0.0, encode;dur=1000.0";
    assert_eq!(server_timing(CacheStatus::Miss, &timings), expected);
    assert_eq!(server_timing(CacheStatus::Memory, &RequestTimings::default()), "cache;desc=memory");
}

#[test]
fn file_names_are_cut_and_cleaned() {
    let rows = [
        ("photo.jpg", "inline; filename=\"photo.webp\""),
        ("file.name.dots.png", "inline; filename=\"file.webp\""),
        ("plain", "inline; filename=\"plain.webp\""),
        ("", "inline; filename=\"image.webp\""),
        (".hidden.png", "inline; filename=\"image.webp\""),
        ("%20.png", "inline; filename=\"image.webp\""),
        ("a%2Eb.png", "inline; filename=\"a.webp\""),
        ("two%20words.png", "inline; filename=\"two words.webp\""),
        ("a%22%3Bb%0d%0ax.png", "inline; filename=\"a;bx.webp\""),
        ("..%2f..%2fetc.png", "inline; filename=\"image.webp\""),
        ("a%2f%5cb.png", "inline; filename=\"ab.webp\""),
        ("100%.png", "inline; filename=\"100%.webp\""),
        ("100%zz.png", "inline; filename=\"100%zz.webp\""),
        ("caf%C3%A9.png", "inline; filename=\"caf_.webp\"; filename*=UTF-8''caf%C3%A9.webp"),
        ("%E2%80%AEgnp.exe", "inline; filename=\"gnp.webp\""),
        ("%FF.png", "inline; filename=\"_.webp\"; filename*=UTF-8''%EF%BF%BD.webp"),
        ("%E2%82%AC 1.png", "inline; filename=\"_ 1.webp\"; filename*=UTF-8''%E2%82%AC%201.webp"),
    ];
    for (segment, expected) in rows {
        assert_eq!(content_disposition(segment, "webp", false), expected, "{segment}");
    }
    assert_eq!(content_disposition("a.png", "jpeg", true), "attachment; filename=\"a.jpeg\"");
    assert_eq!(nameless_disposition(false), "inline; filename=\"image.bin\"");
    let long = content_disposition(&"%C3%A9".repeat(1000), "avif", false);
    assert!(long.len() < 800 && !long.is_empty(), "{}", long.len());
}
