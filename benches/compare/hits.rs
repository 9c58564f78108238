//! Hits: requests a second at 32 connections, and 304s, of Pixgate's memory, of Next.js's disk cache and of a bare actix
//! handler with the same bytes; and how hits fare while pictures are being rendered.
//!
//! The load is `wrk` with one thread, the same for all, in turn, A B A B.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{self, Request};
use super::peers::{Format, Kind, Peer};
use super::pictures::{Class, Source};
use super::report::shown;
use super::score::refined;
use super::{Bench, bare, median};

const CONNECTIONS: u32 = 32;
/// Pictures under way behind the hits.
const RENDERS: usize = 8;
/// Longer than one of them takes anywhere, or a server that answers nothing meanwhile would look dead.
const BUSY_SECONDS: u32 = 6;

/// Requests a second, and the 99th percentile in milliseconds.
#[derive(Clone, Copy)]
struct Load {
    rate: f64,
    p99: f64,
}

pub(crate) fn run(bench: &mut Bench) {
    bench.report.heading(&format!("Hits, {CONNECTIONS} connections"));
    if Command::new("wrk").arg("-v").output().is_err() {
        bench.report.line("Not measured: wrk is not installed (`apt-get install wrk`).");
        return;
    }
    let peers = bench.start(&[Kind::Pixgate, Kind::Next]);
    let source = bench.class(Class::Photo).swap_remove(0);
    rates(bench, &peers, &source);
    disturbed(bench, &peers, &source);
}

fn rates(bench: &mut Bench, peers: &[Peer], source: &Source) {
    bench.report.table(&["answer", "bytes", "server", "requests/s", "p99 ms", "pixgate ÷"]);
    let mut kinds = vec![(256, Format::Webp), (640, Format::Webp), (1080, Format::Avif)];
    if bench.quick {
        kinds.truncate(2);
    }
    for (width, format) in kinds {
        let cold = bench.origin.fresh(source);
        let mut servers: Vec<(&str, SocketAddr, Request, String)> = Vec::new();
        let mut length = 0;
        let mut floor = None;
        for peer in peers {
            let request = peer.request(&cold, width, 75, format);
            let Some(answer) = settled_hit(peer, &request) else { continue };
            let tag = answer.header("etag").unwrap_or_default().to_owned();
            if peer.kind == Kind::Pixgate {
                length = answer.body.len();
                let server = bare::start(&answer.body);
                let root = Request { target: "/".to_owned(), headers: String::new() };
                servers.push((peer.kind.name(), peer.address(), request, tag));
                servers.push(("bare actix", server.address, root, bare::TAG.to_owned()));
                floor = Some(server);
            } else {
                servers.push((peer.kind.name(), peer.address(), request, tag));
            }
        }
        for conditional in [false, true] {
            let mut loads = vec![Vec::new(); servers.len()];
            for _ in 0..bench.rounds {
                for ((_, address, request, tag), loads) in servers.iter().zip(&mut loads) {
                    let mut request = request.clone();
                    if conditional {
                        request.headers.push_str(&format!("If-None-Match: {tag}\r\n"));
                    }
                    loads.extend(wrk(*address, &request, seconds(bench)));
                }
            }
            let answer = if conditional { "304".to_owned() } else { format!("{width} px {}", format.name()) };
            let ours = loads.first().cloned().unwrap_or_default();
            for ((name, ..), loads) in servers.iter().zip(&loads) {
                let ratio = median(ours.iter().zip(loads).map(|(a, b)| a.rate / b.rate).collect());
                let rate = median(loads.iter().map(|load| load.rate).collect());
                let p99 = median(loads.iter().map(|load| load.p99).collect());
                let bytes = if conditional { "0".to_owned() } else { length.to_string() };
                bench.report.row(&[answer.clone(), bytes, (*name).to_owned(), shown(rate), shown(p99), shown(ratio)]);
            }
        }
        drop(floor);
    }
    if let Some(why) = Kind::Next.missing() {
        bench.report.without(Kind::Next.name(), &format!("not installed: {why}"), 6);
    }
}

/// A hit that stays as it is: ours gets a smaller body and another tag when it is refined.
fn settled_hit(peer: &Peer, request: &Request) -> Option<client::Answer> {
    let answer = hit(peer, request)?;
    if peer.kind == Kind::Pixgate { refined(peer, request) } else { Some(answer) }
}

/// Renders it, and asks again until it comes from the cache.
fn hit(peer: &Peer, request: &Request) -> Option<client::Answer> {
    let _miss = client::get(peer.address(), request).ok()?;
    for _ in 0..20 {
        let answer = client::get(peer.address(), request).ok().filter(|answer| answer.ok)?;
        let status = answer.header("cache-status").or(answer.header("x-nextjs-cache")).unwrap_or_default();
        if status.to_ascii_lowercase().contains("hit") {
            return Some(answer);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    None
}

/// The 99th percentile of hits when nothing else happens, and while pictures of 1920 pixels are rendered as AVIF.
fn disturbed(bench: &mut Bench, peers: &[Peer], source: &Source) {
    bench.report.line("");
    bench.report.line(&format!(
        "Hits (256 px WebP) while {RENDERS} cold renders of the 12 MP photograph at 1920 px in AVIF are under way all the time, for \
         {BUSY_SECONDS} s; a dash is no answer in all of them:"
    ));
    bench.report.line("");
    bench.report.table(&[
        "server",
        "p99 ms, quiet",
        "p99 ms, rendering",
        "×",
        "requests/s, quiet",
        "requests/s, rendering",
        "renders/s",
    ]);
    let page = bench.class(Class::Page).swap_remove(0);
    for peer in peers {
        let request = peer.request(&bench.origin.fresh(source), 256, 75, Format::Webp);
        if settled_hit(peer, &request).is_none() {
            bench.report.without(peer.kind.name(), "no hit", 7);
            continue;
        }
        let (mut quiet, mut busy, mut renders) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            quiet.extend(wrk(peer.address(), &request, seconds(bench)));
            let (load, rate) = while_rendering(bench, peer, &page, &request);
            busy.extend(load);
            renders.push(rate);
        }
        let p99 = |loads: &[Load]| median(loads.iter().map(|load| load.p99).collect());
        let rate = |loads: &[Load]| median(loads.iter().map(|load| load.rate).collect());
        let times = median(quiet.iter().zip(&busy).map(|(q, b)| b.p99 / q.p99).collect());
        let mut cells = vec![peer.kind.name().to_owned()];
        cells.extend([p99(&quiet), p99(&busy), times, rate(&quiet), rate(&busy), median(renders)].map(shown));
        bench.report.row(&cells);
    }
}

fn while_rendering(bench: &Bench, peer: &Peer, page: &Source, request: &Request) -> (Option<Load>, f64) {
    let over = AtomicBool::new(false);
    let render = || {
        let mut rendered = 0.0;
        while !over.load(Ordering::Relaxed) {
            let cold = peer.request(&bench.origin.fresh(page), 1920, 75, Format::Avif);
            if client::get(peer.address(), &cold).is_ok_and(|answer| answer.ok) && !over.load(Ordering::Relaxed) {
                rendered += 1.0;
            }
        }
        rendered
    };
    std::thread::scope(|scope| {
        let renders: Vec<_> = (0..RENDERS).map(|_| scope.spawn(render)).collect();
        // The first renders are under way.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let load = wrk(peer.address(), request, BUSY_SECONDS);
        over.store(true, Ordering::Relaxed);
        let rendered: f64 = renders.into_iter().map(|thread| thread.join().expect("no thread panics")).sum();
        (load, rendered / (f64::from(BUSY_SECONDS) + 0.3))
    })
}

fn seconds(bench: &Bench) -> u32 {
    if bench.quick { 2 } else { 3 }
}

/// One load run; none when anything but hits or 304s came back.
fn wrk(address: SocketAddr, request: &Request, seconds: u32) -> Option<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")]);
    for header in request.headers.lines() {
        command.args(["-H", header]);
    }
    let output = command.arg(format!("http://{address}{}", request.target)).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    if text.contains("Non-2xx") {
        return None;
    }
    let rate: f64 = field("Requests/sec:")?.parse().ok()?;
    // Without a single answer there is no percentile, though `wrk` prints 0.
    let p99 = if rate > 0.0 { in_ms(field("99%")?)? } else { f64::NAN };
    Some(Load { rate, p99 })
}

/// A time as `wrk` writes it: `870.00us`, `1.25ms`, `1.02s`.
fn in_ms(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic())?);
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}
