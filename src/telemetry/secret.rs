//! Texts that must not be seen: tokens, keys, and URLs that hold one.
//!
//! Invariant: printing one, in whatever way, shows that there is one and nothing of it.

use std::fmt;

use url::Url;

/// A text that must not be printed: tokens, keys. `Debug` and `Display` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that compares or signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL of the operator's that may hold a secret anywhere behind its host. `Debug` and `Display` show its origin.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Wraps a URL.
    pub const fn new(url: Url) -> Self {
        Self(url)
    }

    /// The URL itself, for the one place that sends to it.
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.0.path() == "/" && self.0.query().is_none();
        write!(f, "{}/{}", self.0.origin().ascii_serialization(), if bare { "" } else { "***" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn of_a_secret_url_only_the_origin_prints() {
        let url = SecretUrl::new(Url::parse("https://a.example:8443/hunter2?hunter2").expect("a URL"));
        assert_eq!(format!("{url} {url:?}"), "https://a.example:8443/*** https://a.example:8443/***");
        let bare = SecretUrl::new(Url::parse("http://a.example").expect("a URL"));
        assert_eq!(bare.to_string(), "http://a.example/");
    }
}
