//! URLs as log lines, messages and errors may have them.
//!
//! Invariant: scheme, host, port and path, nothing else. Passwords stand before the host, signatures and tokens in the query;
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
        Self::bounded(&format!("{}://{user}{host}{port}{}", url.scheme(), without_query(url.path())))
    }

    /// Of what somebody wrote where a URL or a path belongs.
    pub fn text(text: &str) -> Self {
        if let Ok(url) = Url::parse(text) {
            return Self::of(&url);
        }
        let is_path = text.starts_with('/') && !text[1..].starts_with(['/', '\\']);
        if !is_path && text.contains(['@', '%', ':']) {
            // A URL that is broken or encoded twice: what of it is the user, and what the query, is a matter of reading it.
            return Self("***".into());
        }
        Self::bounded(without_query(text))
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

/// What stands before a query or a fragment, also one whose mark is encoded.
fn without_query(text: &str) -> &str {
    let encoded =
        |at: &usize| text.get(*at..*at + 3).is_some_and(|mark| mark.eq_ignore_ascii_case("%3f") || mark == "%23");
    let end = text.char_indices().find(|(at, char)| matches!(char, '?' | '#') || *char == '%' && encoded(at));
    end.map_or(text, |(at, _)| &text[..at])
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

/// A URL with the names of its query's parameters and not their values: those are often signatures.
pub fn without_values(url: &str) -> String {
    let Some((rest, query)) = url.split_once('?') else { return url.to_owned() };
    let names =
        query.split('&').map(|pair| pair.split_once('=').map_or("***".into(), |(name, _)| format!("{name}=***")));
    let names: Vec<String> = names.collect();
    format!("{rest}?{}", names.join("&"))
}

/// A value that somebody typed, as a message may repeat it: without what may be the user of a URL, however it is written,
/// and without what may be a query.
pub fn masked(text: &str) -> String {
    // In a glob of hosts it stands for a character; in all else it comes after a slash.
    let query = text.find(['?', '#']).filter(|at| text[..*at].contains('/'));
    match (text.rfind('@'), query) {
        (Some(at), Some(query)) if query < at => "***".to_owned(),
        (at, query) => {
            let mask = if at.is_some() { "***" } else { "" };
            let (shown, cut) = query.map_or((text, ""), |query| (&text[..query], "?***"));
            format!("{mask}{}{cut}", &shown[at.unwrap_or(0)..])
        }
    }
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
            ("https://a.example/a.png%3Ftoken=secret", "https://a.example/a.png"),
            ("/a.png%3ftoken=secret", "/a.png"),
            ("/a%20b.png", "/a%20b.png"),
            ("https%3A%2F%2Fa.example%2Fa.png%3Fsig%3Dsecret", "***"),
            ("http://user:secret%40a.example/a.png", "***"),
            ("http://user:secret", "***"),
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
    fn of_a_query_the_names_are_shown() {
        for (url, shown) in [
            ("https://a.example/a.png", "https://a.example/a.png"),
            ("https://a.example/a.png?", "https://a.example/a.png?***"),
            ("https://a.example/a?w=6&X-Sig=se?c=ret", "https://a.example/a?w=***&X-Sig=***"),
            ("https://a.example/a?secret&b=", "https://a.example/a?***&b=***"),
        ] {
            assert_eq!(without_values(url), shown);
        }
    }

    #[test]
    fn a_typed_value_is_shown_without_user_and_query() {
        for (text, shown) in [
            ("\"web:3000\"", "\"web:3000\""),
            ("\"http://u:pa/ss@web:3000/x\"", "***@web:3000/x\""),
            ("\"http://u:pa/s#s?w@rd@web:3000\"", "***"),
            ("\"http://web:3000/?u=me@x.example&sig=secret\"", "***"),
            ("\"cdn.example/a.png?token=secret\"", "\"cdn.example/a.png?***"),
            ("\"http://web:3000/?token=secret\"", "\"http://web:3000/?***"),
            ("u:secret@web", "***@web"),
            ("\"img?.example\"", "\"img?.example\""),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }
}
