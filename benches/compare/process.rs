//! A server under measurement: a process group of its own, its processor time and memory read from `/proc`.
//!
//! The law: what a server starts is counted with it, and ends with it. Only the group that was made here is signalled.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::report::{Report, target_dir};

/// Linux counts processor time for programs in hundredths of a second, whatever the kernel ticks at (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Server {
    child: Child,
    group: Pid,
    pub(crate) address: SocketAddr,
    pub(crate) started: Instant,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A file or directory of this run, in the target directory.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = target_dir().join("bench");
    fs::create_dir_all(&dir).expect("the target directory can be written");
    dir.join(name)
}

impl Server {
    /// Starts a server that will listen on `port`; what it says goes to a log in the target directory.
    pub(crate) fn start(mut command: Command, port: u16, name: &str) -> Self {
        let log = fs::File::create(scratch(&format!("{name}.log"))).expect("a log");
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log).process_group(0);
        let started = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let group = Pid::from_child(&child);
        Self { child, group, address: SocketAddr::from(([127, 0, 0, 1], port)), started }
    }

    /// Waits until it takes connections.
    pub(crate) fn up(self, name: &str) -> Self {
        while TcpStream::connect(self.address).is_err() {
            assert!(self.started.elapsed() < Duration::from_secs(30), "{name} does not come up; see its log");
            thread::sleep(Duration::from_millis(10));
        }
        self
    }

    /// Seconds of processor time of the whole group, ended children included.
    pub(crate) fn cpu(&self) -> f64 {
        self.members().iter().flat_map(|(_, stat)| stat[11..15].iter()).sum::<f64>() / TICKS_PER_SECOND
    }

    /// Megabytes in memory now, and at most since the start (of each process; the sum is an upper bound).
    pub(crate) fn memory(&self) -> (f64, f64) {
        let sum = |field: &str| {
            let of = |id: &u32| {
                let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
                line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0)
            };
            self.members().iter().map(|(id, _)| of(id)).sum::<f64>() * 1024.0 / 1e6
        };
        (sum("VmRSS:"), sum("VmHWM:"))
    }

    /// Every process of the group: its id, and the fields of `/proc/ID/stat` after the name (proc(5): 0 is the state, 2 the
    /// group, 11 to 14 the times).
    fn members(&self) -> Vec<(u32, Vec<f64>)> {
        let group = f64::from(self.group.as_raw_nonzero().get());
        let of = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let (_, fields) = text.rsplit_once(')')?;
            let fields: Vec<f64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
            (fields.len() > 15 && fields[2] == group).then_some((id, fields))
        };
        let ids = fs::read_dir("/proc").expect("Linux").flatten();
        ids.filter_map(|entry| of(entry.file_name().to_str()?.parse().ok()?)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = kill_process_group(self.group, Signal::KILL);
        let _gone = self.child.wait();
    }
}

/// Busy and all hundredths of a second of all processors since the machine's start.
fn busy() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<f64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = fields.iter().sum();
    (all - fields.iter().skip(3).take(2).sum::<f64>(), all)
}

/// How busy the machine was when nothing of this had been started, and how long all took.
pub(crate) struct Load {
    started: Instant,
}

impl Load {
    pub(crate) fn before(report: &mut Report) -> Self {
        let before = busy();
        thread::sleep(Duration::from_secs(2));
        let after = busy();
        let share = 100.0 * (after.0 - before.0) / (after.1 - before.1).max(1.0);
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let count = thread::available_parallelism().map_or(1, usize::from);
        report.line("# Pixgate against its peers");
        report.line("");
        report.line(&format!(
            "{count} processors ({}), {share:.0} % busy with other work before the start.",
            model.trim_start_matches([' ', '\t', ':'])
        ));
        if share > 10.0 {
            report.line("**The machine is not quiet: times and rates are disturbed; bytes and scores are not.**");
        }
        Self { started: Instant::now() }
    }

    pub(crate) fn after(&self, report: &mut Report) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let longest = load.split(' ').nth(2).unwrap_or_default();
        let seconds = self.started.elapsed().as_secs_f64();
        report.line(&format!("Took {seconds:.0} s; load average of the last 15 minutes, with all this: {longest}."));
    }
}
