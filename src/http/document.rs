//! The document that a request brings: bounded bytes, bounded time.
//!
//! Invariant: **a client that stops sending loses its request**, so that no half-sent document is kept.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;

use super::error::Problem;

/// A client has this long to send a document, which is small.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was sent, or why it could not be had.
pub(super) struct Document(pub(super) Result<Bytes, Problem>);

impl FromRequest for Document {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let body = timeout(PATIENCE, body).await.map_err(|_| Problem::document_late(PATIENCE));
            Ok(Self(body.and_then(|body| body.map_err(|error| Problem::of_body(&error)))))
        })
    }
}
