//! How many lines the log gets of failed requests, of which strangers can make as many as they like.
//!
//! Invariant: **at most [`MOST`] lines a second for each code**; what is left out is counted, and the next line says how many.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines a second of one code.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

struct Window {
    since: Instant,
    written: u32,
    /// Left out since the last line.
    more: u64,
}

/// By code; their number is that of the error table.
pub(super) struct Restraint(Mutex<Option<HashMap<&'static str, Window>>>);

/// That of the process's log.
pub(super) static RESTRAINT: Restraint = Restraint(Mutex::new(None));

impl Restraint {
    /// Whether a line of `code` is written now, and how many were left out before it.
    pub(super) fn admit(&self, code: &'static str, now: Instant) -> Option<u64> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get_or_insert_default().entry(code);
        let window = window.or_insert(Window { since: now, written: 0, more: 0 });
        if now.saturating_duration_since(window.since) >= WINDOW {
            (window.since, window.written) = (now, 0);
        }
        if window.written == MOST {
            window.more += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_code_is_a_few_lines_and_a_number() {
        let (restraint, start) = (Restraint(Mutex::new(None)), Instant::now());
        let lines = (0..1_000).filter_map(|_| restraint.admit("a", start)).collect::<Vec<_>>();
        assert_eq!(lines, [0; MOST as usize]);
        assert_eq!(restraint.admit("b", start), Some(0), "each code for itself");
        assert_eq!(restraint.admit("a", start + WINDOW), Some(990));
        assert_eq!(restraint.admit("a", start + WINDOW), Some(0));
    }
}
