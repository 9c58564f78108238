//! Configuration as text: the effective one with the origin of each value, and an import for `pixgate.toml`.
//!
//! The law: what is printed can be read again as TOML, and a secret is printed as `***`.

use std::fmt::Write as _;

use toml::Value;

use super::keys::KEYS;
use super::next::Import;
use super::{Effective, Loaded};

impl Loaded {
    /// The effective configuration: TOML with each value's origin as a comment.
    pub fn describe(&self) -> String {
        let mut document = Document::default();
        for Effective { key, value, origin } in &self.effective {
            document.row(key, value.as_ref(), Some(&origin.to_string()));
        }
        document.0
    }
}

impl Import {
    /// The import as a `pixgate.toml`, with what the operator should know as comments.
    pub fn to_toml(&self) -> String {
        let mut document = Document("# Imported from a Next.js images manifest by `pixgate import-next`.\n".into());
        for note in &self.notes {
            document.line(&format!("# Note: {note}."));
        }
        // In the order of the table of keys, so that a section is opened once.
        for key in KEYS {
            if let Some((name, value)) = self.values.iter().find(|(name, _)| *name == key.name) {
                document.row(name, Some(value), None);
                if *name == "sources.local_patterns" {
                    document
                        .line("# base_url = \"http://localhost:3000\" # the app itself, where url=/path is fetched");
                }
            }
        }
        document.0
    }
}

#[derive(Default)]
struct Document(String);

impl Document {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// One key, under its section's header, with a comment in column 48 where the value leaves room.
    fn row(&mut self, name: &str, value: Option<&Value>, comment: Option<&str>) {
        let (section, key) = name.split_once('.').unwrap_or(("", name));
        let header = format!("[{section}]");
        if !self.0.lines().any(|line| line == header) {
            if !self.0.is_empty() {
                self.0.push('\n');
            }
            self.line(&header);
        }
        let comment = comment.map(|comment| format!(" # {comment}")).unwrap_or_default();
        let tables = |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_table));
        // Writing to a String cannot fail.
        let _ = match value {
            None => writeln!(self.0, "{:<46}{comment}", format!("# {key} is not set")),
            Some(list @ Value::Array(items)) if tables(list) => {
                let _ = writeln!(self.0, "{:<46}{comment}", format!("{key} = ["));
                for item in items {
                    let _ = writeln!(self.0, "  {item},");
                }
                writeln!(self.0, "]")
            }
            Some(value) if comment.is_empty() => writeln!(self.0, "{key} = {value}"),
            Some(value) => writeln!(self.0, "{:<46}{comment}", format!("{key} = {value}")),
        };
    }
}
