//! Boxes and numbers out of borrowed bytes (ISO/IEC 14496-12 §4.2).
//!
//! Invariant: every read says what is missing; none looks past the bytes it was given.

/// What is wrong with a container.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::imaging::decode) enum Fault {
    Malformed(&'static str),
    Unsupported(&'static str),
}

pub(super) type Parsed<T> = Result<T, Fault>;

/// A reader over borrowed bytes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::Malformed("a box is truncated"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn uint(&mut self, bytes: usize) -> Parsed<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Parsed<u8> {
        Ok(self.uint(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Parsed<u16> {
        Ok(self.uint(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Parsed<u32> {
        Ok(self.uint(4)? as u32)
    }

    /// Version and flags of a full box.
    pub(super) fn version(&mut self) -> Parsed<(u8, u32)> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xFF_FFFF))
    }

    /// The next box: type and body.
    pub(super) fn next(&mut self) -> Parsed<Option<([u8; 4], Reader<'a>)>> {
        if self.0.len() < 8 {
            return Ok(None);
        }
        let whole = self.0;
        let size = self.u32()?;
        let kind = self.take(4)?.try_into().map_err(|_| Fault::Malformed("a box is truncated"))?;
        let (head, size) = match size {
            0 => (8, whole.len() as u64),
            1 => (16, self.uint(8)?),
            size => (8, u64::from(size)),
        };
        let body = usize::try_from(size).ok().and_then(|size| size.checked_sub(head));
        Ok(Some((kind, Reader(self.take(body.ok_or(Fault::Malformed("a box is shorter than its header"))?)?))))
    }

    pub(super) fn each(mut self, mut each: impl FnMut([u8; 4], Reader<'a>) -> Parsed<()>) -> Parsed<()> {
        while let Some((kind, body)) = self.next()? {
            each(kind, body)?;
        }
        Ok(())
    }

    pub(super) fn find(self, wanted: &[u8; 4]) -> Parsed<Option<Reader<'a>>> {
        let mut found = None;
        self.each(|kind, body| {
            if &kind == wanted && found.is_none() {
                found = Some(body);
            }
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn need(self, wanted: &[u8; 4], missing: &'static str) -> Parsed<Reader<'a>> {
        self.find(wanted)?.ok_or(Fault::Malformed(missing))
    }
}
