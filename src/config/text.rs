//! Texts of the environment and the command line, read by the shape of their key.
//!
//! Invariant: what is said of a text that cannot be read names what is allowed, and repeats nothing of it.

use serde_json::Value as Json;
use toml::Value;

use super::keys::Kind;

/// A text of the environment or the command line, read by the shape of its key.
pub(super) fn value_of_text(kind: Kind, text: &str) -> Result<Value, String> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    // As templates write lists. What is no JSON may still be an IPv6 host: `[::1]`.
    let json = || serde_json::from_str::<Vec<Json>>(text).ok().and_then(|list| Value::try_from(list).ok());
    match kind {
        Kind::Text | Kind::Duration => Ok(Value::String(text.trim().into())),
        // A size may be a bare number; the reader of sizes tells what is wrong with the rest.
        Kind::Bytes => Ok(Value::String(text.trim().into())),
        Kind::Integer => integer(text.trim()),
        Kind::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Value::Boolean(true)),
            "false" | "0" => Ok(Value::Boolean(false)),
            _ => Err("must be true or false".into()),
        },
        Kind::Texts => {
            Ok(json().unwrap_or_else(|| Value::Array(items().map(|item| Value::String(item.into())).collect())))
        }
        Kind::Integers => match json() {
            Some(list) => Ok(list),
            None => Ok(Value::Array(items().map(integer).collect::<Result<_, _>>()?)),
        },
        Kind::Patterns if text.trim().is_empty() => Ok(Value::Array(Vec::new())),
        Kind::Patterns => {
            let json: Json = serde_json::from_str(text).map_err(|error| {
                format!("must be a JSON list of patterns, as in [{{\"hostname\":\"**.example.com\"}}] ({error})")
            })?;
            Value::try_from(json).map_err(|error| format!("must be a JSON list of patterns ({error})"))
        }
    }
}

fn integer(text: &str) -> Result<Value, String> {
    text.replace('_', "").parse().map(Value::Integer).map_err(|_| "must be a whole number".to_owned())
}
