//! A small HTTP/1.1 client over a bare socket: it sends the target and headers byte for byte as given (no URL
//! normalising, no decompression, no redirects), one request per connection, and reads until the server closes.
//! Law: what the service sends is kept as sent, so that a test can see a body after HEAD or a wrong length.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pictures::{Look, look};

/// Longer than any deadline the service has in these suites: reaching it means the service hung.
const HUNG: Duration = Duration::from_secs(90);

/// One answer, as it came off the wire (chunked framing removed).
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// Connecting, writing or reading failed; a server that closes before a full head is `UnexpectedEof`.
pub(crate) async fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut raw = Vec::new();
        if let Err(error) = stream.read_to_end(&mut raw).await
            && raw.is_empty()
        {
            return Err(error);
        }
        Ok(raw)
    };
    let raw = tokio::time::timeout(HUNG, exchange)
        .await
        .unwrap_or_else(|_| panic!("no answer within {HUNG:?} to {method} {target}"))?;
    parse(method, &raw).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}

fn parse(method: &str, raw: &[u8]) -> Option<Response> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: raw[end + 4..].to_vec() };
    if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        response.body = unchunk(&response.body)?;
    } else if method != "HEAD"
        && status != 304
        && let Some(length) = response.header("content-length")
    {
        assert_eq!(length.parse().ok(), Some(response.body.len()), "Content-Length must be exact");
    }
    Some(response)
}

fn unchunk(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = raw.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&raw[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(raw.get(line + 2..line + 2 + size)?);
        raw = raw.get(line + 4 + size..)?;
    }
}

impl Response {
    /// The header's only value; two lines of one name are a failure of the service.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(have, _)| have == name).map(|(_, v)| v.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "{name} came twice: {:?}", self.headers);
        first
    }

    /// The header's value, or a failure that shows the whole head.
    pub(crate) fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {}: {:?}", self.status, self.headers))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The picture in a 200, after checking that `Content-Type` says what the bytes are.
    pub(crate) fn look(&self) -> Look {
        assert_eq!(self.status, 200, "{}", self.text());
        let seen = look(&self.body);
        assert_eq!(self.must("content-type"), seen.mime, "Content-Type must be the type of the bytes");
        seen
    }

    /// Checks a complete RFC 9457 problem that no cache may keep, and returns its `detail`.
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{code} expected: {}", self.text());
        assert_eq!(self.must("content-type"), "application/problem+json");
        assert_eq!(self.must("cache-control"), "no-store");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        let described = include_str!("../../../src/http/openapi.json").contains(&format!("\"{code}\""));
        assert!(described, "{code} is not in openapi.json");
        assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()), "{problem}");
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        assert!(!detail.is_empty(), "{problem}");
        detail
    }

    /// Checks the plain-text error of the Next.js path: status, text, and that no cache may keep it.
    pub(crate) fn plain(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text().as_str()), (status, text));
        assert_eq!(self.must("content-type"), "text/plain; charset=utf-8");
        assert_eq!(self.must("cache-control"), "no-store");
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, as `encodeURIComponent` nearly does.
pub(crate) fn enc(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
