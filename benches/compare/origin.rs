//! The origin of all peers: any number of URLs for each picture, `/{n}/{name}`, counted.
//!
//! Each URL's bytes end in its own path, so that no peer can take two of them for one picture, by URL or by content;
//! decoders stop at a picture's end and never see it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::pictures::Source;

type Pictures = HashMap<String, Arc<Vec<u8>>>;

pub(crate) struct Origin {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    next: AtomicUsize,
}

/// A picture under a URL that nobody has asked for.
pub(crate) struct Cold {
    pub(crate) url: String,
    /// The URL's path without its first slash.
    pub(crate) path: String,
}

impl Origin {
    pub(crate) fn start(sources: &[Source]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let pictures: Pictures = sources.iter().map(|s| (s.name.clone(), Arc::clone(&s.bytes))).collect();
        let (pictures, served) = (Arc::new(pictures), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (pictures, count) = (Arc::clone(&pictures), Arc::clone(&count));
                thread::spawn(move || serve(stream, &pictures, &count));
            }
        });
        Self { address, served, next: AtomicUsize::new(1) }
    }

    pub(crate) fn fresh(&self, source: &Source) -> Cold {
        let path = format!("{}/{}", self.next.fetch_add(1, Ordering::Relaxed), source.name);
        Cold { url: format!("http://{}/{path}", self.address), path }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Downloads so far.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, pictures: &Pictures, served: &AtomicUsize) {
    let Ok(mut reader) = stream.try_clone().map(BufReader::new) else { return };
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
        let Some(picture) = path.rsplit('/').next().and_then(|name| pictures.get(name)) else {
            let _gone = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return;
        };
        served.fetch_add(1, Ordering::Relaxed);
        let kind = match path.rsplit('.').next() {
            Some("png") => "png",
            Some("webp") => "webp",
            _ => "jpeg",
        };
        let length = picture.len() + path.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: image/{kind}\r\nCache-Control: max-age=3600\r\nContent-Length: {length}\r\n\r\n"
        );
        if stream.write_all(&[head.as_bytes(), picture, path.as_bytes()].concat()).is_err() {
            return;
        }
    }
}
