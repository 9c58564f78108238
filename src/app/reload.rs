//! Taking a changed configuration over while the service runs.
//!
//! The law: a configuration that is wrong changes nothing and says why; one that is good is in force as a whole, but for
//! what takes a restart, which is named.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;

use super::Load;
use crate::config::Loaded;
use crate::http::State;
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
        let mut reload = Self { load, watched: Vec::new(), started };
        reload.watched = stamped(&reload.started.watched);
        reload
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
        self.watched = stamped(&self.started.watched);
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
        match apply(&loaded, state) {
            Ok(()) => tracing::info!("reloaded"),
            Err(error) => tracing::error!("not reloaded, the configuration in force stays: {error:#}"),
        }
    }
}

fn apply(loaded: &Loaded, state: &State) -> anyhow::Result<()> {
    let config = &loaded.config;
    let policy = Arc::new(SourcePolicy::new(&config.sources));
    let fetcher = Fetcher::new(Arc::clone(&policy), &config.sources, Arc::clone(&state.metrics))?;
    telemetry::set_level(&config.log.level).map_err(anyhow::Error::msg).context("log.level")?;
    let (settings, imaging) = (config.cache.clone(), Arc::new(config.imaging.clone()));
    state.optimizer.retune(Tuning { fetcher, settings, imaging });
    state.renew(policy, config.http.clone());
    Ok(())
}

fn stamped(files: &[PathBuf]) -> Vec<(PathBuf, Stamp)> {
    files.iter().map(|file| (file.clone(), stamp(file))).collect()
}

fn stamp(file: &PathBuf) -> Stamp {
    let found = std::fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.len()))
}
