//! Tables for both parsers: what is read, and what is refused with which code or text.
//! Law: a row has one fault, so that it can only fail for its own reason.

use std::time::SystemTime;

use super::*;
use crate::format::{ImageFormat, Negotiated, negotiate};
use crate::source::Refusal;
use crate::telemetry::Secret;
use crate::variant::{Fit, FormatWish, Rgb, Wish};

const ANY: Negotiated = Negotiated { preferred: None, webp: false };
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn ask(query: &str, sizes: &Sizes) -> Result<Wish, &'static str> {
    let pairs = Pairs::parse(query).map_err(|e| e.code)?;
    direct(&pairs, "/image", query, sizes, ANY, NOW).map(|asked| asked.wish).map_err(|e| e.code)
}

fn wish() -> Wish {
    Wish {
        width: None,
        height: None,
        cap: 3840,
        max_pixels: 25_000_000,
        fit: Fit::Inside,
        quality: Some(Quality::DEFAULT),
        format: FormatWish::Negotiated(ANY),
        background: None,
    }
}

#[test]
fn pairs_are_decoded_in_order_with_repeats() {
    let pairs = Pairs::parse("url=http%3A%2F%2Fa%2Fb+c&w=1&w=2&&=x&flag&bad=%zz&utf=%C3%A9").unwrap();
    let seen: Vec<_> = pairs.iter().collect();
    let expected =
        [("url", "http://a/b c"), ("w", "1"), ("w", "2"), ("", "x"), ("flag", ""), ("bad", "%zz"), ("utf", "é")];
    assert_eq!(seen, expected);
    assert_eq!(Pairs::parse(&"a".repeat(MAX_QUERY_BYTES + 1)).map(|_| ()).map_err(|e| e.fault), Err(Fault::TooLong));
    assert!(Pairs::parse(&"a".repeat(MAX_QUERY_BYTES)).is_ok());
}

#[test]
fn image_reads_every_parameter() {
    let sizes = Sizes { heights: vec![50], ..Sizes::default() };
    let rows: [(&str, Wish); 14] = [
        ("", wish()),
        ("w=640", Wish { width: Some(640), ..wish() }),
        ("width=0640&quality=90", Wish { width: Some(640), quality: Quality::new(90), ..wish() }),
        ("h=50&f=jpg", Wish { height: Some(50), format: FormatWish::Exactly(ImageFormat::Jpeg), ..wish() }),
        ("height=384&format=auto", Wish { height: Some(384), ..wish() }),
        ("f=avif", Wish { format: FormatWish::Exactly(ImageFormat::Avif), ..wish() }),
        ("fit=cover&w=64&h=64", Wish { width: Some(64), height: Some(64), fit: Fit::Cover, ..wish() }),
        ("bg=FFffff", Wish { background: Some(Rgb::WHITE), ..wish() }),
        ("w=64&dpr=2", Wish { width: Some(128), ..wish() }),
        ("w=256&dpr=1.5&h=32", Wish { width: Some(384), height: Some(48), ..wish() }),
        // 2.67 × 48 = 128.16, to nearest
        ("w=48&dpr=2.67", Wish { width: Some(128), ..wish() }),
        ("dpr=3", wish()),
        ("utm_source=x&utm_source=y&dpl=z", wish()),
        ("q=50", Wish { quality: Quality::new(50), ..wish() }),
    ];
    for (query, expected) in rows {
        assert_eq!(ask(&format!("url=/a.jpg&{query}"), &sizes), Ok(expected), "{query}");
    }
    let pairs = Pairs::parse("url=https%3A%2F%2Fa%2Fb%3Fc%3Dd%26e").unwrap();
    assert_eq!(direct(&pairs, "/image", "", &sizes, ANY, NOW).unwrap().url, "https://a/b?c=d&e");
}

#[test]
fn image_names_every_mistake() {
    let sizes = Sizes::default();
    let rows = [
        ("w=64", "url_missing"),
        ("url=&w=64", "url_missing"),
        ("url=a&url=b", "url_repeated"),
        ("url=a&size=3", "unknown_parameter"),
        ("url=a&W=64", "unknown_parameter"),
        ("url=a&utm=1", "unknown_parameter"),
        ("url=a&=", "unknown_parameter"),
        ("url=a&w=64&width=64", "width_repeated"),
        ("url=a&h=64&h=64", "height_repeated"),
        ("url=a&q=75&quality=75", "quality_repeated"),
        ("url=a&f=webp&format=webp", "format_repeated"),
        ("url=a&fit=cover&fit=cover", "fit_repeated"),
        ("url=a&dpr=1&dpr=1", "dpr_repeated"),
        ("url=a&bg=000000&bg=000000", "background_repeated"),
        ("url=a&s=x&s=x", "signature_repeated"),
        ("url=a&s=x", "signature_invalid"),
        ("url=a&w=", "width_invalid"),
        ("url=a&w=0", "width_invalid"),
        ("url=a&w=-64", "width_invalid"),
        ("url=a&w=%2B64", "width_invalid"),
        ("url=a&w=64.0", "width_invalid"),
        ("url=a&w=+64", "width_invalid"),
        ("url=a&w=99999999999", "width_invalid"),
        ("url=a&w=100", "width_not_allowed"),
        ("url=a&w=384&dpr=3", "width_not_allowed"),
        ("url=a&w=4294967295&dpr=4", "width_not_allowed"),
        ("url=a&h=x", "height_invalid"),
        ("url=a&h=50", "height_not_allowed"),
        ("url=a&q=0", "quality_invalid"),
        ("url=a&q=101", "quality_invalid"),
        ("url=a&q=300", "quality_invalid"),
        ("url=a&q=high", "quality_invalid"),
        ("url=a&q=33", "quality_not_allowed"),
        ("url=a&f=gif", "format_invalid"),
        ("url=a&f=", "format_invalid"),
        ("url=a&f=AVIF", "format_invalid"),
        ("url=a&fit=squash", "fit_invalid"),
        ("url=a&dpr=0", "dpr_invalid"),
        ("url=a&dpr=0.99", "dpr_invalid"),
        ("url=a&dpr=4.01", "dpr_invalid"),
        ("url=a&dpr=5", "dpr_invalid"),
        ("url=a&dpr=1.", "dpr_invalid"),
        ("url=a&dpr=.5", "dpr_invalid"),
        ("url=a&dpr=1.555", "dpr_invalid"),
        ("url=a&dpr=1.5.5", "dpr_invalid"),
        ("url=a&dpr=-1", "dpr_invalid"),
        ("url=a&dpr=1e0", "dpr_invalid"),
        ("url=a&bg=00ff7f", "background_not_allowed"),
        ("url=a&bg=red", "background_invalid"),
        ("url=a&bg=%23ff0000", "background_invalid"),
    ];
    for (query, code) in rows {
        assert_eq!(ask(query, &sizes), Err(code), "{query}");
    }
}

#[test]
fn details_say_what_would_be_right() {
    let sizes = Sizes { device_sizes: vec![640, 64], image_sizes: vec![64], ..Sizes::default() };
    let detail = |query: &str| {
        let pairs = Pairs::parse(query).unwrap();
        direct(&pairs, "/image", query, &sizes, ANY, NOW).unwrap_err().detail
    };
    assert_eq!(detail("url=a&w=100"), "w of 100 is not allowed; allowed are 64, 640");
    assert_eq!(detail("url=a&w=50&dpr=2"), "w of 100 (times dpr) is not allowed; allowed are 64, 640");
    assert_eq!(detail("url=a&q=33"), "q of 33 is not allowed; allowed are 50, 75, 90");
    assert_eq!(detail("url=a&w=6%22%0A"), r#"w="6\"\n" is not valid; w must be an integer greater than 0"#);
    assert!(detail(&format!("url=a&{}=1", "x".repeat(5000))).len() < 200);
}

#[test]
fn snap_rounds_up_to_the_next_entry_or_the_largest() {
    let sizes = Sizes { snap: true, heights: vec![50], ..Sizes::default() };
    let rows = [
        ("w=1", 16),
        ("w=100", 128),
        ("w=128", 128),
        ("w=641", 750),
        ("w=9000", 3840),
        ("w=100&dpr=4", 640),
        ("w=49", 64),
    ];
    for (query, width) in rows {
        assert_eq!(ask(&format!("url=a&{query}"), &sizes).map(|w| w.width), Ok(Some(width)), "{query}");
    }
    assert_eq!(ask("url=a&h=49", &sizes).map(|w| w.height), Ok(Some(50)));
    assert_eq!(ask("url=a&w=0", &sizes), Err("width_invalid"));
    assert_eq!(ask("url=a&q=60", &sizes), Err("quality_not_allowed"), "snap is for sizes");
}

#[test]
fn a_signature_lifts_the_lists_but_not_the_hard_limits() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let sizes = Sizes {
        signing: Signing { keys: vec![SigningKey::unnamed(Secret::new("k"))], required: false },
        ..Sizes::default()
    };
    let signed = |query: &str| {
        let mut pairs: Vec<_> = query.split('&').collect();
        pairs.sort_unstable();
        let mac = Hmac::<sha2::Sha256>::new_from_slice(b"k").unwrap();
        let mac = mac.chain_update(format!("/image?{}", pairs.join("&"))).finalize().into_bytes();
        let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
        ask(&format!("s={hex}&{query}"), &sizes)
    };
    let odd = Wish { width: Some(123), height: Some(10_000), quality: Quality::new(33), ..wish() };
    assert_eq!(signed("url=a&w=123&h=10000&q=33"), Ok(odd));
    let red = Wish { background: Some(Rgb([255, 0, 0])), ..wish() };
    assert_eq!(signed("url=a&bg=ff0000"), Ok(red));
    assert_eq!(signed("url=a&w=10001"), Err("width_not_allowed"));
    assert_eq!(signed("url=a&w=5000&dpr=2.01"), Err("width_not_allowed"));
    assert_eq!(signed("url=a&q=101"), Err("quality_invalid"));
    assert_eq!(ask("url=a&w=123", &sizes), Err("width_not_allowed"));
    assert!(ask("url=a&w=64", &sizes).is_ok(), "listed sizes need no signature");
}

#[test]
fn the_default_quality_is_75_or_the_nearest_listed() {
    for (qualities, expected) in [(vec![50, 75, 90], 75), (vec![50, 80], 80), (vec![70, 80], 70), (vec![90], 90)] {
        let sizes = Sizes { qualities, ..Sizes::default() };
        assert_eq!(ask("url=a", &sizes).map(|w| w.quality.map_or(0, Quality::get)), Ok(expected));
    }
}

#[test]
fn placeholder_takes_two_parameters() {
    let read = |query: &str| {
        let pairs = Pairs::parse(query).unwrap();
        let (asked, signing) = (("/placeholder", query), (&Signing::default(), NOW));
        let read = placeholder(&pairs, asked, signing, |name| (name == "svg").then_some(1));
        read.map(|(url, n, _)| (url.to_owned(), n)).map_err(|e| e.code)
    };
    assert_eq!(read("url=a"), Ok(("a".into(), None)));
    assert_eq!(read("format=svg&url=a&utm_x=1"), Ok(("a".into(), Some(1))));
    assert_eq!(read("url=a&format=gif"), Err("format_invalid"));
    assert_eq!(read("url=a&f=svg"), Err("unknown_parameter"));
    assert_eq!(read("url=a&w=64"), Err("unknown_parameter"));
    assert_eq!(read("format=svg"), Err("url_missing"));
}

/// A query, and its width and quality or the text it is refused with.
type Row = (&'static str, Result<(u32, u8), &'static str>);

#[test]
fn next_checks_in_the_order_of_the_contract() {
    let admit = |url: &str| match url {
        "ok" => Ok(()),
        "long" => Err(Refusal::TooLong),
        _ => Err(Refusal::NotAllowed("test")),
    };
    let rows: [Row; 38] = [
        ("url=ok&w=640&q=75", Ok((640, 75))),
        ("w=0640&q=075&url=ok&dpl=x&x=1&x=2&h=3", Ok((640, 75))),
        ("", Err(r#""url" parameter is required"#)),
        ("url=&w=x", Err(r#""url" parameter is required"#)),
        ("url=long&url=long", Err(r#""url" parameter cannot be an array"#)),
        ("url=&url=", Err(r#""url" parameter cannot be an array"#)),
        ("url=long", Err("TooLong")),
        ("url=other&w=1", Err("NotAllowed")),
        ("url=ok", Err(r#""w" parameter (width) is required"#)),
        ("url=ok&w=", Err(r#""w" parameter (width) is required"#)),
        ("url=ok&w=64&w=64", Err(r#""w" parameter (width) cannot be an array"#)),
        ("url=ok&w=abc", Err(W_INTEGER)),
        ("url=ok&w=-1", Err(W_INTEGER)),
        ("url=ok&w=%2B1", Err(W_INTEGER)),
        ("url=ok&w=1.5", Err(W_INTEGER)),
        ("url=ok&w=+64", Err(W_INTEGER)),
        ("url=ok&w=99999999999999999999", Err(r#""q" parameter (quality) is required"#)),
        ("url=ok&w=99999999999999999999&q=75", Err(r#""w" parameter (width) of 100000000000000000000 is not allowed"#)),
        (
            "url=ok&w=1234567890123456789012&q=75",
            Err(r#""w" parameter (width) of 1.2345678901234568e+21 is not allowed"#),
        ),
        ("url=ok&w=1000&q=99999999999999999999", Err(r#""w" parameter (width) of 1000 is not allowed"#)),
        ("url=ok&w=64&q=99999999999999999999", Err(Q_INTEGER)),
        ("url=ok&w=1000", Err(r#""q" parameter (quality) is required"#)),
        ("url=ok&w=0", Err(r#""q" parameter (quality) is required"#)),
        ("url=ok&w=64&q=", Err(r#""q" parameter (quality) is required"#)),
        ("url=ok&w=1000&q=75&q=75", Err(r#""q" parameter (quality) cannot be an array"#)),
        ("url=ok&w=1000&q=abc", Err(Q_INTEGER)),
        ("url=ok&w=0&q=7.5", Err(Q_INTEGER)),
        ("url=ok&w=0&q=200", Err(W_INTEGER)),
        ("url=ok&w=1000&q=200", Err(r#""w" parameter (width) of 1000 is not allowed"#)),
        ("url=ok&w=8&q=70", Err(r#""w" parameter (width) of 8 is not allowed"#)),
        ("url=ok&w=0100&q=75", Err(r#""w" parameter (width) of 100 is not allowed"#)),
        ("url=ok&w=4294967936&q=75", Err(r#""w" parameter (width) of 4294967936 is not allowed"#)),
        ("url=ok&w=64&q=0", Err(Q_INTEGER)),
        ("url=ok&w=64&q=101", Err(Q_INTEGER)),
        ("url=ok&w=64&q=331", Err(Q_INTEGER)),
        ("url=ok&w=64&q=33", Err(r#""q" parameter (quality) of 33 is not allowed"#)),
        ("url=ok&w=64&q=100", Err(r#""q" parameter (quality) of 100 is not allowed"#)),
        ("url=ok&w=64&q=50", Ok((64, 50))),
    ];
    // Neither snapping nor heights change anything here.
    let sizes = Sizes { snap: true, ..Sizes::default() };
    for (query, expected) in rows {
        let seen = next(&Pairs::parse(query).unwrap(), &sizes, negotiate(None, &[]), admit);
        let seen =
            seen.map(|asked| (asked.wish.width.unwrap(), asked.wish.quality.unwrap().get())).map_err(|e| match e {
                Refused::Text(text) => text.into_owned(),
                Refused::Url(Refusal::TooLong, url) if url == "long" => "TooLong".into(),
                Refused::Url(..) => "NotAllowed".into(),
            });
        assert_eq!(seen, expected.map_err(str::to_owned), "{query}");
    }
}

const W_INTEGER: &str = r#""w" parameter (width) must be an integer greater than 0"#;
const Q_INTEGER: &str = r#""q" parameter (quality) must be an integer between 1 and 100"#;
