//! Wildcards of globs: `*`, `**` and the extended groups `?(…)`, `*(…)`, `+(…)`, `@(…)`, `!(…)`.
//!
//! Invariant of `syntax.rs` holds: picomatch's meaning, which depends on what stands before and behind a wildcard.

use super::PatternError;
use super::matcher::{Node, Sequence};
use super::syntax::{Before, Group, Parser, Previous};

impl Parser<'_> {
    /// `?(…)`, `*(…)`, `+(…)`, `@(…)`, `!(…)`; the mark is consumed, the parenthesis is next.
    pub(super) fn extended(&mut self, mark: u8, out: &mut Sequence) -> Result<(), PatternError> {
        self.at += 1;
        let from = self.at;
        let mut body = self.paren()?;
        let inner = &self.text[from..self.at - 1];
        out.push(match mark {
            b'@' => Node::Any(body),
            b'?' => Node::Repeat { body, min_once: false, max_once: true },
            b'*' => Node::Repeat { body, min_once: false, max_once: false },
            b'+' => Node::Repeat { body, min_once: true, max_once: false },
            _ => {
                let crosses = inner.len() > 1 && inner.contains(&b'/');
                let run = Box::new(if crosses { Node::GlobStar(self.dots) } else { Node::Star });
                let rest = self.rest();
                let mut whole = crosses || rest.iter().all(|byte| *byte == b')');
                // `!(*.d).ts`: the plain ending belongs to what is excluded.
                if inner.contains(&b'*')
                    && let [b'.', ending @ ..] = rest
                    && !ending.is_empty()
                    && !ending.iter().any(|byte| b"\\/.".contains(byte))
                {
                    let mut ending = Parser { at: 0, text: rest, previous: Previous::Text, ..*self };
                    let ending = ending.alternatives(Group::Top, false)?;
                    body = vec![vec![Node::Any(body), Node::Any(ending)]];
                    whole = false;
                }
                Node::Not { body, whole, run }
            }
        });
        Ok(())
    }

    /// One `*` was consumed; more may follow.
    pub(super) fn stars(&mut self, out: &mut Sequence) {
        let more = self.rest().iter().take_while(|byte| **byte == b'*').count();
        // The last star before a parenthesis opens an extended glob.
        let more = if self.rest().get(more) == Some(&b'(') { more.saturating_sub(1) } else { more };
        let (previous, count) = (self.previous, more + 1);
        self.at += more;
        self.previous = Previous::Star;
        let start = matches!(previous, Previous::Begin | Previous::Slash { .. });
        let grouped = previous == Previous::Open
            || (self.braces > 0 && previous == Previous::Comma)
            || previous == Previous::Paren;
        if count == 2 && (start || grouped) {
            return self.globstar(previous, out);
        }
        match previous {
            Previous::Dot => out.push(Node::NotDotThenEnd),
            _ if start => out.push(Node::NotHidden(self.dots)),
            _ => {}
        }
        if (start || previous == Previous::Dot) && count == 1 {
            out.push(Node::NotEnd);
        }
        out.push(Node::Star);
    }

    /// `**` where it can be a segment of its own.
    fn globstar(&mut self, previous: Previous, out: &mut Sequence) {
        while self.rest().starts_with(b"/**") && matches!(self.peek(3), None | Some(b'/')) {
            self.at += 3;
        }
        self.previous = Previous::Globstar;
        let (run, guard) = (Node::GlobStar(self.dots), Node::NotHidden(self.dots));
        let slash = || Node::Literal(vec![b'/']);
        match (previous, self.peek(0)) {
            (Previous::Slash { after: Before::Other }, None) => {
                out.pop();
                out.push(Node::Any(vec![vec![slash(), guard, run], vec![Node::End]]));
            }
            (Previous::Slash { after: Before::Other | Before::Wild }, Some(b'/')) => {
                out.pop();
                let mut ways = vec![vec![slash(), guard, run, slash()], vec![slash()]];
                if self.peek(1).is_some() {
                    ways.push(vec![Node::End]);
                }
                out.push(Node::Any(ways));
                self.at += 1;
                self.previous = Previous::Slash { after: Before::Wild };
            }
            (Previous::Begin, Some(b'/')) => {
                out.push(Node::Any(vec![vec![], vec![slash()], vec![run, slash()]]));
                self.at += 1;
                self.previous = Previous::Slash { after: Before::Wild };
            }
            (_, next) => {
                if matches!(previous, Previous::Begin | Previous::Slash { .. }) {
                    out.push(guard);
                }
                let keeps = match next {
                    None | Some(b'/' | b'(' | b')' | b'{') => true,
                    Some(b',' | b'}') => self.braces > 0,
                    Some(b'@') => self.peek(1) == Some(b'('),
                    // `**.jpg` as a whole pattern reaches into folders.
                    Some(b'.') => previous == Previous::Begin && is_extensions(self.rest()),
                    Some(_) => false,
                };
                if !keeps {
                    self.previous = Previous::Star;
                }
                out.push(if keeps { run } else { Node::Star });
            }
        }
    }
}

/// One or more `.word` up to the end.
fn is_extensions(text: &[u8]) -> bool {
    let word = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.first() == Some(&b'.') && text[1..].split(|byte| *byte == b'.').all(word)
}
