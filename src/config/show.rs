//! Configuration as text: the effective one with the origin of each value, and an import for `pixgate.toml`.
//!
//! Invariant: what is printed can be read again as TOML, and a secret is printed as `***`.

use std::fmt::Write as _;

use toml::Value;

use super::keys::KEYS;
use super::next::Import;
use super::{Effective, Loaded};

impl Loaded {
    /// The effective configuration: TOML with each value's origin as a comment.
    pub fn describe(&self) -> String {
        let mut document = Document::default();
        for Effective { key, value, origin, .. } in &self.effective {
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
        for key in KEYS.iter() {
            if let Some((name, value)) = self.values.iter().find(|(name, _)| *name == key.name) {
                document.row(name, Some(value), None);
                // Always there, unlike the local ones, and in the same section.
                let named = self.values.iter().any(|(name, _)| *name == "sources.base_url");
                if *name == "sources.remote_patterns" && !named {
                    document.line(
                        "# The app itself, for its static imports and files of public/; or import with --base-url.",
                    );
                    document.line("# base_url = \"http://web:3000\"");
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

    /// One key, under its section's header, with a comment behind it.
    fn row(&mut self, name: &str, value: Option<&Value>, comment: Option<&str>) {
        let (section, key) = name.split_once('.').unwrap_or(("", name));
        let header = format!("[{section}]");
        if !self.0.lines().any(|line| line == header) {
            if !self.0.is_empty() {
                self.0.push('\n');
            }
            self.line(&header);
        }
        let mut write = |text: &str| {
            // Writing to a String cannot fail.
            let _ = match comment {
                Some(comment) => writeln!(self.0, "{text:<46} # {comment}"),
                None => writeln!(self.0, "{text}"),
            };
        };
        let tables = |items: &[Value]| items.iter().any(Value::is_table);
        match value {
            None => write(&format!("# {key} is not set")),
            Some(Value::Array(items)) if tables(items) => {
                write(&format!("{key} = ["));
                for item in items {
                    self.line(&format!("  {item},"));
                }
                self.line("]");
            }
            Some(value) => write(&format!("{key} = {value}")),
        }
    }
}
