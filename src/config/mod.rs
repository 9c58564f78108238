//! The configuration as used: every room's settings, put together from flags, environment, TOML file, an imported
//! Next.js manifest and defaults, in that order.
//!
//! The only place that reads the environment. Invariant: a configuration is good as a whole or not at all; every problem
//! of every layer is reported at once, with its key, what was given, what is allowed, and where it was written.

mod keys;
mod links;
mod mode;
mod next;
mod pattern;
mod raw;
mod read;
mod reload;
mod show;
mod table;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use crate::telemetry::{Secret, masked};
use crate::{cache, http, imaging, maintenance, source, store, telemetry};
use keys::{Draft, KEYS};
pub use mode::Mode;
pub use next::{Import, import};
pub use raw::Origin;
use raw::Raw;
use toml::Value;

/// Settings of every room.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Listeners, request parameters, response headers.
    pub http: http::Settings,
    /// What may be fetched, and how.
    pub sources: source::Settings,
    /// Limits of decoding, and the encoder.
    pub imaging: imaging::Settings,
    /// Threads, memory and time of renders.
    pub schedule: imaging::schedule::Settings,
    /// How downloads take turns.
    pub turns: source::Turns,
    /// Budgets and lifetimes of the caches.
    pub cache: cache::Settings,
    /// The second tier.
    pub redis: cache::redis::Settings,
    /// The metadata store.
    pub metadata: store::Settings,
    /// Who is told of purges.
    pub purge: maintenance::Settings,
    /// What is made smaller behind.
    pub refine: maintenance::refine::Settings,
    /// Logging.
    pub log: telemetry::Settings,
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--next-manifest`.
    pub next_manifest: Option<PathBuf>,
    /// `--base-url`.
    pub base_url: Option<String>,
    /// `--set section.key=value`, each.
    pub set: Vec<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--admin-listen`.
    pub admin_listen: Option<String>,
    /// `--domain`, each.
    pub domain: Vec<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// What the service is for.
    pub mode: Mode,
    /// A folder that is gone when the process is, for what need not outlive it.
    pub scratch: Option<PathBuf>,
}

/// A snapshot of environment variables.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Of this process; variables that are no Unicode are left out, ours never need to be.
    pub fn of_process() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(unicode).collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, or what stands in its place.
    pub key: String,
    /// What was given; masked for secrets, absent where there is none.
    pub value: Option<String>,
    /// What is wrong with it, and what is allowed.
    pub message: String,
    /// Where it was written.
    pub origin: String,
}

impl Problem {
    fn new(key: &str, value: Option<String>, message: impl Into<String>, origin: &Origin) -> Self {
        // People put passwords into URLs, and URLs where they do not belong.
        let value = value.map(|value| masked(&value));
        Self { key: masked(key), value, message: message.into(), origin: origin.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(|value| format!(" = {value}:")).unwrap_or_default();
        write!(f, "{}{value} {} ({})", self.key, self.message, self.origin)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} {}", if count == 1 { "problem" } else { "problems" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// A key with the value it came to.
#[derive(Clone, Debug)]
struct Effective {
    key: &'static str,
    value: Option<Value>,
    origin: Origin,
    /// A digest of what was typed, for whether it has changed: what is shown of it may be a mask, and the rest is nobody's
    /// business.
    typed: Option<u64>,
}

/// A configuration that is good to use.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What works but is probably not meant, one sentence each.
    pub warnings: Vec<String>,
    /// Files whose change is to be followed; they need not be there.
    pub watched: Vec<PathBuf>,
    effective: Vec<Effective>,
}

fn digest(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Where the public listener is meant to be, as far as that can be read at all: whoever asks whether a service is well
/// must not be stopped by what is wrong with a file that it has not taken over.
pub fn listen(flags: &Flags, environment: &Environment) -> std::net::SocketAddr {
    lenient(flags, environment, "server.listen").config.http.listen
}

/// How a start that fails is to be told of: as far as `log.format` can be read at all.
pub fn log_format(flags: &Flags, environment: &Environment) -> telemetry::LogFormat {
    lenient(flags, environment, "log.format").config.log.format
}

/// One key read, and defaults; what is wrong with it is told where all are read.
fn lenient(flags: &Flags, environment: &Environment, name: &str) -> Draft {
    let mut draft = Draft::default();
    let raw = Raw::gather(flags, environment);
    if let (Some(key), Some(setting)) = (keys::Key::find(name), raw.get(name)) {
        let _told_elsewhere = (key.put)(&mut draft, &setting.value);
    }
    draft
}

/// Gathers, reads and checks.
///
/// Reads the TOML file, the manifest, the token file and the certificates that the layers name, and nothing else.
///
/// # Errors
/// All problems at once.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, Problems> {
    let mut raw = Raw::gather(flags, environment);
    let mut draft = Draft::default();
    for key in KEYS.iter() {
        let Some(setting) = raw.get(key.name) else { continue };
        if let Err(message) = (key.put)(&mut draft, &setting.value) {
            let shown = if key.secret { "***".to_owned() } else { setting.value.to_string() };
            raw.problems.push(Problem::new(key.name, Some(shown), message, &setting.origin));
        }
    }
    check(&mut draft, &mut raw);
    if !raw.problems.is_empty() {
        return Err(Problems(raw.problems));
    }
    let effective = KEYS.iter().map(|key| Effective {
        key: key.name,
        value: (key.show)(&draft),
        origin: raw.origin(key.name),
        typed: raw.get(key.name).map(|setting| digest(&setting.value)),
    });
    let effective = effective.collect();
    Ok(Loaded { effective, warnings: raw.warnings, watched: raw.watched, config: draft.config })
}

/// What no single value can tell.
fn check(draft: &mut Draft, raw: &mut Raw) {
    admin_token(draft, raw);
    redis_ca(draft, raw);
    raw.warnings.extend(pattern::never(draft));
    let Draft { config, next_manifest, .. } = draft;
    let mut problems = Vec::new();
    let mut problem = |key: &str, value: Option<String>, message: &str| {
        problems.push(Problem::new(key, value, message, &raw.origin(key)));
    };

    let (public, admin) = (config.http.listen, config.http.admin_listen);
    if public == admin && public.port() != 0 {
        problem("server.admin_listen", Some(format!("\"{admin}\"")), "must differ from server.listen");
    }
    if !admin.ip().to_canonical().is_loopback() && config.http.admin_token.is_none() {
        let message = "is not loopback, so server.admin_token or server.admin_token_file is required";
        problem("server.admin_listen", Some(format!("\"{admin}\"")), message);
    }
    let signing = &config.http.sizes.signing;
    if signing.required && signing.keys.is_empty() {
        let message = "refuses every request without a key: signing.keys and images.signing_keys are both empty";
        problem("signing.required", Some("true".into()), message);
    }
    if !config.sources.allow_any_host {
        for pattern in &config.sources.remote_patterns {
            if pattern.hostname.is_any_host() {
                let hostname = Some(format!("{:?}", pattern.hostname.as_str()));
                let message = "admits any host, which makes this an open proxy; name the hosts, \
                               or set sources.allow_any_host = true";
                problem("sources.remote_patterns", hostname, message);
            }
        }
    }
    raw.problems.extend(problems);
    config.schedule.share_out(config.sources.max_bytes);
    config.schedule.queue_wait = config.turns.wait;
    config.imaging.limits.max_memory = config.schedule.render_memory();

    let sources = &config.sources;
    let mut warn = |applies: bool, text: &str| raw.warnings.extend(applies.then(|| text.to_owned()));
    warn(
        sources.domains.is_empty() && sources.remote_patterns.is_empty() && sources.base_url.is_none(),
        "nothing may be fetched: sources.domains, sources.remote_patterns and sources.base_url are all empty",
    );
    warn(
        next_manifest.is_some()
            && sources.base_url.is_none()
            && !sources.local_patterns.as_ref().is_some_and(Vec::is_empty),
        "images of the app itself (static imports, files of public/) are refused until --base-url or sources.base_url \
         says where the app is reached from here, as in --base-url http://web:3000",
    );
    warn(
        sources.local_patterns.as_ref().is_some_and(|patterns| !patterns.is_empty())
            && sources.base_url.is_none()
            && next_manifest.is_none(),
        "sources.local_patterns allows paths of an app that sources.base_url does not name: all of them are refused",
    );
    // What the plainest image takes, decoded.
    warn(
        config.imaging.limits.max_memory < config.imaging.limits.max_pixels.saturating_mul(3),
        "the share of limits.decode_memory for renders is less than 3 bytes for each of images.max_pixels: the largest \
         images will be refused",
    );
}

/// The certificates that Redis is trusted by, from their file, where one is named.
fn redis_ca(draft: &mut Draft, raw: &mut Raw) {
    const KEY: &str = "redis.ca_file";
    let Some(path) = &draft.redis_ca_file else { return };
    let pem = match std::fs::read(path) {
        Ok(pem) if String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") => Ok(pem),
        Ok(_) => Err("holds no certificate in PEM form".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    match pem {
        Ok(pem) => draft.config.redis.ca_pem = Some(pem),
        Err(message) => {
            let value = Some(format!("{:?}", path.display().to_string()));
            raw.problems.push(Problem::new(KEY, value, message, &raw.origin(KEY)));
        }
    }
}

/// The token from its file, where one is named.
fn admin_token(draft: &mut Draft, raw: &mut Raw) {
    const KEY: &str = "server.admin_token_file";
    let Some(path) = &draft.admin_token_file else { return };
    let value = Some(format!("{:?}", path.display().to_string()));
    let token = if draft.config.http.admin_token.is_some() {
        Err("and server.admin_token exclude each other".to_owned())
    } else {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"));
        text.and_then(|text| read::secret(text.trim_end().to_owned()).map_err(|error| format!("its text {error}")))
    };
    match token {
        Ok(token) => draft.config.http.admin_token = Some(token),
        Err(message) => {
            raw.problems.push(Problem::new(KEY, value, message, &raw.origin(KEY)));
            // One problem, not two: nothing is started with this, because there is a problem.
            draft.config.http.admin_token.get_or_insert_with(|| Secret::new(""));
        }
    }
}

#[cfg(test)]
mod tests;
