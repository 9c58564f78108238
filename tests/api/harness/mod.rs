//! What every suite stands on: the spawned service (`app`), a scriptable origin that counts (`origin`), a client
//! that sends exactly what it is told (`client`) and pictures made in code (`pictures`).
//! Law: the harness asserts its own premises loudly, so that a failing test accuses the service and not the scaffold.

pub mod app;
pub mod client;
pub mod origin;
pub mod pictures;

/// The stable problem codes of `/image` and `/placeholder` (RFC 9457 extension member `code`), in one place.
pub mod code {
    pub const PARAMETER_MISSING: &str = "parameter_missing";
    pub const PARAMETER_REPEATED: &str = "parameter_repeated";
    pub const PARAMETER_UNKNOWN: &str = "parameter_unknown";
    pub const PARAMETER_INVALID: &str = "parameter_invalid";
    pub const WIDTH_NOT_ALLOWED: &str = "width_not_allowed";
    pub const HEIGHT_NOT_ALLOWED: &str = "height_not_allowed";
    pub const QUALITY_NOT_ALLOWED: &str = "quality_not_allowed";
    pub const URL_INVALID: &str = "url_invalid";
    pub const URL_NOT_ALLOWED: &str = "url_not_allowed";
    pub const SIGNATURE_INVALID: &str = "signature_invalid";
    pub const SOURCE_NOT_FOUND: &str = "source_not_found";
    pub const SOURCE_FAILED: &str = "source_failed";
    pub const SOURCE_UNREACHABLE: &str = "source_unreachable";
    pub const SOURCE_TIMEOUT: &str = "source_timeout";
    pub const SOURCE_TOO_LARGE: &str = "source_too_large";
    pub const SOURCE_EMPTY: &str = "source_empty";
    pub const TOO_MANY_REDIRECTS: &str = "too_many_redirects";
    pub const NOT_AN_IMAGE: &str = "not_an_image";
    pub const TYPE_NOT_ALLOWED: &str = "type_not_allowed";
    pub const IMAGE_TOO_LARGE: &str = "image_too_large";
    pub const OVERLOADED: &str = "overloaded";
}
