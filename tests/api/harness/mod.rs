//! What every suite stands on: the spawned service (`app`), a scriptable origin that counts (`origin`), a client
//! that sends exactly what it is told (`client`) and pictures made in code (`pictures`).
//! Law: the harness asserts its own premises loudly, so that a failing test accuses the service and not the scaffold.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod cut;
pub(crate) mod origin;
pub(crate) mod pictures;
#[expect(dead_code, reason = "this suite needs a part of it")]
#[path = "../../support/postgres.rs"]
pub(crate) mod postgres;
#[expect(dead_code, reason = "this suite needs a part of it")]
#[path = "../../support/redis.rs"]
pub(crate) mod redis;

/// The stable problem codes of `/image` and `/placeholder` (RFC 9457 extension member `code`), in one place.
pub(crate) mod code {
    pub(crate) const URL_MISSING: &str = "url_missing";
    pub(crate) const PARAMETER_UNKNOWN: &str = "unknown_parameter";
    pub(crate) const WIDTH_NOT_ALLOWED: &str = "width_not_allowed";
    pub(crate) const HEIGHT_NOT_ALLOWED: &str = "height_not_allowed";
    pub(crate) const QUALITY_NOT_ALLOWED: &str = "quality_not_allowed";
    pub(crate) const URL_INVALID: &str = "url_invalid";
    pub(crate) const URL_NOT_ALLOWED: &str = "source_not_allowed";
    pub(crate) const SIGNATURE_INVALID: &str = "signature_invalid";
    pub(crate) const SOURCE_NOT_FOUND: &str = "origin_status";
    pub(crate) const SOURCE_FAILED: &str = "origin_status";
    pub(crate) const SOURCE_UNREACHABLE: &str = "origin_unreachable";
    pub(crate) const SOURCE_TIMEOUT: &str = "origin_timeout";
    pub(crate) const SOURCE_TOO_LARGE: &str = "source_too_large";
    pub(crate) const SOURCE_EMPTY: &str = "origin_empty";
    pub(crate) const TOO_MANY_REDIRECTS: &str = "origin_redirects";
    pub(crate) const NOT_AN_IMAGE: &str = "not_an_image";
    pub(crate) const TYPE_NOT_ALLOWED: &str = "svg_not_allowed";
    pub(crate) const IMAGE_TOO_LARGE: &str = "image_too_large";
    pub(crate) const OVERLOADED: &str = "overloaded";
}
