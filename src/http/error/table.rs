//! The one table from what went wrong to status, code, public text and what Next.js says instead.
//!
//! Invariant: nothing below `http` knows a status, and no text here tells what an origin or the network behind it is like.

use std::borrow::Cow;

use actix_web::http::StatusCode;

use super::{
    NEXT_INTERNAL, NEXT_NOT_ALLOWED, NEXT_NOT_AN_IMAGE, NEXT_TYPE, NOT_ALLOWED, REDIRECT_NOT_ALLOWED, setting_of,
};
use crate::format::ImageFormat;
use crate::{imaging, optimizer, source};

/// What the Next.js dialect says where it differs.
pub(super) enum Next {
    /// Its own status and text.
    Text(StatusCode, &'static str),
    /// `… response is invalid`, with this status.
    Response(StatusCode),
    /// `… response timed out`, with the common status.
    TimedOut,
    /// Nothing: Next.js has no such error, and ours is said as it is.
    Same,
}

pub(super) struct Row {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: Cow<'static, str>,
    pub(super) next: Next,
    /// The key that would make it another answer.
    pub(super) setting: Option<&'static str>,
}

impl Row {
    fn set_by(self, setting: Option<&'static str>) -> Self {
        Self { setting, ..self }
    }
}

const fn row(status: StatusCode, code: &'static str, detail: &'static str, next: Next) -> Row {
    Row { status, code, detail: Cow::Borrowed(detail), next, setting: None }
}

pub(super) fn row_of(error: &optimizer::Error) -> Row {
    match error {
        optimizer::Error::Source(failed) => source_row(failed),
        optimizer::Error::Imaging(error) => imaging_row(error),
        optimizer::Error::Overloaded { .. } | optimizer::Error::Abandoned => row(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too much work is waiting already; try again later",
            Next::Same,
        ),
        optimizer::Error::Deadline => deadline(),
        optimizer::Error::Internal(_) => internal(),
    }
}

const fn deadline() -> Row {
    row(StatusCode::GATEWAY_TIMEOUT, "deadline", "the image was not ready in time", Next::Same)
}

const fn internal() -> Row {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    row(status, "internal", "the image could not be made", Next::Text(status, NEXT_INTERNAL))
}

fn source_row(failed: &source::Failed) -> Row {
    use source::Error as E;
    let gateway = StatusCode::BAD_GATEWAY;
    let bad = StatusCode::BAD_REQUEST;
    match &failed.error {
        error @ (E::Refused(_) | E::NotPublic) => {
            // That a redirect was the cause is told to all; where it led, to nobody.
            let redirected = matches!(error, E::Refused(_)) || failed.redirected_to.is_some();
            let detail = if redirected { REDIRECT_NOT_ALLOWED } else { NOT_ALLOWED };
            let setting = match error {
                E::Refused(source::Refusal::NotAllowed(why)) => setting_of(why),
                E::Refused(_) => None,
                _ => setting_of("not a public address"),
            };
            row(StatusCode::FORBIDDEN, "source_not_allowed", detail, Next::Text(bad, NEXT_NOT_ALLOWED)).set_by(setting)
        }
        // One code and text for three failures: which of them it was says something about the network behind.
        // The optimizer calls it overload.
        E::Dns | E::Connect | E::Tls | E::Busy | E::Client(_) => {
            row(gateway, "origin_unreachable", "the origin could not be reached", Next::Response(gateway))
        }
        E::Status(status) => status_row(*status),
        E::BadRedirect => row(
            gateway,
            "origin_redirect",
            "the origin redirects to nowhere",
            Next::Response(StatusCode::INTERNAL_SERVER_ERROR),
        ),
        E::TooManyRedirects => {
            let status = StatusCode::LOOP_DETECTED;
            row(status, "origin_redirects", "the origin redirects too often", Next::Response(status))
        }
        E::Empty => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            row(status, "origin_empty", "the origin sent an empty body", Next::Response(bad))
        }
        E::TooLarge { limit } => Row {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "source_too_large",
            detail: format!("the source is larger than {limit} bytes (sources.max_bytes)").into(),
            next: Next::Response(StatusCode::PAYLOAD_TOO_LARGE),
            setting: Some("sources.max_bytes"),
        },
        E::Timeout(_) => {
            row(StatusCode::GATEWAY_TIMEOUT, "origin_timeout", "the origin did not answer in time", Next::TimedOut)
        }
        E::Interrupted => {
            row(gateway, "origin_interrupted", "the origin broke off its answer", Next::Response(gateway))
        }
        E::Encoding => {
            row(gateway, "origin_encoding", "the origin's content encoding cannot be undone", Next::Response(bad))
        }
    }
}

/// The origin's own 4xx is passed on, unless it is about the connection between it and us (401 needs a challenge, browsers
/// repeat what was answered 408); its 5xx is a bad gateway's on `/image`. Next.js passes all of them on.
fn status_row(status: u16) -> Row {
    let theirs = StatusCode::from_u16(status).ok().filter(|s| s.is_client_error() || s.is_server_error());
    let passed_on = theirs.filter(|s| s.is_client_error() && !matches!(s.as_u16(), 401 | 407 | 408 | 421 | 425 | 426));
    Row {
        status: passed_on.unwrap_or(StatusCode::BAD_GATEWAY),
        code: "origin_status",
        detail: format!("the origin answered with status {status}").into(),
        // A success without an image is, to Next.js, one whose body is empty.
        next: Next::Response(theirs.unwrap_or(if (200..300).contains(&status) {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        })),
        setting: None,
    }
}

fn imaging_row(error: &imaging::Error) -> Row {
    use imaging::Error as E;
    let bad = StatusCode::BAD_REQUEST;
    let no_image = || Next::Text(bad, NEXT_NOT_AN_IMAGE);
    match error {
        E::Unrecognised => {
            let detail = "the source is no image of a known format";
            row(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_an_image", detail, no_image())
        }
        E::SvgRefused => {
            let next = Next::Text(bad, NEXT_TYPE);
            row(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "svg_not_allowed",
                "SVG sources are not allowed (images.allow_svg)",
                next,
            )
            .set_by(Some("images.allow_svg"))
        }
        E::NotDecoded { format } => Row {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: "format_not_decoded",
            detail: match format {
                ImageFormat::Heic => "HEIC sources are not decoded (images.allow_heic)".into(),
                _ => format!("{format} sources are not decoded").into(),
            },
            next: no_image(),
            setting: (*format == ImageFormat::Heic).then_some("images.allow_heic"),
        },
        E::Malformed { format, .. } => Row {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "undecodable",
            detail: format!("the source is a damaged {format}").into(),
            next: no_image(),
            setting: None,
        },
        E::Unsupported { format, .. } => Row {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "unsupported",
            detail: format!("the source is a {format} of a kind that is not supported").into(),
            next: no_image(),
            setting: None,
        },
        E::LimitExceeded { what, limit, .. } => Row {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "image_too_large",
            detail: format!("{what} of the source are over the limit of {limit}").into(),
            next: Next::Response(StatusCode::PAYLOAD_TOO_LARGE),
            setting: None,
        },
        E::OutputTooLarge { what, limit, .. } => Row {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "image_too_large",
            detail: format!("{what} of this output is over the limit of {limit}; a smaller one may be made").into(),
            next: Next::Response(StatusCode::PAYLOAD_TOO_LARGE),
            setting: None,
        },
        E::Deadline => deadline(),
        // What is left are defects of ours: an encoder that failed on our own pixels, a panic.
        _ => internal(),
    }
}
