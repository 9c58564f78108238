//! Where the metadata are kept: a file for SQLite, or a PostgreSQL server.
//!
//! The law: an address is checked without opening anything, and its text is shown without what stands before the `@`.

use std::fmt;
use std::path::PathBuf;

use sqlx::postgres::PgConnectOptions;
use url::Url;

/// What is allowed, for a problem's text.
const ALLOWED: &str = "must be sqlite:FILE, postgres://[user:password@]host[:port]/database, or empty for none";

/// The default file, where the service was started.
const FILE: &str = "pixgate.db";

#[derive(Clone)]
pub(super) enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// A checked `metadata.url`.
#[derive(Clone)]
pub struct Address {
    pub(super) place: Place,
    shown: String,
}

impl Default for Address {
    fn default() -> Self {
        Self::file(FILE)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    fn file(path: &str) -> Self {
        Self { place: Place::Sqlite(path.into()), shown: format!("sqlite:{path}") }
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// A text that says what is allowed, without the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.contains(['?', '\0']) || path.starts_with(":memory:") {
                return Err(format!("{ALLOWED}: a file must be named, and nothing else"));
            }
            return Ok(Self::file(path));
        }
        let url = Url::parse(text).map_err(|_| ALLOWED)?;
        let database = url.path().trim_start_matches('/');
        let named = url.host_str().is_some_and(|host| !host.is_empty()) && !database.is_empty();
        if !matches!(url.scheme(), "postgres" | "postgresql") || !named || url.fragment().is_some() {
            return Err(ALLOWED.into());
        }
        const KNOWN: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host"];
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| !KNOWN.contains(&name.as_ref())) {
            return Err(format!("{ALLOWED}: {name:?} is not one of {}", KNOWN.join(", ")));
        }
        // What the client says may hold the password.
        let options =
            text.parse::<PgConnectOptions>().map_err(|_| format!("{ALLOWED}: a part of it cannot be read"))?;
        let shown = match text.split_once("://") {
            Some((scheme, rest)) if !url.username().is_empty() || url.password().is_some() => {
                let authority = rest.find(['/', '?']).unwrap_or(rest.len());
                let host = rest[..authority].rfind('@').map_or(rest, |at| &rest[at..]);
                format!("{scheme}://***{host}")
            }
            _ => text.to_owned(),
        };
        Ok(Self { place: Place::Postgres(Box::new(options)), shown })
    }

    /// `sqlite` or `postgres`.
    pub const fn kind(&self) -> &'static str {
        match self.place {
            Place::Sqlite(_) => "sqlite",
            Place::Postgres(_) => "postgres",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_passwords_are_not_shown() {
        for (text, shown) in [
            ("sqlite:pixgate.db", "sqlite:pixgate.db"),
            ("sqlite:///var/lib/pixgate/a.db", "sqlite:/var/lib/pixgate/a.db"),
            ("postgres://db/pixgate", "postgres://db/pixgate"),
            ("postgres://u:hunter2@db:5433/pixgate?sslmode=require", "postgres://***@db:5433/pixgate?sslmode=require"),
            ("postgresql://u:hunter%402@[::1]/p", "postgresql://***@[::1]/p"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), shown.to_owned()));
        }
        let Place::Postgres(options) = Address::parse("postgres://u:p%40ss@db:5433/name").expect("good").place else {
            panic!("PostgreSQL");
        };
        assert_eq!((options.get_host(), options.get_port()), ("db", 5433));
        assert_eq!((options.get_username(), options.get_database()), ("u", Some("name")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_the_password() {
        for text in [
            "pixgate.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "postgres://",
            "postgres://u:hunter2@db",
            "postgres://u:hunter2@db:x/p",
            "postgres://u:hunter2@db/p?option=1",
            "postgres://u:hunter2@db/p?sslmode=hunter2",
            "mysql://u:hunter2@db/p",
        ] {
            let problem = Address::parse(text).expect_err(text);
            assert!(problem.contains("sqlite:FILE") && !problem.contains("hunter2"), "{text}: {problem}");
        }
    }
}
