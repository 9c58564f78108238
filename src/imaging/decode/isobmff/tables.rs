//! The tables of `meta`: which items there are, where their bytes lie, what is said of them.
//!
//! Invariant: no loop is longer than the bytes it reads or a constant.

use std::borrow::Cow;

use super::reader::{Fault, Parsed, Reader};

/// Items, references and extents a file may have; real files have a handful, grids some hundreds.
const MAX_ENTRIES: usize = 4096;

pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) kind: [u8; 4],
}

struct Location {
    id: u32,
    in_idat: bool,
    extents: Vec<(u64, u64)>,
}

/// What the boxes of `meta` say.
#[derive(Default)]
pub(super) struct Meta<'a> {
    pub(super) primary: u32,
    pub(super) entries: Vec<Entry>,
    locations: Vec<Location>,
    /// Type, from, to.
    pub(super) references: Vec<([u8; 4], u32, u32)>,
    properties: Vec<([u8; 4], Reader<'a>)>,
    /// Item and index of its property, from 1.
    associations: Vec<(u32, usize)>,
    idat: &'a [u8],
}

impl<'a> Meta<'a> {
    pub(super) fn properties_of(&self, item: u32) -> impl Iterator<Item = ([u8; 4], Reader<'a>)> {
        let wanted = self.associations.iter().filter(move |(id, _)| *id == item);
        wanted.filter_map(|(_, index)| self.properties.get(index.checked_sub(1)?).copied())
    }

    pub(super) fn property(&self, item: u32, wanted: &[u8; 4]) -> Option<Reader<'a>> {
        self.properties_of(item).find(|(kind, _)| kind == wanted).map(|(_, body)| body)
    }

    pub(super) fn size(&self, item: u32) -> Parsed<(u32, u32)> {
        let mut body = self.property(item, b"ispe").ok_or(Fault::Malformed("no image size"))?;
        body.version()?;
        Ok((body.u32()?, body.u32()?))
    }

    pub(super) fn data(&self, bytes: &'a [u8], item: u32) -> Parsed<Cow<'a, [u8]>> {
        let location = self.locations.iter().find(|location| location.id == item);
        let location = location.ok_or(Fault::Malformed("an item without data"))?;
        let source = if location.in_idat { self.idat } else { bytes };
        let slice = |(offset, length): (u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            // A length of 0 means: to the end.
            let end = if length == 0 { source.len() } else { start.checked_add(usize::try_from(length).ok()?)? };
            source.get(start..end)
        };
        let beyond = Fault::Malformed("an item lies outside the file: it is truncated");
        if let [extent] = location.extents[..] {
            return slice(extent).map(Cow::Borrowed).ok_or(beyond);
        }
        let mut whole = Vec::new();
        for extent in &location.extents {
            whole.extend_from_slice(slice(*extent).ok_or(Fault::Malformed("an extent lies outside the file"))?);
            // Extents may overlap; together they may not be more than the file.
            if whole.len() > bytes.len() {
                return Err(Fault::Malformed("overlapping extents"));
            }
        }
        Ok(Cow::Owned(whole))
    }
}

/// Reads the tables of a file of this family and throws them away: whether they are within bounds, and name every item
/// once.
pub(in crate::imaging::decode) fn judge(bytes: &[u8]) -> Parsed<()> {
    let mut reader = Reader(bytes);
    while let Some((kind, body)) = reader.next()? {
        if &kind == b"meta" {
            let mut ids: Vec<u32> = read_meta(body)?.entries.iter().map(|entry| entry.id).collect();
            ids.sort_unstable();
            if ids.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Fault::Malformed("an item that is there twice"));
            }
        }
    }
    Ok(())
}

/// Reads the tables.
pub(super) fn read_meta(mut body: Reader<'_>) -> Parsed<Meta<'_>> {
    body.version()?;
    let mut meta = Meta::default();
    body.each(|kind, body| match &kind {
        b"pitm" => read_primary(body, &mut meta),
        b"iinf" => read_entries(body, &mut meta),
        b"iloc" => read_locations(body, &mut meta),
        b"iref" => read_references(body, &mut meta),
        b"iprp" => read_properties(body, &mut meta),
        b"idat" => {
            meta.idat = body.0;
            Ok(())
        }
        _ => Ok(()),
    })?;
    Ok(meta)
}

/// Item numbers have 16 bits in version 0 of most boxes, 32 later.
const fn id_size(wide: bool) -> usize {
    if wide { 4 } else { 2 }
}

fn bounded(count: usize) -> Parsed<()> {
    if count > MAX_ENTRIES { Err(Fault::Unsupported("too many entries")) } else { Ok(()) }
}

fn read_primary(mut body: Reader<'_>, meta: &mut Meta<'_>) -> Parsed<()> {
    let (version, _) = body.version()?;
    meta.primary = body.uint(id_size(version > 0))? as u32;
    Ok(())
}

fn read_entries(mut body: Reader<'_>, meta: &mut Meta<'_>) -> Parsed<()> {
    let (version, _) = body.version()?;
    body.uint(id_size(version > 0))?;
    body.each(|kind, mut body| {
        if &kind == b"infe" {
            let (version, _) = body.version()?;
            if version < 2 {
                return Ok(());
            }
            let id = body.uint(id_size(version > 2))? as u32;
            body.u16()?;
            let kind = body.take(4)?.try_into().map_err(|_| Fault::Malformed("an item entry is truncated"))?;
            bounded(meta.entries.len())?;
            meta.entries.push(Entry { id, kind });
        }
        Ok(())
    })
}

fn read_locations(mut body: Reader<'_>, meta: &mut Meta<'_>) -> Parsed<()> {
    let (version, _) = body.version()?;
    let sizes = body.u16()?;
    let size = |shift: u16| usize::from(sizes >> shift & 0xF);
    let (offset_size, length_size, base_size) = (size(12), size(8), size(4));
    let index_size = if version == 0 { 0 } else { size(0) };
    if [offset_size, length_size, base_size, index_size].iter().any(|size| !matches!(size, 0 | 4 | 8)) {
        return Err(Fault::Malformed("field sizes of item locations"));
    }
    let count = body.uint(id_size(version > 1))?;
    let mut total = 0;
    for _ in 0..count {
        let id = body.uint(id_size(version > 1))? as u32;
        let method = if version == 0 { 0 } else { body.u16()? & 0xF };
        body.u16()?;
        let base = body.uint(base_size)?;
        let extents = usize::from(body.u16()?);
        // Fields may have no bytes, so that the box alone does not bound this loop.
        total += 1 + extents;
        bounded(total)?;
        let mut location = Location { id, in_idat: method == 1, extents: Vec::new() };
        for _ in 0..extents {
            body.uint(index_size)?;
            let offset = base.checked_add(body.uint(offset_size)?).ok_or(Fault::Malformed("an item offset"))?;
            location.extents.push((offset, body.uint(length_size)?));
        }
        if method < 2 {
            meta.locations.push(location);
        }
    }
    Ok(())
}

fn read_references(mut body: Reader<'_>, meta: &mut Meta<'_>) -> Parsed<()> {
    let (version, _) = body.version()?;
    let size = id_size(version > 0);
    body.each(|kind, mut body| {
        let from = body.uint(size)? as u32;
        for _ in 0..body.u16()? {
            bounded(meta.references.len())?;
            meta.references.push((kind, from, body.uint(size)? as u32));
        }
        Ok(())
    })
}

fn read_properties<'a>(body: Reader<'a>, meta: &mut Meta<'a>) -> Parsed<()> {
    body.each(|kind, mut body| match &kind {
        b"ipco" => body.each(|kind, body| {
            bounded(meta.properties.len())?;
            meta.properties.push((kind, body));
            Ok(())
        }),
        b"ipma" => {
            let (version, flags) = body.version()?;
            for _ in 0..body.u32()? {
                let item = body.uint(id_size(version > 0))? as u32;
                for _ in 0..body.u8()? {
                    let index = if flags & 1 == 1 { body.u16()? & 0x7FFF } else { u16::from(body.u8()? & 0x7F) };
                    bounded(meta.associations.len())?;
                    meta.associations.push((item, usize::from(index)));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    })
}
