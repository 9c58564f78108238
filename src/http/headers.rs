//! What response headers say, as pure functions: caching, validators, file names, timings.
//!
//! Invariant: a handler names a [`CachePolicy`] and nothing else about caching; its one rendering is here and its one
//! writer is the middleware. What comes from a URL is cleaned before it stands in a header.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::TagField;
use super::error::Problem;
use crate::cache::CacheStatus;
use crate::optimizer::{RequestTimings, tags_of};
use crate::record::SourceRecord;
use crate::source::{CDN_LOOP, CDN_NAME, SourceUrl};

/// Refuses what was sent by this service, or by a replica of it (RFC 8586): whoever makes it ask itself would have each
/// request wait for the next.
pub(super) fn refuse_loop(request: &HeaderMap) -> Result<(), Problem> {
    let is_ours = |name: &str| name.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(CDN_NAME));
    let mut fields = request.get_all(CDN_LOOP).filter_map(|field| field.to_str().ok());
    if fields.any(|field| field.split(',').any(is_ours)) { Err(Problem::looped()) } else { Ok(()) }
}

/// How long others may keep a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CachePolicy {
    /// Nobody keeps it: errors, states of the service.
    #[default]
    NoStore,
    /// Nobody keeps it, because its origin said so.
    PrivateNoStore,
    /// Fresh for `max_age`, then revalidated, whatever happens: Next.js's own words, and those for a source whose origin
    /// wants it so.
    MustRevalidate {
        /// Seconds are sent, rounded down.
        max_age: Duration,
    },
    /// Fresh for `max_age`, then usable while it is revalidated behind (RFC 5861 §3).
    StaleWhileRevalidate {
        /// Seconds are sent, rounded down.
        max_age: Duration,
        /// Seconds after that; nothing is said of none.
        stale: Duration,
        /// Not even a reload asks for it again while it is fresh (RFC 8246).
        immutable: bool,
    },
    /// The URL names its content.
    Immutable,
    /// Kept, and asked for again each time.
    NoCache,
}

/// Longest time that clients are told to use a stale image while they revalidate: they do not hear of purges.
const CLIENT_STALE: Duration = Duration::from_secs(24 * 60 * 60);

impl CachePolicy {
    /// The policy of what was made from a source, as our own endpoints word it: fresh for what `remaining` is left, and
    /// past that as its origin allows. `lasting`: the same is sent for as long as the source is the same.
    pub(super) fn of_source(record: &SourceRecord, remaining: Duration, lasting: bool) -> Self {
        let lifetime = &record.lifetime;
        if !record.storable {
            return Self::PrivateNoStore;
        }
        if lifetime.stale_while_revalidate.is_zero() && lifetime.stale_if_error.is_zero() {
            return Self::MustRevalidate { max_age: remaining };
        }
        let stale = lifetime.stale_while_revalidate.min(CLIENT_STALE);
        Self::StaleWhileRevalidate { max_age: remaining, stale, immutable: lasting && lifetime.immutable }
    }

    /// The same for what may not be answered any more after `rest`, from whose end on a kept answer is not used either.
    pub(super) fn at_most(self, rest: Duration) -> Self {
        match self {
            Self::NoStore | Self::PrivateNoStore | Self::NoCache => self,
            Self::MustRevalidate { max_age } | Self::StaleWhileRevalidate { max_age, .. } => {
                Self::MustRevalidate { max_age: max_age.min(rest) }
            }
            Self::Immutable => Self::MustRevalidate { max_age: rest },
        }
    }

    /// The policy of a developer's own service, where `development`: what has just been changed is to be seen.
    pub(super) fn kept_by_nobody(self, development: bool) -> Self {
        match self {
            Self::NoStore | Self::PrivateNoStore => self,
            _ if development => Self::NoCache,
            _ => self,
        }
    }

    /// The `Cache-Control` field.
    pub(super) fn header(self) -> HeaderValue {
        let text = match self {
            Self::NoStore => return HeaderValue::from_static("no-store"),
            Self::PrivateNoStore => return HeaderValue::from_static("private, no-store"),
            Self::NoCache => return HeaderValue::from_static("no-cache"),
            Self::Immutable => return HeaderValue::from_static("public, max-age=315360000, immutable"),
            Self::MustRevalidate { max_age } => format!("public, max-age={}, must-revalidate", max_age.as_secs()),
            Self::StaleWhileRevalidate { max_age, stale, immutable } => {
                let mut text = format!("public, max-age={}", max_age.as_secs());
                if !stale.is_zero() {
                    let _ = write!(text, ", stale-while-revalidate={}", stale.as_secs());
                }
                if immutable && !max_age.is_zero() {
                    text.push_str(", immutable");
                }
                text
            }
        };
        value(text)
    }
}

/// A field of our own making. It holds visible ASCII by construction; were it not to, an empty field is sent.
pub(super) fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What every image and placeholder carries, whatever it is: it may be shown anywhere and must be run nowhere.
const COMMON: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Cache-Status, Server-Timing, Content-Length, ETag, X-Nextjs-Cache"),
    ),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    (HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*")),
];

/// Adds the fields that every image and placeholder carries.
pub(super) fn add_common(headers: &mut HeaderMap) {
    for (name, value) in COMMON {
        headers.insert(name, value);
    }
}

/// The fields that name the tags by which a CDN can drop what was made of `source`.
pub(super) fn tags(fields: &[TagField], source: &SourceUrl) -> Vec<(HeaderName, HeaderValue)> {
    if fields.is_empty() {
        return Vec::new();
    }
    let tags = tags_of(source);
    let field = |field: &TagField| match field {
        TagField::CacheTag => (HeaderName::from_static("cache-tag"), value(tags.join(","))),
        TagField::SurrogateKey => (HeaderName::from_static("surrogate-key"), value(tags.join(" "))),
    };
    fields.iter().map(field).collect()
}

/// Whether the client has `etag` already and does not ask for a reload: then 304 says all.
pub(super) fn is_known(request: &HeaderMap, etag: &str) -> bool {
    // As a rule it is there once and as we sent it.
    let mut tags = request.get_all(header::IF_NONE_MATCH);
    let named = |field: &HeaderValue| {
        field.as_bytes() == etag.as_bytes() || field.to_str().is_ok_and(|field| names_etag(field, etag))
    };
    let mut controls = request.get_all(header::CACHE_CONTROL).filter_map(|field| field.to_str().ok());
    tags.any(named) && !controls.any(asks_no_cache)
}

/// Whether an `If-None-Match` field names `etag` (quoted, strong), compared weakly (RFC 9110 §13.1.2).
///
/// Bare tokens match too: Next.js sends its tags without quotes, and clients give back what they got.
fn names_etag(field: &str, etag: &str) -> bool {
    let ours = etag.trim_matches('"');
    let mut rest = field.trim();
    if rest == "*" {
        return true;
    }
    while !rest.is_empty() {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        rest = rest.strip_prefix("W/").unwrap_or(rest);
        let tag;
        (tag, rest) = match rest.strip_prefix('"') {
            // A comma may stand inside the quotes.
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if !ours.is_empty() && tag.trim_end() == ours {
            return true;
        }
    }
    false
}

/// Whether a request's `Cache-Control` asks for the whole response: a reload.
fn asks_no_cache(field: &str) -> bool {
    field.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

/// The `Server-Timing` field: the cache's part always, a phase where time was spent, in milliseconds.
pub(super) fn server_timing(status: CacheStatus, timings: &RequestTimings) -> HeaderValue {
    if *timings == RequestTimings::default() {
        return HeaderValue::from_static(match status {
            CacheStatus::Memory => "cache;desc=memory",
            CacheStatus::Redis => "cache;desc=redis",
            CacheStatus::Stale => "cache;desc=stale",
            CacheStatus::Miss => "cache;desc=miss",
            CacheStatus::Collapsed => "cache;desc=collapsed",
            CacheStatus::Bypass => "cache;desc=bypass",
        });
    }
    let RequestTimings { fetch, queue, decode, resize, encode } = *timings;
    let mut text = String::with_capacity(128);
    text.push_str("cache;desc=");
    text.push_str(status.as_str());
    let phases = [("fetch", fetch), ("queue", queue), ("decode", decode), ("resize", resize), ("encode", encode)];
    for (name, time) in phases {
        if let Some(time) = time {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {name};dur={:.1}", time.as_secs_f64() * 1000.0);
        }
    }
    value(text)
}

/// What is not an attr-char of RFC 8187 §3.2.1, and its rarer marks: encoding more than is needed is allowed.
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest file name sent, in characters, without its extension.
const MAX_NAME: usize = 100;

/// The `Content-Disposition` field (RFC 6266). `segment` is the last segment of the source's path as its URL has it;
/// the name is what stands before its first dot, the extension is that of what is sent.
pub(super) fn content_disposition(segment: &str, extension: &str, attachment: bool) -> HeaderValue {
    let kind = if attachment { "attachment" } else { "inline" };
    let name = file_name(segment);
    let mut text = String::with_capacity(kind.len() + name.len() + extension.len() + 16);
    let ascii = |c: char| if c.is_ascii() { c } else { '_' };
    text.extend([kind, "; filename=\""]);
    text.extend(name.chars().map(ascii));
    text.extend([".", extension, "\""]);
    if !name.is_ascii() {
        text.push_str("; filename*=UTF-8''");
        text.extend(utf8_percent_encode(&name, NOT_ATTR_CHAR));
        text.extend([".", extension]);
    }
    value(text)
}

/// The name of Next.js for a source whose path ends in a slash.
pub(super) fn nameless_disposition(attachment: bool) -> HeaderValue {
    HeaderValue::from_static(if attachment {
        "attachment; filename=\"image.bin\""
    } else {
        "inline; filename=\"image.bin\""
    })
}

fn file_name(segment: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    let harmless = |c: char| !is_hazardous(c);
    let name = match decoded {
        Cow::Borrowed(text) => Cow::Borrowed(text.split('.').next().unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.split('.').next().unwrap_or_default().to_owned()),
    };
    let short = name.len() <= MAX_NAME;
    let name = if short && name.chars().all(harmless) {
        name
    } else {
        Cow::Owned(name.chars().filter(|c| harmless(*c)).take(MAX_NAME).collect())
    };
    if name.trim().is_empty() { Cow::Borrowed("image") } else { name }
}

/// Characters that end a quoted string or a path, or turn the direction of what is shown of a name.
fn is_hazardous(c: char) -> bool {
    c.is_control()
        || matches!(c, '"' | '\\' | '/' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
