//! Reads the `.next/images-manifest.json` that `next build` writes, as values for our own keys.
//!
//! The manifest holds patterns as the regular expressions that picomatch makes of them. One that is recognised whole is
//! turned back into its glob; any other is kept as it is (`hostname_regex`, `pathname_regex`). Invariant: a translation
//! means exactly the same, or there is none.

use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use super::read::{self, Shown};
use crate::source::Glob;

/// What a manifest says, in our terms.
#[derive(Debug)]
pub struct Import {
    /// Key and value, ready for `pixgate.toml`.
    pub(super) values: Vec<(&'static str, Value)>,
    /// What the operator should know, one sentence each.
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    version: u32,
    images: Images,
}

/// The `images` object. All fields may be absent: each came with some version of Next.js, and unset ones are left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Images {
    device_sizes: Option<Vec<i64>>,
    image_sizes: Option<Vec<i64>>,
    path: Option<String>,
    loader: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(rename = "minimumCacheTTL")]
    minimum_cache_ttl: Option<u64>,
    formats: Option<Vec<String>>,
    maximum_redirects: Option<i64>,
    maximum_response_body: Option<u64>,
    #[serde(rename = "dangerouslyAllowLocalIP")]
    allow_local_ip: Option<bool>,
    #[serde(rename = "dangerouslyAllowSVG")]
    allow_svg: Option<bool>,
    content_disposition_type: Option<String>,
    local_patterns: Option<Vec<Pattern>>,
    #[serde(default)]
    remote_patterns: Vec<Pattern>,
    qualities: Option<Vec<i64>>,
    #[serde(default)]
    unoptimized: bool,
}

/// A pattern; `hostname` and `pathname` are regular expressions.
#[derive(Deserialize)]
struct Pattern {
    protocol: Option<String>,
    hostname: Option<String>,
    port: Option<String>,
    pathname: Option<String>,
    search: Option<String>,
}

/// Reads a manifest.
///
/// # Errors
/// A sentence when `bytes` is no images manifest of a known version.
pub fn import(bytes: &[u8]) -> Result<Import, String> {
    let manifest: Manifest = serde_json::from_slice(bytes)
        .map_err(|error| format!("is no Next.js images manifest (.next/images-manifest.json): {error}"))?;
    if manifest.version != 1 {
        return Err(format!("is a Next.js images manifest of version {}; only version 1 is known", manifest.version));
    }
    let images = manifest.images;
    let mut notes = images.notes();
    let mut values = Vec::new();
    let mut put = |key, value: Option<Value>| values.extend(value.map(|value| (key, value)));

    let path = images.path.as_deref().unwrap_or_default();
    let mount = mount_of(path);
    if mount.is_none() && !path.is_empty() {
        notes.push(format!("images.path {path:?} has no path of its own: server.next_path stays as it is"));
    }
    put("server.next_path", mount.map(Value::String));
    put("sources.domains", Some(images.domains.into()));
    put("sources.remote_patterns", Some(patterns(&images.remote_patterns)));
    put("sources.local_patterns", images.local_patterns.as_deref().map(patterns));
    put("sources.allow_local_ip", images.allow_local_ip.map(Value::Boolean));
    put("sources.max_redirects", images.maximum_redirects.map(Value::Integer));
    put("sources.max_bytes", images.maximum_response_body.and_then(Shown::bytes));
    put("images.device_sizes", images.device_sizes.map(Value::from));
    put("images.image_sizes", images.image_sizes.map(Value::from));
    let any_quality = || (5..=100).step_by(5).collect::<Vec<i64>>();
    put("images.qualities", Some(images.qualities.unwrap_or_else(any_quality).into()));
    let short = |mime: String| mime.strip_prefix("image/").map_or_else(|| mime.clone(), str::to_owned);
    put("images.formats", images.formats.map(|list| list.into_iter().map(short).collect::<Vec<_>>().into()));
    put("images.minimum_cache_ttl", images.minimum_cache_ttl.map(Duration::from_secs).and_then(Shown::duration));
    put("images.allow_svg", images.allow_svg.map(Value::Boolean));
    put("images.content_disposition", images.content_disposition_type.map(Value::String));
    Ok(Import { values, notes })
}

impl Import {
    /// Adds where the app itself is reached.
    ///
    /// # Errors
    /// What is allowed, when `text` is no such address.
    pub fn with_base_url(mut self, text: &str) -> Result<Self, String> {
        let value = Value::String(text.into());
        read::origin(&value)?;
        self.values.push(("sources.base_url", value));
        Ok(self)
    }
}

impl Images {
    /// What cannot be carried over as it is.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |applies: bool, text: &str| notes.extend(applies.then(|| text.to_owned()));
        note(
            self.unoptimized,
            "the app sets images.unoptimized: it asks for originals, so no image will come through Pixgate",
        );
        note(
            self.loader.as_deref().is_some_and(|loader| loader != "default"),
            "the app sets images.loader: its own loader forms the URLs, and must form Pixgate's",
        );
        note(
            self.qualities.is_none(),
            "this app allows every quality from 1 to 100 (images.qualities is unset); a finite list is needed here, \
             every fifth number; add to images.qualities what else the app asks for",
        );
        note(
            self.allow_local_ip.is_none(),
            "this version of Next.js fetches from private addresses without asking; Pixgate does not, unless \
             sources.allow_cidrs or sources.allow_local_ip says so",
        );
        note(self.allow_svg == Some(true), "SVG sources are drawn as pixels here; Next.js passes them through");
        let hosts = self.remote_patterns.iter().filter_map(|pattern| pattern.hostname.as_deref());
        for host in hosts.filter(|host| Glob::regex(host).is_ok_and(|glob| glob.is_any_host())) {
            let host = glob_of(host, Subject::Host).unwrap_or_else(|| host.to_owned());
            note(true, &format!("the pattern {host} admits any host, which takes sources.allow_any_host = true"));
        }
        notes
    }
}

/// The path of `images.path`, which may be a URL, with the slash at its end gone.
fn mount_of(path: &str) -> Option<String> {
    let path = if path.starts_with('/') { path.to_owned() } else { Url::parse(path).ok()?.path().to_owned() };
    let path = path.trim_end_matches('/');
    (!path.is_empty()).then(|| path.to_owned())
}

fn patterns(patterns: &[Pattern]) -> Value {
    Value::Array(patterns.iter().map(|pattern| Value::Table(pattern.table())).collect())
}

impl Pattern {
    fn table(&self) -> Table {
        let mut table = Table::new();
        let mut put = |name: &str, value: &Option<String>| {
            if let Some(text) = value {
                table.insert(name.into(), text.clone().into());
            }
        };
        put("protocol", &self.protocol);
        put("port", &self.port);
        put("search", &self.search);
        for (name, regex, subject) in
            [("hostname", &self.hostname, Subject::Host), ("pathname", &self.pathname, Subject::Path)]
        {
            let glob = regex.as_deref().and_then(|regex| glob_of(regex, subject));
            match glob {
                // What Next.js fills in where no pathname is given.
                Some(glob) if glob == "**" && name == "pathname" => {}
                Some(_) => put(name, &glob),
                None => put(&format!("{name}_regex"), regex),
            }
        }
        table
    }
}

/// What a pattern is matched against; picomatch treats dots differently in the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Host,
    Path,
}

/// Any characters but a segment that begins with a dot.
const HOST_GLOBSTAR: &str = r"(?!\.)(?:(?:(?!(?:^|\/)\.).)*?)";
const HOST_STAR: &str = r"(?!\.)(?=.)[^/]*?";
/// Any segments but `.` and `..`.
const PATH_GLOBSTAR: &str = r"(?:(?:(?!(?:^|\/)\.{1,2}(?:\/|$)).)*?)";
const NO_DOTS: &str = r"(?!\.{1,2}(?:\/|$))";
const STAR: &str = "[^/]*?";

/// The glob of which picomatch makes this regular expression; `None` when any part of it is not recognised.
fn glob_of(regex: &str, subject: Subject) -> Option<String> {
    let bare = |text| -> Option<&str> { str::strip_prefix(text, "^(?:")?.strip_suffix(")$") };
    let body = bare(regex)?;
    let mut rest = bare(body).unwrap_or(body);
    let (under, between) =
        (format!(r"(?:\/{NO_DOTS}{PATH_GLOBSTAR}|$)"), format!(r"(?:\/{NO_DOTS}{PATH_GLOBSTAR}\/|\/|$)"));
    let segment = format!(r"{NO_DOTS}(?=.){STAR}");
    if subject == Subject::Path {
        if rest == format!(r"(?!(?:^|\/)\.{{1,2}}(?:\/|$)){PATH_GLOBSTAR}\/?") {
            return Some("**".into());
        }
        if rest == format!(r"\/{NO_DOTS}{PATH_GLOBSTAR}") {
            return Some("/**".into());
        }
    }
    let mut glob = String::new();
    while !rest.is_empty() {
        let (start, after_slash, after_star) = (glob.is_empty(), glob.ends_with('/'), glob.ends_with('*'));
        // Each with the place it may stand in; elsewhere picomatch means something else by it.
        let tokens: &[(&str, &str, bool)] = match subject {
            Subject::Path => &[
                (&under, "/**", !start && rest == under),
                (&between, "/**/", !start && !after_slash),
                (&segment, "*", after_slash),
                (STAR, "*", !start && !after_slash && !after_star),
            ],
            Subject::Host => {
                &[(HOST_GLOBSTAR, "**", start), (HOST_STAR, "*", start), (STAR, "*", !start && !after_star)]
            }
        };
        let token =
            tokens.iter().find_map(|(token, text, here)| Some((rest.strip_prefix(token).filter(|_| *here)?, text)));
        if let Some((tail, text)) = token {
            rest = tail;
            glob.push_str(text);
            continue;
        }
        // Picomatch lets a slash follow a last star.
        if rest == r"\/?" && glob.contains('*') {
            break;
        }
        rest = literal(rest, &mut glob).or_else(|| alternatives(rest, &mut glob))?;
    }
    Some(glob)
}

/// One character that means itself in a glob too, escaped or not; the text after it.
fn literal<'a>(rest: &'a str, glob: &mut String) -> Option<&'a str> {
    let (character, tail) = match rest.strip_prefix('\\') {
        Some(escaped) => {
            let character = escaped.chars().next().filter(|c| "/.-+$".contains(*c))?;
            (character, &escaped[character.len_utf8()..])
        }
        None => {
            let character = rest.chars().next().filter(|c| c.is_ascii_alphanumeric() || "-_~%@=& ".contains(*c))?;
            (character, &rest[character.len_utf8()..])
        }
    };
    glob.push(character);
    Some(tail)
}

/// `(a|b)` of literals, which is `{a,b}`; the text after it.
fn alternatives<'a>(rest: &'a str, glob: &mut String) -> Option<&'a str> {
    let (inside, tail) = rest.strip_prefix('(')?.split_once(')')?;
    let mut choices = Vec::new();
    for mut choice in inside.split('|') {
        let mut text = String::new();
        while !choice.is_empty() {
            choice = literal(choice, &mut text).filter(|_| !text.ends_with('/'))?;
        }
        choices.push(text);
    }
    // What follows must not turn the group into a repetition.
    if choices.len() < 2 || choices.iter().any(String::is_empty) || tail.starts_with(['*', '+', '?', '{']) {
        return None;
    }
    glob.push('{');
    glob.push_str(&choices.join(","));
    glob.push('}');
    Some(tail)
}

#[cfg(test)]
mod tests;
