//! The allow-list: turns what a client wrote into a [`SourceUrl`], or refuses it.
//!
//! Invariant: refusals come in Next.js's order (nextjs-contract.md §1.2, rows 3 to 9), and nothing here touches the network. A
//! literal address passes the address guard here; a name passes it when it is resolved (see `dial.rs`).

mod path;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;

use url::{Host, Url};

use self::path::{decode_path, has_malformed_escape, is_under, refuse_hidden_segments};
use super::guard::AddressGuard;
use super::{LocalPattern, RemotePattern, Settings, SourceUrl};
use crate::record::SourceKey;
use crate::source::pattern::Glob;

/// The longest source text, in UTF-16 units as JavaScript counts.
const MAX_URL_UNITS: usize = 3072;

/// The longest target of a redirect, in bytes: storages sign URLs with tokens of thousands.
const MAX_REDIRECT_BYTES: usize = 16 * 1024;

/// Next.js's own endpoint: the application behind `base_url` has it whatever ours is called.
const NEXT_ENDPOINT: &str = "/_next/image";

/// Why a URL is no source. The inner texts are for the log; clients are told the variant only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than 3072 UTF-16 units.
    #[error("the URL is too long")]
    TooLong,
    /// Begins with `//`, or with what browsers read as that.
    #[error("the URL is protocol-relative")]
    ProtocolRelative,
    /// Points at the image endpoint itself.
    #[error("the URL is recursive")]
    Recursive,
    /// No URL that can be fetched.
    #[error("the URL is invalid: {0}")]
    Invalid(&'static str),
    /// Not on the list, or not at a public address.
    #[error("the URL is not allowed: {0}")]
    NotAllowed(&'static str),
}

/// The operator's allow-list, compiled.
#[derive(Debug)]
pub struct SourcePolicy {
    domains: HashSet<String>,
    remote: Vec<RemotePattern>,
    local: Option<Vec<LocalPattern>>,
    base: Option<Url>,
    endpoints: Vec<String>,
    guard: AddressGuard,
}

impl SourcePolicy {
    /// Compiles the settings. A pattern that admits any host is left out unless `allow_any_host` is set: `config`
    /// refuses it at start, and this is the second fence.
    pub fn new(settings: &Settings) -> Self {
        let keep = |pattern: &&RemotePattern| settings.allow_any_host || !pattern.hostname.is_any_host();
        let mut endpoints = vec![NEXT_ENDPOINT.to_owned()];
        let own = settings.next_path.trim_end_matches('/');
        if own.starts_with('/') && own != NEXT_ENDPOINT {
            endpoints.push(own.to_owned());
        }
        Self {
            domains: settings.domains.iter().cloned().collect(),
            remote: settings.remote_patterns.iter().filter(keep).cloned().collect(),
            local: settings.local_patterns.clone(),
            base: settings.base_url.clone().and_then(without_credentials),
            endpoints,
            guard: AddressGuard { allow_local_ip: settings.allow_local_ip, allow_cidrs: settings.allow_cidrs.clone() },
        }
    }

    /// Judges what a client wrote: an absolute URL, or a path on `base_url`.
    ///
    /// # Errors
    /// The first [`Refusal`] that applies, in Next.js's order.
    pub fn admit(&self, text: &str) -> Result<SourceUrl, Refusal> {
        check_length(text)?;
        if !text.starts_with('/') {
            check_characters(text)?;
            let url = Url::parse(text).map_err(|_| Refusal::Invalid("not an absolute URL"))?;
            return self.admit_absolute(url);
        }
        // A browser reads `/\` as `//`.
        if text[1..].starts_with(['/', '\\']) {
            return Err(Refusal::ProtocolRelative);
        }
        check_characters(text)?;
        // Without a base there is still an order of refusals to keep; the stand-in is never fetched.
        let base = match &self.base {
            Some(base) => base.clone(),
            None => Url::parse("http://n").map_err(|_| Refusal::Invalid("no base"))?,
        };
        let url = base.join(text).map_err(|_| Refusal::Invalid("not a path"))?;
        if url.origin() != base.origin() {
            return Err(Refusal::Invalid("a path that leaves its origin"));
        }
        self.admit_local(url)
    }

    /// The key of a source, be it allowed (still) or not: for taking it out.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it is no URL and no path on `base_url`.
    pub fn key_of(&self, text: &str) -> Result<SourceKey, Refusal> {
        Ok(SourceKey::of_normalised(self.resolved(text)?.as_str()))
    }

    /// A URL or the beginning of one as it stands in normalised URLs.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it is no URL and no path on `base_url`.
    pub fn normalised(&self, text: &str) -> Result<String, Refusal> {
        let url = self.resolved(text)?;
        // What is normalised must be what was written: `http://127.0` would become an address that nobody meant.
        let written = text.starts_with('/')
            || match url.host() {
                Some(Host::Domain(name)) => can_be_host(name),
                Some(Host::Ipv4(ip)) => text.contains(&ip.to_string()),
                Some(Host::Ipv6(_)) | None => true,
            };
        if written { Ok(url.into()) } else { Err(Refusal::Invalid("its host cannot be that of a source")) }
    }

    /// A host as it stands in normalised URLs.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it is none.
    pub fn normalised_host(text: &str) -> Result<String, Refusal> {
        let bare = !text.is_empty() && !text.contains(['/', '@', '?', '#', '\\']);
        let url = bare.then(|| Url::parse(&format!("http://{text}/")).ok()).flatten();
        let url = url.filter(|url| url.port().is_none());
        let host = url.as_ref().and_then(Url::host_str).filter(|host| match url.as_ref().and_then(Url::host) {
            Some(Host::Domain(name)) => can_be_host(name),
            Some(Host::Ipv4(_)) => text == *host,
            Some(Host::Ipv6(_)) | None => true,
        });
        host.map(str::to_owned).ok_or(Refusal::Invalid("not a host name without port"))
    }

    fn resolved(&self, text: &str) -> Result<Url, Refusal> {
        check_length(text)?;
        check_characters(text)?;
        let mut url = if text.starts_with('/') {
            let base = self.base.as_ref().ok_or(Refusal::Invalid("a path needs a base_url"))?;
            base.join(text).map_err(|_| Refusal::Invalid("not a path"))?
        } else {
            Url::parse(text).map_err(|_| Refusal::Invalid("not an absolute URL"))?
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Invalid("neither http nor https"));
        }
        refuse_userinfo(&url)?;
        url.set_fragment(None);
        Ok(url)
    }

    /// Judges the target of a redirect by the whole policy. A local source may be redirected on its own origin, where
    /// the local patterns hold; anywhere else it is a source like any other.
    pub(crate) fn admit_redirect(&self, from: &SourceUrl, location: &str) -> Result<SourceUrl, Refusal> {
        if location.len() > MAX_REDIRECT_BYTES {
            return Err(Refusal::TooLong);
        }
        check_characters(location)?;
        let url = from.expose_url().join(location).map_err(|_| Refusal::Invalid("a redirect to no URL"))?;
        match &self.base {
            Some(base) if from.is_local() && url.origin() == base.origin() => self.admit_local(url),
            _ => self.admit_absolute(url),
        }
    }

    /// The judge of resolved addresses.
    pub(super) fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    fn admit_local(&self, mut url: Url) -> Result<SourceUrl, Refusal> {
        url.set_fragment(None);
        refuse_userinfo(&url)?;
        if has_malformed_escape(url.path()) {
            return Err(Refusal::Invalid("a malformed percent escape"));
        }
        let decoded = decode_path(url.path())?;
        if self.endpoints.iter().any(|endpoint| is_under(&decoded, endpoint.as_bytes())) {
            return Err(Refusal::Recursive);
        }
        refuse_hidden_segments(&decoded)?;
        if self.base.is_none() {
            return Err(Refusal::NotAllowed("relative URLs need a base_url"));
        }
        let admits = |pattern: &LocalPattern| {
            pattern.search.as_deref().is_none_or(|search| search == search_of(&url))
                && path_matches(pattern.pathname.as_ref(), url.path())
        };
        match &self.local {
            Some(patterns) if !patterns.iter().any(admits) => Err(Refusal::NotAllowed("no local pattern matches")),
            _ => Ok(SourceUrl::new(url, true)),
        }
    }

    fn admit_absolute(&self, mut url: Url) -> Result<SourceUrl, Refusal> {
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Invalid("neither http nor https"));
        }
        refuse_userinfo(&url)?;
        let decoded = decode_path(url.path())?;
        refuse_hidden_segments(&decoded)?;
        let host = url.host_str().ok_or(Refusal::Invalid("no host"))?;
        let listed = self.domains.contains(host) || self.remote.iter().any(|pattern| admits(pattern, &url, host));
        if !listed {
            return Err(Refusal::NotAllowed("neither a domain nor a remote pattern matches"));
        }
        // The parser has turned every form of an address (decimal, octal, hex, short) into one of these.
        let address = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) | None => None,
        };
        match address {
            Some(ip) if !self.guard.admits(ip) => Err(Refusal::NotAllowed("not a public address")),
            _ => Ok(SourceUrl::new(url, false)),
        }
    }
}

/// Whether a name can be that of a host: no pattern, no empty label.
fn can_be_host(name: &str) -> bool {
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

fn admits(pattern: &RemotePattern, url: &Url, host: &str) -> bool {
    let protocol = |wanted: &str| wanted.trim_end_matches(':') == url.scheme();
    let port = |wanted: &str| url.port().map_or(wanted.is_empty(), |port| wanted == port.to_string());
    pattern.protocol.as_deref().is_none_or(protocol)
        && pattern.port.as_deref().is_none_or(port)
        && pattern.search.as_deref().is_none_or(|search| search == search_of(url))
        && pattern.hostname.matches(host)
        && path_matches(pattern.pathname.as_ref(), url.path())
}

/// An omitted pattern is `**`, which refuses only what `refuse_hidden_segments` has refused already.
fn path_matches(pattern: Option<&Glob>, path: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(path))
}

/// The query as JavaScript's `URL.search` gives it: with its `?`, and empty for a bare `?`.
fn search_of(url: &Url) -> &str {
    let query = url.query().unwrap_or_default();
    if query.is_empty() { "" } else { &url.as_str()[url.as_str().len() - query.len() - 1..] }
}

fn check_length(text: &str) -> Result<(), Refusal> {
    // Each UTF-16 unit takes at least one byte of UTF-8.
    let long = text.len() > MAX_URL_UNITS && text.encode_utf16().count() > MAX_URL_UNITS;
    if long { Err(Refusal::TooLong) } else { Ok(()) }
}

/// URL parsers disagree about backslashes (WHATWG: a slash) and about control characters (WHATWG: dropped), and
/// disagreement is how one host is checked and another fetched. No honest URL has them before its query.
fn check_characters(text: &str) -> Result<(), Refusal> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Refusal::Invalid("a control character"));
    }
    let front = text.split(['?', '#']).next().unwrap_or_default();
    if front.contains('\\') { Err(Refusal::Invalid("a backslash")) } else { Ok(()) }
}

fn refuse_userinfo(url: &Url) -> Result<(), Refusal> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    Err(Refusal::Invalid("userinfo"))
}

/// The operator's base without userinfo: it would end in logs and in what clients see.
fn without_credentials(mut base: Url) -> Option<Url> {
    base.set_username("").ok()?;
    base.set_password(None).ok()?;
    Some(base)
}
