//! The keys of `[server]`: the listeners, the admin's token, how the service ends.
//!
//! Invariant: the token is shown nowhere.

use std::path::PathBuf;
use std::time::Duration;

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{HOUR, key, secret};

pub(super) const KEYS: &[Key] = &[
    key(
        "server.listen",
        Kind::Text,
        |d, v| read::address(v).map(|a| d.config.http.listen = a),
        |d| Shown::text(d.config.http.listen),
    ),
    key(
        "server.admin_listen",
        Kind::Text,
        |d, v| read::address(v).map(|a| d.config.http.admin_listen = a),
        |d| Shown::text(d.config.http.admin_listen),
    ),
    secret(
        "server.admin_token",
        Kind::Text,
        |d, v| {
            d.config.http.admin_token = read::optional(v)?.map(read::secret).transpose()?;
            Ok(())
        },
        // From a file or not set: an empty text is what says so in TOML.
        |d| {
            Shown::text(
                d.config.http.admin_token.as_ref().filter(|_| d.admin_token_file.is_none()).map_or("", |_| "***"),
            )
        },
    ),
    key(
        "server.admin_token_file",
        Kind::Text,
        |d, v| read::optional(v).map(|path| d.admin_token_file = path.map(PathBuf::from)),
        |d| Shown::path(d.admin_token_file.as_ref()),
    ),
    key(
        "server.admin_hosts",
        Kind::Texts,
        |d, v| read::list(v, read::host).map(|l| d.config.http.admin_hosts = l),
        |d| Shown::list(&d.config.http.admin_hosts, toml::Value::from),
    ),
    key(
        "server.trusted_proxies",
        Kind::Texts,
        |d, v| read::list(v, read::network).map(|l| d.config.http.trusted_proxies = l),
        |d| Shown::list(&d.config.http.trusted_proxies, |net| net.to_string().into()),
    ),
    key(
        "server.next_path",
        Kind::Text,
        |d, v| {
            let path = read::mount(v)?;
            d.config.sources.next_path.clone_from(&path);
            d.config.http.next_path = path;
            Ok(())
        },
        |d| Shown::text(&d.config.http.next_path),
    ),
    key(
        "server.shutdown_grace",
        Kind::Duration,
        |d, v| read::duration(v, Duration::ZERO..=HOUR).map(|t| d.config.http.shutdown_grace = t),
        |d| Shown::duration(d.config.http.shutdown_grace),
    ),
    key(
        "server.drain_delay",
        Kind::Duration,
        |d, v| read::duration(v, Duration::ZERO..=HOUR).map(|t| d.config.http.drain_delay = t),
        |d| Shown::duration(d.config.http.drain_delay),
    ),
    key(
        "server.development",
        Kind::Boolean,
        |d, v| {
            let development = read::boolean(v)?;
            d.config.cache.always_revalidate = development;
            d.config.http.development = development;
            Ok(())
        },
        |d| Some(d.config.http.development.into()),
    ),
];
