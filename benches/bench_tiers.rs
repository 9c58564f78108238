//! What each tier costs: a hit in memory, a hit in Redis, a miss; a restart with and without Redis; hits while Redis hangs.
//!
//! The service, its Redis and its origin are started here. Sources differ by a few bytes behind the picture, so that each
//! is fetched and drawn on its own. Latencies are of one client on one connection each; medians and 99th percentiles.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench waits for processes")]

#[expect(dead_code, reason = "the bench needs a part of it")]
#[path = "../tests/support/redis.rs"]
mod redis;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use redis::RedisServer;

const SOURCES: usize = 100;
const PICTURE: &[u8] = include_bytes!("../fixtures/images/hubble.jpg");

/// What is done to a Redis.
type Hurt<'a> = &'a dyn Fn(&mut RedisServer);

fn main() {
    let mut redis = RedisServer::start();
    let origin = origin();
    let with = |redis: &RedisServer| Service::start(&["--set", &format!("redis.url={}", redis.url())]);

    let service = with(&redis);
    let misses = service.ask_all(origin, "pixgate; fwd=miss");
    let hits = service.ask_all(origin, "pixgate; hit; detail=memory");
    written(&redis);
    drop(service);
    let service = with(&redis);
    let found = service.ask_all(origin, "pixgate; hit; detail=redis");
    drop(service);
    let service = Service::start(&[]);
    let bare = service.ask_all(origin, "pixgate; fwd=miss");
    drop(service);

    println!("| {SOURCES} sources, 640 px WebP, one at a time | p50 | p99 |");
    println!("|---|---|---|");
    for (name, times) in [("memory hit", &hits), ("Redis hit", &found), ("miss", &misses)] {
        println!("| {name} | {} | {} |", shown(percentile(times, 50)), shown(percentile(times, 99)));
    }
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("\nA miss takes {:.0} x as long as the Redis hit that replaces it.", {
        ratio(percentile(&misses, 50), percentile(&found, 50))
    });
    let (warm, cold): (Duration, Duration) = (found.iter().sum(), bare.iter().sum());
    println!("After a restart the {SOURCES} take {} with Redis, {} without: {:.3}.", shown(warm), shown(cold), {
        ratio(warm, cold)
    });

    let service = with(&redis);
    service.ask_all(origin, "pixgate; hit; detail=redis");
    let target = target(origin, 0);
    println!("\n| p99 of memory hits, 32 connections | |\n|---|---|");
    println!("| Redis well | {} |", wrk(service.public, &target));
    let full = |redis: &mut RedisServer| drop(redis.ask("CONFIG SET maxmemory 1"));
    let garbage = |redis: &mut RedisServer| {
        for key in redis.keys("pixgate:*") {
            redis.command(&[b"SET", key.as_bytes(), b"garbage"]);
        }
    };
    let hurts: [(&str, Hurt<'_>); 4] = [
        ("full", &full),
        ("full of garbage", &garbage),
        ("hung (SIGSTOP)", &|redis| redis.hang()),
        ("killed (kill -9)", &|redis| redis.kill()),
    ];
    let mut next = SOURCES;
    for (state, hurt) in hurts {
        hurt(&mut redis);
        // What is not in memory asks Redis, in vain, until the breaker opens where it has to.
        for _ in 0..10 {
            get(service.public, &self::target(origin, next));
            next += 1;
        }
        println!("| {state} | {} |", wrk(service.public, &target));
        if state == "full" {
            redis.ask("CONFIG SET maxmemory 0");
        }
    }
}

fn shown(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Waits until what was put behind the responses lies in Redis.
fn written(redis: &RedisServer) {
    let started = Instant::now();
    while redis.keys("pixgate:*:variant:*").len() < SOURCES {
        assert!(started.elapsed() < Duration::from_secs(10), "Redis did not get everything");
        thread::sleep(Duration::from_millis(10));
    }
}

fn target(origin: SocketAddr, n: usize) -> String {
    format!("/image?url=http://{origin}/{n}.jpg&w=640&f=webp")
}

/// Serves the picture with the path behind its end.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = PICTURE.len() + path.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        if stream.write_all(&[head.as_bytes(), PICTURE, path.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

/// A plain GET over one connection; the `Cache-Status` of the answer.
fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").expect("sends");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("answers");
    let text = String::from_utf8_lossy(&response);
    assert!(text.starts_with("HTTP/1.1 200"), "{}", &text[..text.len().min(500)]);
    text.lines().find_map(|line| line.strip_prefix("cache-status: ")).unwrap_or_default().to_owned()
}

/// The 99th percentile of a load run, as `wrk` writes it.
fn wrk(address: SocketAddr, target: &str) -> String {
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d4s", "--latency", &format!("http://{address}{target}")])
        .output()
        .expect("wrk runs (Debian package wrk)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
    text.lines().find_map(|line| line.trim().strip_prefix("99%")).map(str::trim).unwrap_or_default().to_owned()
}

struct Service {
    child: Child,
    public: SocketAddr,
}

impl Service {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pixgate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--domain", "127.0.0.1"])
            .args(["--set", "sources.allow_local_ip=true", "--log-level", "error"])
            .args(arguments)
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let public = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("public http://")?.parse().ok());
        let service = Self { child, public: public.expect("the service tells its address") };
        let started = Instant::now();
        while !arguments.is_empty() && !service.has_redis() {
            assert!(started.elapsed() < Duration::from_secs(10), "Redis is not found");
            thread::sleep(Duration::from_millis(10));
        }
        service
    }

    fn has_redis(&self) -> bool {
        let mut stream = TcpStream::connect(self.public).expect("connects");
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        answer.contains(r#""redis":"ok""#)
    }

    /// The time of each source's variant, every one of which must come as expected.
    fn ask_all(&self, origin: SocketAddr, expected: &str) -> Vec<Duration> {
        let ask = |n| {
            let started = Instant::now();
            assert_eq!(get(self.public, &target(origin, n)), expected);
            started.elapsed()
        };
        (0..SOURCES).map(ask).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}
