//! Real redis-server processes for tests: started on a free port in a directory of their own, stopped, killed and started
//! again, asked by hand. Law: a process is ended by its own id, when its handle is dropped, and leaves nothing behind.
//!
//! Included by path, so that every suite that needs Redis can have it; it names nothing of the suite it is in.
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Error(String),
    Number(i64),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Self>),
}

impl Reply {
    /// Texts and bytes as text, numbers in decimal.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Error(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Nothing => String::new(),
            Self::List(items) => items.iter().map(Self::text).collect::<Vec<_>>().join("\n"),
        }
    }

    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }
}

/// A redis-server process.
pub(crate) struct RedisServer {
    child: Option<Child>,
    pub(crate) port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// An empty server without persistence.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with further arguments as in `--maxmemory 3mb`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        // Somebody else may take the port between our asking for it and the server's.
        for _ in 0..5 {
            let mut server = Self::prepared(arguments);
            server.launch();
            if server.wait_until_ready() {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// With a port and a directory, but not started.
    pub(crate) fn prepared(arguments: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pixgate-redis-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { child: None, port: free_port(), dir, arguments }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn launch(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--daemonize", "no", "--dir"]).arg(&self.dir).args(&self.arguments);
        self.spawn(command);
    }

    /// Starts `command` as this server's process.
    pub(crate) fn spawn(&mut self, mut command: Command) {
        let log = std::fs::File::create(self.dir.join("log")).expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!("redis-server cannot be started ({error}); install it with: apt-get install redis-server")
        }));
    }

    /// False when the process has ended instead.
    pub(crate) fn wait_until_ready(&mut self) -> bool {
        let started = Instant::now();
        loop {
            match self.try_command(&[b"PING"]) {
                Ok(Reply::Text(text)) if text == "PONG" => return true,
                // It wants a password, and has begun to ask for it.
                Ok(Reply::Error(error)) if error.starts_with("NOAUTH") => return true,
                _ => {}
            }
            let child = self.child.as_mut().expect("a process");
            if child.try_wait().expect("the process can be waited for").is_some() {
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "redis-server does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Asks by hand; a connection a question.
    pub(crate) fn command(&self, parts: &[&[u8]]) -> Reply {
        self.try_command(parts).unwrap_or_else(|error| panic!("redis-server: {error}; its log:\n{}", self.log()))
    }

    /// Asks in words: `"SET a b"`.
    pub(crate) fn ask(&self, words: &str) -> Reply {
        self.command(&words.split_whitespace().map(str::as_bytes).collect::<Vec<_>>())
    }

    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        match self.ask(&format!("KEYS {pattern}")) {
            Reply::List(keys) => keys.iter().map(Reply::text).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// How often a command was executed since the start.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let prefix = format!("cmdstat_{command}:calls=");
        let stats = self.ask("INFO commandstats").text();
        let line = stats.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    fn try_command(&self, parts: &[&[u8]]) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = format!("*{}\r\n", parts.len()).into_bytes();
        for part in parts {
            request.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
            request.extend_from_slice(part);
            request.extend_from_slice(b"\r\n");
        }
        stream.write_all(&request)?;
        read_reply(&mut BufReader::new(stream))
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a process");
        kill_process(Pid::from_child(child), signal).expect("the signal is delivered");
    }

    /// It accepts connections and answers nothing (SIGSTOP).
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on where it was (SIGCONT).
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the process is killed");
            child.wait().expect("the process is waited for");
        }
    }

    /// Starts it again on its port, empty.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.wait_until_ready(), "redis-server does not start again: {}", self.log());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone_already = child.kill();
            let _reaped = child.wait();
        }
        let _gone_already = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that is free at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn read_reply(reader: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let (kind, rest) = line.split_at(1);
    let number = || rest.parse::<i64>().map_err(std::io::Error::other);
    Ok(match kind {
        "+" => Reply::Text(rest.into()),
        "-" => Reply::Error(rest.into()),
        ":" => Reply::Number(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Reply::Nothing,
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                reader.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bytes(bytes)
            }
        },
        "*" => {
            let items = (0..number()?.max(0)).map(|_| read_reply(reader));
            Reply::List(items.collect::<Result<_, _>>()?)
        }
        _ => return Err(std::io::Error::other(format!("not a reply: {line}"))),
    })
}
