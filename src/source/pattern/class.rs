//! Character classes of globs: `[a-z]`, `[^/]`, `[[:digit:]]`.
//!
//! Invariant of `syntax.rs` holds: picomatch's meaning, in which only `^` negates.

use super::PatternError;
use super::matcher::{Node, Sequence};
use super::syntax::{Parser, Previous};

impl Parser<'_> {
    /// `[…]`; the bracket was consumed. Only `^` negates (`!` is a member), and a class of plain characters also
    /// matches its own text, which is how `[::1]` names an IPv6 host.
    pub(super) fn class(&mut self, out: &mut Sequence) -> Result<(), PatternError> {
        const OPEN: PatternError = PatternError::Syntax("a bracket is not closed");
        let from = self.at;
        let negated = self.peek(0) == Some(b'^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        let first = self.at;
        loop {
            let byte = self.peek(0).ok_or(OPEN)?;
            if byte == b']' && self.at > first {
                break;
            }
            if byte == b'[' && self.peek(1) == Some(b':') {
                let rest = &self.rest()[2..];
                let length = rest.windows(2).position(|pair| pair == b":]").ok_or(OPEN)?;
                ranges.extend(posix(&rest[..length]).ok_or(PatternError::Syntax("an unknown character class"))?);
                self.at += length + 4;
                continue;
            }
            let low = self.member().ok_or(OPEN)?;
            if self.peek(0) == Some(b'-') && self.peek(1).is_some_and(|byte| byte != b']') {
                self.at += 1;
                let high = self.member().ok_or(OPEN)?;
                if low > high {
                    return Err(PatternError::Syntax("a range runs backwards"));
                }
                ranges.push((low, high));
            } else {
                ranges.push((low, low));
            }
        }
        let inner = &self.text[from..self.at];
        self.at += 1;
        self.previous = Previous::Bracket;
        if negated && !inner.contains(&b'/') {
            ranges.push((b'/', b'/'));
        }
        let plain = !inner.iter().any(|byte| b"-*+?.^${}(|)[]\\".contains(byte));
        let class = Node::Class { negated, ranges };
        if plain {
            let own = [b"[".as_slice(), inner, b"]"].concat();
            out.push(Node::Any(vec![vec![Node::Literal(own)], vec![class]]));
        } else {
            out.push(class);
        }
        Ok(())
    }

    fn member(&mut self) -> Option<u8> {
        if self.peek(0) == Some(b'\\') {
            self.at += 1;
        }
        let byte = self.peek(0)?;
        self.at += 1;
        Some(byte)
    }
}

fn posix(name: &[u8]) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        b"alnum" => &[(b'a', b'z'), (b'A', b'Z'), (b'0', b'9')],
        b"alpha" => &[(b'a', b'z'), (b'A', b'Z')],
        b"digit" => &[(b'0', b'9')],
        b"lower" => &[(b'a', b'z')],
        b"upper" => &[(b'A', b'Z')],
        b"word" => &[(b'a', b'z'), (b'A', b'Z'), (b'0', b'9'), (b'_', b'_')],
        b"xdigit" => &[(b'a', b'f'), (b'A', b'F'), (b'0', b'9')],
        _ => return None,
    })
}
