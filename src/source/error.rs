//! Why a source could not be had, and how a client library's error becomes one of these reasons.
//!
//! Invariant: a closed set, so that each reason has its status and its metric label; no URL and no origin's text in it.

use std::error::Error as StdError;
use std::io;
use std::time::Instant;

use super::Refusal;
use super::dial::Refused;
use crate::telemetry::{Label, Loggable};

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

impl Phase {
    const fn what(self) -> &'static str {
        match self {
            Self::Connect => "to accept a connection",
            Self::FirstByte => "to begin its answer",
            Self::Idle => "to go on with its answer",
            Self::Total => "for the whole of its answer",
        }
    }
}

/// A source that could not be had, and what else is known of that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}", self.elsewhere())]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Where redirects had led by then, as the log may have it; absent where there were none.
    pub redirected_to: Option<Loggable>,
    /// When the origin wants to be asked again at the earliest.
    pub retry_at: Option<Instant>,
}

impl Failed {
    fn elsewhere(&self) -> String {
        self.redirected_to.as_ref().map(|url| format!(" (after a redirect to {url})")).unwrap_or_default()
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, redirected_to: None, retry_at: None }
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
    /// An answer that is no image: a client or server error, or a status with no meaning here.
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
    #[error("the origin took too long {}", .0.what())]
    Timeout(Phase),
    /// The connection ended inside the response.
    #[error("the response was cut short")]
    Interrupted,
    /// The body cannot be decoded as its `Content-Encoding` says.
    #[error("the body is not what its Content-Encoding says, or in a coding that was not asked for")]
    Encoding,
    /// No room for its bytes: too many others are under way.
    #[error("too many downloads are under way")]
    Busy,
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
            Self::Busy => "busy",
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
            // Its own words have the whole URL in them, with what may be secret there.
            () if error.is_builder() => Self::Client("the URL cannot be sent".to_owned()),
            // Closed or broken before the head was complete.
            () => Self::Interrupted,
        }
    }

    /// Whether the connection ended before a whole head was there: by an origin that gave it up while it was not used.
    pub(super) fn is_reset(&self) -> bool {
        *self == Self::Interrupted
    }

    /// Whether the origin says no, or leads to where this service may not go. An answer, not an outage: what it gave before
    /// must not stand in for it.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) | Self::NotPublic => true,
            Self::Status(status) => *status >= 400 && *status < 500 && !self.is_outage(),
            _ => false,
        }
    }

    /// Whether it may pass by itself (RFC 5861 §4): the origin or the way to it fails, or has too much to do.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::Timeout(_) | Self::Interrupted | Self::Client(_) => true,
            // 407 and 421 speak of what is between; 408, 425 and 429 ask for another time.
            Self::Status(status) => matches!(status, 407 | 408 | 421 | 425 | 429) || *status >= 500,
            _ => false,
        }
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
