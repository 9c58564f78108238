//! Reads a glob in the meaning that picomatch 4 gives it, which is what Next.js matches its patterns with.
//!
//! Invariant: where picomatch has a meaning, quirks included, it is kept, because operators bring working configurations;
//! what it hands through as a raw regular expression (`\d`, `(?=…)`) or silently never matches (an open brace) is
//! refused at start instead. The facts are in the tests' tables, taken from picomatch's own answers.

use super::PatternError;
use super::matcher::{Dots, Node, Program, Sequence};

/// Groups inside groups; more is a mistake, and recursion must end.
const MAX_DEPTH: usize = 16;

/// What was read last: wildcards mean different things behind different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Previous {
    Begin,
    Slash { after: Before },
    Dot,
    Star,
    Globstar,
    Bracket,
    Brace,
    Paren,
    Open,
    Comma,
    Text,
}

/// What stood before a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Begin,
    Wild,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Top,
    Brace,
    Paren,
}

pub(super) struct Parser<'p> {
    pub(super) text: &'p [u8],
    pub(super) at: usize,
    pub(super) dots: Dots,
    pub(super) previous: Previous,
    pub(super) braces: usize,
    pub(super) parens: usize,
}

/// Compiles `pattern`; `dots` says which segments wildcards avoid.
pub(super) fn parse(pattern: &str, dots: Dots) -> Result<Program, PatternError> {
    let mut text = pattern.as_bytes();
    let mut negated = false;
    // `!(` opens an extended glob; any other `!` at the front negates, and two cancel each other.
    while let [b'!', rest @ ..] = text
        && rest.first() != Some(&b'(')
    {
        negated = !negated;
        text = rest;
    }
    text = text.strip_prefix(b"./").unwrap_or(text);
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    // Without any of these, picomatch takes a short way in which `|` is itself.
    let special = text.first() == Some(&b'*') || text.iter().any(|byte| b"/()[]{}\"".contains(byte));
    let mut parser = Parser { text, at: 0, dots, previous: Previous::Begin, braces: 0, parens: 0 };
    let mut alternatives = parser.alternatives(Group::Top, !special)?;
    if (special || negated)
        && matches!(parser.previous, Previous::Star | Previous::Bracket)
        && let Some(last) = alternatives.last_mut()
    {
        last.push(Node::Any(vec![vec![], vec![Node::Literal(b"/".to_vec())]]));
    }
    alternatives.iter_mut().for_each(merge_literals);
    Ok(Program { alternatives, negated })
}

impl Parser<'_> {
    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.text[self.at.min(self.text.len())..]
    }

    /// Reads until the group's end, which is consumed.
    pub(super) fn alternatives(&mut self, group: Group, literal_pipes: bool) -> Result<Vec<Sequence>, PatternError> {
        if self.braces + self.parens > MAX_DEPTH {
            return Err(PatternError::Syntax("groups are nested too deeply"));
        }
        let mut done = Vec::new();
        let mut current = Sequence::new();
        while let Some(byte) = self.peek(0) {
            match byte {
                b'}' if group == Group::Brace => {
                    self.at += 1;
                    done.push(current);
                    return Ok(done);
                }
                b')' if group == Group::Paren => {
                    self.at += 1;
                    done.push(current);
                    return Ok(done);
                }
                b',' if group == Group::Brace => {
                    self.at += 1;
                    self.previous = Previous::Comma;
                    done.push(std::mem::take(&mut current));
                }
                b'|' if !literal_pipes => {
                    self.at += 1;
                    self.previous = Previous::Text;
                    done.push(std::mem::take(&mut current));
                }
                _ => self.element(byte, &mut current)?,
            }
        }
        match group {
            Group::Top => {
                done.push(current);
                Ok(done)
            }
            Group::Brace => Err(PatternError::Syntax("a brace is not closed")),
            Group::Paren => Err(PatternError::Syntax("a parenthesis is not closed")),
        }
    }

    fn element(&mut self, byte: u8, out: &mut Sequence) -> Result<(), PatternError> {
        if matches!(byte, b'?' | b'+' | b'@' | b'!' | b'*') && self.peek(1) == Some(b'(') {
            self.at += 1;
            return self.extended(byte, out);
        }
        self.at += 1;
        match byte {
            b'\\' => self.escape(out),
            b'"' => self.quoted(out),
            b'[' => self.class(out),
            b'{' => self.brace(out),
            b'(' => {
                let body = self.paren()?;
                out.push(Node::Any(body));
                Ok(())
            }
            b'*' => {
                self.stars(out);
                Ok(())
            }
            b'?' => self.question(out),
            b'+' => self.plus(out),
            b'/' => {
                let after = match self.previous {
                    Previous::Begin => Before::Begin,
                    Previous::Star | Previous::Globstar => Before::Wild,
                    _ => Before::Other,
                };
                self.previous = Previous::Slash { after };
                out.push(Node::Literal(vec![b'/']));
                Ok(())
            }
            b'.' => {
                let leading = matches!(self.previous, Previous::Begin | Previous::Slash { .. });
                let grouped = self.braces + self.parens > 0;
                self.previous = if leading || grouped { Previous::Dot } else { Previous::Text };
                out.push(Node::Literal(vec![b'.']));
                Ok(())
            }
            _ => {
                self.previous = Previous::Text;
                out.push(Node::Literal(vec![byte]));
                Ok(())
            }
        }
    }

    fn escape(&mut self, out: &mut Sequence) -> Result<(), PatternError> {
        match self.peek(0) {
            None => Err(PatternError::Syntax("a backslash at the end")),
            // picomatch hands these to the regular expression, where `\d` is a class: say so instead of guessing.
            Some(byte) if byte.is_ascii_alphanumeric() => {
                Err(PatternError::Syntax("a backslash before a letter or digit"))
            }
            Some(b'/' | b'.' | b';') => Ok(()),
            Some(byte) => {
                self.at += 1;
                self.previous = Previous::Text;
                out.push(Node::Literal(vec![byte]));
                Ok(())
            }
        }
    }

    fn quoted(&mut self, out: &mut Sequence) -> Result<(), PatternError> {
        let length = self.rest().iter().position(|byte| *byte == b'"');
        let length = length.ok_or(PatternError::Syntax("a quotation mark is not closed"))?;
        out.extend(self.rest()[..length].iter().map(|byte| Node::Literal(vec![*byte])));
        self.at += length + 1;
        self.previous = Previous::Text;
        Ok(())
    }

    fn question(&mut self, out: &mut Sequence) -> Result<(), PatternError> {
        if self.previous == Previous::Paren {
            // Behind a closed parenthesis it is the regular expression's mark: *perhaps*, or, behind a repetition,
            // *lazily*, which changes nothing here.
            if matches!(out.last(), Some(Node::Repeat { .. })) {
                self.previous = Previous::Text;
                return Ok(());
            }
            return self.quantify(out, false, true);
        }
        let start = matches!(self.previous, Previous::Begin | Previous::Slash { .. });
        let hides = start && self.dots == Dots::Leading;
        self.previous = Previous::Text;
        let ranges = if hides { vec![(b'/', b'/'), (b'.', b'.')] } else { vec![(b'/', b'/')] };
        out.push(Node::Class { negated: true, ranges });
        Ok(())
    }

    fn plus(&mut self, out: &mut Sequence) -> Result<(), PatternError> {
        let repeats = matches!(self.previous, Previous::Paren | Previous::Brace | Previous::Bracket) || self.parens > 0;
        if repeats && self.previous != Previous::Open && !out.is_empty() {
            return self.quantify(out, true, false);
        }
        self.previous = Previous::Text;
        out.push(Node::Literal(vec![b'+']));
        Ok(())
    }

    fn quantify(&mut self, out: &mut Sequence, min_once: bool, max_once: bool) -> Result<(), PatternError> {
        let last = out.pop().ok_or(PatternError::Syntax("nothing to repeat"))?;
        self.previous = Previous::Text;
        out.push(Node::Repeat { body: vec![vec![last]], min_once, max_once });
        Ok(())
    }

    /// `{a,b}`, `{1..3}`, and `{a}`, which is itself.
    fn brace(&mut self, out: &mut Sequence) -> Result<(), PatternError> {
        if let [low, b'.', b'.', high, b'}', ..] = *self.rest() {
            self.at += 5;
            self.previous = Previous::Brace;
            out.push(Node::Class { negated: false, ranges: vec![(low.min(high), low.max(high))] });
            return Ok(());
        }
        let content = self.rest().split(|byte| *byte == b'}').next().unwrap_or_default();
        if content.windows(2).any(|pair| pair == b"..") {
            return Err(PatternError::Syntax("a range in braces joins two single characters"));
        }
        self.braces += 1;
        self.previous = Previous::Open;
        let mut body = self.alternatives(Group::Brace, false)?;
        self.braces -= 1;
        match body.as_mut_slice() {
            [only] => {
                out.push(Node::Literal(vec![b'{']));
                out.append(only);
                out.push(Node::Literal(vec![b'}']));
                self.previous = Previous::Text;
            }
            _ => {
                out.push(Node::Any(body));
                self.previous = Previous::Brace;
            }
        }
        Ok(())
    }

    pub(super) fn paren(&mut self) -> Result<Vec<Sequence>, PatternError> {
        if self.peek(0) == Some(b'?') && matches!(self.peek(1), Some(b'!' | b'=' | b'<' | b':')) {
            return Err(PatternError::Syntax("regular expression groups are not globs"));
        }
        self.parens += 1;
        self.previous = Previous::Open;
        let body = self.alternatives(Group::Paren, false)?;
        self.parens -= 1;
        self.previous = Previous::Paren;
        Ok(body)
    }
}

/// Joins neighbouring literals, in groups too: most patterns become two or three nodes.
fn merge_literals(sequence: &mut Sequence) {
    let mut merged = Sequence::with_capacity(sequence.len());
    for mut node in std::mem::take(sequence) {
        match &mut node {
            Node::Any(body) | Node::Repeat { body, .. } | Node::Not { body, .. } => {
                body.iter_mut().for_each(merge_literals);
            }
            _ => {}
        }
        match (merged.last_mut(), node) {
            (Some(Node::Literal(left)), Node::Literal(mut right)) => left.append(&mut right),
            (_, node) => merged.push(node),
        }
    }
    *sequence = merged;
}
