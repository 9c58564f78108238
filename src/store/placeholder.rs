//! A placeholder set as octets in a column.
//!
//! Invariant: what cannot be read is absent, never an error: a placeholder is made again from the image.

use std::sync::Arc;

use crate::record::PlaceholderSet;

/// The first octet, raised when the rest changes its meaning.
const VERSION: u8 = 1;

pub(super) fn encode(set: &PlaceholderSet) -> Option<Arc<[u8]>> {
    let encoded = postcard::to_extend(set, vec![VERSION]).ok()?;
    Some(encoded.into())
}

pub(super) fn decode(bytes: &[u8]) -> Option<PlaceholderSet> {
    let (version, rest) = bytes.split_first()?;
    (*version == VERSION).then(|| postcard::from_bytes(rest).ok())?
}
