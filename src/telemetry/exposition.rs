//! Metrics as text: OpenMetrics, or the older format of Prometheus that every scraper reads.
//!
//! Invariant: both come from one text, so that they cannot disagree; what is not configured has no line.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;

/// Ticks a second of the times in `/proc`: the same on every architecture of Linux that is built for.
const TICKS: f64 = 100.0;

/// A gauge of a dependency; it has no line where none is configured.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredGauge {
    gauge: Gauge,
    configured: Arc<AtomicBool>,
}

impl ConfiguredGauge {
    /// Shows the value, from now on.
    pub fn set(&self, value: impl Into<i64>) {
        self.gauge.set(value.into());
        self.configured.store(true, Ordering::Relaxed);
    }
}

impl EncodeMetric for ConfiguredGauge {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.gauge.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        !self.configured.load(Ordering::Relaxed)
    }
}

/// The formats of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Exposition {
    /// What an `Accept` field asks for; the text where it does not say.
    pub fn negotiate(accept: &str) -> Self {
        let weight = |name: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let named = parts.next()?.eq_ignore_ascii_case(name);
                let q = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
                named.then_some(q.unwrap_or(0.0))
            });
            ranges.fold(0.0, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Metrics {
    /// All metrics, and those of the process and its build.
    pub fn exposition(&self, format: Exposition) -> String {
        let mut text = String::new();
        // Writing to a String fails only if an encoder of ours does; what was written until then is still useful.
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::warn!(%error, "metrics exposition is incomplete");
        }
        const END: &str = "# EOF\n";
        text.truncate(text.strip_suffix(END).map_or(text.len(), str::len));
        let version = env!("CARGO_PKG_VERSION");
        text.push_str("# HELP pixgate_build_info The version that runs.\n# TYPE pixgate_build_info gauge\n");
        text.push_str(&format!("pixgate_build_info{{version=\"{version}\"}} 1\n"));
        for (name, kind, help, value) in process() {
            let suffix = if kind == "counter" { "_total" } else { "" };
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{suffix} {value}\n"));
        }
        match format {
            Exposition::Text => older(&text),
            Exposition::OpenMetrics => text + END,
        }
    }
}

/// The same in the older format: there a counter is called what its samples are, and units have no line.
fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let described = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        match (described, lines.peek().and_then(|next| next.strip_prefix("# TYPE "))) {
            _ if line.starts_with("# UNIT ") => {}
            (Some((name, help)), Some(kind)) if kind.strip_prefix(name) == Some(" counter") => {
                out.push_str(&format!("# HELP {name}_total {help}\n# TYPE {name}_total counter\n"));
                lines.next();
            }
            _ => out.extend([line, "\n"]),
        }
    }
    out
}

type Row = (&'static str, &'static str, &'static str, f64);

/// What the kernel says of this process, by the names that every client library has for it. What it does not say is left
/// out.
fn process() -> Vec<Row> {
    let read = |name: &str| fs::read_to_string(name).ok();
    let stat = read("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; fields are counted behind it, the third being the first.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let status = read("/proc/self/status").unwrap_or_default();
    let memory = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kib| kib * 1024.0)
    };
    let booted =
        || read("/proc/stat")?.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let open = || fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    let most = || {
        let limits = read("/proc/self/limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
    let started = booted().zip(field(22)).map(|(boot, ticks)| boot + ticks / TICKS);
    let rows = [
        ("process_cpu_seconds", "counter", "Total user and system CPU time spent in seconds.", cpu),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", memory("VmRSS")),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", memory("VmSize")),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open()),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", most()),
        ("process_start_time_seconds", "gauge", "Start time since the Unix epoch in seconds.", started),
    ];
    rows.into_iter().filter_map(|(name, kind, help, value)| Some((name, kind, help, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides_and_the_text_is_the_default() {
        for (accept, format) in [
            ("", Exposition::Text),
            ("*/*", Exposition::Text),
            ("text/plain;version=0.0.4", Exposition::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Exposition::Text),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.2",
                Exposition::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5", Exposition::Text),
            ("application/openmetrics-text;q=0", Exposition::Text),
        ] {
            assert_eq!(Exposition::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn in_the_older_format_every_sample_is_described_by_its_own_name() {
        let metrics = Metrics::new();
        metrics.count_shed("queue");
        metrics.observe_redis("get", std::time::Duration::from_millis(1));
        let text = metrics.exposition(Exposition::Text);
        assert!(text.contains("# TYPE pixgate_shed_total counter\n") && !text.contains("# UNIT"), "{text}");
        assert!(text.contains("\n# HELP pixgate_shed_total ") && !text.contains("# EOF"), "{text}");
        let types: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let described = types.iter().any(|(family, kind)| match *kind {
                "histogram" => ["_bucket", "_sum", "_count"].iter().any(|part| name.strip_suffix(part) == Some(family)),
                _ => name == *family,
            });
            assert!(described, "{line}");
        }
        let open = metrics.exposition(Exposition::OpenMetrics);
        assert!(open.ends_with("# EOF\n") && open.contains("# TYPE pixgate_shed counter\n"), "{open}");
    }

    #[test]
    fn the_process_and_its_build_are_shown_and_what_is_not_configured_is_not() {
        let metrics = Metrics::new();
        let text = metrics.exposition(Exposition::Text);
        for name in [
            "pixgate_build_info{version=\"",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} in\n{text}");
        }
        assert!(
            !text.contains("redis_up") && !text.contains("redis_breaker") && !text.contains("metadata_up"),
            "{text}"
        );
        metrics.redis_up.set(false);
        assert!(metrics.exposition(Exposition::Text).contains("\npixgate_redis_up 0\n"));
    }
}
