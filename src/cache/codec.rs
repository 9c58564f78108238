//! Records and variants as bytes for a tier outside the process.
//!
//! A value is a header of sixteen bytes and a payload: magic, version, kind, length, and a CRC-32 over all the rest. The
//! law: what was not written by this version, or not written whole, is refused as a whole; nothing here panics or trusts
//! a length. The checksum is against accidents; against whoever else may write to the store
//! there is `redis.integrity_key`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Entry, Mark};
use crate::format::ImageFormat;
use crate::record::SourceRecord;
use crate::variant::Effort;

/// Part of every key and every value: raised when either is written differently.
pub const VERSION: u8 = 3;

const MAGIC: [u8; 4] = *b"pxgt";
/// Magic 4, version 1, kind 1, zero 2, length 4, checksum 4.
const HEADER: usize = 16;
const CHECKED: usize = 12;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Record = 1,
    Entry = 2,
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not written by Pixgate, or cut within its header.
    #[error("not a value of Pixgate's")]
    Foreign,
    /// Written by another version.
    #[error("written in version {0} of the format")]
    Version(u8),
    /// A record where a variant should be, or the reverse.
    #[error("of another kind")]
    Kind,
    /// Cut or lengthened.
    #[error("not of the length it names")]
    Length,
    /// Changed on its way.
    #[error("of another checksum than it names")]
    Checksum,
    /// Not written with `redis.integrity_key`.
    #[error("without the proof of redis.integrity_key")]
    Forged,
    /// Whole, and not readable all the same.
    #[error("not readable")]
    Payload,
}

/// What stands before the image.
#[derive(Serialize, Deserialize)]
struct Meta<'a> {
    format: ImageFormat,
    width: u32,
    height: u32,
    etag: &'a str,
    effort: Option<Effort>,
}

/// A record as bytes.
pub fn encode_record(record: &SourceRecord) -> Option<Vec<u8>> {
    // Into a vector it fails for lengths that are not known beforehand only, which no field has.
    let payload = postcard::to_allocvec(record).ok()?;
    seal(Kind::Record, &payload, &[])
}

/// A record from bytes.
///
/// # Errors
/// [`Damage`].
pub fn decode_record(value: &Bytes) -> Result<SourceRecord, Damage> {
    let payload = open(Kind::Record, value)?;
    match postcard::take_from_bytes(&payload) {
        Ok((record, [])) => Ok(record),
        _ => Err(Damage::Payload),
    }
}

/// A variant as bytes.
pub fn encode_entry(entry: &Entry) -> Option<Vec<u8>> {
    let Entry { format, width, height, effort, .. } = *entry;
    let meta = Meta { format, width, height, etag: &entry.etag, effort };
    seal(Kind::Entry, &postcard::to_allocvec(&meta).ok()?, &entry.bytes)
}

/// A variant from bytes; the image stays where it is and is not copied.
///
/// # Errors
/// [`Damage`].
pub fn decode_entry(value: &Bytes) -> Result<Entry, Damage> {
    let payload = open(Kind::Entry, value)?;
    let (meta, picture) = postcard::take_from_bytes::<Meta<'_>>(&payload).map_err(|_| Damage::Payload)?;
    let Meta { format, width, height, etag, effort } = meta;
    let bytes = payload.slice_ref(picture);
    Ok(Entry { bytes, format, width, height, etag: etag.to_owned(), effort, noted: Mark::default() })
}

/// `None` when it is longer than a value can be (4 GiB).
fn seal(kind: Kind, head: &[u8], tail: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(head.len() + tail.len()).ok()?;
    let mut value = Vec::with_capacity(HEADER + head.len() + tail.len());
    value.extend_from_slice(&MAGIC);
    value.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    value.extend_from_slice(&length.to_be_bytes());
    let checksum = checksum(&value, &[head, tail]);
    value.extend_from_slice(&checksum.to_be_bytes());
    value.extend_from_slice(head);
    value.extend_from_slice(tail);
    Some(value)
}

fn open(kind: Kind, value: &Bytes) -> Result<Bytes, Damage> {
    let Some((header, payload)) = value.split_first_chunk::<HEADER>() else { return Err(Damage::Foreign) };
    let [m0, m1, m2, m3, version, found, _, _, l0, l1, l2, l3, checked @ ..] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Damage::Foreign);
    }
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    if found != kind as u8 {
        return Err(Damage::Kind);
    }
    if usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])) != Ok(payload.len()) {
        return Err(Damage::Length);
    }
    if u32::from_be_bytes(checked) != checksum(&header[..CHECKED], &[payload]) {
        return Err(Damage::Checksum);
    }
    Ok(value.slice(HEADER..))
}

fn checksum(header: &[u8], payload: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    payload.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

#[cfg(test)]
mod tests;
