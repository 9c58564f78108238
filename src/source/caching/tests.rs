//! Freshness and storability from response fields, as they come in the wild (RFC 9111).

use super::*;
use reqwest::header::HeaderValue;

/// Fields, then `max_age` in seconds and `storable`.
type Row = (&'static [(&'static str, &'static str)], Option<u64>, bool);

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn lifetimes_and_permissions_are_read_as_rfc_9111_says() {
    const DATE_FIELD: (&str, &str) = ("date", "Tue, 15 Nov 1994 08:00:00 GMT");
    let rows: &[Row] = &[
        (&[], None, true),
        (&[("cache-control", "max-age=60")], Some(60), true),
        (&[("cache-control", "public, MAX-AGE=60")], Some(60), true),
        (&[("cache-control", "max-age=\"60\"")], Some(60), true),
        (&[("cache-control", "max-age=60, s-maxage=10")], Some(10), true),
        (&[("cache-control", "s-maxage=100"), ("cache-control", "max-age=5")], Some(100), true),
        (&[("cache-control", "max-age=60, max-age=10")], Some(10), true),
        (&[("cache-control", "max-age=60"), ("age", "45")], Some(15), true),
        (&[("cache-control", "max-age=60"), ("age", "100")], Some(0), true),
        (&[("cache-control", "max-age=60"), ("age", "-5")], Some(60), true),
        (&[("cache-control", "max-age=soon")], Some(0), true),
        (&[("cache-control", "max-age=-1")], Some(0), true),
        (&[("cache-control", "max-age")], Some(0), true),
        (&[("cache-control", "max-age=99999999999999999999999")], Some(MAX_AGE), true),
        (&[("cache-control", "no-cache, max-age=60")], Some(0), true),
        (&[("cache-control", "immutable,, =,max-age=60")], Some(60), true),
        (&[DATE_FIELD, ("expires", "Tue, 15 Nov 1994 09:00:00 GMT")], Some(3600), true),
        (&[DATE_FIELD, ("expires", "Tue, 15 Nov 1994 09:00:00 GMT"), ("age", "600")], Some(3000), true),
        (&[DATE_FIELD, ("expires", "Tue, 15 Nov 1994 07:00:00 GMT")], Some(0), true),
        (&[DATE_FIELD, ("expires", "0")], Some(0), true),
        (&[DATE_FIELD, ("expires", "Tue, 15 Nov 1994 09:00:00 GMT"), ("cache-control", "max-age=5")], Some(5), true),
        // Without a date, the reader's clock, which the test puts at the epoch and fifty seconds.
        (&[("expires", "Thu, 01 Jan 1970 00:01:00 GMT")], Some(10), true),
        (&[("cache-control", "private, max-age=60")], Some(60), false),
        (&[("cache-control", "Private=\"x-a, x-b\", max-age=60")], Some(60), false),
        (&[("cache-control", "ext=\"private, no-store\", max-age=60")], Some(60), true),
        (&[("cache-control", "max-age=60"), ("cache-control", "No-Store")], Some(60), false),
        (&[("set-cookie", "a=b")], None, false),
        (&[("set-cookie", "a=b"), ("cache-control", "max-age=60")], Some(60), false),
        (&[("set-cookie", "a=b"), ("cache-control", "public, max-age=60")], Some(60), true),
        (&[("set-cookie", "a=b"), ("cache-control", "s-maxage=60")], Some(60), true),
        (&[("set-cookie", "a=b"), ("cache-control", "public, private")], None, false),
        (&[("vary", "*")], None, false),
        (&[("vary", "Accept, COOKIE")], None, false),
        (&[("vary", "Accept"), ("vary", "authorization")], None, false),
        (&[("vary", "Accept, Accept-Encoding")], None, true),
    ];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(50);
    for (fields, max_age, storable) in rows {
        let Caching { max_age: found, storable: kept, .. } = Caching::of(&headers(fields), now);
        assert_eq!((found, kept), (max_age.map(Duration::from_secs), *storable), "{fields:?}");
    }
}

#[test]
fn what_an_origin_says_of_use_past_freshness_is_heard() {
    // `stale-while-revalidate` and `stale-if-error` in seconds.
    let rows: &[(&str, Option<u64>, Option<u64>)] = &[
        ("max-age=60", None, None),
        ("max-age=60, must-revalidate", Some(0), Some(0)),
        ("max-age=60, Proxy-Revalidate", Some(0), Some(0)),
        ("no-cache", Some(0), Some(0)),
        ("s-maxage=60", Some(0), Some(0)),
        ("s-maxage=1, stale-while-revalidate=59", Some(59), Some(0)),
        ("s-maxage=1, stale-if-error=\"59\"", Some(0), Some(59)),
        ("max-age=1, stale-while-revalidate=59", Some(59), None),
        ("max-age=1, stale-while-revalidate=0", Some(0), None),
        ("max-age=1, stale-while-revalidate=soon, stale-if-error", Some(0), Some(0)),
        ("max-age=1, stale-while-revalidate=9, must-revalidate, stale-if-error=9", Some(0), Some(0)),
    ];
    let now = SystemTime::UNIX_EPOCH;
    for (field, revalidate, error) in rows {
        let caching = Caching::of(&headers(&[("cache-control", field)]), now);
        let found = (caching.stale_while_revalidate, caching.stale_if_error);
        assert_eq!(found, (revalidate.map(Duration::from_secs), error.map(Duration::from_secs)), "{field}");
        assert_eq!((caching.no_cache, caching.immutable), (*field == "no-cache", false), "{field}");
    }
    assert!(Caching::of(&headers(&[("cache-control", "max-age=60, Immutable")]), now).immutable);
}
