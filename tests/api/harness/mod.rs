//! What every suite stands on: the spawned service (`app`), a scriptable origin that counts (`origin`), a client
//! that sends exactly what it is told (`client`) and pictures made in code (`pictures`).
//! Law: the harness asserts its own premises loudly, so that a failing test accuses the service and not the scaffold.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod origin;
pub(crate) mod pictures;

/// The stable problem codes of `/image` and `/placeholder` (RFC 9457 extension member `code`), in one place.
pub(crate) mod code {
    pub(crate) const PARAMETER_MISSING: &str = "parameter_missing";
    pub(crate) const PARAMETER_REPEATED: &str = "parameter_repeated";
    pub(crate) const PARAMETER_UNKNOWN: &str = "parameter_unknown";
    pub(crate) const PARAMETER_INVALID: &str = "parameter_invalid";
    pub(crate) const WIDTH_NOT_ALLOWED: &str = "width_not_allowed";
    pub(crate) const HEIGHT_NOT_ALLOWED: &str = "height_not_allowed";
    pub(crate) const QUALITY_NOT_ALLOWED: &str = "quality_not_allowed";
    pub(crate) const URL_INVALID: &str = "url_invalid";
    pub(crate) const URL_NOT_ALLOWED: &str = "url_not_allowed";
    pub(crate) const SIGNATURE_INVALID: &str = "signature_invalid";
    pub(crate) const SOURCE_NOT_FOUND: &str = "source_not_found";
    pub(crate) const SOURCE_FAILED: &str = "source_failed";
    pub(crate) const SOURCE_UNREACHABLE: &str = "source_unreachable";
    pub(crate) const SOURCE_TIMEOUT: &str = "source_timeout";
    pub(crate) const SOURCE_TOO_LARGE: &str = "source_too_large";
    pub(crate) const SOURCE_EMPTY: &str = "source_empty";
    pub(crate) const TOO_MANY_REDIRECTS: &str = "too_many_redirects";
    pub(crate) const NOT_AN_IMAGE: &str = "not_an_image";
    pub(crate) const TYPE_NOT_ALLOWED: &str = "type_not_allowed";
    pub(crate) const IMAGE_TOO_LARGE: &str = "image_too_large";
    pub(crate) const OVERLOADED: &str = "overloaded";
}
