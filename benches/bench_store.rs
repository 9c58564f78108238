//! What the metadata store answers at 100,000 sources and 1,000,000 variants, on SQLite and on PostgreSQL, while fifty sources
//! a second are written, and how long a placeholder takes that is in memory: over HTTP, one client on one connection, medians
//! and 99th percentiles; at the end, that they are within their bounds.
//!
//! The databases fill themselves by the statements that the store's tests use; the service, PostgreSQL and an origin are
//! started here.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench waits for processes")]
#![expect(clippy::disallowed_types, reason = "the rows are made by hand")]

#[path = "../tests/store/fill.rs"]
mod fill;
#[expect(dead_code, reason = "the bench needs a part of it")]
#[path = "../tests/support/postgres.rs"]
mod postgres;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixgate::record::SourceKey;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, SqlitePool};

const SOURCES: u64 = 100_000;
const ROUNDS: usize = 300;
const PICTURE: &[u8] = include_bytes!("../fixtures/images/hubble.jpg");

/// What is asked of the admin listener; `{url}` is a source with variants.
const QUESTIONS: [(&str, &str); 11] = [
    ("`/stats`", "/stats"),
    ("`/variants?url=`, three", "/variants?url={url}"),
    (
        "`/variants?url=`, ten, of the rows that filled it",
        "/variants?url=https%3A%2F%2Fhost7.example.com%2Fpictures%2F4257.jpg",
    ),
    ("`/sources?sort=hits`, 100 of all", "/sources?sort=hits&limit=100"),
    ("`/sources?sort=hits`, 1,000 of all", "/sources?sort=hits&limit=1000"),
    ("`/sources?sort=hits`, 100 behind 50,000", "/sources?sort=hits&limit=100&cursor={deep}"),
    ("`/sources?sort=bytes`, 100 of all", "/sources?sort=bytes&limit=100"),
    ("`/sources?sort=recent`, 100 of all", "/sources?sort=recent&limit=100"),
    (
        "`/sources?prefix=`, 100 of a host's 2,000",
        "/sources?sort=hits&limit=100&prefix=https%3A%2F%2Fhost7.example.com%2F",
    ),
    ("`/sources?prefix=`, 100 of 22,000", "/sources?sort=hits&limit=100&prefix=https%3A%2F%2Fhost1"),
    ("`/sources?prefix=`, none", "/sources?sort=hits&limit=100&prefix=https%3A%2F%2Fnobody.example.com%2F"),
];

/// What the service times itself: a look-up on the way of a picture, and a transaction behind it.
const OPS: [&str; 2] = ["record", "write"];

/// What an answer may take with so many rows, by the median of each question.
const ANSWER: Duration = Duration::from_millis(100);
/// What a look-up on the way of a picture may take, 99 times in a hundred.
const QUERY: Duration = Duration::from_millis(30);
/// What a placeholder in memory may take, by the median.
const PLACEHOLDER: Duration = Duration::from_millis(1);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let origin = origin();
    let folder = std::env::temp_dir().join(format!("pixgate-bench-store-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary directory");
    let file = format!("sqlite:{}", folder.join("pixgate.db").display());
    let service = Service::start(&file);
    runtime.block_on(async {
        let pool = SqlitePool::connect(&file).await.expect("a file");
        pool.execute(AssertSqlSafe(fill::sqlite(SOURCES))).await.expect("filled");
        pool.execute(AssertSqlSafe(named("X'"))).await.expect("named");
        pool.close().await;
    });
    let (sqlite, sqlite_times) = (measured(&service, origin), own_times(&service));
    let placeholder = placeholders(&service, origin);
    drop(service);
    let _gone = std::fs::remove_dir_all(&folder);

    let server = postgres::PostgresServer::start();
    let service = Service::start(&server.url());
    runtime.block_on(async {
        let pool = PgPool::connect(&server.url()).await.expect("a server");
        pool.execute(AssertSqlSafe(fill::postgres(SOURCES))).await.expect("filled");
        pool.execute(AssertSqlSafe(named("'\\x"))).await.expect("named");
        // As the server does by itself a minute after.
        pool.execute("VACUUM ANALYZE").await.expect("analysed");
        pool.close().await;
    });
    let (postgres, postgres_times) = (measured(&service, origin), own_times(&service));

    println!("| {SOURCES} sources, {} variants | SQLite p50 | p99 | PostgreSQL p50 | p99 |", SOURCES * 10);
    println!("|---|---|---|---|---|");
    for ((name, _), (a, b)) in QUESTIONS.iter().zip(sqlite.iter().zip(&postgres)) {
        let [p, q, r, s] = [percentile(a, 50), percentile(a, 99), percentile(b, 50), percentile(b, 99)].map(shown);
        println!("| {name} | {p} | {q} | {r} | {s} |");
    }
    println!("\n| 99 in a hundred, as the service times it | SQLite | PostgreSQL |\n|---|---|---|");
    for (op, (a, b)) in OPS.iter().zip(sqlite_times.iter().zip(&postgres_times)) {
        println!("| {op} | under {} | under {} |", shown(*a), shown(*b));
    }
    println!("\n| a placeholder in memory, over one connection | p50 | p99 |\n|---|---|---|");
    let [p50, p99] = [50, 99].map(|percent| percentile(&placeholder, percent));
    println!("| `/placeholder?url=` | {} | {} |", shown(p50), shown(p99));
    for (name, times) in
        QUESTIONS.iter().map(|(name, _)| name).zip(&sqlite).chain(QUESTIONS.iter().map(|(name, _)| name).zip(&postgres))
    {
        assert!(percentile(times, 50) < ANSWER, "{name} takes {}", shown(percentile(times, 50)));
    }
    assert!(sqlite_times[0] <= QUERY && postgres_times[0] <= QUERY, "a look-up takes too long");
    assert!(p50 < PLACEHOLDER, "a placeholder takes {}", shown(p50));
}

/// Gives the source that is asked for by name, and its variants, the key that its URL has.
fn named(bytes: &str) -> String {
    let url = "https://host7.example.com/pictures/4257.jpg";
    let key: String = SourceKey::of_normalised(url).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let old = format!("(SELECT source_key FROM sources WHERE url = '{url}')");
    let change = |table: &str| format!("UPDATE {table} SET source_key = {bytes}{key}' WHERE source_key = {old};");
    [change("variants"), change("widths"), change("sources")].concat()
}

/// What the service says of its own questions and writes: the bound under which 99 in a hundred are, in the order of [`OPS`].
fn own_times(service: &Service) -> [Duration; 2] {
    let page = Client::to(service.admin).get("/metrics");
    OPS.map(|op| {
        let name = "pixgate_metadata_seconds_bucket{le=\"";
        let label = format!(",op=\"{op}\"}} ");
        let counts = page.lines().filter_map(|line| line.strip_prefix(name)?.split_once(label.as_str()));
        let counts: Vec<(f64, f64)> = counts
            .map(|(bound, count)| {
                let bound = bound.trim_end_matches('"').parse().unwrap_or(f64::INFINITY);
                (bound, count.parse().expect("a count"))
            })
            .collect();
        let all = counts.last().expect("it was asked").1;
        let (bound, _) = counts.iter().find(|(_, count)| *count >= all * 0.99).expect("a bucket");
        Duration::try_from_secs_f64(*bound).unwrap_or(Duration::MAX)
    })
}

/// New sources, one every 20 ms, with the same bytes: written down while questions are asked.
fn writes(service: &Service, origin: SocketAddr, ending: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let public = service.public;
    thread::spawn(move || {
        let mut client = Client::to(public);
        for n in 0.. {
            if ending.load(Ordering::Relaxed) {
                return;
            }
            client.get(&format!("/image?url=http%3A%2F%2F{origin}%2Fa.jpg%3F{n}&w=256&f=webp"));
            thread::sleep(Duration::from_millis(20));
        }
    })
}

/// The times of every question, while new sources are written.
fn measured(service: &Service, origin: SocketAddr) -> Vec<Vec<Duration>> {
    let url = format!("http%3A%2F%2F{origin}%2Fa.jpg");
    let mut public = Client::to(service.public);
    for width in [256, 384, 640] {
        public.get(&format!("/image?url={url}&w={width}&f=webp"));
    }
    let mut admin = Client::to(service.admin);
    // Written behind: the last width's row ends the wait.
    let began = Instant::now();
    while admin.get(&format!("/variants?url={url}")).matches("\"width\":640").count() == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "the store has no variants");
        thread::sleep(Duration::from_millis(50));
    }
    let filled = QUESTIONS.iter().find(|(name, _)| name.contains("filled")).expect("a question").1;
    assert_eq!(admin.get(filled).matches("\"key\"").count(), 10, "a source with ten variants");
    let mut deep = String::new();
    for _ in 0..50 {
        let cursor = if deep.is_empty() { String::new() } else { format!("&cursor={deep}") };
        let page = admin.get(&format!("/sources?sort=hits&limit=1000{cursor}"));
        deep =
            page.rsplit("\"cursor\":\"").next().and_then(|rest| rest.split('"').next()).expect("a cursor").to_owned();
    }
    let ending = Arc::new(AtomicBool::new(false));
    let writes = writes(service, origin, Arc::clone(&ending));
    let fill = |target: &str| target.replace("{url}", &url).replace("{deep}", &deep);
    let times = QUESTIONS.iter().map(|(_, target)| timed(&mut admin, &fill(target), ROUNDS)).collect();
    ending.store(true, Ordering::Relaxed);
    writes.join().expect("no failure");
    times
}

/// The times of a placeholder in memory.
fn placeholders(service: &Service, origin: SocketAddr) -> Vec<Duration> {
    let mut public = Client::to(service.public);
    timed(&mut public, &format!("/placeholder?url=http%3A%2F%2F{origin}%2Fa.jpg"), ROUNDS * 10)
}

fn timed(client: &mut Client, target: &str, rounds: usize) -> Vec<Duration> {
    let once = |_| {
        let began = Instant::now();
        client.get(target);
        began.elapsed()
    };
    // The first ones find cold caches.
    (0..rounds + 5).map(once).skip(5).collect()
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Serves the picture under every path.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let _read = stream.read(&mut head);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\nContent-Length:";
            let _gone = stream.write_all(&[format!("{head} {}\r\n\r\n", PICTURE.len()).as_bytes(), PICTURE].concat());
        }
    });
    address
}

/// One connection that is kept.
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        Self { reader: BufReader::new(stream) }
    }

    /// The body of an answer, which must be a good one.
    fn get(&mut self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes()).expect("sends");
        let (mut first, mut length) = (String::new(), 0);
        self.reader.read_line(&mut first).expect("answers");
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a head");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(first.starts_with("HTTP/1.1 200"), "{target}: {first}{}", &body[..body.len().min(500)]);
        body
    }
}

struct Service {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Service {
    /// Up, with its store.
    fn start(store: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pixgate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--domain", "127.0.0.1"])
            .args(["--set", "sources.allow_local_ip=true", "--log-level", "error"])
            .args(["--set", &format!("metadata.url={store}"), "--set", "metadata.flush_interval=200ms"])
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut told = |name: &str| {
            let mut found = lines.by_ref().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            found.next().expect("the service tells its address")
        };
        let service = Self { public: told("public http://"), admin: told("admin http://"), child };
        let began = Instant::now();
        while !Client::to(service.public).get("/readyz").contains(r#""metadata":"ok""#) {
            assert!(began.elapsed() < Duration::from_secs(30), "the store does not come up");
            thread::sleep(Duration::from_millis(10));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}
