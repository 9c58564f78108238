//! Patterns that name allowed hosts and paths: globs in Next.js's meaning, and the regular expressions that Next.js
//! writes into its images manifest.
//!
//! Invariant: the pattern is the operator's and is judged at start; the text is a stranger's, so matching does bounded
//! work, and work that hits its bound is no match.

mod class;
mod matcher;
mod syntax;
#[cfg(test)]
mod tests;
mod wild;

use std::sync::Arc;

use fancy_regex::{Regex, RegexBuilder};

use self::matcher::{Dots, Program};

/// The longest pattern taken, in bytes.
const MAX_PATTERN: usize = 4096;

/// Look-ahead regular expressions backtrack; the text's length is bounded, and this bounds the rest.
const BACKTRACK_LIMIT: usize = 100_000;

/// Hosts that have nothing in common; a pattern that matches all of them admits any host, however it is written.
const UNRELATED_HOSTS: [&str; 4] =
    ["a.b.example", "images7.customer-site.co.test", "xn--bcher-kva.invalid", "z9.q8.w7.museum"];

/// Why a pattern was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing to match.
    #[error("the pattern is empty")]
    Empty,
    /// Longer than any sensible pattern.
    #[error("the pattern is longer than {MAX_PATTERN} bytes")]
    TooLong,
    /// Not understood.
    #[error("not a pattern: {0}")]
    Syntax(&'static str),
    /// Not understood, as a regular expression.
    #[error("not a regular expression: {0}")]
    Regex(String),
}

/// A compiled pattern. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Glob {
    source: Arc<str>,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Program(Arc<Program>),
    Regex(Arc<Regex>),
}

impl Glob {
    /// A glob for hostnames: `*` and `**` match across dots, but no name that begins with a dot.
    ///
    /// # Errors
    /// When the text is empty, too long or no glob.
    pub fn hostname(pattern: &str) -> Result<Self, PatternError> {
        Self::compile(pattern, Dots::Leading)
    }

    /// A glob for URL paths: `*` stays inside a segment, `**` crosses them, neither matches a `.` or `..` segment.
    ///
    /// # Errors
    /// When the text is empty, too long or no glob.
    pub fn pathname(pattern: &str) -> Result<Self, PatternError> {
        Self::compile(pattern, Dots::Relative)
    }

    fn compile(pattern: &str, dots: Dots) -> Result<Self, PatternError> {
        check_length(pattern)?;
        let program = syntax::parse(pattern, dots)?;
        Ok(Self { source: pattern.into(), matcher: Matcher::Program(Arc::new(program)) })
    }

    /// The source of a JavaScript regular expression, as Next.js writes it into `images-manifest.json`.
    ///
    /// It must match the whole text: Next.js anchors what it writes, so this changes nothing there, and an expression
    /// written by hand without anchors cannot admit `example.com.evil.test`.
    ///
    /// # Errors
    /// When the text is empty, too long or no regular expression.
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        check_length(source)?;
        let anchored = format!("^(?:{})$", from_javascript(source)?);
        let regex = RegexBuilder::new(&anchored)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|error| PatternError::Regex(error.to_string()))?;
        Ok(Self { source: source.into(), matcher: Matcher::Regex(Arc::new(regex)) })
    }

    /// Whether the whole of `text` matches: a host as the URL parser wrote it, or a URL's path.
    pub fn matches(&self, text: &str) -> bool {
        match &self.matcher {
            Matcher::Program(program) => program.matches(text.as_bytes()),
            // An error is the backtrack limit.
            Matcher::Regex(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether this hostname pattern admits any host: `*`, `**`, `*.*`, `!one.host`, a regular expression of that
    /// meaning. Judged by what it matches, so that no spelling of it is overlooked.
    pub fn is_any_host(&self) -> bool {
        UNRELATED_HOSTS.iter().all(|host| self.matches(host))
    }
}

fn check_length(pattern: &str) -> Result<(), PatternError> {
    match pattern.len() {
        0 => Err(PatternError::Empty),
        1..=MAX_PATTERN => Ok(()),
        _ => Err(PatternError::TooLong),
    }
}

/// Escapes what is plain inside a JavaScript character class but has a meaning in a Rust one: `[`, `&&`, `~~`.
fn from_javascript(source: &str) -> Result<String, PatternError> {
    let mut out = String::with_capacity(source.len() + 8);
    let mut in_class = false;
    let mut chars = source.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                out.push(char);
                out.extend(chars.next());
                continue;
            }
            '[' if in_class => out.push('\\'),
            '&' | '~' if in_class => out.push('\\'),
            '[' => {
                in_class = true;
                out.push(char);
                out.extend(chars.next_if_eq(&'^'));
                if chars.peek() == Some(&']') {
                    return Err(PatternError::Syntax("an empty character class"));
                }
                continue;
            }
            ']' => in_class = false,
            _ => {}
        }
        out.push(char);
    }
    Ok(out)
}
