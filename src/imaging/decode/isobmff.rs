//! The container of AVIF (ISO/IEC 14496-12, 23008-12, AV1 Image File Format): which bytes are the image, and how it is shown.
//!
//! Invariant: borrowed slices only, every loop bounded by the bytes it reads or by a constant; nothing is copied that the
//! file does not hold. Written by hand because it is small, and because the known parsers hand out raw pointers.

mod aperture;
mod colour;
mod reader;
mod sequence;
mod tables;

use std::borrow::Cow;

pub(super) use self::aperture::Aperture;
use self::colour::{is_alpha, read_colour};
pub(super) use self::reader::Fault;
use self::reader::{Parsed, Reader};
use self::sequence::sequence;
pub(super) use self::tables::judge;
use self::tables::{Meta, read_meta};
use super::orient::Mirror;

/// An image of the file: one coded image, or a grid of them.
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

/// Everything about the image that is to be shown.
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
    /// The part of the image that is shown, before it is turned; `None` for all of it.
    pub(super) aperture: Option<Aperture>,
    /// Samples have twelve bits.
    pub(super) twelve_bits: bool,
    /// Whether there is EXIF, XMP or other data beside the image.
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
        None => Err(Fault::Malformed("no image item")),
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
    // One that does not lie within the image is ignored.
    let clap = meta.property(meta.primary, b"clap");
    let aperture = clap.and_then(|body| Aperture::read(body, (colour.width, colour.height)));
    // Marker and version, profile and level, then tier and depth (AV1-ISOBMFF, section 2.3.3).
    // Of a grid its tiles have it.
    let part = meta.references.iter().find(|(kind, from, _)| kind == b"dimg" && *from == meta.primary);
    let coded = part.map_or(meta.primary, |(_, _, part)| *part);
    let twelve_bits = meta.property(coded, b"av1C").and_then(|body| body.0.get(2).copied());
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
    fn item(&self, bytes: &'a [u8], id: u32) -> Parsed<Item<'a>> {
        let entry = self.entries.iter().find(|entry| entry.id == id).ok_or(Fault::Malformed("an unknown item"))?;
        let (width, height) = self.size(id)?;
        match &entry.kind {
            b"av01" => Ok(Item { width, height, columns: 1, tiles: vec![self.data(bytes, id)?] }),
            b"grid" => self.grid(bytes, id),
            b"iovl" | b"iden" => Err(Fault::Unsupported("a derived image")),
            _ => Err(Fault::Unsupported("an image that is not AV1")),
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
                return Err(Fault::Unsupported("a grid of other images than AV1"));
            }
            tiles.push(self.data(bytes, *part)?);
        }
        if tiles.len() != (rows * columns) as usize {
            return Err(Fault::Malformed("a grid with the wrong number of tiles"));
        }
        Ok(Item { width, height, columns, tiles })
    }
}
