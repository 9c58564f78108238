//! Where the metadata are kept: a file for SQLite, or a PostgreSQL server.
//!
//! Invariant: an address is checked without opening anything, and its text is shown without what stands before the `@`.

use std::fmt;
use std::path::PathBuf;

use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::telemetry::Loggable;

/// What is allowed, for a problem's text.
const ALLOWED: &str = "must be sqlite:FILE, postgres://[user:password@]host[:port]/database, or empty for none";

/// The usual reason why a URL with a password cannot be read.
const ESCAPES: &str = "in a user or password, / must be written %2F, ? %3F, # %23, @ %40 and % %25";

/// Parameters of a PostgreSQL URL that are honoured, by the client or by us.
const HONOURED: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name", "options", "schema"];
/// Those of libpq, Prisma and poolers that mean nothing here: the pool has settings of its own, and the rest asks for less
/// than there is or for what the client does not know. Anything else is a mistake, perhaps of a name that matters.
const IGNORED: [&str; 26] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "connection_limit",
    "connection_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_idle_connection_lifetime",
    "pgbouncer",
    "pool_timeout",
    "replication",
    "socket_timeout",
    "sslaccept",
    "sslcompression",
    "sslnegotiation",
    "sslsni",
    "statement_cache_size",
    "target_session_attrs",
    "tcp_user_timeout",
];

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
    /// Where the tables are, if not where the server's user has them.
    pub(super) schema: Option<String>,
    /// Parameters that mean nothing here.
    pub(super) ignored: Vec<String>,
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
        let (place, shown) = (Place::Sqlite(path.into()), format!("sqlite:{path}"));
        Self { place, schema: None, ignored: Vec::new(), shown }
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
        let (_, beyond) = text.split_once("://").unwrap_or_default();
        let beyond = beyond.find(['/', '?', '#']).map_or("", |at| &beyond[at..]);
        // Read on, what is left of a password would be taken for a database, and shown.
        if beyond.contains('@') {
            return Err(format!("{ALLOWED}: {ESCAPES}"));
        }
        let mut url = Url::parse(text).map_err(|_| ALLOWED)?;
        let database = url.path().trim_start_matches('/');
        // Sockets are named by a parameter.
        let host =
            url.host_str().is_some_and(|host| !host.is_empty()) || url.query_pairs().any(|(name, _)| name == "host");
        let named = host && !database.is_empty();
        if !matches!(url.scheme(), "postgres" | "postgresql") || !named || url.fragment().is_some() {
            return Err(ALLOWED.into());
        }
        let (mut kept, mut schema, mut ignored) = (Vec::new(), None, Vec::new());
        for (name, value) in url.query_pairs().into_owned() {
            match name.as_str() {
                "schema" => schema = Some(value).filter(|schema| !schema.is_empty()),
                known if HONOURED.contains(&known) => kept.push((name, value)),
                known if IGNORED.contains(&known) => ignored.push(name),
                _ => return Err(format!("{ALLOWED}: {name:?} is not one of {}", HONOURED.join(", "))),
            }
        }
        url.set_query(None);
        let mode = kept.iter().find(|(name, _)| name == "sslmode").map(|(_, mode)| mode.clone());
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        // What the client says may hold the password.
        let options =
            url.as_str().parse::<PgConnectOptions>().map_err(|_| format!("{ALLOWED}: a part of it cannot be read"))?;
        url.set_query(None);
        let mut shown = Loggable::of(&url).to_string();
        if let Some(mode) = mode {
            shown.push_str("?sslmode=");
            shown.push_str(&mode);
        }
        Ok(Self { place: Place::Postgres(Box::new(options)), schema, ignored, shown })
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
    fn what_others_write_into_their_urls_is_taken() {
        let neon = "postgres://u:p@ep-1.neon.tech/db?sslmode=require&channel_binding=require&options=endpoint%3Dep-1";
        let libpq = "postgres://u@db/p?connect_timeout=10&application_name=shop&target_session_attrs=read-write";
        let prisma = "postgresql://u@db:5432/p?schema=shop&connection_limit=5&pgbouncer=true";
        let read = |text: &str| match Address::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}")) {
            Address { place: Place::Postgres(options), schema, ignored, .. } => (options, schema, ignored.join(" ")),
            other => panic!("{other}"),
        };
        let (options, _, ignored) = read(neon);
        assert_eq!((options.get_options(), ignored.as_str()), (Some("endpoint=ep-1"), "channel_binding"));
        let (options, _, ignored) = read(libpq);
        assert_eq!(options.get_application_name(), Some("shop"));
        assert_eq!(ignored, "connect_timeout target_session_attrs");
        let (_, schema, ignored) = read(prisma);
        assert_eq!((schema.as_deref(), ignored.as_str()), (Some("shop"), "connection_limit pgbouncer"));
        let (options, ..) = read("postgres:///p?host=/var/run/postgresql");
        assert_eq!(options.get_socket().and_then(|path| path.to_str()), Some("/var/run/postgresql"));
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
            "postgres://u:12/hunter2@db/p",
            "postgres://u:12?hunter2@db/p",
            "postgres://u:12/p?hunter2@db/p",
            "postgres://u:12#hunter2@db/p",
            "postgres://u:hunter2/x@db/p",
            "postgres://u:p%zz/hunter2@db/p",
        ] {
            let problem = Address::parse(text).expect_err(text);
            assert!(problem.contains("sqlite:FILE") && !problem.contains("hunter2"), "{text}: {problem}");
        }
    }
}
