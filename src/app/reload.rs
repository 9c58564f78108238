//! Taking a changed configuration over while the service runs.
//!
//! Invariant: a configuration that is wrong changes nothing and says why; one that is good is in force as a whole, but for
//! what takes a restart, which is named.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;

use super::Load;
use crate::config::Loaded;
use crate::http::{self, State};
use crate::imaging;
use crate::optimizer::Tuning;
use crate::source::{Fetcher, SourcePolicy};
use crate::telemetry;

/// When a file was written and how long it is; nothing where there is none.
type Stamp = Option<(SystemTime, u64)>;

/// See the module's text.
pub(super) struct Reload {
    load: Load,
    /// What the service was started with.
    started: Loaded,
    /// Files that are followed, as they were when they were last read.
    watched: Vec<(PathBuf, Stamp)>,
}

impl Reload {
    pub(super) fn new(started: Loaded, load: Load) -> Self {
        let watched = stamped(started.watched.iter());
        Self { load, watched, started }
    }

    pub(super) const fn watches(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Whether one of the files that are followed was written since it was read. One that is gone is about to come back.
    pub(super) fn is_due(&self) -> bool {
        self.watched.iter().any(|(file, before)| {
            let now = stamp(file);
            now.is_some() && now != *before
        })
    }

    /// Reads the configuration again and takes it over. A few small files are read here, on the thread that waits for signals.
    pub(super) fn run(&mut self, state: &State) {
        // Before they are read: what is written meanwhile is read once more.
        let files = stamped(self.watched.iter().map(|(file, _)| file));
        if are_gone(&self.watched, &files) {
            return tracing::error!(
                "not reloaded, the configuration in force stays: the manifest is not there just now"
            );
        }
        self.watched = files;
        let loaded = match (self.load)() {
            Ok(loaded) => loaded,
            Err(problems) => return tracing::error!("not reloaded, the configuration in force stays: {problems}"),
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        for key in loaded.needs_restart(&self.started) {
            tracing::warn!(key, "changed, which takes a restart: the value of the start stays in force");
        }
        match apply(&loaded, &self.started, state) {
            Ok(()) => {
                // Files that it names for the first time are new if they are there.
                let known = |file: &PathBuf| self.watched.iter().any(|(watched, _)| watched == file);
                let more: Vec<_> = loaded.watched.iter().filter(|file| !known(file)).collect();
                let more = stamped(more.into_iter());
                self.watched.extend(more);
                tracing::info!("reloaded");
            }
            Err(error) => tracing::error!("not reloaded, the configuration in force stays: {error:#}"),
        }
    }
}

fn apply(loaded: &Loaded, started: &Loaded, state: &State) -> anyhow::Result<()> {
    let (config, first) = (&loaded.config, &started.config);
    // The listener stays where it is, whatever the new one would be.
    if !first.http.admin_listen.ip().is_loopback() && config.http.admin_token.is_none() {
        anyhow::bail!("server.admin_token must be set while the admin listener is at {}", first.http.admin_listen);
    }
    let policy = Arc::new(SourcePolicy::new(&config.sources));
    let fetcher = Fetcher::new(Arc::clone(&policy), &config.sources, Arc::clone(&state.metrics))?;
    let fetcher = fetcher.within(state.optimizer.bodies());
    telemetry::set_level(&config.log.level).map_err(anyhow::Error::msg).context("log.level")?;
    // What takes a restart stays as it was.
    let mut imaging = imaging::Settings { avif_engine: first.imaging.avif_engine, ..config.imaging.clone() };
    imaging.limits.max_memory = first.imaging.limits.max_memory;
    let http = http::Settings { shutdown_grace: first.http.shutdown_grace, ..config.http.clone() };
    state.optimizer.retune(Tuning { fetcher, settings: config.cache.clone(), imaging: Arc::new(imaging) });
    state.renew(policy, http);
    Ok(())
}

fn stamped<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<(PathBuf, Stamp)> {
    files.map(|file| (file.clone(), stamp(file))).collect()
}

/// Whether a manifest was there and none is now: a build begins by removing it, and takes nothing away by that.
fn are_gone(before: &[(PathBuf, Stamp)], now: &[(PathBuf, Stamp)]) -> bool {
    let there = |files: &[(PathBuf, Stamp)]| {
        files.iter().any(|(file, stamp)| file.extension().is_some_and(|ending| ending == "json") && stamp.is_some())
    };
    there(before) && !there(now)
}

fn stamp(file: &PathBuf) -> Stamp {
    let found = std::fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.len()))
}
