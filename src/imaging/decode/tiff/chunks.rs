//! What strips and tiles may be, before any is unpacked.
//!
//! Invariant: the work is bounded by the size of the file, however often its bytes are named, and no chunk is unpacked to
//! more than its place in the image, or from fewer bytes than that.

use tiff::decoder::ChunkType;
use tiff::tags::Tag;

use super::{JPEG, Page, Reader, UNCOMPRESSED, malformed, patch, refused};
use crate::imaging::Error;
use crate::imaging::decode::jpeg;

/// Writers name the bytes of a blank tile many times; more than this is made to cost time.
const REPEATS: usize = 16;
/// What may be named in any case, in bytes.
const FREE: usize = 16 << 20;
/// Sides of a JPEG's frame are rounded up to its units, which are not larger.
const JPEG_UNIT: u32 = 64;

/// Judges the chunks of a file as it is described to the crate.
pub(super) fn judge(file: &[u8], page: &Page, reader: &mut Reader<'_>) -> Result<(), Error> {
    let chunks = patch::chunks(reader)?;
    let named = chunks.iter().fold(0usize, |sum, (_, length)| sum.saturating_add(*length));
    if named > file.len().saturating_mul(REPEATS).saturating_add(FREE) {
        return Err(malformed("chunks that lie on each other"));
    }
    match page.compression {
        UNCOMPRESSED => whole(&chunks, page, reader),
        JPEG => frames(file, &chunks, page, reader),
        _ => Ok(()),
    }
}

/// The crate reads on beyond a chunk that is too short, into whatever follows it.
fn whole(chunks: &[(usize, usize)], page: &Page, reader: &mut Reader<'_>) -> Result<(), Error> {
    let (_, height) = reader.dimensions().map_err(refused)?;
    let (width, rows) = reader.chunk_dimensions();
    let (bits, samples) = match page.shared {
        Some(_) => (8, 1),
        None => (u64::from(page.bits), if page.planar { 1 } else { u64::from(page.samples) }),
    };
    let row = (u64::from(width) * bits * samples).div_ceil(8);
    let strips = reader.get_chunk_type() == ChunkType::Strip;
    let a_plane = u64::from(height.div_ceil(rows.max(1))).max(1);
    for (at, (_, length)) in chunks.iter().enumerate() {
        let above = (at as u64 % a_plane) * u64::from(rows);
        let rows = if strips { u64::from(rows).min(u64::from(height).saturating_sub(above)) } else { u64::from(rows) };
        if (*length as u64) < row * rows {
            return Err(malformed("rows are missing"));
        }
    }
    Ok(())
}

/// The crate unpacks a JPEG whole, however large it says that it is.
fn frames(file: &[u8], chunks: &[(usize, usize)], page: &Page, reader: &mut Reader<'_>) -> Result<(), Error> {
    let (width, rows) = reader.chunk_dimensions();
    let most = (width.next_multiple_of(JPEG_UNIT), rows.min(page.height).next_multiple_of(JPEG_UNIT));
    let tables = reader.get_tag_u8_vec(Tag::JPEGTables).unwrap_or_default();
    if frame(&tables).is_some() {
        return Err(malformed("a frame among the tables of JPEG"));
    }
    let tiled = reader.get_chunk_type() == ChunkType::Tile;
    for (start, length) in chunks {
        let chunk =
            file.get(*start..start.saturating_add(*length)).ok_or_else(|| malformed("a chunk outside the file"))?;
        let (across, down) = frame(chunk).ok_or_else(|| malformed("a JPEG without frame"))?;
        let most = if tiled { (most.0, rows.next_multiple_of(JPEG_UNIT)) } else { most };
        if u32::from(across) > most.0 || u32::from(down) > most.1 {
            return Err(malformed("a JPEG larger than its place"));
        }
    }
    Ok(())
}

/// Width and height of the first frame header.
fn frame(jpeg: &[u8]) -> Option<(u16, u16)> {
    let mut found = None;
    // What is wrong behind it is the decoder's to say.
    let _walked = jpeg::walk(jpeg, |segment| {
        let is_frame = matches!(segment.marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF);
        if let (true, None, &[_, a, b, c, d, ..]) = (is_frame, found, segment.body) {
            found = Some((u16::from_be_bytes([c, d]), u16::from_be_bytes([a, b])));
        }
        Ok(())
    });
    found
}
