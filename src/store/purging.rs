//! Purges as statements, and which sources a prefix names.
//!
//! Invariant: a URL has no limit that an index could hold, so what finds it is how it begins; and no statement changes more
//! than a part of all sources, because whoever writes holds everybody else up.

use super::engine::{Question, Row, Statement, Value};
use super::rows::{Keys, Purge, Scope};
use super::writing::millis;
use crate::record::SourceKey;

/// Characters of a URL that the index has; they are ASCII in a normalised one.
const START: usize = 512;
/// Sources that one statement looks at.
const PART: i64 = 2_000;

/// The condition that `url` begins with `prefix`, with its `values`.
pub(super) fn begins(url: &str, prefix: &str, values: &mut Vec<Value>) -> String {
    let start: String = prefix.chars().take(START).collect();
    let mut condition = between(&format!("substr({url}, 1, {START})"), &start, values);
    if start.len() < prefix.len() {
        condition = format!("{condition} AND {}", between(url, prefix, values));
    }
    condition
}

/// The condition that `text` begins with `prefix`, as a range.
pub(super) fn between(text: &str, prefix: &str, values: &mut Vec<Value>) -> String {
    // The least text that is greater than every text that begins so, by octets: no octet of UTF-8 is this large.
    let mut after = prefix.to_owned();
    after.push(char::MAX);
    values.extend([prefix.into(), after.as_str().into()]);
    format!("{text} >= ${} AND {text} < ${}", values.len() - 1, values.len())
}

fn named(scope: &Scope, values: &mut Vec<Value>) -> String {
    match scope {
        Scope::All => "true".into(),
        Scope::Host(host) => {
            values.push(host.as_str().into());
            format!("host = ${}", values.len())
        }
        Scope::Source(key) => {
            values.push(key.as_bytes().into());
            format!("source_key = ${}", values.len())
        }
        Scope::Prefix(prefix) => begins("url", prefix, values),
    }
}

/// A soft purge ends freshness; any other takes what the record says of the content, and keeps what was counted.
pub(super) fn purge(purge: &Purge, keys: &Keys) -> Statement {
    let change = if purge.soft {
        "ttl_ns = 0, early_ns = 0"
    } else {
        "purged_at = $1, content = NULL, etag = NULL, last_modified = NULL, placeholder = NULL"
    };
    let mut values = vec![millis(purge.at).into()];
    let mut which = named(&purge.scope, &mut values);
    for (key, than) in [(&keys.after, ">"), (&keys.until, "<=")] {
        if let Some(key) = key {
            values.push(key.as_bytes().into());
            which.push_str(&format!(" AND source_key {than} ${}", values.len()));
        }
    }
    // What was checked after the purge is not what it was meant for.
    Statement::new(
        format!(
            "UPDATE sources SET {change}, purges = purges + 1 WHERE (checked_at IS NULL OR checked_at <= $1) AND {which}"
        ),
        values,
    )
}

/// How many sources are in `scope`, counted no further than a part has; nothing when it is all of them.
pub(super) fn count(scope: &Scope) -> Option<Question> {
    let mut values = vec![PART.into()];
    let which = match scope {
        Scope::All => return None,
        scope => named(scope, &mut values),
    };
    Some(Question::new(
        format!("SELECT count(*) FROM (SELECT 1 FROM sources WHERE {which} LIMIT $1) AS named"),
        values,
        "i",
    ))
}

/// Whether one statement may change all that was counted.
pub(super) fn is_part(rows: Vec<Row>) -> bool {
    rows.into_iter().next().and_then(|mut row| row.int().ok()?).is_some_and(|count| count < PART)
}

/// The last key of the part that begins after `after`; none when it is the last part.
pub(super) fn end(after: Option<&SourceKey>) -> Question {
    let mut values = vec![Value::from(PART - 1)];
    let mut condition = "true";
    if let Some(key) = after {
        values.push(key.as_bytes().into());
        condition = "source_key > $2";
    }
    Question::new(
        format!("SELECT source_key FROM sources WHERE {condition} ORDER BY source_key LIMIT 1 OFFSET $1"),
        values,
        "b",
    )
}
