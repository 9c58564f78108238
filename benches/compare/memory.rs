//! Memory: after the start, at most during several hundred misses, and when the load is long over.
//!
//! Each server is started for this alone, so that its peak is the peak of these misses; they come eight at once, WebP and
//! AVIF by turns, of all classes but the largest.

use std::thread;
use std::time::Duration;

use super::Bench;
use super::client::{self, Request};
use super::peers::Kind;
use super::pictures::{Class, Source};
use super::report::shown;

pub(crate) fn run(bench: &mut Bench) {
    let (misses, rest) = if bench.quick { (60, 5) } else { (500, 30) };
    bench.report.heading(&format!("Memory, MB resident: {misses} misses at 640 px, 8 at once"));
    let idle = format!("{rest} s after");
    bench.report.table(&["server", "started", "peak", &idle, "pixgate ÷, peak", "pixgate ÷, idle", "images/s"]);
    let sources: Vec<Source> =
        [Class::Photo, Class::Alpha, Class::Screenshot].iter().flat_map(|class| bench.class(*class)).collect();
    let mut ours = (f64::NAN, f64::NAN);
    for kind in Kind::ALL {
        if let Some(why) = kind.missing() {
            bench.report.without(kind.name(), &format!("not installed: {why}"), 7);
            continue;
        }
        let peer = kind.start(&bench.origin);
        thread::sleep(Duration::from_millis(500));
        let (started, _) = peer.server.memory();
        let request = |n: usize| {
            let formats = kind.formats();
            let source = &sources[n % sources.len()];
            // A source comes in each format: the turn changes with every pass over the sources.
            let format = formats[(n + n / sources.len()) % formats.len()];
            peer.request(&bench.origin.fresh(source), 640, 75, format)
        };
        let requests: Vec<Request> = (0..misses).map(request).collect();
        let (wall, answers) = client::all(peer.address(), &requests, 8);
        let good = answers.iter().flatten().filter(|answer| answer.ok).count();
        drop(answers);
        thread::sleep(Duration::from_secs(rest));
        let (idle, peak) = peer.server.memory();
        if kind == Kind::Pixgate {
            ours = (peak, idle);
        }
        let mut name = kind.name().to_owned();
        if good < misses {
            name.push_str(&format!(" ({} failed)", misses - good));
        }
        if kind.formats().len() == 1 {
            name.push_str(" (WebP only)");
        }
        let mut cells = vec![name];
        cells.extend([started, peak, idle, ours.0 / peak, ours.1 / idle, good as f64 / wall].map(shown));
        bench.report.row(&cells);
    }
}
