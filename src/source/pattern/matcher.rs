//! The form a glob is compiled to, and the matcher that runs it.
//!
//! Invariant: the text is a stranger's, so work is bounded. Every step maps a sorted set of positions to the next set (as
//! an NFA does), so nothing is tried twice from one place; a step counter ends what lookarounds could still multiply,
//! and ending early means *no match*.

/// Steps after which a match is given up; a text of the longest admitted URL needs a small part of it.
const MAX_STEPS: usize = 1_000_000;

/// One alternative: nodes that match one after another.
pub(super) type Sequence = Vec<Node>;

/// One element of a compiled glob. Texts are ASCII (parsed URLs), so a byte is a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// These bytes.
    Literal(Vec<u8>),
    /// One byte of a class (or none of it).
    Class { negated: bool, ranges: Vec<(u8, u8)> },
    /// `*`: any run without a slash.
    Star,
    /// `**`: any run, slashes included, that enters no hidden segment (see [`Dots`]).
    GlobStar(Dots),
    /// Looks ahead: the segment that starts here is not hidden.
    NotHidden(Dots),
    /// Looks ahead: what follows is neither the end, nor a slash, nor a dot before one of these.
    NotDotThenEnd,
    /// Looks ahead: one more byte at least.
    NotEnd,
    /// The end of the text.
    End,
    /// One of several.
    Any(Vec<Sequence>),
    /// One of several, repeatedly.
    Repeat { body: Vec<Sequence>, min_once: bool, max_once: bool },
    /// `!(…)`: a run that does not begin with the body; with `whole`, that is not the body up to the text's end.
    Not { body: Vec<Sequence>, whole: bool, run: Box<Node> },
}

/// Which segments a wildcard does not enter by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dots {
    /// Those that begin with a dot (hostnames).
    Leading,
    /// `.` and `..` only (pathnames, picomatch's `dot: true`).
    Relative,
}

impl Dots {
    fn hidden_at(self, text: &[u8], at: usize) -> bool {
        matches!(
            (self, &text[at..]),
            (Self::Leading, [b'.', ..])
                | (Self::Relative, [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
        )
    }
}

/// A whole glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) alternatives: Vec<Sequence>,
    /// The pattern began with an odd number of `!`.
    pub(super) negated: bool,
}

impl Program {
    /// Whether the program matches the whole text. Running out of steps is no match, for a negated pattern too.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let mut run = Run { text, steps: 0 };
        let ends = run.any(&self.alternatives, &[0]);
        let found = ends.last() == Some(&text.len());
        run.steps < MAX_STEPS && found != self.negated
    }
}

struct Run<'t> {
    text: &'t [u8],
    steps: usize,
}

impl Run<'_> {
    /// Ends of any of the alternatives begun at any of `starts`; sorted, without duplicates, like every set here.
    fn any(&mut self, alternatives: &[Sequence], starts: &[usize]) -> Vec<usize> {
        match alternatives {
            [only] => self.sequence(only, starts),
            _ => {
                let mut ends: Vec<usize> = Vec::new();
                for alternative in alternatives {
                    ends.extend(self.sequence(alternative, starts));
                }
                ends.sort_unstable();
                ends.dedup();
                ends
            }
        }
    }

    fn sequence(&mut self, nodes: &[Node], starts: &[usize]) -> Vec<usize> {
        let mut at = starts.to_vec();
        for node in nodes {
            if at.is_empty() {
                break;
            }
            at = self.step(node, at);
        }
        at
    }

    fn step(&mut self, node: &Node, starts: Vec<usize>) -> Vec<usize> {
        self.steps += starts.len();
        if self.steps >= MAX_STEPS {
            return Vec::new();
        }
        let text = self.text;
        match node {
            Node::Literal(bytes) => advance(starts, |at| text[at..].starts_with(bytes).then_some(at + bytes.len())),
            Node::Class { negated, ranges } => advance(starts, |at| {
                let byte = text.get(at)?;
                let within = ranges.iter().any(|(low, high)| (low..=high).contains(&byte));
                (within != *negated).then_some(at + 1)
            }),
            Node::Star => self.spread(&starts, |at| text[at] == b'/'),
            Node::GlobStar(dots) => self.spread(&starts, |at| {
                (at == 0 && dots.hidden_at(text, 0)) || (text[at] == b'/' && dots.hidden_at(text, at + 1))
            }),
            Node::NotHidden(dots) => advance(starts, |at| (!dots.hidden_at(text, at)).then_some(at)),
            Node::NotDotThenEnd => advance(starts, |at| {
                let rest = text[at..].strip_prefix(b".").unwrap_or(&text[at..]);
                let ends = |rest: &[u8]| rest.first().is_none_or(|byte| *byte == b'/');
                (!ends(rest) && !ends(&text[at..])).then_some(at)
            }),
            Node::NotEnd => advance(starts, |at| (at < text.len()).then_some(at)),
            Node::End => advance(starts, |at| (at == text.len()).then_some(at)),
            Node::Any(alternatives) => self.any(alternatives, &starts),
            Node::Repeat { body, min_once, max_once } => self.repeat(body, starts, *min_once, *max_once),
            Node::Not { body, whole, run } => {
                let end = text.len();
                let free = |this: &mut Self, at: &usize| {
                    let ends = this.any(body, &[*at]);
                    if *whole { ends.last() != Some(&end) } else { ends.is_empty() }
                };
                let allowed: Vec<usize> = starts.into_iter().filter(|at| free(self, at)).collect();
                self.step(run, allowed)
            }
        }
    }

    /// From each start, every position up to and including the first that is `blocked` (or the end).
    fn spread(&mut self, starts: &[usize], blocked: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut ends: Vec<usize> = Vec::new();
        for start in starts {
            // A start inside the run of an earlier one reaches nothing new.
            let mut at = *start;
            if ends.last().is_some_and(|last| *last >= at) {
                continue;
            }
            ends.push(at);
            while at < self.text.len() && !blocked(at) {
                at += 1;
                ends.push(at);
            }
        }
        self.steps += ends.len();
        ends
    }

    fn repeat(&mut self, body: &[Sequence], starts: Vec<usize>, min_once: bool, max_once: bool) -> Vec<usize> {
        let mut seen = vec![false; self.text.len() + 1];
        if !min_once {
            starts.iter().for_each(|at| seen[*at] = true);
        }
        let mut frontier = starts;
        while !frontier.is_empty() && self.steps < MAX_STEPS {
            let mut next = self.any(body, &frontier);
            next.retain(|at| !std::mem::replace(&mut seen[*at], true));
            if max_once {
                break;
            }
            frontier = next;
        }
        self.steps += seen.len();
        seen.iter().enumerate().filter_map(|(at, reached)| reached.then_some(at)).collect()
    }
}

/// Maps each position or drops it; order and distinctness survive because every map here adds a constant.
fn advance(mut starts: Vec<usize>, map: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut kept = 0;
    for index in 0..starts.len() {
        if let Some(end) = map(starts[index]) {
            starts[kept] = end;
            kept += 1;
        }
    }
    starts.truncate(kept);
    starts
}
