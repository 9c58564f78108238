//! ICNS, Apple's icons: recognised and measured, never drawn. Safari shows them; what Next.js passes on is passed on.
//!
//! Invariant: only a file whose entries fill it exactly, one of them an image, is taken for an icon.

use super::header::Header;
use crate::format::ImageFormat;
use crate::imaging::Error;

fn malformed(detail: &str) -> Error {
    Error::Malformed { format: ImageFormat::Icns, detail: detail.to_owned() }
}

/// The size of the largest image; it is never decoded, so nothing has to be reserved for it.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, Error> {
    let (head, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(|| malformed("no header"))?;
    let [b'i', b'c', b'n', b's', length @ ..] = *head else {
        return Err(malformed("no signature"));
    };
    if u32::from_be_bytes(length) as usize != bytes.len() {
        return Err(malformed("another length than the file has"));
    }
    let mut edge = 0;
    while !rest.is_empty() {
        let (kind, length) = match rest {
            [a, b, c, d, e, f, g, h, ..] => ([*a, *b, *c, *d], u32::from_be_bytes([*e, *f, *g, *h]) as usize),
            _ => return Err(malformed("a cut entry")),
        };
        // An entry of nothing but its head has no image.
        let entry = rest.get(8..length).ok_or_else(|| malformed("an entry beyond the file"))?;
        if !entry.is_empty() {
            edge = edge.max(edge_of(kind));
        }
        rest = &rest[length..];
    }
    if edge == 0 {
        return Err(malformed("no image"));
    }
    Ok(Header { working: 0, ..Header::still(edge, edge, true) })
}

/// The edge of the square image in an entry of this type; 0 for masks, names and tables.
const fn edge_of(kind: [u8; 4]) -> u32 {
    match &kind {
        b"ic10" => 1024,
        b"ic09" | b"ic14" => 512,
        b"ic08" | b"ic13" => 256,
        b"ic07" | b"it32" => 128,
        b"icp6" | b"ic12" => 64,
        b"ich#" | b"ich4" | b"ich8" | b"ih32" | b"SB24" => 48,
        b"icsB" => 36,
        b"ICON" | b"ICN#" | b"icl4" | b"icl8" | b"il32" | b"icp5" | b"ic05" | b"ic11" => 32,
        b"sb24" => 24,
        b"icsb" => 18,
        b"ics#" | b"ics4" | b"ics8" | b"is32" | b"icp4" | b"ic04" => 16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn icon(entries: &[(&[u8; 4], usize)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, length) in entries {
            body.extend_from_slice(*kind);
            body.extend_from_slice(&(*length as u32 + 8).to_be_bytes());
            body.extend(vec![7; *length]);
        }
        [b"icns", &(body.len() as u32 + 8).to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn the_largest_picture_counts_and_damage_is_told() {
        let whole = icon(&[(b"TOC ", 16), (b"icp4", 40), (b"ic07", 90), (b"t8mk", 30)]);
        assert_eq!(header(&whole).map(|header| (header.width, header.height)), Ok((128, 128)));
        for cut in 0..whole.len() {
            assert!(header(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(header(&[whole.as_slice(), b"<script>"].concat()).is_err(), "bytes behind the icon");
        assert!(header(&icon(&[(b"TOC ", 16), (b"name", 5)])).is_err(), "no image");
        assert!(header(&icon(&[(b"ic07", 0)])).is_err(), "an empty image");
        assert!(header(b"icns\0\0\0\x10ic07\0\0\0\x02").is_err(), "an entry that ends before it begins");
    }
}
