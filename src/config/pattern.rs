//! Reads patterns of sources, and says which of them no URL can match.
//!
//! Invariant: a hostname means what it would mean in a URL (lower case, punycode), a scheme's own port is no port; what still
//! cannot match is told, never dropped.

use std::fmt::Display;
use std::net::Ipv4Addr;

use toml::{Table, Value};
use url::Host;

use super::keys::Draft;
use crate::source::guard::AddressGuard;
use crate::source::{Glob, LocalPattern, RemotePattern};
use crate::telemetry::masked;

pub(super) fn remote_pattern(value: &Value) -> Result<RemotePattern, String> {
    let table =
        Fields::of(value, &["protocol", "hostname", "hostname_regex", "port", "pathname", "pathname_regex", "search"])?;
    let protocol = table.text("protocol")?.map(|text| text.trim_end_matches(':').to_owned());
    if protocol.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(table.wrong("protocol must be http or https"));
    }
    if table.text("hostname")?.is_some_and(|host| host.contains(['/', ':', '@']) && !host.contains('(')) {
        return Err(table.wrong("hostname must be a host or a pattern of hosts, without scheme, port or path"));
    }
    let Some(hostname) = table.glob("hostname", |text| Glob::hostname(&as_in_urls(text)))? else {
        return Err(table.wrong("hostname (or hostname_regex) is missing"));
    };
    let port = match table.0.get("port") {
        Some(Value::Integer(port)) => Some(port.to_string()),
        _ => table.text("port")?.map(str::to_owned),
    };
    if port.as_deref().is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
        return Err(table.wrong("port must be a number up to 65535, or \"\" for the scheme's own"));
    }
    // A URL does not say its scheme's own port, whoever wrote it.
    let own =
        |port: &String| matches!((protocol.as_deref(), port.as_str()), (Some("https"), "443") | (Some("http"), "80"));
    let port = port.map(|port| if own(&port) { String::new() } else { port });
    Ok(RemotePattern {
        protocol,
        hostname,
        port,
        pathname: table.glob("pathname", Glob::pathname)?,
        search: table.search()?,
    })
}

pub(super) fn local_pattern(value: &Value) -> Result<LocalPattern, String> {
    let table = Fields::of(value, &["pathname", "pathname_regex", "search"])?;
    Ok(LocalPattern { pathname: table.glob("pathname", Glob::pathname)?, search: table.search()? })
}

/// The fields of one pattern.
struct Fields<'a>(&'a Table);

impl<'a> Fields<'a> {
    fn of(value: &'a Value, known: &[&str]) -> Result<Self, String> {
        let table = value.as_table().ok_or("must be a list of patterns such as { hostname = \"**.example.com\" }")?;
        let fields = Self(table);
        match table.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(fields.wrong(&format!("{name} is not one of {}", known.join(", ")))),
            None => Ok(fields),
        }
    }

    fn wrong(&self, message: &str) -> String {
        format!("in the pattern {}: {message}", masked(&Value::Table(self.0.clone()).to_string()))
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        let wrong = || self.wrong(&format!("{name} must be a text"));
        self.0.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    /// The field as a glob, or as `name_regex`, which is what an imported manifest holds.
    fn glob<E: Display>(&self, name: &str, glob: impl Fn(&str) -> Result<Glob, E>) -> Result<Option<Glob>, String> {
        let regex = format!("{name}_regex");
        let wrong = |error: &dyn Display| self.wrong(&format!("{name}: {error}"));
        match (self.text(name)?, self.text(&regex)?) {
            (Some(_), Some(_)) => Err(self.wrong(&format!("{name} and {regex} exclude each other"))),
            (Some(text), None) => glob(text).map(Some).map_err(|error| wrong(&error)),
            (None, Some(text)) => Glob::regex(text).map(Some).map_err(|error| wrong(&error)),
            (None, None) => Ok(None),
        }
    }

    /// Compared as a whole, so one that does not begin with `?` could never match.
    fn search(&self) -> Result<Option<String>, String> {
        let search = self.text("search")?;
        if search.is_some_and(|text| !text.is_empty() && !text.starts_with('?')) {
            return Err(self.wrong("search must be \"\" (no query) or begin with ?"));
        }
        Ok(search.map(str::to_owned))
    }
}

/// A hostname as it stands in parsed URLs; what is special in a pattern stays.
fn as_in_urls(hostname: &str) -> String {
    // Escapes and classes mean other things in other cases.
    if hostname.contains(['\\', '[']) {
        return hostname.to_owned();
    }
    let special = |c: char| "*?+@!(){}|,".contains(c);
    let hostname = hostname.strip_suffix('.').unwrap_or(hostname);
    if !hostname.contains(special) {
        return Host::parse(hostname).map_or_else(|_| hostname.to_lowercase(), |host| host.to_string());
    }
    let label = |label: &str| match Host::parse(label) {
        Ok(Host::Domain(name)) if !label.is_ascii() && !label.contains(special) => name,
        _ => label.to_lowercase(),
    };
    hostname.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// What no source can come of, one sentence each.
pub(super) fn never(draft: &Draft) -> Vec<String> {
    let remote = draft.remote_patterns.iter().map(|pattern| ("sources.remote_patterns", pattern));
    let local = draft.local_patterns.iter().flatten().map(|pattern| ("sources.local_patterns", pattern));
    let mut warnings: Vec<_> = remote.chain(local).flat_map(|(key, pattern)| unmatched(key, pattern)).collect();
    let sources = &draft.config.sources;
    let patterns = sources.remote_patterns.iter().map(|pattern| ("sources.remote_patterns", pattern.hostname.as_str()));
    let domains = sources.domains.iter().map(|host| ("sources.domains", host.as_str()));
    let guard = AddressGuard { allow_local_ip: sources.allow_local_ip, allow_cidrs: sources.allow_cidrs.clone() };
    for (key, host) in domains.chain(patterns) {
        let refused = match Host::parse(host) {
            Ok(Host::Ipv4(ip)) => !guard.admits(ip.into()),
            Ok(Host::Ipv6(ip)) => !guard.admits(ip.into()),
            Ok(Host::Domain(name)) if name == "localhost" => !guard.admits(Ipv4Addr::LOCALHOST.into()),
            _ => false,
        };
        if refused {
            warnings.push(format!(
                "{key}: {host} is not public, so nothing is fetched from it unless sources.allow_local_ip or \
                 sources.allow_cidrs allows that"
            ));
        }
    }
    warnings
}

fn unmatched(key: &str, pattern: &Value) -> Vec<String> {
    let Some(table) = pattern.as_table() else { return Vec::new() };
    let mut warnings = Vec::new();
    let text = |name: &str| table.get(name).and_then(Value::as_str);
    let mut warn = |why: &str| warnings.push(format!("{key}: the pattern {pattern} matches no URL: {why}"));
    if let Some(path) = text("pathname") {
        let literal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '%' | ' ');
        if path.starts_with(literal) {
            warn(&format!("paths begin with /, as in {:?}", format!("/{path}")));
        } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            warn("URLs have no segments of dots");
        } else if let Some(encoded) = encoded(path) {
            warn(&format!("in URLs this is written {encoded:?}"));
        }
    }
    if let Some(encoded) = text("search").and_then(encoded) {
        warn(&format!("in URLs this is written {encoded:?}"));
    }
    let port = table.get("port").map(|port| port.as_str().map_or_else(|| port.to_string(), str::to_owned));
    let protocol = text("protocol");
    if let (None, Some(port @ ("80" | "443"))) = (protocol, port.as_deref()) {
        let (own, other) = if port == "443" { ("https", "http") } else { ("http", "https") };
        warnings.push(format!(
            "{key}: the pattern {pattern} matches {other} URLs only: {own} URLs do not say port {port}; \
             add protocol = \"{own}\", or leave the port out"
        ));
    }
    warnings
}

/// The text with spaces and what is not ASCII as percent escapes; nothing if it has neither.
fn encoded(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_graphic();
    let escape = |c: char| {
        let mut bytes = [0; 4];
        c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()
    };
    let one = |c: char| if plain(c) { c.to_string() } else { escape(c) };
    (!text.chars().all(plain)).then(|| text.chars().map(one).collect())
}
