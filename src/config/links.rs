//! Variables with our prefix that are not ours: our own two that are no keys, two of `@pixgate/next`, and those that
//! Kubernetes sets in every pod for a service whose name begins with `pixgate` (`PIXGATE_REDIS_SERVICE_HOST`).
//!
//! Invariant: they stop no start, and a misspelt key still does. A key is looked for first, so that none can be hidden.

/// No keys: the file to read, images for our own tests, and where the app's package finds this service and what it
/// signs with.
const OWN: [&str; 4] = ["CONFIG", "CORPUS", "SIGNING_KEY", "URL"];

/// Whether `PIXGATE_` and `name`, with the value `text`, is meant for somebody else.
pub(super) fn is_foreign(name: &str, text: &str) -> bool {
    OWN.contains(&name) || is_service_link(name, text)
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str, text: &str) -> bool {
    // A service called `pixgate` itself begins at once; others go on with an underscore.
    let name = format!("_{name}");
    let named_port = |at: &str| name.rsplit_once(at).is_some_and(|(_, port)| !port.is_empty());
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || named_port("_SERVICE_PORT_")
        // `tcp://10.0.0.1:80`. A bare number is what somebody means who looks for server.listen.
        || (name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme)))
        || name.match_indices("_PORT_").any(|(at, word)| is_address(&name[at + word.len()..]))
}

/// `80_TCP`, `80_TCP_ADDR`, `53_UDP_PORT`.
fn is_address(tail: &str) -> bool {
    let mut parts = tail.split('_');
    let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"));
    let what = parts.next().is_none_or(|part| matches!(part, "ADDR" | "PORT" | "PROTO"));
    number && protocol && what && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_foreign_whatever_the_service_is_called() {
        for (name, text) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "80"),
            ("SERVICE_PORT_HTTP", "80"),
            ("PORT", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("REDIS_MASTER_SERVICE_HOST", "10.0.0.1"),
            ("REDIS_MASTER_SERVICE_PORT_TCP_REDIS", "6379"),
            ("METRICS_SERVICE_HOST", "10.0.0.1"),
            ("REDIS_PORT", "tcp://10.0.0.1:6379"),
            ("ADMIN_PORT_8081_TCP_ADDR", "10.0.0.1"),
            ("DNS_PORT_53_UDP_PORT", "53"),
            ("DNS_PORT_53_UDP_PROTO", "udp"),
            ("URL", "http://pixgate:8080"),
        ] {
            assert!(is_foreign(name, text), "{name}");
        }
        for (name, text) in [
            ("SERVER_PORT", "8080"),
            ("PORT", "8080"),
            ("IMAGES_SANP", "true"),
            ("SERVICE", "x"),
            ("SERVICE_PORT_", "80"),
            ("XSERVICE_HOST", "10.0.0.1"),
            ("A_PORT_80_TCPX", "x"),
            ("A_PORT_80_TCP_ADDR_X", "x"),
            ("A_PORT_HTTP_TCP", "x"),
            ("REDIS_URLS", "x"),
        ] {
            assert!(!is_foreign(name, text), "{name}");
        }
    }
}
