//! Structured log lines on standard error.
//!
//! The law: a failure is logged once, at the boundary that handles it; nothing else in the process writes there.

use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::builder().parse(&settings.level).map_err(|error| error.to_string())?;
    // The server's own start-up lines say in six lines what ours say in one.
    let quiet =
        "actix_server=warn".parse::<tracing_subscriber::filter::Directive>().map_err(|error| format!("{error}"))?;
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error here means that a subscriber is already there, which keeps its settings.
    let _already_set = match settings.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
