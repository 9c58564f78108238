//! The container of AVIF (ISO/IEC 14496-12, 23008-12, AV1 Image File Format): which bytes are the picture, and how it is shown.
//!
//! The law: borrowed slices only, every loop bounded by the bytes it reads or by a constant; nothing is copied that the
//! file does not hold. Written by hand because it is small, and because the known parsers hand out raw pointers.

mod aperture;
mod colour;
mod reader;
mod sequence;

use std::borrow::Cow;

pub(super) use self::aperture::Aperture;
use self::colour::{is_alpha, read_colour};
pub(super) use self::reader::Fault;
use self::reader::{Parsed, Reader};
use self::sequence::sequence;
use super::orient::Mirror;

/// Items, references and extents a file may have; real files have a handful, grids some hundreds.
const MAX_ENTRIES: usize = 4096;

/// A picture of the file: one coded image, or a grid of them.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) columns: u32,
    /// AV1 data of each tile, rows first.
    pub(super) tiles: Vec<Cow<'a, [u8]>>,
}

/// Colour as the container describes it; it overrides the bitstream (MIAF).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nclx {
    pub(super) primaries: u8,
    pub(super) transfer: u8,
    pub(super) matrix: u8,
    pub(super) full: bool,
}

/// Everything about the picture that is to be shown.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) colour: Item<'a>,
    pub(super) alpha: Option<Item<'a>>,
    pub(super) premultiplied: bool,
    pub(super) icc: Option<&'a [u8]>,
    pub(super) nclx: Option<Nclx>,
    /// Counter-clockwise quarter turns.
    pub(super) quarters: u8,
    pub(super) mirror: Option<Mirror>,
    /// The part of the picture that is shown, before it is turned; `None` for all of it.
    pub(super) aperture: Option<Aperture>,
    /// Samples have twelve bits.
    pub(super) twelve_bits: bool,
    /// Whether there is EXIF, XMP or other data beside the picture.
    pub(super) has_metadata: bool,
    /// Where the last box ends.
    pub(super) end: usize,
}

impl Container<'_> {
    /// Width and height of what is shown, before it is turned.
    pub(super) fn shown(&self) -> (u32, u32) {
        self.aperture.map_or((self.colour.width, self.colour.height), |aperture| (aperture.width, aperture.height))
    }
}

struct Entry {
    id: u32,
    kind: [u8; 4],
}

struct Location {
    id: u32,
    in_idat: bool,
    extents: Vec<(u64, u64)>,
}

#[derive(Default)]
struct Meta<'a> {
    primary: u32,
    entries: Vec<Entry>,
    locations: Vec<Location>,
    /// Type, from, to.
    references: Vec<([u8; 4], u32, u32)>,
    properties: Vec<([u8; 4], Reader<'a>)>,
    /// Item and index of its property, from 1.
    associations: Vec<(u32, usize)>,
    idat: &'a [u8],
}

/// Reads the container.
pub(super) fn parse(bytes: &[u8]) -> Parsed<Container<'_>> {
    let mut reader = Reader(bytes);
    let (mut meta, mut moov) = (None, None);
    while let Some((kind, body)) = reader.next()? {
        match &kind {
            b"meta" if meta.is_none() => meta = Some(body),
            b"moov" if moov.is_none() => moov = Some(body),
            _ => {}
        }
    }
    let end = bytes.len() - reader.0.len();
    if let Some(body) = meta {
        let meta = read_meta(body)?;
        if meta.entries.iter().any(|entry| entry.id == meta.primary) {
            return still(bytes, &meta, end, moov.is_some());
        }
    }
    match moov {
        Some(body) => sequence(bytes, body, end),
        None => Err(Fault::Malformed("no picture item")),
    }
}

fn still<'a>(bytes: &'a [u8], meta: &Meta<'a>, end: usize, tracks: bool) -> Parsed<Container<'a>> {
    let alpha = meta.references.iter().find(|(kind, from, to)| {
        kind == b"auxl" && *to == meta.primary && meta.property(*from, b"auxC").is_some_and(is_alpha)
    });
    let alpha_id = alpha.map(|(_, from, _)| *from);
    let premultiplied = alpha_id.is_some_and(|id| meta.references.contains(&(*b"prem", meta.primary, id)));
    let (mut icc, mut nclx) = (None, None);
    for (_, body) in meta.properties_of(meta.primary).filter(|(kind, _)| kind == b"colr") {
        read_colour(body, &mut icc, &mut nclx)?;
    }
    let colour = meta.item(bytes, meta.primary)?;
    // One that does not lie within the picture is ignored.
    let clap = meta.property(meta.primary, b"clap");
    let aperture = clap.and_then(|body| Aperture::read(body, (colour.width, colour.height)));
    // Marker and version, profile and level, then tier and depth (AV1-ISOBMFF, section 2.3.3).
    let twelve_bits = meta.property(meta.primary, b"av1C").and_then(|body| body.0.get(2).copied());
    let quarters = meta.property(meta.primary, b"irot").map_or(Ok(0), |mut body| body.u8())? & 3;
    let mirror = match meta.property(meta.primary, b"imir") {
        None => None,
        Some(mut body) => Some(if body.u8()? & 1 == 0 { Mirror::TopBottom } else { Mirror::LeftRight }),
    };
    Ok(Container {
        colour,
        alpha: alpha_id.map(|id| meta.item(bytes, id)).transpose()?,
        premultiplied,
        icc,
        nclx,
        quarters,
        mirror,
        aperture,
        twelve_bits: twelve_bits.is_some_and(|depth| depth & 0x60 == 0x60),
        has_metadata: tracks || meta.entries.iter().any(|entry| matches!(&entry.kind, b"Exif" | b"mime" | b"uri ")),
        end,
    })
}

impl<'a> Meta<'a> {
    fn properties_of(&self, item: u32) -> impl Iterator<Item = ([u8; 4], Reader<'a>)> {
        let wanted = self.associations.iter().filter(move |(id, _)| *id == item);
        wanted.filter_map(|(_, index)| self.properties.get(index.checked_sub(1)?).copied())
    }

    fn property(&self, item: u32, wanted: &[u8; 4]) -> Option<Reader<'a>> {
        self.properties_of(item).find(|(kind, _)| kind == wanted).map(|(_, body)| body)
    }

    fn size(&self, item: u32) -> Parsed<(u32, u32)> {
        let mut body = self.property(item, b"ispe").ok_or(Fault::Malformed("no picture size"))?;
        body.version()?;
        Ok((body.u32()?, body.u32()?))
    }

    fn data(&self, bytes: &'a [u8], item: u32) -> Parsed<Cow<'a, [u8]>> {
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

    fn item(&self, bytes: &'a [u8], id: u32) -> Parsed<Item<'a>> {
        let entry = self.entries.iter().find(|entry| entry.id == id).ok_or(Fault::Malformed("an unknown item"))?;
        let (width, height) = self.size(id)?;
        match &entry.kind {
            b"av01" => Ok(Item { width, height, columns: 1, tiles: vec![self.data(bytes, id)?] }),
            b"grid" => self.grid(bytes, id),
            b"iovl" | b"iden" => Err(Fault::Unsupported("a derived picture")),
            _ => Err(Fault::Unsupported("a picture that is not AV1")),
        }
    }

    fn grid(&self, bytes: &'a [u8], id: u32) -> Parsed<Item<'a>> {
        let data = self.data(bytes, id)?;
        let mut reader = Reader(&data);
        let (_version, flags) = (reader.u8()?, reader.u8()?);
        let (rows, columns) = (u32::from(reader.u8()?) + 1, u32::from(reader.u8()?) + 1);
        let field = if flags & 1 == 0 { 2 } else { 4 };
        let (width, height) = (reader.uint(field)? as u32, reader.uint(field)? as u32);
        let parts = self.references.iter().filter(|(kind, from, _)| kind == b"dimg" && *from == id);
        let mut tiles = Vec::new();
        for (_, _, part) in parts {
            if !self.entries.iter().any(|entry| entry.id == *part && &entry.kind == b"av01") {
                return Err(Fault::Unsupported("a grid of other pictures than AV1"));
            }
            tiles.push(self.data(bytes, *part)?);
        }
        if tiles.len() != (rows * columns) as usize {
            return Err(Fault::Malformed("a grid with the wrong number of tiles"));
        }
        Ok(Item { width, height, columns, tiles })
    }
}

fn read_meta(mut body: Reader<'_>) -> Parsed<Meta<'_>> {
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
