//! Structured log lines on standard error, in colour where that is a terminal.
//!
//! Invariant: a failure is logged once, at the boundary that handles it; nothing else in the process writes there. A line is
//! one write without a lock, because each request writes one.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Puts another filter in the place of the one that lines pass; the way there depends on the shape of the lines.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// The `[log]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A level (`error` to `trace`) or a `tracing` filter directive.
    pub level: String,
    /// Shape of a line.
    pub format: LogFormat,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// Starts logging to standard error; a second call in one process changes nothing.
///
/// # Errors
/// The text of the problem when `level` is no valid filter.
pub fn init(settings: &Settings) -> Result<(), String> {
    let writer = match io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => BoxMakeWriter::new(Arc::new(File::from(own))),
        Err(_) => BoxMakeWriter::new(io::stderr),
    };
    let mut builder = tracing_subscriber::fmt().with_env_filter(filter(&settings.level)?).with_writer(writer);
    if !io::stderr().is_terminal() {
        // On a terminal NO_COLOR decides, which the library reads itself.
        builder = builder.with_ansi(false);
    }
    // An error here means that a subscriber is already there, which keeps its settings.
    let (change, _already_set): (Change, _) = match settings.format {
        LogFormat::Text => {
            let builder = builder.with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())), builder.try_init())
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())), builder.try_init())
        }
    };
    let _already_set = CHANGE.set(change);
    Ok(())
}

/// Logs by another level or filter from now on.
///
/// # Errors
/// The text of the problem when `level` is no valid filter.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = filter(level)?;
    CHANGE.get().map_or(Ok(()), |change| change(filter))
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::builder().parse(level).map_err(|error| error.to_string())?;
    // The server's own start-up lines say in six lines what ours say in one.
    let quiet = "actix_server=warn".parse::<Directive>().map_err(|error| format!("{error}"))?;
    Ok(filter.add_directive(quiet))
}

/// Tells of panics by a log line, so that every line is of one shape.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or_default();
        tracing::error!(at, reason, "panic");
    }));
}
