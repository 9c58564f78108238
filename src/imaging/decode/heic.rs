//! HEIC: container and HEVC by `heifer`, safe Rust throughout. Decoded only where `images.allow_heic` says so.
//!
//! Invariant: the container is read whole, and every byte of the image must be there, before the file is decoded or
//! passed on. The decoder crops, turns and mirrors itself: sizes here are those after it.

use std::collections::BTreeSet;

use heifer::heifer_hevc_dec::nal::NalUnit;
use heifer::heifer_hevc_dec::params::ParameterSets;
use heifer::heifer_isobmff::boxes::{ColorInfo, Property};
use heifer::heifer_isobmff::{HeifFile, ItemId};
use heifer::{Image, Options};

use super::colour::{Channels, Raw, Samples, Space};
use super::header::{Header, within};
use super::isobmff::{self, Fault};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

/// Tiles and layers within each other.
const MAX_DEPTH: u32 = 4;
/// Tiles and layers of one image; 100 megapixels of tiles of 256 pixels are 1,526.
const MAX_PARTS: usize = 4_096;
/// Tiles are as large as this as a rule.
const TILE_EDGE: u64 = 512;

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Heic, detail: detail.to_string() }
}

/// Reads the container, after a look at its tables by our own reader: theirs keeps what they claim, and looks items up one
/// after the other.
fn open(bytes: &[u8]) -> Result<HeifFile<'_>, Error> {
    isobmff::judge(bytes).map_err(|fault| match fault {
        Fault::Malformed(detail) | Fault::Unsupported(detail) => malformed(detail),
    })?;
    HeifFile::parse(bytes).map_err(malformed)
}

/// What the container says.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let file = open(bytes)?;
    let id = file.primary_id;
    whole(&file, id, 0, &mut Parts { count: 0, seen: BTreeSet::new(), bytes_left: bytes.len().saturating_mul(2) })?;
    if let Space::Icc(profile) = described(&file, id)?.unwrap_or(Space::Srgb) {
        within("metadata bytes", profile.len() as u64, limits.max_metadata_bytes as u64)?;
    }
    let (coded_width, coded_height) = coded_size(&file, id)?;
    let (mut width, mut height) = (coded_width, coded_height);
    for property in file.item_properties(id).map_err(malformed)? {
        match *property {
            Property::CleanAperture { width: across, height: down, horiz_offset, vert_offset } => {
                width = cropped(width, across, horiz_offset)?;
                height = cropped(height, down, vert_offset)?;
            }
            Property::Rotation(quarters) if quarters % 2 == 1 => (width, height) = (height, width),
            _ => {}
        }
    }
    let header = Header::still(width, height, alpha_of(&file, id)?.is_some());
    // A crop does not make what is decoded smaller.
    let per_pixel = u64::from(working(&file, id, header.alpha)?);
    let coded = u64::from(coded_width) * u64::from(coded_height) * per_pixel;
    let shown = (u64::from(width) * u64::from(height)).max(1);
    within("pixels", u64::from(coded_width) * u64::from(coded_height), limits.max_pixels)?;
    Ok(Header { working: u32::try_from(coded.div_ceil(shown)).unwrap_or(u32::MAX), ..header })
}

fn working(file: &HeifFile<'_>, id: ItemId, alpha: bool) -> Result<u32, Error> {
    let sample = if is_deep(file, id)? { 2 } else { 1 };
    let turned = file.item_properties(id).map_err(malformed)?.any(|property| {
        matches!(property, Property::CleanAperture { .. } | Property::Mirror(_))
            || matches!(property, Property::Rotation(quarters) if *quarters != 0)
    });
    // As measured: planes and RGBA, once more for alpha and what is turned, and here what comes over.
    let there = 8 + if alpha { 8 } else { 0 } + if turned { 4 } else { 0 };
    Ok(sample * (there + if alpha { 4 } else { 3 }) + 2)
}

/// The image and, where it is made of parts, its first part and that one's, as far as this goes.
fn chain<'f>(file: &'f HeifFile<'_>, id: ItemId) -> impl Iterator<Item = ItemId> + 'f {
    std::iter::successors(Some(id), |item| file.referenced_items(*item, b"dimg").first().copied())
        .take(MAX_DEPTH as usize + 1)
}

/// Whether samples have more than 8 bits, by the configuration of the image or of its first part.
fn is_deep(file: &HeifFile<'_>, id: ItemId) -> Result<bool, Error> {
    for item in chain(file, id) {
        if let Some(config) = file.hevc_config(item).map_err(malformed)? {
            return Ok(config.bit_depth_luma.max(config.bit_depth_chroma) > 8);
        }
    }
    Ok(true)
}

/// What was asked for so far.
struct Parts {
    count: usize,
    seen: BTreeSet<ItemId>,
    /// Items may be pieced together from the same bytes again and again.
    bytes_left: usize,
}

/// Asks for the bytes of the image and of all its parts; nothing is decoded.
fn whole(file: &HeifFile<'_>, id: ItemId, depth: u32, parts: &mut Parts) -> Result<(), Error> {
    parts.count += 1;
    if depth > MAX_DEPTH || parts.count > MAX_PARTS {
        return Err(malformed("too many parts"));
    }
    let kind = file.item(id).map_err(malformed)?.item_type.0;
    match &kind {
        b"hvc1" | b"hev1" if !parts.seen.insert(id) => Ok(()),
        b"hvc1" | b"hev1" => {
            let data = file.item_data(id).map_err(malformed)?;
            if data.is_empty() || file.hevc_config(id).map_err(malformed)?.is_none() {
                return Err(malformed("an item without image"));
            }
            let left = parts.bytes_left.checked_sub(data.len());
            parts.bytes_left = left.ok_or_else(|| malformed("parts that lie on each other"))?;
            Ok(())
        }
        b"grid" | b"iovl" | b"iden" => {
            let within = file.referenced_items(id, b"dimg");
            if within.is_empty() {
                return Err(malformed("an image without parts"));
            }
            within.iter().try_for_each(|part| whole(file, *part, depth + 1, parts))
        }
        _ => Err(Error::Unsupported { format: ImageFormat::Heic, detail: "an image that is not HEVC".to_owned() }),
    }
}

fn coded_size(file: &HeifFile<'_>, id: ItemId) -> Result<(u32, u32), Error> {
    file.image_size(id).map_err(malformed)?.ok_or_else(|| malformed("no size"))
}

/// An edge after a crop, as the decoder computes it.
fn cropped(edge: u32, length: (u32, u32), offset: (i32, u32)) -> Result<u32, Error> {
    if length.1 == 0 || offset.1 == 0 {
        return Err(malformed("a clean aperture over nothing"));
    }
    let length = f64::from(length.0) / f64::from(length.1);
    let centre = f64::from(offset.0) / f64::from(offset.1) + (f64::from(edge) - 1.0) / 2.0;
    let start = ((centre - (length - 1.0) / 2.0).round().max(0.0) as u32).min(edge);
    Ok((length.round() as u32).min(edge - start))
}

fn alpha_of(file: &HeifFile<'_>, id: ItemId) -> Result<Option<ItemId>, Error> {
    const URNS: [&str; 2] = ["urn:mpeg:hevc:2015:auxid:1", "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"];
    for item in file.referencing_items(id, b"auxl") {
        let is_alpha =
            |property: &Property| matches!(property, Property::AuxiliaryType(urn) if URNS.contains(&urn.as_str()));
        if file.item_properties(item).map_err(malformed)?.any(is_alpha) {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

/// Decodes the primary image.
pub(crate) fn decode(bytes: &[u8]) -> Result<Raw, Error> {
    let file = open(bytes)?;
    let id = file.primary_id;
    let (width, height) = coded_size(&file, id)?;
    // What is coded is a multiple of blocks, and tiles reach beyond the image.
    let beyond = |edge: u32| u64::from(edge) + 2 * TILE_EDGE;
    let options = Options { max_threads: 1, max_pixels: beyond(width) * beyond(height) };
    let alpha = alpha_of(&file, id)?;
    let divide = alpha.is_some_and(|alpha| file.referenced_items(id, b"prem").contains(&alpha));
    let space = described(&file, id)?.unwrap_or_else(|| in_bitstream(&file, id).unwrap_or(Space::Srgb));
    if is_deep(&file, id)? {
        let image = heifer::decode_with_options(bytes, &options).map_err(refused)?;
        let (width, height, most) = (image.width, image.height, u32::from(image.max_value()).max(1));
        let (mut words, channels) = channels(image, divide, most);
        // From as many bits as there are to 16.
        words.iter_mut().for_each(|word| *word = ((u32::from(*word) * 65_535 + most / 2) / most) as u16);
        return Ok(Raw { width, height, channels, samples: Samples::Sixteen(words), space });
    }
    let image = heifer::decode_rgba8(bytes, &options).map_err(refused)?;
    let (width, height) = (image.width, image.height);
    let (bytes, channels) = channels(image, divide, 255);
    Ok(Raw { width, height, channels, samples: Samples::Eight(bytes), space })
}

fn refused(error: heifer::Error) -> Error {
    match error {
        heifer::Error::Unsupported(detail) => Error::Unsupported { format: ImageFormat::Heic, detail },
        other => malformed(other),
    }
}

/// What the container says of colour: a profile before code points, the image's before its parts'.
fn described(file: &HeifFile<'_>, id: ItemId) -> Result<Option<Space>, Error> {
    for item in chain(file, id) {
        let mut codes = None;
        for property in file.item_properties(item).map_err(malformed)? {
            match property {
                Property::Color(ColorInfo::Icc(profile)) if !profile.is_empty() => {
                    return Ok(Some(Space::Icc(profile.clone())));
                }
                Property::Color(ColorInfo::Nclx { primaries, transfer, .. }) => {
                    codes = codes.or_else(|| cicp(*primaries, *transfer));
                }
                _ => {}
            }
        }
        if codes.is_some() {
            return Ok(codes);
        }
    }
    Ok(None)
}

/// What the bitstream's first parameter set says of colour.
fn in_bitstream(file: &HeifFile<'_>, id: ItemId) -> Option<Space> {
    let config = chain(file, id).find_map(|item| file.hevc_config(item).ok().flatten())?;
    let mut sets = ParameterSets::default();
    for unit in &config.nal_units {
        sets.add(&NalUnit::parse(unit).ok()?).ok()?;
    }
    let vui = sets.sps.iter().flatten().find_map(|set| set.vui.as_ref())?;
    cicp(u16::from(vui.colour_primaries), u16::from(vui.transfer_characteristics))
}

/// Code points, unless both are unspecified.
fn cicp(primaries: u16, transfer: u16) -> Option<Space> {
    let (primaries, transfer) = (u8::try_from(primaries).ok()?, u8::try_from(transfer).ok()?);
    (primaries != 2 || transfer != 2).then_some(Space::Cicp { primaries, transfer })
}

/// Samples of three channels, or of four with alpha; colour that was multiplied with alpha is divided by it.
fn channels<S: Copy + Into<u32> + TryFrom<u32>>(image: Image<S>, divide: bool, most: u32) -> (Vec<S>, Channels) {
    let Image { has_alpha, mut data, .. } = image;
    if !has_alpha {
        // In place: the fourth sample of each pixel says nothing.
        let count = data.len() / 4;
        for at in 0..count {
            data.copy_within(at * 4..at * 4 + 3, at * 3);
        }
        data.truncate(count * 3);
        return (data, Channels::Rgb);
    }
    if divide {
        for pixel in data.chunks_exact_mut(4) {
            let alpha: u32 = pixel[3].into();
            if alpha == 0 {
                continue;
            }
            for sample in &mut pixel[..3] {
                let value: u32 = (*sample).into();
                *sample = S::try_from(((value * most + alpha / 2) / alpha).min(most)).unwrap_or(*sample);
            }
        }
    }
    (data, Channels::Rgba)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    /// A file of these tables and nothing else.
    fn file(tables: &[Vec<u8>]) -> Vec<u8> {
        let meta = [vec![0; 4], tables.concat()].concat();
        [part(b"ftyp", b"heic\0\0\0\0mif1heic"), part(b"meta", &meta)].concat()
    }

    /// Tables that name items and extents by the hundred million are refused before anything is kept of them.
    #[test]
    fn tables_that_claim_more_than_they_hold_are_refused() {
        let limits = Limits::default();
        // Extents of no bytes: offsets and lengths of size 0, 65,535 of them for each of 20,000 items.
        let record = [0, 1, 0, 0, 0xFF, 0xFF];
        let locations = [vec![0, 0, 0, 0, 0, 0, 0x4E, 0x20], record.repeat(20_000)].concat();
        assert!(header(&file(&[part(b"iloc", &locations)]), &limits).is_err());
        // The same item, again and again.
        let entry = part(b"infe", b"\x02\0\0\0\0\x01\0\0hvc1\0");
        let entries = [vec![0, 0, 0, 0, 0x10, 0], entry.repeat(2)].concat();
        let refused = header(&file(&[part(b"iinf", &entries)]), &limits);
        assert!(matches!(&refused, Err(Error::Malformed { detail, .. }) if detail.contains("twice")), "{refused:?}");
    }
}
