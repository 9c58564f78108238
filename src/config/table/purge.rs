//! The keys of `[purge]`: by what names images can be purged elsewhere, and who is told.
//!
//! Invariant: the token of the webhook is shown nowhere, and of its URL only the origin.

use toml::Value;

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{key, secret};

pub(super) const KEYS: &[Key] = &[
    key(
        "purge.tag_headers",
        Kind::Texts,
        |d, v| read::list(v, read::tag_field).map(|l| d.config.http.tag_fields = l),
        |d| Shown::list(&d.config.http.tag_fields, |field| Value::from(field.as_str())),
    ),
    secret(
        "purge.webhook",
        Kind::Text,
        |d, v| read::webhook(v).map(|url| d.config.purge.webhook = url),
        |d| Shown::text(d.config.purge.webhook.as_ref().map_or_else(String::new, ToString::to_string)),
    ),
    secret(
        "purge.webhook_token",
        Kind::Text,
        |d, v| {
            d.config.purge.webhook_token = read::optional(v)?.map(read::secret).transpose()?;
            Ok(())
        },
        |d| Shown::text(d.config.purge.webhook_token.as_ref().map_or("", |_| "***")),
    ),
];
