//! Paths of URLs as origins may read them: escapes, and what hides behind them.
//!
//! Invariant: what is judged here is what an origin that decodes too often would see.

use percent_encoding::percent_decode;

use super::Refusal;

/// How often a path is percent-decoded to see what an origin that decodes too often would see.
const MAX_DECODINGS: usize = 4;

/// Whether a `%` is no escape. Next.js takes that in absolute URLs, where it is sent as it is (`/100%.jpg`), and not in
/// paths of its own.
pub(super) fn has_malformed_escape(path: &str) -> bool {
    path.match_indices('%').any(|(at, _)| {
        let escape = path.as_bytes().get(at + 1..at + 3);
        !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Percent-decodes until nothing changes, which is a guess about origins that decode more than once, where
/// `100%25.jpg` is honest. Backslashes come out as the slashes some origins see.
pub(super) fn decode_path(path: &str) -> Result<Vec<u8>, Refusal> {
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        let next: Vec<u8> = percent_decode(&decoded).collect();
        if next == decoded {
            decoded.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
            return Ok(decoded);
        }
        decoded = next;
    }
    Err(Refusal::Invalid("a percent escape inside many others"))
}

/// Refuses `.` and `..` segments that were hidden from the parser (and so from the patterns) by encoding: `%252e%252e`,
/// `..%2f`, `..%5c`, and `..;x`, which some servers read as `..`. An encoded slash alone is honest: some stores have
/// names with slashes in them.
pub(super) fn refuse_hidden_segments(decoded: &[u8]) -> Result<(), Refusal> {
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    if decoded.split(|byte| *byte == b'/').any(is_dots) {
        return Err(Refusal::NotAllowed("a hidden dot segment"));
    }
    Ok(())
}

/// Whether the path goes through `endpoint`, also behind a prefix: ends with it or has a slash behind it.
pub(super) fn is_under(path: &[u8], endpoint: &[u8]) -> bool {
    let ends = |at: usize| matches!(path.get(at), None | Some(b'/'));
    path.windows(endpoint.len()).enumerate().any(|(at, window)| window == endpoint && ends(at + endpoint.len()))
}
