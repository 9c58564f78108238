//! Reads one value of a key into its type, and shows a type as a value again.
//!
//! Invariant: an error tells what is allowed and gives an example; what was given, and where, the caller adds. A refused
//! secret is never repeated.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use toml::Value;
use url::{Host, Url};

use crate::format::ImageFormat;
use crate::http::TagField;
use crate::telemetry::{Secret, SecretUrl, masked};
use crate::variant::Rgb;

/// The fewest characters of a token or a key: 16 of base64 hold 96 bits.
const SECRET_CHARS: usize = 16;

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a text in quotes".to_owned())
}

/// A text; the empty one means: not set.
pub(super) fn optional(value: &Value) -> Result<Option<String>, String> {
    text(value).map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

pub(super) fn secret(text: String) -> Result<Secret, String> {
    if text.chars().count() < SECRET_CHARS || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("must have at least {SECRET_CHARS} characters and no spaces"));
    }
    Ok(Secret::new(text))
}

/// A text that can stand in a header field (RFC 9110 §5.5), of ASCII.
pub(super) fn field_text(text: String) -> Result<String, String> {
    let stands = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if stands { Ok(text) } else { Err("must be of letters, digits, signs and spaces, all ASCII".to_owned()) }
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

pub(super) fn number<T>(value: &Value, allowed: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    let number = value.as_integer().and_then(|number| T::try_from(number).ok());
    number
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| format!("must be a whole number from {} to {}", allowed.start(), allowed.end()))
}

/// Decimal units: `50MB` is 50 000 000 bytes, `50MiB` is 52 428 800.
pub(super) fn bytes(value: &Value, allowed: RangeInclusive<u64>) -> Result<u64, String> {
    let size = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::String(text) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
        _ => None,
    };
    size.filter(|size| allowed.contains(size)).ok_or_else(|| {
        let (least, most) = (bytes_text(*allowed.start()), bytes_text(*allowed.end()));
        format!("must be a size from {least} to {most}, such as \"50MB\", \"512MiB\" or a number of bytes")
    })
}

pub(super) fn duration(value: &Value, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    // Nothing needs no unit.
    let nothing = value.as_integer() == Some(0) || value.as_str() == Some("0");
    let parsed = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    let time = if nothing { Some(Duration::ZERO) } else { parsed };
    time.filter(|time| allowed.contains(time)).ok_or_else(|| {
        let show = |time: &Duration| humantime::format_duration(*time).to_string();
        let (least, most) = (show(allowed.start()), show(allowed.end()));
        format!("must be a duration from {least} to {most} with a unit, such as \"500ms\", \"7s\" or \"30d\"")
    })
}

pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(name)));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("must be one of {}", names.join(", "))
    })
}

pub(super) fn address(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    // As other servers take them: no host is every address, and one name needs no resolver.
    let known = [("localhost:", Ipv4Addr::LOCALHOST), ("*:", Ipv4Addr::UNSPECIFIED), (":", Ipv4Addr::UNSPECIFIED)];
    let short = known.into_iter().find_map(|(host, ip)| {
        let port = text.strip_prefix(host).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        Some(SocketAddr::from((ip, port?.parse().ok()?)))
    });
    let parsed = short.map_or_else(|| text.parse(), Ok);
    parsed.map_err(|_| {
        "must be an IP address and a port, such as \"127.0.0.1:8080\", \"[::]:8080\" or \":8080\" for every IPv4 address"
            .to_owned()
    })
}

/// Where an endpoint lives: an absolute path without query; a slash at its end is dropped.
pub(super) fn mount(value: &Value) -> Result<String, String> {
    let path = text(value)?.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if path.starts_with('/')
        && path.chars().all(plain)
        && !path.split('/').skip(1).any(|s| matches!(s, "" | "." | ".."))
    {
        return Ok(path.to_owned());
    }
    Err("must be a path that begins with /, such as \"/_next/image\", of letters, digits and -._~".into())
}

/// An http(s) origin; the empty text means: not set.
pub(super) fn origin(value: &Value) -> Result<Option<Url>, String> {
    let Some(text) = optional(value)? else { return Ok(None) };
    let url = Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.map(Some).ok_or_else(|| {
        "must be an http or https origin without path, query or user, such as \"http://web:3000\"".to_owned()
    })
}

/// An http(s) URL without user; the empty text means: not set.
pub(super) fn webhook(value: &Value) -> Result<Option<SecretUrl>, String> {
    let Some(text) = optional(value)? else { return Ok(None) };
    let url = Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    });
    let url = url.map(SecretUrl::new);
    url.map(Some).ok_or_else(|| "must be an http or https URL without user; its token has a key of its own".to_owned())
}

pub(super) fn tag_field(text: &str) -> Result<TagField, String> {
    let named = TagField::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let names = TagField::ALL.map(|(name, _)| name).join(" or ");
    named.map(|(_, field)| field).ok_or_else(|| format!("{:?} is no such field; it must be {names}", masked(text)))
}

pub(super) fn log_filter(value: &Value) -> Result<String, String> {
    let level = text(value)?;
    let known = !level.is_empty() && tracing_subscriber::EnvFilter::builder().parse(level).is_ok();
    // A misspelt level parses, as the name of a module; a lone word is meant as a level.
    let word = level.chars().all(|c| c.is_ascii_alphabetic());
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    if known && (!word || levels.iter().any(|name| level.eq_ignore_ascii_case(name))) {
        return Ok(level.to_owned());
    }
    Err(format!("must be one of {}, or a filter such as \"info,pixgate::source=debug\"", levels.join(", ")))
}

/// A list with a reader of its items that knows only the text. All that is wrong with it is told at once.
pub(super) fn list<T>(value: &Value, item: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let texts = items(value)?.iter().map(text).collect::<Result<Vec<_>, _>>();
    let read = texts.map_err(|_| "must be a list of texts".to_owned())?.into_iter().map(item);
    let (mut good, mut wrong) = (Vec::new(), Vec::<String>::new());
    for item in read {
        match item {
            Ok(item) => good.push(item),
            // Secrets are refused in the same words, each.
            Err(message) if wrong.contains(&message) => {}
            Err(message) => wrong.push(message),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong.join("; it ")) }
}

pub(super) fn list_of<T>(
    value: &Value,
    count: RangeInclusive<usize>,
    item: impl Fn(&Value) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let items = items(value)?;
    if !count.contains(&items.len()) {
        return Err(format!("must have {} to {} entries", count.start(), count.end()));
    }
    items.iter().map(item).collect()
}

fn items(value: &Value) -> Result<&[Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| "must be a list".to_owned())
}

/// Numbers from a range, given back sorted and once each.
pub(super) fn sizes<T>(
    value: &Value,
    count: RangeInclusive<usize>,
    allowed: RangeInclusive<T>,
) -> Result<Vec<T>, String>
where
    T: TryFrom<i64> + Ord + Display + Copy,
{
    let mut sizes = list_of(value, count.clone(), |item| number(item, allowed.clone())).map_err(|_| {
        format!(
            "must be a list of {} to {} whole numbers from {} to {}",
            count.start(),
            count.end(),
            allowed.start(),
            allowed.end()
        )
    })?;
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

/// Output formats in the order of preference, once each.
/// Colours, each once.
pub(super) fn colours(value: &Value) -> Result<Vec<Rgb>, String> {
    const MOST: usize = 20;
    let wrong = || format!("must be a list of at most {MOST} colours of six hexadecimal digits, rrggbb");
    let colour = |item: &Value| item.as_str().and_then(Rgb::from_hex).ok_or_else(wrong);
    let mut colours = Vec::new();
    for item in items(value)? {
        let colour = colour(item)?;
        if !colours.contains(&colour) {
            colours.push(colour);
        }
    }
    if colours.len() > MOST { Err(wrong()) } else { Ok(colours) }
}

/// Pairs of `WIDTHxHEIGHT`.
pub(super) fn crops(value: &Value) -> Result<Vec<(u32, u32)>, String> {
    let edge = |text: &str| text.parse().ok().filter(|edge| (1..=10_000).contains(edge));
    let crop = |item: &Value| {
        let pair = item.as_str().and_then(|text| text.split_once('x'));
        let pair = pair.and_then(|(width, height)| Some((edge(width)?, edge(height)?)));
        pair.ok_or_else(|| "must hold sizes as 1200x630, each edge from 1 to 10000".to_owned())
    };
    list_of(value, 0..=1000, crop)
}

pub(super) fn formats(value: &Value) -> Result<Vec<ImageFormat>, String> {
    let wrong = || format!("must be a list of some of {}", ImageFormat::OUTPUTS.map(ImageFormat::as_str).join(", "));
    let mut formats = Vec::new();
    for item in items(value)? {
        // Media types, as Next.js has them, say the same.
        let name = item.as_str().map(str::to_ascii_lowercase);
        let name = name.as_deref().map(|name| name.strip_prefix("image/").unwrap_or(name));
        let format = name.and_then(ImageFormat::output_from_name).ok_or_else(wrong)?;
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() { Err(wrong()) } else { Ok(formats) }
}

/// An exact host as it stands in a parsed URL: lower case, punycode, IPv6 in brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let hint = if text.contains(['*', '{', '?']) {
        "; a pattern belongs in sources.remote_patterns"
    } else if text.contains("://")
        || text.contains('/')
        || text.rsplit_once(':').is_some_and(|_| !text.starts_with('['))
    {
        "; leave out scheme, port and path, or use sources.remote_patterns"
    } else {
        // The dot at the end of a full name is written nowhere else.
        match Host::parse(text.strip_suffix('.').unwrap_or(text)) {
            Ok(host) => return Ok(host.to_string()),
            Err(_) => "",
        }
    };
    Err(format!("must be bare hosts such as \"images.example.com\", but {:?} is not{hint}", masked(text)))
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network
        .map_err(|_| format!("must be networks such as \"10.0.0.0/8\" or \"fd00::/8\", but {:?} is not", masked(text)))
}

/// Types as TOML values, for `check-config`; what it prints can be read again.
pub(super) struct Shown;

impl Shown {
    pub(super) fn text(text: impl ToString) -> Option<Value> {
        Some(Value::String(text.to_string()))
    }

    pub(super) fn path(path: Option<&PathBuf>) -> Option<Value> {
        Self::text(path.map_or_else(String::new, |path| path.display().to_string()))
    }

    pub(super) fn integer(number: u64) -> Option<Value> {
        i64::try_from(number).ok().map(Value::Integer)
    }

    pub(super) fn bytes(bytes: u64) -> Option<Value> {
        Self::text(bytes_text(bytes))
    }

    pub(super) fn duration(time: Duration) -> Option<Value> {
        Self::text(humantime::format_duration(time))
    }

    pub(super) fn choice<T: PartialEq + Copy>(choices: &[(&str, T)], chosen: T) -> Option<Value> {
        choices.iter().find(|(_, choice)| *choice == chosen).map(|(name, _)| Value::String((*name).into()))
    }

    pub(super) fn list<T: Clone>(items: &[T], show: impl Fn(T) -> Value) -> Option<Value> {
        Some(Value::Array(items.iter().cloned().map(show).collect()))
    }
}

/// With the largest decimal unit that loses nothing.
fn bytes_text(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let unit = units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(size, name)| format!("{}{name}", bytes / size))
}
