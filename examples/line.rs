//! A line between a browser and an ingress, below TLS, as narrow and as long as told: `make bench-next` measures on it.
//!
//! `cargo run --release --example line -- ADDRESS` forwards connections to `ADDRESS` and prints the port where it listens.
//! Lines of standard input change it: `shape MS MBIT/S` for a round trip and what the server may send in a second, `free`
//! for neither; each is answered by how many connections were opened since the last one. It ends with its input.
//!
//! All connections share the line, so what a server sends first arrives first, a new connection costs its round trips, and
//! nothing of it is the browser's doing, whose own throttle knows neither. It is written here and not in the bench's language
//! because that cannot set [`WINDOW`].
#![expect(clippy::print_stdout, reason = "a tool that answers there")]

use std::cell::Cell;
use std::error::Error;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep_until;

/// Two packets, in bytes: what a connection may have on the line before another one's turn.
const CHUNK: usize = 2920;
/// Bytes of a connection that may wait before the line, for which the ingress cannot change its mind any more. With its send
/// buffer, which is as large, and the record of TLS that it is about to write these are 48 kB: about what a connection has
/// between nginx and a slow line when a page begins, where Linux keeps twice the congestion window, 10 packets at first, in
/// full packets' memory; the default on the loopback is 180 kB.
const WINDOW: u32 = 16 << 10;
/// How long before a chunk has left the next one is taken, so that the clock's grain does not make the line narrower.
const EARLY: Duration = Duration::from_millis(2);

/// What the line is like.
#[derive(Clone, Copy)]
struct Shape {
    round_trip: Duration,
    /// What one byte takes from the server.
    per_byte: Duration,
}

const FREE: Shape = Shape { round_trip: Duration::ZERO, per_byte: Duration::ZERO };

struct Line {
    to: SocketAddr,
    shape: Cell<Shape>,
    /// When all that is on the line has left it.
    free: Cell<Instant>,
    connections: Cell<u64>,
}

/// Bytes and when they arrive.
type Parcel = (Instant, Vec<u8>);

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args().nth(1).ok_or("usage: line ADDRESS")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(to))
}

async fn serve(to: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let line = Rc::new(Line { to, shape: Cell::new(FREE), free: Cell::new(Instant::now()), connections: Cell::new(0) });
    let (said, mut orders) = unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|order| said.send(order))
    });
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                line.connections.set(line.connections.get() + 1);
                tokio::task::spawn_local(connection(Rc::clone(&line), accepted?.0));
            }
            order = orders.recv() => {
                let Some(order) = order else { return Ok(()) };
                line.shape.set(shape(&order).ok_or_else(|| format!("neither a shape nor `free`: {order}"))?);
                println!("{}", line.connections.take());
            }
        }
    }
}

fn shape(order: &str) -> Option<Shape> {
    let words: Vec<&str> = order.split(' ').collect();
    match words[..] {
        ["free"] => Some(FREE),
        ["shape", round_trip, megabits] => {
            let [round_trip, megabits] = [round_trip, megabits].map(|word| word.parse::<f64>().ok());
            Some(Shape {
                round_trip: Duration::try_from_secs_f64(round_trip? / 1e3).ok()?,
                per_byte: Duration::try_from_secs_f64(8.0 / (megabits? * 1e6)).ok()?,
            })
        }
        _ => None,
    }
}

/// Forwards until both sides have ended, or one fails: then the other sees the end too.
async fn connection(line: Rc<Line>, client: TcpStream) -> std::io::Result<()> {
    // The handshake below us took no time: what it would have taken is waited for before the first byte.
    let ready = Instant::now() + line.shape.get().round_trip;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(WINDOW)?;
    let server = socket.connect(line.to).await?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(up(&line, ready, from_client, to_server), down(&line, from_server, to_client))?;
    Ok(())
}

async fn up(line: &Line, ready: Instant, mut from: OwnedReadHalf, to: OwnedWriteHalf) -> std::io::Result<()> {
    let (parcels, arrivals) = unbounded_channel();
    let send = async move {
        let mut buffer = [0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await?;
            let _ =
                parcels.send((Instant::now().max(ready) + line.shape.get().round_trip / 2, buffer[..read].to_vec()));
            if read == 0 {
                return Ok(());
            }
        }
    };
    tokio::try_join!(send, deliver(arrivals, to)).map(|_| ())
}

async fn down(line: &Line, mut from: OwnedReadHalf, to: OwnedWriteHalf) -> std::io::Result<()> {
    let (parcels, arrivals) = unbounded_channel();
    let send = async move {
        let mut buffer = [0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await?;
            let shape = line.shape.get();
            let left = line.free.get().max(Instant::now()) + shape.per_byte.mul_f64(read as f64);
            line.free.set(left);
            let _ = parcels.send((left + shape.round_trip / 2, buffer[..read].to_vec()));
            if read == 0 {
                return Ok(());
            }
            sleep_until((left - EARLY).into()).await;
        }
    };
    tokio::try_join!(send, deliver(arrivals, to)).map(|_| ())
}

/// Hands over each parcel at its time; an empty one is the end.
async fn deliver(mut arrivals: UnboundedReceiver<Parcel>, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    while let Some((time, bytes)) = arrivals.recv().await {
        sleep_until(time.into()).await;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&bytes).await?;
    }
    Ok(())
}
