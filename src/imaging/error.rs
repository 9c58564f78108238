//! Why an image could not be made; `http/error.rs` says what a client is told of it.
//!
//! Details are for the log: they may quote a decoder, never a file.

use crate::format::ImageFormat;

/// What a limit of memory is called in errors, with the setting that it is a share of.
pub(super) const OUTPUT_MEMORY: &str = "bytes of memory (limits.decode_memory)";

/// Why an image could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No image format Pixgate reads.
    #[error("the bytes are no image of a known format")]
    Unrecognised,
    /// SVG, and it is not allowed.
    #[error("SVG is not allowed (images.allow_svg)")]
    SvgRefused,
    /// A format that is passed on as it is where that is allowed, and never decoded.
    #[error("{format} is not decoded")]
    NotDecoded {
        /// What the bytes are.
        format: ImageFormat,
    },
    /// The format's rules are broken.
    #[error("malformed {format}: {detail}")]
    Malformed {
        /// What the bytes claim to be.
        format: ImageFormat,
        /// For the log.
        detail: String,
    },
    /// Well-formed as far as known, but of a kind that is not read.
    #[error("unsupported {format}: {detail}")]
    Unsupported {
        /// What the bytes claim to be.
        format: ImageFormat,
        /// For the log.
        detail: String,
    },
    /// A limit of [`Limits`](super::Limits) is exceeded.
    #[error("{what} {value} is over the limit of {limit}")]
    LimitExceeded {
        /// Which limit.
        what: &'static str,
        /// What the source has.
        value: u64,
        /// What it may have.
        limit: u64,
    },
    /// The output would exceed what its format stores, or what it may cost.
    #[error("{what} {value} of this output is over the limit of {limit}")]
    OutputTooLarge {
        /// Which limit.
        what: &'static str,
        /// What the output would have.
        value: u64,
        /// What it may have.
        limit: u64,
    },
    /// An encoder failed on our own pixels.
    #[error("encoding failed: {0}")]
    Encode(String),
    /// The time for this job ran out.
    #[error("the deadline has passed")]
    Deadline,
    /// The process that decodes could not be started or waited for.
    #[error("the decoder cannot be run: {0}")]
    Decoder(String),
    /// A decoder or encoder panicked; caught at the worker's edge.
    #[error("a codec panicked")]
    Panicked,
}

impl Error {
    /// Whether it says something about this output only, and not about its source.
    pub(crate) const fn is_of_output(&self) -> bool {
        matches!(self, Self::Encode(_) | Self::OutputTooLarge { .. })
    }
}
