//! The service under test as a child process: configuration written to a directory of its own, a clean environment,
//! free ports, stderr kept for failure messages. Law: a process is ended by its own id, when its handle is dropped,
//! and leaves nothing behind.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::{Response, enc, request};
use super::redis::RedisServer;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pixgate");
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is removed with its handle.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pixgate-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file in the temporary directory");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

/// Configuration of one service: TOML values by `section.key`, environment, further arguments.
pub(crate) struct Setup {
    values: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    command: &'static str,
    descriptors: Option<u32>,
}

impl Setup {
    /// Free loopback ports, and the loopback origin allowed; everything else as it ships.
    pub(crate) fn new() -> Self {
        Self {
            values: BTreeMap::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            command: "serve",
            descriptors: None,
        }
        .text("server.listen", "127.0.0.1:0")
        .text("server.admin_listen", "127.0.0.1:0")
        .text("server.drain_delay", "0s")
        .set("sources.domains", r#"["127.0.0.1"]"#)
        .set("sources.allow_local_ip", true)
    }

    /// Any host may be named, so that the address guard alone stands between a request and the network.
    pub(crate) fn guarded() -> Self {
        Self::new()
            .set("sources.domains", "[]")
            .set("sources.allow_any_host", true)
            .set("sources.remote_patterns", r#"[{ hostname = "**" }]"#)
            .set("sources.allow_local_ip", false)
    }

    /// `pixgate dev` with free ports, and nothing else of its own.
    pub(crate) fn development() -> Self {
        let mut setup = Self::new().without("sources.domains").without("sources.allow_local_ip");
        setup.command = "dev";
        setup.without("server.drain_delay")
    }

    /// Sets `section.key` to a TOML value as it is written.
    pub(crate) fn set(mut self, key: &str, value: impl Display) -> Self {
        self.values.insert(key.to_owned(), value.to_string());
        self
    }

    /// Sets `section.key` to a string (quotes are added).
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.set(key, format!("'{value}'"))
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.values.remove(key);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The configuration file. Dotted keys inside one table would do too; sections are what users write.
    pub(crate) fn toml(&self) -> String {
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        for (key, value) in &self.values {
            let (section, key) = key.split_once('.').expect("section.key");
            sections.entry(section).or_default().push_str(&format!("{key} = {value}\n"));
        }
        sections.iter().map(|(section, lines)| format!("[{section}]\n{lines}\n")).collect()
    }

    fn command(&self, dir: &TempDir) -> Command {
        let file = dir.write("pixgate.toml", self.toml());
        let mut command = match self.descriptors {
            None => Command::new(BINARY),
            Some(number) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("ulimit -n {number}; exec \"$0\" \"$@\"")).arg(BINARY);
                command
            }
        };
        // Nothing is left behind by a process that is killed.
        command.env_clear().env("TMPDIR", dir.path()).envs(self.environment.iter().cloned()).current_dir(dir.path());
        command.arg(self.command).arg("--config").arg(file).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Files and connections that the process may have open, and no more.
    pub(crate) fn descriptors(mut self, number: u32) -> Self {
        self.descriptors = Some(number);
        self
    }

    /// Starts the service and waits until it has printed where it listens. Where the environment asks for it
    /// (`PIXGATE_TEST_REDIS`), a service that names no Redis gets one of its own: the same suite over both tiers.
    pub(crate) async fn start(mut self) -> App {
        let dir = TempDir::new();
        let with_redis = std::env::var_os("PIXGATE_TEST_REDIS").is_some() && !self.values.contains_key("redis.url");
        let redis = with_redis.then(RedisServer::start);
        if let Some(redis) = &redis {
            self = self.text("redis.url", &redis.url());
        }
        let mut child = self.command(&dir).spawn().expect("the service starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut chunk = [0_u8; 4096];
            while let Ok(n) = stderr.read(&mut chunk)
                && n > 0
            {
                kept.lock().expect("log").push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
        });
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (found, bound) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let (mut found, mut public, mut admin) = (Some(found), None, None);
            for line in stdout.lines().map_while(Result::ok) {
                public = public.or(line.strip_prefix("public http://").and_then(loopback));
                admin = admin.or(line.strip_prefix("admin http://").and_then(loopback));
                if let (Some(public), Some(admin), Some(found)) =
                    (public, admin, found.take_if(|_| public.is_some() && admin.is_some()))
                {
                    let _nobody_waits = found.send((public, admin));
                }
            }
        });
        match tokio::time::timeout(PATIENCE, bound).await {
            Ok(Ok((public, admin))) => {
                let app = App { child, public, admin, log, redis, dir };
                app.until_connected().await;
                app
            }
            missed => {
                let _gone_already = child.kill();
                panic!("the service did not come up ({missed:?}); its log:\n{}", log.lock().expect("log"));
            }
        }
    }

    /// Runs a service that must refuse to start; its exit code and all that it said.
    pub(crate) fn refuses(self) -> (Option<i32>, String) {
        let dir = TempDir::new();
        let child = self.command(&dir).spawn().expect("the process starts");
        let (status, said) = finish(child);
        (status, said)
    }
}

/// Waits for a process that ought to end by itself; ends it, by its own handle, when it does not.
fn finish(mut child: Child) -> (Option<i32>, String) {
    let started = Instant::now();
    while child.try_wait().expect("the process can be waited for").is_none() {
        if started.elapsed() > PATIENCE {
            let _gone_already = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().expect("its output");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// The printed address, dialled on loopback even when the service listens on every address.
fn loopback(printed: &str) -> Option<SocketAddr> {
    let port = printed.trim().rsplit_once(':')?.1.trim_end_matches('/').parse().ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A running service.
pub(crate) struct App {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<String>>,
    redis: Option<RedisServer>,
    /// Where it was started, with its configuration.
    pub(crate) dir: TempDir,
}

impl App {
    /// Waits until the service uses the Redis that the harness gave it.
    async fn until_connected(&self) {
        let started = Instant::now();
        while self.redis.is_some() && self.get("/readyz").await.json()["dependencies"]["redis"] != "ok" {
            assert!(started.elapsed() < PATIENCE, "Redis is not found; the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Response {
        self.get_with(target, &[]).await
    }

    pub(crate) async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", target, headers).await
    }

    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        request(self.public, method, target, headers, b"")
            .await
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) async fn admin(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        request(self.admin, "GET", target, headers, b"").await.unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    /// `GET /image` of a source; `rest` is the query after `url=`, as it is written.
    pub(crate) async fn image(&self, url: &str, rest: &str) -> Response {
        self.get(&image(url, rest)).await
    }

    /// `GET /_next/image` as a browser that takes WebP but not AVIF would.
    pub(crate) async fn next(&self, url: &str, w: u32, q: u32) -> Response {
        self.get_with(&next(url, w, q), &[("accept", "image/webp,image/*,*/*;q=0.8")]).await
    }

    /// The sum of a counter or gauge over all its labels; 0 when it has not been seen.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.admin("/metrics", &[]).await;
        assert_eq!(page.status, 200, "/metrics");
        page.text()
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter_map(|rest| rest.rsplit('}').next()?.split_whitespace().next()?.parse::<f64>().ok())
            .sum()
    }

    /// The service's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Asks the service to stop, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the signal is delivered");
    }

    /// Writes another configuration file and has the service read it; waits until it has said what came of it.
    pub(crate) async fn reload(&self, setup: &Setup) {
        self.reload_text(&setup.toml()).await;
    }

    pub(crate) async fn reload_text(&self, toml: &str) {
        let said = || self.log().matches("reloaded").count();
        let before = said();
        self.dir.write("pixgate.toml", toml);
        self.signal(rustix::process::Signal::HUP);
        self.until("it has reloaded", || said() > before).await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < PATIENCE, "waited for: {what}; the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The exit code, once the process has ended.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "the service did not end; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the process runs and answers.
    pub(crate) async fn lives(&self) -> bool {
        self.get("/healthz").await.status == 200
    }

    /// Resident memory in bytes (Linux).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") * 1024
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the service's log ---\n{}", self.log());
        }
    }
}

/// The target of an `/image` request; `rest` is the query after `url=`, as it is written.
pub(crate) fn image(url: &str, rest: &str) -> String {
    format!("/image?url={}{}{rest}", enc(url), if rest.is_empty() { "" } else { "&" })
}

/// The target of a `/_next/image` request.
pub(crate) fn next(url: &str, w: u32, q: u32) -> String {
    format!("/_next/image?url={}&w={w}&q={q}", enc(url))
}

/// Runs the binary once with these arguments and environment, in `dir`; its exit code, stdout and stderr.
pub(crate) fn run(dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(BINARY);
    command.env_clear().envs(environment.iter().copied()).current_dir(dir).args(arguments).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}
