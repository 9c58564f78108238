//! What other clients write behind the `?` of a Redis URL.
//!
//! Invariant: what would change where we connect to is refused; what says how another client goes about it is passed over.

/// Parameters that other clients read, about what we have settings of our own for, or do anyway.
const IGNORED: [&str; 13] = [
    "client_name",
    "decode_responses",
    "family",
    "health_check_interval",
    "max_connections",
    "pool_size",
    "protocol",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_timeout",
    "ssl_cert_reqs",
    "timeout",
];

/// The URL's text without its parameters, which come after the last `@`.
pub(super) fn without(text: &str) -> Result<&str, String> {
    let hosts = text.rfind('@').map_or(0, |at| at + 1);
    let Some(at) = text[hosts..].find('?') else { return Ok(text) };
    let (rest, query) = (&text[..hosts + at], &text[hosts + at + 1..]);
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    match parameters.find(|(name, _)| !IGNORED.contains(&name.as_ref())) {
        Some((name, _)) => Err(format!("the parameter {name:?} has no meaning here")),
        None => Ok(rest),
    }
}
