//! Facsimile of group 3 in one dimension (ITU-T T.4), which the tiff crate does not read; by the fax crate.
//!
//! Invariant: every row of the page was decoded, or the file is refused.

use std::cell::Cell;

use fax::Color;
use fax::decoder::{decode_g3, pels};
use tiff::tags::Tag;

use super::{Page, malformed, open, patch, refused, unsupported};
use crate::imaging::{Error, Limits};

/// A mark between rows (eleven zeros and a one), with bits after it that begin no further one, for the decoder to look
/// ahead to.
const MARK: [u8; 5] = [0, 1, 0xFF, 0xFF, 0xFF];

/// One byte a pixel: 0 for white, 1 for black, as samples of one bit are where white is zero.
pub(super) fn read(file: &[u8], page: &Page, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut reader = open(file, limits)?;
    let options = reader.find_tag_unsigned::<u32>(Tag::Unknown(292)).map_err(refused)?.unwrap_or(0);
    if options & 1 == 1 {
        return Err(unsupported("group 3 facsimile in two dimensions"));
    }
    let width = u16::try_from(page.width).map_err(|_| unsupported("a facsimile wider than 65535"))?;
    let rows = reader.find_tag_unsigned::<u32>(Tag::RowsPerStrip).map_err(refused)?.unwrap_or(page.height);
    let mut left = page.height;
    let mut pixels = Vec::with_capacity(page.width as usize * page.height as usize);
    for (start, length) in patch::chunks(&mut reader)? {
        if left == 0 {
            break;
        }
        let strip =
            file.get(start..start.saturating_add(length)).ok_or_else(|| malformed("a strip outside the file"))?;
        let wanted = rows.min(left);
        let (mut found, enough) = (0, Cell::new(false));
        // The decoder delivers a row once it has seen the mark that begins the next one, which the last row lacks in TIFF.
        let marked = strip.iter().copied().chain(MARK).take_while(|_| !enough.get());
        // What follows the last row is not looked at.
        let _ended = decode_g3(marked, |transitions| {
            if found < wanted && transitions.last() == Some(&width) {
                pixels.extend(pels(transitions, width).map(|colour| u8::from(colour == Color::Black)));
                found += 1;
                enough.set(found == wanted);
            }
        });
        if found < wanted {
            return Err(malformed("rows are missing"));
        }
        left -= wanted;
    }
    if left > 0 {
        return Err(malformed("rows are missing"));
    }
    Ok(pixels)
}
