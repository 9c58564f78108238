//! What the service is for, and what follows from it where nobody has said otherwise.
//!
//! Invariant: what a person wrote (flags, environment, TOML) wins over this; this wins over a manifest, which says how the
//! built app is served and not how it is developed.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use toml::Value;

use super::Flags;

/// What the service is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The configured service.
    #[default]
    Serve,
    /// The same beside a development server, on a developer's machine.
    Development,
    /// The service with sample images on an origin of its own.
    Demo,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "pixgate serve",
            Self::Development => "pixgate dev",
            Self::Demo => "pixgate demo",
        })
    }
}

/// Where Next.js's development server is.
const NEXT_DEV: &str = "http://localhost:3000";

/// Manifests of an app in the folder that `pixgate dev` is started in: that of `@pixgate/next`, that of `next build`.
const MANIFESTS: [&str; 2] = ["pixgate-manifest.json", ".next/images-manifest.json"];

impl Mode {
    /// Values of keys that nobody has set.
    pub(super) fn values(self, flags: &Flags) -> Vec<(&'static str, Value)> {
        let text = |text: &str| Value::String(text.to_owned());
        let mut values = Vec::new();
        if self == Self::Development {
            values.extend([
                ("server.development", Value::Boolean(true)),
                ("sources.allow_local_ip", Value::Boolean(true)),
                ("sources.base_url", text(NEXT_DEV)),
                ("images.minimum_cache_ttl", text("0s")),
                ("cache.stale_while_revalidate", text("0s")),
            ]);
        }
        if self != Self::Serve {
            let file = flags.scratch.as_ref().map(|folder| folder.join("metadata.db"));
            let url = file.map_or_else(String::new, |file| format!("sqlite:{}", file.display()));
            values.extend([("metadata.url", text(&url)), ("server.drain_delay", text("0s"))]);
        }
        values
    }

    /// Manifests to look for where none is named.
    pub(super) fn manifests(self) -> Vec<PathBuf> {
        let dev = self == Self::Development;
        MANIFESTS.into_iter().filter(|_| dev).map(PathBuf::from).collect()
    }
}

/// The one that was written last of those that are there.
pub(super) fn newest(files: &[PathBuf]) -> Option<PathBuf> {
    let written = |file: &PathBuf| std::fs::metadata(file).and_then(|found| found.modified()).ok();
    let there = files.iter().filter_map(|file| Some((written(file)?, file)));
    there.max_by_key(|(written, _): &(SystemTime, _)| *written).map(|(_, file)| file.clone())
}
