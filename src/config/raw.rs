//! The configuration as typed: for each key the text or value of the highest layer that names it, and where that was.
//!
//! Knows which keys exist ([`KEYS`]) and of what shape, nothing of what a good value is. Invariant: nothing is guessed and
//! nothing ignored; a name that is not known is a problem, reported with the nearest known one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use strsim::levenshtein;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key};
use super::mode::newest;
use super::text::value_of_text;
use super::{Environment, Flags, Mode, Problem, links, next};

/// Variables that are usual elsewhere, and what they are here.
const COMMON: [(&str, &str); 3] =
    [("REDIS_URL", "redis.url"), ("CACHE_TTL", "redis.ttl"), ("DATABASE_URL", "metadata.url")];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// An imported Next.js manifest.
    Manifest(PathBuf),
    /// What the command is for.
    Mode(Mode),
    /// A line of the TOML file, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Manifest(path) => write!(f, "{}", path.display()),
            Self::Mode(mode) => write!(f, "{mode}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value as typed.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// One setting a key, the highest layer's.
#[derive(Default)]
pub(super) struct Raw {
    settings: BTreeMap<&'static str, Setting>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    pub(super) watched: Vec<PathBuf>,
}

impl Raw {
    /// Gathers every layer, highest first, so that the first to name a key keeps it.
    pub(super) fn gather(flags: &Flags, environment: &Environment) -> Self {
        let mut raw = Self::default();
        raw.read_flags(flags);
        raw.read_environment(environment);
        if let Some((path, required)) = config_file(flags, environment) {
            raw.read_file(&path, required);
            raw.watched.extend((flags.mode == Mode::Development).then_some(path));
        }
        for (name, value) in flags.mode.values(flags) {
            if let Some(key) = Key::find(name) {
                raw.keep(key, value, Origin::Mode(flags.mode));
            }
        }
        raw.read_manifest(flags);
        raw
    }

    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    /// Where a key's value came from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.get(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    fn keep(&mut self, key: &Key, value: Value, origin: Origin) {
        self.settings.entry(key.name).or_insert(Setting { value, origin });
    }

    /// Keeps a value that came as text, read by the shape of its key.
    fn keep_text(&mut self, key: &Key, text: &str, origin: Origin) {
        match value_of_text(key.kind, text) {
            Ok(value) => self.keep(key, value, origin),
            Err(message) => self.problems.push(Problem::new(key.name, Some(shown(key, text)), message, &origin)),
        }
    }

    fn read_flags(&mut self, flags: &Flags) {
        let named = [
            ("--listen", "server.listen", flags.listen.as_ref()),
            ("--admin-listen", "server.admin_listen", flags.admin_listen.as_ref()),
            ("--base-url", "sources.base_url", flags.base_url.as_ref()),
            ("--log-level", "log.level", flags.log_level.as_ref()),
        ];
        for (flag, name, text) in named {
            if let (Some(text), Some(key)) = (text, Key::find(name)) {
                self.keep_text(key, text, Origin::Flag(flag.into()));
            }
        }
        if let (false, Some(key)) = (flags.domain.is_empty(), Key::find("sources.domains")) {
            let domains = flags.domain.iter().cloned().map(Value::String).collect();
            self.keep(key, Value::Array(domains), Origin::Flag("--domain".into()));
        }
        // The last of several for one key counts, as with every other command.
        for assignment in flags.set.iter().rev() {
            let origin = Origin::Flag("--set".into());
            match assignment.split_once('=').map(|(name, text)| (name.trim(), text)) {
                None => {
                    // The rest of it may be a secret: only what can be a key is repeated.
                    let key = assignment.split(|c: char| !c.is_ascii_lowercase() && !"._".contains(c)).next();
                    let message = "must be section.key=value, as in --set images.snap=true";
                    self.problems.push(Problem::new(key.unwrap_or_default(), None, message, &origin));
                }
                Some((name, text)) => match Key::find(name) {
                    Some(key) => self.keep_text(key, text, origin),
                    None => self.problems.push(unknown(name, &origin)),
                },
            }
        }
    }

    fn read_environment(&mut self, environment: &Environment) {
        self.read_own(environment);
        // Below our own names: other programs on the machine may mean theirs by these.
        for (variable, name) in COMMON {
            if let (Some(text), Some(key)) = (environment.0.get(variable), Key::find(name))
                && let Some(text) = usual_elsewhere(variable, text)
            {
                self.keep_text(key, &text, Origin::Environment(variable.into()));
            }
        }
    }

    fn read_own(&mut self, environment: &Environment) {
        for (variable, text) in &environment.0 {
            let Some(rest) = variable.strip_prefix("PIXGATE_") else { continue };
            let origin = Origin::Environment(variable.clone());
            match KEYS.iter().find(|key| variable_of(key.name) == *variable) {
                Some(key) => self.keep_text(key, text, origin),
                None if links::is_foreign(rest, text) => {}
                None => {
                    let known = KEYS.iter().map(|key| variable_of(key.name));
                    let hint = suggestion(variable, known);
                    let message = format!("is not a known variable{hint}");
                    self.problems.push(Problem::new(variable, None, message, &origin));
                }
            }
        }
    }

    fn read_file(&mut self, path: &Path, required: bool) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                let origin = Origin::File(path.into(), 1);
                let message = format!("cannot be read: {error}");
                return self.problems.push(Problem::new("configuration file", None, message, &origin));
            }
        };
        let line = |at: usize| text[..at.min(text.len())].bytes().filter(|b| *b == b'\n').count() + 1;
        let parsed = DeTable::parse(&text).and_then(|spans| Ok((spans, toml::from_str::<toml::Table>(&text)?)));
        let (spans, table) = match parsed {
            Ok(both) => both,
            Err(error) => {
                let origin = Origin::File(path.into(), error.span().map_or(1, |span| line(span.start)));
                let message = format!("is no TOML: {}", error.message());
                return self.problems.push(Problem::new("configuration file", None, message, &origin));
            }
        };
        for (section, content) in spans.get_ref() {
            let origin = |at: usize| Origin::File(path.into(), line(at));
            let name = section.get_ref().as_ref();
            let (DeValue::Table(keys), Some(Value::Table(values))) = (content.get_ref(), table.get(name)) else {
                self.problems.push(unknown(name, &origin(section.span().start)));
                continue;
            };
            if keys.is_empty() && !KEYS.iter().any(|key| key.section() == name) {
                self.problems.push(unknown(name, &origin(section.span().start)));
            }
            for key in keys.keys() {
                let full = format!("{name}.{}", key.get_ref());
                let origin = origin(key.span().start);
                match (Key::find(&full), values.get(key.get_ref().as_ref())) {
                    (Some(known), Some(value)) => self.keep(known, value.clone(), origin),
                    _ => self.problems.push(unknown(&full, &origin)),
                }
            }
        }
    }

    fn read_manifest(&mut self, flags: &Flags) {
        let dev = flags.mode == Mode::Development;
        let named = self.get("sources.next_manifest");
        let (path, origin) = match (&flags.next_manifest, named) {
            (Some(path), _) => (path.clone(), Origin::Flag("--next-manifest".into())),
            (None, Some(Setting { value: Value::String(text), origin })) if !text.is_empty() => {
                (PathBuf::from(text), origin.clone())
            }
            (None, Some(_)) => return,
            (None, None) => {
                self.watched.extend(flags.mode.manifests());
                match newest(&flags.mode.manifests()) {
                    Some(path) => (path, Origin::Mode(flags.mode)),
                    None => return,
                }
            }
        };
        if dev && !self.watched.contains(&path) {
            self.watched.push(path.clone());
        }
        if let (Some(key), Some(text)) = (Key::find("sources.next_manifest"), path.to_str()) {
            self.settings.insert(key.name, Setting { value: Value::String(text.into()), origin: origin.clone() });
        }
        let bytes = match std::fs::read(&path) {
            // `next dev` or `next build` is about to write it.
            Err(error) if dev && error.kind() == std::io::ErrorKind::NotFound => {
                let text = format!("{} is not there yet: it is waited for, and used once it is there", path.display());
                return self.warnings.push(text);
            }
            bytes => bytes.map_err(|error| error.to_string()),
        };
        match bytes.and_then(|bytes| next::import(&bytes)) {
            Err(message) => {
                let value = Some(path.display().to_string());
                self.problems.push(Problem::new("sources.next_manifest", value, message, &origin));
            }
            Ok(import) => {
                let notes = import.notes.iter().map(|note| format!("{}: {note}", path.display()));
                self.warnings.extend(notes);
                for (name, value) in import.values {
                    if let Some(key) = Key::find(name) {
                        self.keep(key, value, Origin::Manifest(path.clone()));
                    }
                }
            }
        }
    }
}

/// The TOML file to read, and whether it must be there.
fn config_file(flags: &Flags, environment: &Environment) -> Option<(PathBuf, bool)> {
    let named = flags.config.clone().or_else(|| {
        let named = environment.0.get("PIXGATE_CONFIG").filter(|text| !text.is_empty());
        named.map(PathBuf::from)
    });
    named.map_or_else(|| Some((PathBuf::from("pixgate.toml"), false)), |path| Some((path, true)))
}

/// What a variable that other programs read too means to us: there, seconds have no unit and an empty lifetime is none.
fn usual_elsewhere<'a>(variable: &str, text: &'a str) -> Option<Cow<'a, str>> {
    let bare = text.trim();
    match variable {
        "CACHE_TTL" if bare.is_empty() => None,
        "CACHE_TTL" if bare.bytes().all(|b| b.is_ascii_digit()) => Some(format!("{bare}s").into()),
        _ => Some(text.into()),
    }
}

/// `sources.max_bytes` as `PIXGATE_SOURCES_MAX_BYTES`.
pub(super) fn variable_of(key: &str) -> String {
    format!("PIXGATE_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// What a value may look like in a message: secrets may not.
pub(super) fn shown(key: &Key, text: &str) -> String {
    if key.secret { "***".into() } else { format!("{text:?}") }
}

fn unknown(name: &str, origin: &Origin) -> Problem {
    let known = KEYS.iter().map(|key| key.name.to_owned());
    let hint = suggestion(name, known);
    Problem::new(name, None, format!("is not a known key{hint}"), origin)
}

fn suggestion(name: &str, known: impl Iterator<Item = String>) -> String {
    // A third of the name may differ; beyond that a suggestion misleads.
    let nearest = known.map(|candidate| (levenshtein(name, &candidate), candidate)).min();
    match nearest {
        Some((edits, candidate)) if edits <= name.len().div_ceil(3) => format!("; did you mean {candidate}?"),
        _ => String::new(),
    }
}
