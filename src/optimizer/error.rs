//! Everything that can keep a request from its image: the sum of the rooms' errors.
//!
//! Nothing here knows a status code; `http/error.rs` holds that table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::flight;
use crate::imaging::{self, schedule};
use crate::source;

/// Why there is no image. Shared among all who waited for it, hence behind `Arc` in results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source could not be had.
    #[error(transparent)]
    Source(#[from] source::Failed),
    /// The source was had and cannot be drawn.
    #[error(transparent)]
    Imaging(#[from] imaging::Error),
    /// Too much work is waiting already.
    #[error("too much work is waiting already")]
    Overloaded {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// Everybody who waited had left before it began. Whoever has come since begins anew.
    #[error("nobody waited for it any more")]
    Abandoned,
    /// The render ran past its deadline.
    #[error("the render took longer than its deadline")]
    Deadline,
    /// A defect of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Closed set of kinds, for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Imaging(imaging::Error::Deadline) | Self::Deadline => "deadline",
            Self::Imaging(_) => "undecodable",
            Self::Overloaded { .. } => "overloaded",
            Self::Abandoned => "abandoned",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether asking again at once would give the same answer, so that it may be remembered for a while.
    pub(super) const fn is_lasting(&self) -> bool {
        match self {
            Self::Source(failed) => match &failed.error {
                // What a name resolves to changes.
                source::Error::NotPublic => false,
                source::Error::TooLarge { .. }
                | source::Error::TooManyRedirects
                | source::Error::BadRedirect
                | source::Error::Encoding
                | source::Error::Empty => true,
                error => error.is_refusal(),
            },
            // These say how this machine fared, or what may not be done with the bytes, nothing about the bytes.
            Self::Imaging(error) => {
                !error.is_of_output()
                    && !matches!(
                        error,
                        imaging::Error::Deadline | imaging::Error::Decoder(_) | imaging::Error::NotDecoded { .. }
                    )
            }
            Self::Overloaded { .. } | Self::Abandoned | Self::Deadline | Self::Internal(_) => false,
        }
    }

    /// Whether another variant of the same bytes could well be made: sizes and formats that an encoder does not take, and
    /// drawings too costly at this size.
    pub(super) const fn is_of_variant(&self) -> bool {
        matches!(self, Self::Imaging(error) if error.is_of_output())
    }

    /// Whether the origin says no: then an old copy must not stand in for the source.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Source(failed) if failed.error.is_refusal())
    }

    /// Whether an old copy may stand in for the source: the origin or the way to it fails, sends what is no image, or this
    /// machine has too much to do (RFC 5861 §4).
    pub(super) const fn is_outage(&self) -> bool {
        match self {
            Self::Source(failed) => failed.error.is_outage(),
            Self::Imaging(_) | Self::Overloaded { .. } | Self::Abandoned | Self::Deadline | Self::Internal(_) => true,
        }
    }

    /// When it makes sense to ask again, from `now`, where that is known.
    pub fn retry_after(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } => Some(*retry_after),
            Self::Abandoned => Some(Duration::from_secs(1)),
            Self::Source(failed) if failed.error.is_outage() => {
                failed.retry_at.map(|at| at.saturating_duration_since(now))
            }
            _ => None,
        }
    }
}

/// Whether work that others had begun was given up because they left, so that who is still here begins it anew.
pub(super) fn is_anew<T>(result: &Result<T, Arc<Error>>, deserted: bool) -> bool {
    !deserted && result.as_ref().is_err_and(|error| matches!(**error, Error::Abandoned))
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        Self::Source(error.into())
    }
}

impl From<flight::Lost> for Error {
    fn from(lost: flight::Lost) -> Self {
        Self::Internal(lost.to_string())
    }
}

impl Error {
    pub(super) fn from_schedule(error: schedule::Error, retry_after: Duration) -> Self {
        match error {
            schedule::Error::Overloaded => Self::Overloaded { retry_after },
            schedule::Error::Deadline => Self::Deadline,
            schedule::Error::Abandoned => Self::Abandoned,
            schedule::Error::Panicked => Self::Internal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImageFormat;

    #[test]
    fn what_says_nothing_about_the_source_is_not_remembered_of_it() {
        let malformed = imaging::Error::Malformed { format: ImageFormat::Png, detail: String::new() };
        assert!(Error::from(malformed).is_lasting());
        for status in [400, 401, 402, 403, 404, 405, 410, 451] {
            let error = Error::from(source::Error::Status(status));
            assert!(error.is_lasting() && error.is_refusal(), "{status}");
        }
        for status in [407, 408, 421, 425, 429, 500, 502, 503, 504, 520] {
            let error = Error::from(source::Error::Status(status));
            assert!(!error.is_lasting() && !error.is_refusal(), "{status}");
        }
        for passing in [
            Error::from(imaging::Error::Deadline),
            Error::from(imaging::Error::Decoder(String::new())),
            Error::from(source::Error::Status(429)),
            Error::from(source::Error::Status(503)),
            Error::from(source::Error::Connect),
            Error::Deadline,
            Error::Overloaded { retry_after: Duration::from_secs(1) },
            Error::Internal(String::new()),
        ] {
            assert!(!passing.is_lasting(), "{passing}");
        }
    }
}
