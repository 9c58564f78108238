//! What properties say of colour and alpha.
//!
//! Invariant: the first description of each kind counts.

use super::Nclx;
use super::reader::{Parsed, Reader};

pub(super) fn is_alpha(body: Reader<'_>) -> bool {
    let name = body.0.get(4..).unwrap_or_default();
    [&b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"[..], b"urn:mpeg:hevc:2015:auxid:1\0"]
        .iter()
        .any(|urn| name.starts_with(urn))
}

pub(super) fn read_colour<'a>(mut body: Reader<'a>, icc: &mut Option<&'a [u8]>, nclx: &mut Option<Nclx>) -> Parsed<()> {
    match body.take(4)? {
        b"prof" | b"rICC" if icc.is_none() => *icc = Some(body.0),
        b"nclx" if nclx.is_none() => {
            let [primaries, transfer, matrix] = [body.u16()?, body.u16()?, body.u16()?].map(|v| v.min(255) as u8);
            *nclx = Some(Nclx { primaries, transfer, matrix, full: body.u8()? & 0x80 != 0 });
        }
        _ => {}
    }
    Ok(())
}
