//! Memory hits of the service against a bare actix handler that returns the same bytes, in one run.
//!
//! Both are processes of their own with the same number of workers; `wrk` loads them in turn, A B A B, and the medians of
//! requests a second are compared. The picture and its size are printed, because the ratio depends on them.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_types, reason = "the other side of the comparison is a bare actix handler")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;

const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 32;
/// Variants of the demo's pictures: small, medium, large.
const TARGETS: [&str; 3] = [
    "/image?url=/coffee.jpg&w=256&f=webp",
    "/image?url=/hubble.jpg&w=640&f=webp&q=90",
    "/image?url=/hubble.jpg&w=1080&f=jpeg&q=90",
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|a| a == "--bare") {
        return bare();
    }
    let service = Service::start();
    println!("| variant | bytes | pixgate req/s | bare actix req/s | ratio |");
    println!("|---|---|---|---|---|");
    for target in TARGETS {
        let body = get(service.public, target);
        let bare = Bare::start(&body);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(wrk(&format!("http://{}{target}", service.public)));
            theirs.push(wrk(&format!("http://{}/", bare.address)));
        }
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
        let (a, b, r) = (median(ours), median(theirs), median(ratios));
        println!("| `{target}` | {} | {a:.0} | {b:.0} | {r:.2} |", body.len());
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One load run; `wrk` prints `Requests/sec: N`, and a line about errors only when there were some.
fn wrk(url: &str) -> f64 {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), url])
        .output()
        .expect("wrk runs (Debian package wrk)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).unwrap_or_else(|| panic!("no rate in {text}"))
}

/// A plain GET over one connection; the body after the blank line.
fn get(address: SocketAddr, target: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connects");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").expect("sends");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("answers");
    assert!(response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&response));
    let head = response.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    response.split_off(head)
}

struct Service {
    child: Child,
    public: SocketAddr,
}

impl Service {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pixgate"))
            .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            // Its access log is written all the same.
            .stderr(Stdio::null())
            .spawn()
            .expect("the service starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let public = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("public http://")?.parse().ok());
        Self { child, public: public.expect("the service tells its address") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(body: &[u8]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .arg("--bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare handler starts");
        child.stdin.take().expect("piped").write_all(body).expect("takes the bytes");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("tells its address");
        Self { child, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The other side: one handler, static bytes from standard input, the two headers nobody can leave out.
fn bare() {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).expect("the bytes come");
    let body = Bytes::from(body);
    actix_web::rt::System::new()
        .block_on(async move {
            let server = HttpServer::new(move || {
                let body = body.clone();
                App::new().route(
                    "/",
                    web::get().to(move || {
                        let body = body.clone();
                        async move { HttpResponse::Ok().content_type("image/webp").body(body) }
                    }),
                )
            })
            .bind("127.0.0.1:0")?;
            println!("{}", server.addrs()[0]);
            server.run().await
        })
        .expect("serves");
}
