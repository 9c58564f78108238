//! The command line: parses arguments, dispatches, prints results and error chains, gives the exit code.
//!
//! Invariant: results go to standard output and everything else to standard error; exit code 0 is done, 1 failed, 2 a
//! wrong use. Writing to a closed pipe is an error like any other, never a panic, so nothing is written by `println!`.

mod client;
mod health;
mod picture;
mod purge;
mod scratch;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use self::scratch::Scratch;
use crate::allocator;
use crate::app::{App, Load};
use crate::config::{self, Environment, Flags, Loaded, Mode, Problems};
use crate::http::query::Sizes;
use crate::imaging;
use crate::telemetry::{self, LogFormat};

/// Self-hosted image optimizer: AVIF and WebP variants of allowed sources, a drop-in for Next.js /_next/image.
#[derive(Debug, Parser)]
#[command(name = "pixgate", version)]
struct Arguments {
    #[command(flatten)]
    settings: SettingArguments,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command: the highest layer of the configuration.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration (flags > PIXGATE_* variables > TOML > Next.js manifest > defaults)")]
struct SettingArguments {
    /// TOML file; without it PIXGATE_CONFIG, else ./pixgate.toml where there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take sizes, formats and allowed sources from a Next.js build's images-manifest.json
    #[arg(long, global = true, value_name = "FILE")]
    next_manifest: Option<PathBuf>,
    /// Where the app itself is reached from here, for its static imports and files of public/ (url=/path)
    #[arg(long, global = true, value_name = "URL")]
    base_url: Option<String>,
    /// Set any key, e.g. --set images.snap=true; may be repeated
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Allow this source host (in place of sources.domains); may be repeated
    #[arg(long, global = true, value_name = "HOST")]
    domain: Vec<String>,
    /// Address of the public listener [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Address of the admin listener [default: 127.0.0.1:8081]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl From<SettingArguments> for Flags {
    fn from(arguments: SettingArguments) -> Self {
        let SettingArguments { config, next_manifest, base_url, set, domain, listen, admin_listen, log_level } =
            arguments;
        let (mode, scratch) = (Mode::Serve, None);
        Self { config, next_manifest, base_url, set, listen, admin_listen, domain, log_level, mode, scratch }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service; SIGHUP reads configuration and manifest again
    Serve,
    /// Run the service for `next dev`: the app at http://localhost:3000, local addresses, nothing kept, reasons told
    Dev,
    /// Run the service with sample images and a page to look at
    Demo,
    /// Render one image
    Render(picture::Render),
    /// Make the placeholders of one image
    Placeholder(picture::Placeholder),
    /// Have a running service, and every replica, take sources out of the cache
    Purge(purge::Purge),
    /// Check the configuration and print it with the origin of each value
    CheckConfig,
    /// Turn a Next.js build's .next/images-manifest.json into a pixgate.toml
    ImportNext {
        /// The manifest
        manifest: PathBuf,
        /// Where to write it; standard output when absent or -
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Decode a source from standard input, for the process that started this one
    #[command(name = imaging::DECODER_COMMAND, hide = true)]
    Decode {
        /// Its format
        format: String,
        /// How long it may take
        time_ms: u64,
        /// What it may map
        memory_bytes: u64,
    },
    /// Ask a running service whether it lives, for container checks
    Health {
        /// What to ask; without it, /healthz of the configured listener
        #[arg(long)]
        url: Option<String>,
    },
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    run_with(std::env::args_os(), &Environment::of_process())
}

fn run_with(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let Arguments { settings, command } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, with exit code 0. There is no one to tell when printing fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let (is_service, flags) = (matches!(command, Command::Serve | Command::Dev), Flags::from(settings));
    match dispatch(command, &flags, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(usage) = error.downcast_ref::<clap::Error>() {
                let _ = usage.print();
                return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
            }
            tell(&chain(&error), is_service.then(|| config::log_format(&flags, environment)));
            ExitCode::FAILURE
        }
    }
}

/// Says why it failed: a service by a log line where its lines are for machines, all else in words.
fn tell(reason: &str, format: Option<LogFormat>) {
    if format == Some(LogFormat::Json) {
        let settings = telemetry::Settings { format: LogFormat::Json, ..telemetry::Settings::default() };
        // It may be set up already, and to leave such lines out.
        if telemetry::init(&settings).is_ok() && telemetry::set_level("error").is_ok() {
            return tracing::error!(reason, "pixgate ends");
        }
    }
    // There is no one to tell when this fails.
    let _ = writeln!(io::stderr(), "pixgate: {reason}");
}

fn dispatch(command: Command, flags: &Flags, environment: &Environment) -> anyhow::Result<()> {
    let load = || load(flags, environment);
    match command {
        Command::Serve => serve(flags, environment, Mode::Serve),
        Command::Dev => serve(flags, environment, Mode::Development),
        Command::Demo => serve(flags, environment, Mode::Demo),
        Command::Render(command) => command.run(load()?.config),
        Command::Placeholder(command) => command.run(load()?.config),
        Command::Purge(command) => command.run(&load()?.config),
        Command::CheckConfig => {
            let loaded = load()?;
            let mut err = io::stderr();
            for warning in &loaded.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            let text = format!("{}{}", loaded.describe(), most_variants(&loaded.config.http.sizes));
            write_result(None, text.as_bytes())
        }
        Command::ImportNext { manifest, output } => {
            let bytes = std::fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
            let import = config::import(&bytes);
            let mut import = import.map_err(|message| anyhow::anyhow!("{} {message}", manifest.display()))?;
            if let Some(url) = &flags.base_url {
                import = import.with_base_url(url).map_err(|message| anyhow::anyhow!("--base-url {message}"))?;
            }
            write_result(output.as_deref(), import.to_toml().as_bytes())
        }
        Command::Decode { format, time_ms, memory_bytes } => {
            let time = Duration::from_millis(time_ms);
            let (input, output) = (io::stdin().lock(), io::stdout().lock());
            imaging::serve_decoder(&format, time, memory_bytes, input, output).context("decoding apart")
        }
        Command::Health { url: Some(url) } => health::check(&url),
        Command::Health { url: None } => health::check(&client::url_of(config::listen(flags, environment), "/healthz")),
    }
}

fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, Problems> {
    config::load(flags, environment).map(|mut loaded| {
        // This very program, also when its file was replaced since it started.
        loaded.config.imaging.decoder = Some("/proc/self/exe".into());
        loaded
    })
}

fn serve(flags: &Flags, environment: &Environment, mode: Mode) -> anyhow::Result<()> {
    // Removed when this returns.
    let scratch = (mode != Mode::Serve).then(Scratch::new).flatten();
    let flags = Flags { mode, scratch: scratch.as_ref().map(Scratch::path), ..flags.clone() };
    let (loaded, environment) = (load(&flags, environment)?, environment.clone());
    let again: Load = Box::new(move || load(&flags, &environment));
    allocator::configure();
    telemetry::init(&loaded.config.log).map_err(anyhow::Error::msg).context("log.level")?;
    if loaded.config.log.format == LogFormat::Json {
        telemetry::log_panics();
    }
    // The demo brings what is missing: warnings about an empty allow-list are not for it.
    for warning in loaded.warnings.iter().filter(|_| mode != Mode::Demo) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let ended = runtime.block_on(async {
        let app = App::build(loaded, again, mode, tokio::runtime::Handle::current())?;
        announce(&app, mode);
        app.run().await
    });
    // All that matters is written by now; what still runs is nobody's any more.
    runtime.shutdown_background();
    ended
}

/// What strangers can have made, as a comment of the printed configuration.
fn most_variants(sizes: &Sizes) -> String {
    if sizes.signing.required {
        return "\n# Every request must be signed: whoever has a key decides how many variants there are.\n".into();
    }
    let most = sizes.most_variants();
    let signed = if sizes.signing.keys.is_empty() { "" } else { ", besides what signed requests ask for" };
    format!("\n# At most {most} variants of a source{signed}.\n")
}

/// The first two lines of standard output are a contract: whoever asked for port 0 reads the real ones there. Whether
/// anybody still reads must not matter to the service.
fn announce(app: &App, mode: Mode) {
    let mut text = format!("public http://{}\nadmin http://{}\n", app.public, app.admin);
    match mode {
        Mode::Serve => {}
        Mode::Development => {
            let address = format!("NEXT_PUBLIC_PIXGATE_URL=http://{}", app.public);
            text.push_str(&format!(
                "\n{address} for the app. Nothing is kept, errors tell their reasons. Ctrl-C stops.\n"
            ));
        }
        Mode::Demo => text.push_str(&format!("\nOpen http://{} in a browser. Ctrl-C stops.\n", app.admin)),
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "nobody reads standard output");
    }
}

/// To a file, or to standard output when there is none or it is `-`.
fn write_result(output: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
    match output.filter(|path| path.as_os_str() != "-") {
        Some(path) => std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display())),
        None => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).context("cannot write to standard output")
        }
    }
}

/// An error and its causes in one line, leaving out a cause that its effect has already told.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
