//! Small changes to a TIFF file in memory, by which it says what the decoder understands.
//!
//! Invariant: only bytes of entries that are there, and of chunks that the entries name, are written; sizes stay.

use tiff::tags::Tag;

use super::{Reader, refused};
use crate::imaging::Error;

/// Types of a 16-bit and a 32-bit number, and their bytes.
const SHORT: (u32, usize) = (3, 2);
const LONG: (u32, usize) = (4, 4);

/// Numbers in the byte order of a file.
struct Order {
    little: bool,
    /// 64-bit offsets (BigTIFF).
    big: bool,
}

impl Order {
    fn of(file: &[u8]) -> Option<Self> {
        let little = file.starts_with(b"II");
        let order = Self { little, big: false };
        Some(Self { little, big: order.read(file, 2, 2)? == 43 })
    }

    fn read(&self, file: &[u8], at: usize, bytes: usize) -> Option<usize> {
        let field = file.get(at..at.checked_add(bytes)?)?;
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let value = if self.little { field.iter().rev().fold(0, shift) } else { field.iter().fold(0, shift) };
        usize::try_from(value).ok()
    }

    fn write(&self, file: &mut [u8], at: usize, bytes: usize, value: u32) -> Option<()> {
        let field = file.get_mut(at..at.checked_add(bytes)?)?;
        let whole = u64::from(value);
        if self.little {
            field.copy_from_slice(&whole.to_le_bytes()[..bytes]);
        } else {
            field.copy_from_slice(&whole.to_be_bytes()[8 - bytes..]);
        }
        Some(())
    }
}

/// Gives the first directory's entry `tag` one 32-bit number; `None` when there is no such entry. Of several entries of
/// one tag readers take one or another: all of them are written.
pub(super) fn set(file: &mut [u8], tag: u16, value: u32) -> Option<()> {
    write(file, tag, value, LONG)
}

/// The same for a number of 16 bits, where the decoder insists on them.
pub(super) fn set_short(file: &mut [u8], tag: u16, value: u16) -> Option<()> {
    write(file, tag, u32::from(value), SHORT)
}

fn write(file: &mut [u8], tag: u16, value: u32, (kind, bytes): (u32, usize)) -> Option<()> {
    let order = Order::of(file)?;
    let (directory, count_bytes, entry_bytes) =
        if order.big { (order.read(file, 8, 8)?, 8, 20) } else { (order.read(file, 4, 4)?, 2, 12) };
    let count = order.read(file, directory, count_bytes)?.min(65_535);
    let mut written = None;
    for entry in 0..count {
        let at = directory.checked_add(count_bytes)?.checked_add(entry * entry_bytes)?;
        if order.read(file, at, 2)? == usize::from(tag) {
            let number = if order.big { 8 } else { 4 };
            order.write(file, at + 2, 2, kind)?;
            order.write(file, at + 4, number, 1)?;
            order.write(file, at + 4 + number, bytes, value)?;
            written = Some(());
        }
    }
    written
}

/// Offset and length of every strip or tile.
pub(super) fn chunks(reader: &mut Reader<'_>) -> Result<Vec<(usize, usize)>, Error> {
    let mut numbers = |strip, tile| {
        let found = reader.find_tag_unsigned_vec::<u64>(strip).map_err(refused)?;
        match found {
            Some(found) => Ok(found),
            None => Ok::<_, Error>(reader.find_tag_unsigned_vec::<u64>(tile).map_err(refused)?.unwrap_or_default()),
        }
    };
    let offsets = numbers(Tag::StripOffsets, Tag::TileOffsets)?;
    let lengths = numbers(Tag::StripByteCounts, Tag::TileByteCounts)?;
    let pairs = offsets.into_iter().zip(lengths);
    Ok(pairs.filter_map(|(at, length)| Some((at.try_into().ok()?, length.try_into().ok()?))).collect())
}

/// Turns every byte of the chunks around, first bit last. Chunks that overlap are turned around once, since each byte of
/// the file can be stored in one order only.
pub(super) fn mirror(file: &mut [u8], chunks: &[(usize, usize)]) {
    let mut sorted = chunks.to_vec();
    sorted.sort_unstable();
    let mut done = 0;
    for (start, length) in sorted {
        let end = start.saturating_add(length).min(file.len());
        let start = start.max(done);
        if start < end {
            file[start..end].iter_mut().for_each(|byte| *byte = byte.reverse_bits());
            done = end;
        }
    }
}
