//! What a key is: its name, the shape of its value, how it is put into the [`Draft`] and how it is shown again.
//!
//! Invariant: a key is one row of [`KEYS`] and nowhere else, so that file, environment, flags and `check-config` cannot
//! disagree.

use std::path::PathBuf;

use toml::Value;

use super::Config;
pub(super) use super::table::KEYS;

/// The shape of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Bytes,
    Duration,
    Texts,
    Integers,
    Patterns,
}

/// What is being put together: the configuration, and what is read on the way to it.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) admin_token_file: Option<PathBuf>,
    pub(super) next_manifest: Option<PathBuf>,
    pub(super) redis_ca_file: Option<PathBuf>,
    /// As typed, because a compiled pattern does not tell which kind it was.
    pub(super) remote_patterns: Vec<Value>,
    pub(super) local_patterns: Option<Vec<Value>>,
}

pub(super) type Put = fn(&mut Draft, &Value) -> Result<(), String>;
pub(super) type Show = fn(&Draft) -> Option<Value>;

/// One key.
pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether its value is masked wherever it is shown.
    pub(super) secret: bool,
    pub(super) put: Put,
    /// `None`: not set, and has no default.
    pub(super) show: Show,
}

impl Key {
    /// The key of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().copied().find(|key| key.name == name)
    }

    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }
}
