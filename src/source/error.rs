//! Why a source could not be had, and how a client library's error becomes one of these reasons.
//!
//! The law: a closed set, so that each reason has its status and its metric label; no URL and no origin's text in it.

use std::error::Error as StdError;
use std::io;

use super::Refusal;
use super::dial::Refused;
use crate::telemetry::Label;

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name look-up, TCP and TLS.
    Connect,
    /// The response's head.
    FirstByte,
    /// The next piece of the body.
    Idle,
    /// The whole source, redirects included.
    Total,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::FirstByte => "no answer",
            Self::Idle => "the body stood still",
            Self::Total => "all of it together",
        })
    }
}

/// Why there is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A redirect led to what the policy refuses.
    #[error("redirected to a refused URL: {0}")]
    Refused(Refusal),
    /// A redirect without a readable `Location`.
    #[error("a redirect without a target")]
    BadRedirect,
    /// The name has an address that is not public.
    #[error("the host has an address that is not public")]
    NotPublic,
    /// The name has no address.
    #[error("the host name does not resolve")]
    Dns,
    /// No connection.
    #[error("the origin cannot be connected to")]
    Connect,
    /// No trusted TLS session.
    #[error("no trusted TLS session with the origin")]
    Tls,
    /// An answer that is no picture: a client or server error, or a status with no meaning here.
    #[error("the origin answered with status {0}")]
    Status(u16),
    /// A body of no bytes.
    #[error("the origin sent an empty body")]
    Empty,
    /// More bytes than allowed, after content-decoding.
    #[error("the source is larger than {limit} bytes")]
    TooLarge {
        /// The most allowed, in bytes.
        limit: u64,
    },
    /// More redirects than allowed.
    #[error("too many redirects")]
    TooManyRedirects,
    /// A deadline passed.
    #[error("the origin took too long: {0}")]
    Timeout(Phase),
    /// The connection ended inside the response.
    #[error("the response was cut short")]
    Interrupted,
    /// The body cannot be decoded as its `Content-Encoding` says.
    #[error("the body's content encoding is unknown or broken")]
    Encoding,
    /// The HTTP client cannot be built, or failed in another way.
    #[error("HTTP client: {0}")]
    Client(String),
}

impl Error {
    /// The metric's label for this reason.
    pub(super) const fn label(&self) -> Label {
        Label(match self {
            Self::Refused(_) => "refused",
            Self::BadRedirect => "bad_redirect",
            Self::NotPublic => "not_public",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Status(_) => "status",
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyRedirects => "redirects",
            Self::Timeout(_) => "timeout",
            Self::Interrupted => "interrupted",
            Self::Encoding => "encoding",
            Self::Client(_) => "client",
        })
    }

    /// What went wrong before the response's head was there.
    pub(super) fn of_request(error: &reqwest::Error) -> Self {
        if let Some(refused) = find::<Refused>(error) {
            return match refused {
                Refused::NotPublic => Self::NotPublic,
                Refused::NoAddress => Self::Dns,
            };
        }
        match () {
            () if find::<rustls::Error>(error).is_some() => Self::Tls,
            () if error.is_timeout() && error.is_connect() => Self::Timeout(Phase::Connect),
            () if error.is_dns() => Self::Dns,
            () if error.is_connect() => Self::Connect,
            () if error.is_builder() => Self::Client(error.to_string()),
            // Closed or broken before the head was complete.
            () => Self::Interrupted,
        }
    }

    /// What went wrong inside the body.
    pub(super) fn of_body(error: &reqwest::Error) -> Self {
        let cut =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let broken = find::<io::Error>(error).filter(|error| !cut(error));
        if broken.is_some() && error.is_decode() { Self::Encoding } else { Self::Interrupted }
    }
}

/// The first error of type `T` in the chain. An `io::Error` hides what it wraps from `source()`, so it is looked into.
fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}
