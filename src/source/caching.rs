//! What an origin says about keeping its answer (RFC 9111).
//!
//! Invariant: whatever is unclear counts against keeping. An unreadable lifetime is none, and a response meant for one
//! user is not stored by anyone.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use reqwest::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName, SET_COOKIE, VARY};

/// RFC 9111 §1.2.2: what does not fit is this large.
const MAX_AGE: u64 = 1 << 31;

/// How long an answer may be kept, and whether at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// `s-maxage`, else `max-age`, else `Expires` less `Date`, each less `Age`; `None` when the origin says nothing.
    pub max_age: Option<Duration>,
    /// False for `private`, `no-store`, `Vary` on `*`, `Cookie` or `Authorization`, and for `Set-Cookie` unless the origin
    /// says outright that it is for everybody.
    pub storable: bool,
    /// The origin is to be asked before each use (§5.2.2.4).
    pub no_cache: bool,
    /// How long past its freshness it may be used while it is revalidated; `None` when the origin leaves that to others.
    /// Nothing where it forbids it: `must-revalidate`, `proxy-revalidate`, `no-cache`, and `s-maxage`, which means the same
    /// (§5.2.2.10) unless a time is named beside it.
    pub stale_while_revalidate: Option<Duration>,
    /// How long past its freshness it may be used when the origin fails; `None` and nothing as above.
    pub stale_if_error: Option<Duration>,
    /// It does not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// The answer has a field that says any of this. One that confirms what is known and has none changes nothing of it
    /// (§4.3.4).
    pub said: bool,
}

impl Caching {
    /// These terms of an answer that a redirect with the terms `before` led to: the redirect must not be used longer than
    /// it allows either.
    pub(super) fn behind(mut self, before: &Self) -> Self {
        let shorter = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.storable &= before.storable;
        self.said |= before.said;
        if before.no_cache {
            (self.no_cache, self.max_age) = (true, Some(Duration::ZERO));
        }
        self.stale_while_revalidate = shorter(self.stale_while_revalidate, before.stale_while_revalidate);
        self.stale_if_error = shorter(self.stale_if_error, before.stale_if_error);
        self
    }

    /// Reads a response's header; `now` stands in for a missing `Date`.
    pub(super) fn of(headers: &HeaderMap, now: SystemTime) -> Self {
        let control = Control::of(headers);
        let lifetime = if control.no_cache {
            Some(0)
        } else {
            control.shared_max_age.or(control.max_age).or_else(|| expiry(headers, now))
        };
        let age = texts(headers, AGE).next().and_then(seconds).unwrap_or(0);
        let for_one = texts(headers, VARY).flat_map(|text| text.split(',')).any(|name| {
            let name = name.trim();
            ["*", "cookie", "authorization"].iter().any(|one| name.eq_ignore_ascii_case(one))
        });
        let for_all = control.public || control.shared_max_age.is_some();
        let stale = |told: Option<u64>| match told {
            _ if control.must_revalidate || control.no_cache => Some(Duration::ZERO),
            None if control.shared_max_age.is_some() => Some(Duration::ZERO),
            told => told.map(Duration::from_secs),
        };
        Self {
            max_age: lifetime.map(|lifetime| Duration::from_secs(lifetime.saturating_sub(age))),
            // RFC 9111 §7.3: a cookie does not inhibit caching by itself, and no request of ours bears one.
            storable: !control.private && !for_one && (for_all || !headers.contains_key(SET_COOKIE)),
            no_cache: control.no_cache,
            stale_while_revalidate: stale(control.stale_while_revalidate),
            stale_if_error: stale(control.stale_if_error),
            immutable: control.immutable,
            said: headers.contains_key(CACHE_CONTROL) || headers.contains_key(EXPIRES),
        }
    }
}

#[derive(Default)]
struct Control {
    shared_max_age: Option<u64>,
    max_age: Option<u64>,
    stale_while_revalidate: Option<u64>,
    stale_if_error: Option<u64>,
    public: bool,
    private: bool,
    no_cache: bool,
    must_revalidate: bool,
    immutable: bool,
}

impl Control {
    fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for text in texts(headers, CACHE_CONTROL) {
            for directive in directives(text) {
                control.take(directive);
            }
        }
        control
    }

    fn take(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // RFC 9111 §4.2.1: what cannot be read counts as stale, and of two values the more cautious one is taken.
        let shorter = |old: Option<u64>| {
            let new = seconds(value).unwrap_or(0);
            Some(old.map_or(new, |old| old.min(new)))
        };
        match () {
            () if is("s-maxage") => self.shared_max_age = shorter(self.shared_max_age),
            () if is("max-age") => self.max_age = shorter(self.max_age),
            () if is("stale-while-revalidate") => self.stale_while_revalidate = shorter(self.stale_while_revalidate),
            () if is("stale-if-error") => self.stale_if_error = shorter(self.stale_if_error),
            () if is("public") => self.public = true,
            () if is("private") || is("no-store") => self.private = true,
            () if is("no-cache") => self.no_cache = true,
            () if is("must-revalidate") || is("proxy-revalidate") => self.must_revalidate = true,
            () if is("immutable") => self.immutable = true,
            () => {}
        }
    }
}

/// Splits at commas that are not inside a quoted string.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |char| {
        quoted ^= char == '"';
        char == ',' && !quoted
    })
}

fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(MAX_AGE).min(MAX_AGE))
}

/// `Expires` less `Date`; an `Expires` that is no date (`0`) is in the past.
fn expiry(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let date = |name| texts(headers, name).next().and_then(|text| httpdate::parse_http_date(text).ok());
    headers.get(EXPIRES)?;
    let lifetime = date(EXPIRES).and_then(|end| end.duration_since(date(DATE).unwrap_or(now)).ok());
    Some(lifetime.map_or(0, |lifetime| lifetime.as_secs().min(MAX_AGE)))
}

/// The readable values of a header field.
fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}
