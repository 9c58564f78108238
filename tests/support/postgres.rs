//! Real postgres processes for tests: a cluster of its own in a temporary directory, on a free port of loopback, run as an
//! unprivileged user where the tests are root. Law: a process is ended by its own id, when its handle is dropped, and
//! leaves nothing behind.
//!
//! Included by path, so that every suite that needs PostgreSQL can have it; it names nothing of the suite it is in.
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whom PostgreSQL runs as when the tests are root, which it refuses: nobody, on every Debian.
const UNPRIVILEGED: u32 = 65_534;

/// A PostgreSQL server.
pub(crate) struct PostgresServer {
    child: Option<Child>,
    pub(crate) port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
}

/// The directory of PostgreSQL's programs.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    let all = versions.into_iter().rev().chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/local/bin")]);
    let both = |dir: &PathBuf| ["initdb", "postgres"].iter().all(|program| dir.join(program).is_file());
    all.into_iter()
        .find(both)
        .unwrap_or_else(|| panic!("there is no PostgreSQL server here; install it with: apt-get install postgresql"))
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A program of PostgreSQL, unprivileged.
fn program(name: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(programs().join(name));
    command.env("LC_ALL", "C").env_remove("PGDATA").stdin(Stdio::null());
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// A fresh cluster of this version of PostgreSQL, kept between runs.
fn template() -> PathBuf {
    let version = programs().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("cluster{version}-{}", if is_root() { "root" } else { "user" }))
}

/// Copies a cluster with its owner and modes; false when there is none.
fn copied(from: &std::path::Path, to: &std::path::Path) -> bool {
    from.join("PG_VERSION").is_file()
        && Command::new("cp").arg("-a").arg(from).arg(to).status().is_ok_and(|status| status.success())
}

impl PostgresServer {
    /// Whom its files must belong to, where that is not who runs the tests.
    pub(crate) fn user() -> Option<u32> {
        is_root().then_some(UNPRIVILEGED)
    }

    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with further settings as in `max_connections=10`.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        // Somebody else may take the port between our asking for it and the server's.
        for _ in 0..5 {
            let mut server = Self::prepared(settings);
            server.launch();
            if server.wait_until_ready() {
                return server;
            }
        }
        panic!("postgres does not start");
    }

    /// With a port, a directory and a cluster in it, but not started.
    pub(crate) fn prepared(settings: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pixgate-postgres-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).expect("its permissions");
        if is_root() {
            std::os::unix::fs::chown(&dir, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("its owner");
        }
        let arguments = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let server = Self { child: None, port: free_port(), dir, arguments };
        let template = template();
        if !copied(&template, &server.data()) {
            server.init();
            // For all who come later; whoever is first wins.
            let own = template.with_extension(server.port.to_string());
            if copied(&server.data(), &own) && std::fs::rename(&own, &template).is_err() {
                let _gone_already = std::fs::remove_dir_all(&own);
            }
        }
        server
    }

    /// Makes a cluster, which takes a second.
    fn init(&self) {
        let made = program("initdb")
            .args(["--auth=trust", "--username=pixgate", "--encoding=UTF8", "--no-sync", "--pgdata"])
            .arg(self.data())
            .current_dir(&self.dir)
            .output()
            .expect("initdb is started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://pixgate@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn launch(&mut self) {
        let log = std::fs::File::create(self.dir.join("log")).expect("a log file");
        let mut command = program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let ours = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=64MB", "fsync=off"];
        for setting in ours.into_iter().map(str::to_owned).chain(self.arguments.iter().cloned()) {
            command.args(["-c", &setting]);
        }
        let child = command.current_dir(&self.dir).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("postgres is started"));
    }

    /// False when the process has ended instead.
    pub(crate) fn wait_until_ready(&mut self) -> bool {
        let started = Instant::now();
        loop {
            // The server says so itself; a connection alone says only that the port is open.
            let said = self.log().contains("database system is ready to accept connections");
            if said && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            let child = self.child.as_mut().expect("a process");
            if child.try_wait().expect("the process can be waited for").is_some() {
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "postgres does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("a process"))
    }

    /// The server and the processes that it made.
    fn family(&self) -> Vec<Pid> {
        let own = self.pid();
        let children = format!("/proc/{0}/task/{0}/children", own.as_raw_nonzero());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw));
        children.chain([own]).collect()
    }

    /// It accepts connections and answers nothing (SIGSTOP).
    pub(crate) fn hang(&self) {
        // The server first, so that it makes no more of them.
        for pid in self.family().into_iter().rev() {
            let _gone_already = kill_process(pid, Signal::STOP);
        }
    }

    /// It goes on where it was (SIGCONT).
    pub(crate) fn resume(&self) {
        for pid in self.family() {
            let _gone_already = kill_process(pid, Signal::CONT);
        }
    }

    /// `kill -9`, of all its processes.
    pub(crate) fn kill(&mut self) {
        if self.child.is_none() {
            return;
        }
        let family = self.family();
        for pid in family.iter().rev() {
            let _gone_already = kill_process(*pid, Signal::KILL);
        }
        if let Some(mut child) = self.child.take() {
            child.wait().expect("the process is waited for");
        }
        // A new server refuses to start while an old one's process is attached to the same memory.
        let started = Instant::now();
        while family.iter().any(|pid| is_alive(*pid)) {
            assert!(started.elapsed() < PATIENCE, "processes of postgres do not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it and starts it again, with what it has.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts it on its port, with what it has.
    pub(crate) fn start_again(&mut self) {
        self.launch();
        assert!(self.wait_until_ready(), "postgres does not start again: {}", self.log());
    }
}

fn is_alive(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // One that nobody waits for is not alive any more.
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
        let _gone_already = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that is free at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
