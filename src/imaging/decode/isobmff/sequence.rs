//! Files that have tracks only (`avis` without a still image): the first sample of the first image track.
//!
//! The sample table is read as far as the first sample needs it (ISO/IEC 14496-12 §8.7).

use std::borrow::Cow;

use super::reader::Reader;
use super::{Container, Fault, Item, Parsed, read_colour};

/// The first image of the first image track, for files that have tracks only.
pub(super) fn sequence<'a>(bytes: &'a [u8], moov: Reader<'a>, end: usize) -> Parsed<Container<'a>> {
    let mut table = None;
    moov.each(|kind, track| {
        if &kind == b"trak" && table.is_none() {
            let media = track.need(b"mdia", "a track without media")?;
            let handler = media.need(b"hdlr", "a track without a handler")?;
            if handler.0.get(8..12) == Some(b"pict") {
                let info = media.need(b"minf", "a track without information")?;
                table = Some(info.need(b"stbl", "a track without samples")?);
            }
        }
        Ok(())
    })?;
    let table = table.ok_or(Fault::Unsupported("no image track"))?;
    let mut descriptions = table.need(b"stsd", "a track without a description")?;
    descriptions.take(8)?;
    let Some((kind, mut entry)) = descriptions.next()? else {
        return Err(Fault::Malformed("a track without a description"));
    };
    if &kind != b"av01" {
        return Err(Fault::Unsupported("a track that is not AV1"));
    }
    // VisualSampleEntry: reserved fields, size, and 50 more bytes before the boxes.
    entry.take(24)?;
    let (width, height) = (u32::from(entry.u16()?), u32::from(entry.u16()?));
    entry.take(50)?;
    let (mut icc, mut nclx) = (None, None);
    if let Some(colour) = entry.find(b"colr")? {
        read_colour(colour, &mut icc, &mut nclx)?;
    }
    let mut sizes = table.need(b"stsz", "a track without sample sizes")?;
    sizes.version()?;
    let size = match (sizes.u32()?, sizes.u32()?) {
        (0, 1..) => sizes.u32()?,
        (size, _) => size,
    };
    let offset = match (table.find(b"stco")?, table.find(b"co64")?) {
        (Some(mut chunks), _) => (chunks.take(8)?, chunks.uint(4)?).1,
        (None, Some(mut chunks)) => (chunks.take(8)?, chunks.uint(8)?).1,
        (None, None) => return Err(Fault::Malformed("a track without chunks")),
    };
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let data = bytes.get(start..start.saturating_add(size as usize));
    let data = data.ok_or(Fault::Malformed("a sample lies outside the file: it is truncated"))?;
    let colour = Item { width, height, columns: 1, tiles: vec![Cow::Borrowed(data)] };
    let (alpha, premultiplied, quarters, mirror) = (None, false, 0, None);
    Ok(Container {
        colour,
        alpha,
        premultiplied,
        icc,
        nclx,
        quarters,
        mirror,
        aperture: None,
        twelve_bits: false,
        has_metadata: true,
        end,
    })
}
