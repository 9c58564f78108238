//! URLs as log lines, messages and errors may have them.
//!
//! The law: scheme, host, port and path, nothing else. Passwords stand before the host, signatures and tokens in the query;
//! a text that cannot be read as a URL is not searched for them, it is shown only where it can hold none.

use std::fmt;

use url::Url;

/// More of a URL says nothing new, and strangers write what is logged.
const MAX_CHARS: usize = 200;

/// What of a URL may be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Loggable(Box<str>);

impl Loggable {
    /// Of a parsed URL.
    pub fn of(url: &Url) -> Self {
        if url.cannot_be_a_base() {
            // `data:`, `mailto:` and what looks like one, as `user:password@host` does.
            return Self::bounded(&format!("{}:***", url.scheme()));
        }
        let user = if url.username().is_empty() && url.password().is_none() { "" } else { "***@" };
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Self::bounded(&format!("{}://{user}{host}{port}{}", url.scheme(), url.path()))
    }

    /// Of what somebody wrote where a URL or a path belongs.
    pub fn text(text: &str) -> Self {
        if let Ok(url) = Url::parse(text) {
            return Self::of(&url);
        }
        let is_path = text.starts_with('/') && !text[1..].starts_with(['/', '\\']);
        if !is_path && text.contains('@') {
            // What stands before which `@` is a matter of reading it.
            return Self("***".into());
        }
        Self::bounded(text.split(['?', '#']).next().unwrap_or_default())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn bounded(text: &str) -> Self {
        let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        Self(text.chars().take(MAX_CHARS).map(plain).collect::<String>().into())
    }
}

impl fmt::Display for Loggable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Loggable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value that somebody typed, as a message may repeat it: without what may be the user of a URL, however it is written,
/// and without its query.
pub fn masked(text: &str) -> String {
    let (mask, shown) = text.rfind('@').map_or(("", text), |at| ("***", &text[at..]));
    let query = if text.contains("://") { shown.find(['?', '#']) } else { None };
    let (shown, cut) = query.map_or((shown, ""), |at| (&shown[..at], "?***"));
    format!("{mask}{shown}{cut}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_port_and_path_are_shown_and_nothing_else() {
        for (text, shown) in [
            ("https://a.example/a.png?token=secret#secret", "https://a.example/a.png"),
            ("http://user:secret@a.example:8080/a.png", "http://***@a.example:8080/a.png"),
            ("http://secret@a.example", "http://***@a.example/"),
            ("http:/\\user:sec@ret@a.example", "http://***@a.example/"),
            ("https://host.example/users/@bob/a.jpg", "https://host.example/users/@bob/a.jpg"),
            ("https://unpkg.example/react@18.2/a.png?x=@", "https://unpkg.example/react@18.2/a.png"),
            ("/a.png?secret", "/a.png"),
            ("/users/@bob/a.png#secret", "/users/@bob/a.png"),
            ("//user:secret@a.example/a.png", "***"),
            ("/\\user:secret@a.example/a.png", "***"),
            ("http://user:sec/ret@a.example/a.png", "***"),
            ("http://user:sec?ret@a.example/a.png", "***"),
            ("http://user:sec#ret@a.example/a.png", "***"),
            ("user:secret@a.example/a.png", "user:***"),
            ("data:image/png;base64,secret", "data:***"),
            ("", ""),
            ("a\nb\u{1b}[2J", "a\u{fffd}b\u{fffd}[2J"),
        ] {
            let loggable = Loggable::text(text);
            assert_eq!((&*loggable.to_string(), &*format!("{loggable:?}")), (shown, shown), "{text}");
        }
        assert_eq!(Loggable::text(&"x".repeat(5000)).as_str().len(), 200);
    }

    #[test]
    fn a_typed_value_is_shown_without_user_and_query() {
        for (text, shown) in [
            ("\"web:3000\"", "\"web:3000\""),
            ("\"http://u:pa/s#s?w@rd@web:3000\"", "***@web:3000\""),
            ("\"http://web:3000/?token=secret\"", "\"http://web:3000/?***"),
            ("u:secret@web", "***@web"),
            ("\"img?.example\"", "\"img?.example\""),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }
}
