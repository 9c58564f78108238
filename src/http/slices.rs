//! A body handed to the connection in slices of the one buffer that all who ask for it share.
//!
//! Invariant: **a reader that does not read holds one slice**, or one short image, and no copy of the whole: the server copies
//! what it is given into the connection's buffer, and asks for more only when that has room.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

/// Bytes in a slice: what the server lets a connection's buffer grow to, and as much again.
const SLICE: usize = 32 * 1024;

/// Bodies up to here are one piece, which saves a call of the system for most images.
pub(super) const WHOLE: usize = 64 * 1024;

struct Slices(Bytes);

/// `bytes` as a body; what is short as it is.
pub(super) fn body(bytes: &Bytes) -> BoxBody {
    let bytes = bytes.clone();
    if bytes.len() > WHOLE { BoxBody::new(Slices(bytes)) } else { BoxBody::new(bytes) }
}

impl MessageBody for Slices {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let next = self.0.len().min(SLICE);
        Poll::Ready((next > 0).then(|| Ok(self.0.split_to(next))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slices_are_the_whole_and_share_its_memory() {
        for length in [0, 1, SLICE, SLICE + 1, 5 * SLICE + 7] {
            let bytes: Bytes = (0..length).map(|at| at as u8).collect::<Vec<u8>>().into();
            let mut body = body(&bytes);
            assert!(matches!(body.size(), BodySize::Sized(size) if size == length as u64) || length == 0);
            let mut at = 0;
            while let Some(Ok(slice)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
                assert!(slice.len() <= if length > WHOLE { SLICE } else { WHOLE });
                assert_eq!(slice.as_ptr(), bytes[at..].as_ptr(), "no copy");
                at += slice.len();
            }
            assert_eq!(at, length);
        }
    }
}
