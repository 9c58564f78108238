//! Undoing a response's content codings (RFC 9110 §8.4).
//!
//! Invariant: lenient in names, because what storages send is what somebody typed and the bytes decide what an image is; strict
//! in size, because a small body may be a large image's worth of zeros. CPU work: not for an async thread.

use std::io::{self, BufRead, ErrorKind, Read};
use std::time::Instant;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use crate::source::{Error, Phase};

/// What is asked for.
pub(super) const ACCEPTED: &str = "gzip, deflate, br";
/// More codings one upon another than this are no accident.
const MAX_CODINGS: usize = 5;
/// The decoder's own room, in bytes.
const BROTLI_BUFFER: usize = 16 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What was done to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// In zlib's wrapping, or without it, as some servers send it.
    Deflate,
    Brotli,
    /// One that we do not ask for and cannot undo.
    Foreign,
}

impl Coding {
    /// Names that are no coding say nothing (`utf-8`, `none`, `aws-chunked`, `image/jpeg`), as browsers have it.
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" | "x-deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "compress" | "x-compress" | "zstd" | "dcb" | "dcz" | "exi" | "pack200-gzip" => Some(Self::Foreign),
            _ => None,
        }
    }
}

/// The codings of a response, in the order in which they were applied.
pub(super) fn codings(headers: &HeaderMap) -> Vec<Coding> {
    let fields = headers.get_all(CONTENT_ENCODING).into_iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).filter_map(|name| Coding::named(name.trim())).collect()
}

/// Undoes them.
///
/// # Errors
/// [`Error::Encoding`], [`Error::Interrupted`] when the end is missing, [`Error::TooLarge`] as soon as it is known,
/// [`Error::Timeout`] when it is not done `until` then.
pub(super) fn decoded(body: Bytes, codings: &[Coding], limit: u64, until: Instant) -> Result<Bytes, Error> {
    if codings.len() > MAX_CODINGS {
        return Err(Error::Encoding);
    }
    let mut bytes = body;
    for (at, coding) in codings.iter().rev().enumerate() {
        bytes = match coding {
            // Named twice and done once: a proxy that repeats what the origin said.
            Coding::Gzip if at > 0 && !bytes.starts_with(&GZIP_MAGIC) => bytes,
            Coding::Gzip => gunzip(&bytes, limit, until)?,
            Coding::Deflate => inflate(&bytes, limit, until)?,
            // A window beyond what RFC 7932 has, of up to a gigabyte: no `br`, though the decoder would take it.
            Coding::Brotli if bytes.first().is_some_and(|first| first & 0x7F == 0x11) => return Err(Error::Encoding),
            Coding::Brotli => {
                let decoder = brotli_decompressor::Decompressor::new(&*bytes, BROTLI_BUFFER);
                read(decoder, limit, until)?.into()
            }
            Coding::Foreign => return Err(Error::Encoding),
        };
    }
    Ok(bytes)
}

/// Every member; what stands behind the last one is nothing to us.
fn gunzip(mut rest: &[u8], limit: u64, until: Instant) -> Result<Bytes, Error> {
    let mut whole = Vec::new();
    loop {
        let mut member = GzDecoder::new(rest);
        read_into(&mut member, &mut whole, limit, until)?;
        rest = member.into_inner();
        if !rest.starts_with(&GZIP_MAGIC) {
            return Ok(whole.into());
        }
    }
}

fn inflate(bytes: &[u8], limit: u64, until: Instant) -> Result<Bytes, Error> {
    // RFC 1950: the method is 8 and the first two bytes are a multiple of 31.
    let wrapped = matches!(bytes, [method, flags, ..]
        if method & 15 == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31));
    let as_wrapped = wrapped.then(|| read(ZlibDecoder::new(bytes), limit, until));
    match as_wrapped {
        Some(done @ (Ok(_) | Err(Error::TooLarge { .. } | Error::Interrupted))) => done.map(Bytes::from),
        _ => read(DeflateDecoder::new(bytes), limit, until).map(Bytes::from),
    }
}

fn read(mut decoder: impl Read, limit: u64, until: Instant) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    read_into(&mut decoder, &mut whole, limit, until)?;
    Ok(whole)
}

fn read_into(decoder: &mut impl Read, whole: &mut Vec<u8>, limit: u64, until: Instant) -> Result<(), Error> {
    let room = limit.saturating_sub(whole.len() as u64);
    // One byte more tells what is as large as allowed from what is larger.
    let mut bounded = io::BufReader::new(decoder.take(room.saturating_add(1)));
    loop {
        if Instant::now() >= until {
            return Err(Error::Timeout(Phase::Total));
        }
        let piece = bounded.fill_buf().map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Error::Interrupted,
            _ => Error::Encoding,
        })?;
        if piece.is_empty() {
            return if whole.len() as u64 > limit { Err(Error::TooLarge { limit }) } else { Ok(()) };
        }
        whole.extend_from_slice(piece);
        let read = piece.len();
        bounded.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use reqwest::header::HeaderValue;

    use super::*;

    const PICTURE: &[u8] = &[b'p'; 3_000];
    const LIMIT: u64 = PICTURE.len() as u64;

    macro_rules! encoded {
        ($encoder:ident, $bytes:expr) => {{
            let mut encoder = $encoder::new(Vec::new(), Compression::fast());
            encoder.write_all($bytes).expect("into memory");
            encoder.finish().expect("into memory")
        }};
    }

    fn later() -> Instant {
        Instant::now() + std::time::Duration::from_secs(60)
    }

    fn named(fields: &[&'static str]) -> Vec<Coding> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(field));
        }
        codings(&headers)
    }

    #[test]
    fn names_are_read_whatever_their_case_and_what_is_none_says_nothing() {
        for nothing in
            ["", "identity", "UTF-8", "none", "binary", "base64", "undefined", "aws-chunked", "image/jpeg", ","]
        {
            assert!(named(&[nothing]).is_empty(), "{nothing}");
        }
        for gzip in ["gzip", "GZIP", "x-gzip", " X-Gzip ", "identity, gzip", "gzip, aws-chunked"] {
            assert_eq!(named(&[gzip]), [Coding::Gzip], "{gzip}");
        }
        assert_eq!(named(&["deflate, BR", "zstd"]), [Coding::Deflate, Coding::Brotli, Coding::Foreign]);
    }

    #[test]
    fn what_was_done_is_undone_in_reverse() {
        let gzip = encoded!(GzEncoder, PICTURE);
        let (wrapped, raw) = (encoded!(ZlibEncoder, PICTURE), encoded!(DeflateEncoder, PICTURE));
        // The image, by another encoder.
        let brotli = b"\x1b\xb7\x0b\xf8\x25\xe0\xe2\xb1\x40\x20\x6e\x00\x00".to_vec();
        let twice = encoded!(GzEncoder, &gzip);
        let around = encoded!(GzEncoder, &wrapped);
        let members = [encoded!(GzEncoder, &PICTURE[..9]), encoded!(GzEncoder, &PICTURE[9..])].concat();
        let followed = [gzip.as_slice(), b"\0\0 padding"].concat();
        use Coding::{Brotli, Deflate, Gzip};
        for (what, bytes, codings) in [
            ("nothing", PICTURE.to_vec(), [].as_slice()),
            ("gzip", gzip.clone(), &[Gzip]),
            ("zlib", wrapped, &[Deflate]),
            ("raw deflate", raw, &[Deflate]),
            ("brotli", brotli, &[Brotli]),
            ("gzip twice", twice, &[Gzip, Gzip]),
            ("gzip, told twice", gzip.clone(), &[Gzip, Gzip]),
            ("gzip around deflate", around, &[Deflate, Gzip]),
            ("two members", members, &[Gzip]),
            ("something behind", followed, &[Gzip]),
        ] {
            let bytes = Bytes::from(bytes);
            assert_eq!(decoded(bytes.clone(), codings, LIMIT, later()).as_deref(), Ok(PICTURE), "{what}");
            if !codings.is_empty() {
                assert_eq!(
                    decoded(bytes, codings, LIMIT - 1, later()),
                    Err(Error::TooLarge { limit: LIMIT - 1 }),
                    "{what}"
                );
            }
        }
        let of = |bytes: &[u8], codings: &[Coding]| decoded(Bytes::copy_from_slice(bytes), codings, LIMIT, later());
        assert_eq!(of(&gzip[..gzip.len() - 1], &[Gzip]), Err(Error::Interrupted));
        assert_eq!(of(PICTURE, &[Gzip]), Err(Error::Encoding));
        assert_eq!(of(PICTURE, &[Coding::Foreign]), Err(Error::Encoding));
        assert_eq!(of(&gzip, &[Gzip; 6]), Err(Error::Encoding));
        assert_eq!(of(&[0x11, 0x1e, 0, 0], &[Brotli]), Err(Error::Encoding), "a window of a gigabyte");
        // Members without anything in them, as many as fit: time ends them, as no limit of bytes does.
        let empty = encoded!(GzEncoder, b"").repeat(100);
        let past = decoded(Bytes::from(empty), &[Gzip], LIMIT, Instant::now());
        assert_eq!(past, Err(Error::Timeout(Phase::Total)));
    }
}
