//! AVIF, JPEG XL and HEIC decoded in a process of its own: this program again, as `pixgate decode-isolated`.
//!
//! Invariant: **whatever happens inside such a decoder ends with that process.** AV1's and JPEG XL's are not written in safe
//! Rust throughout; a panic of AV1's aborts; and none of the three can be told to stop. The child has no environment, opens no file, and bounds its own memory and time. What it answers
//! is checked like a stranger's bytes.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::colour::{Channels, Raw, Samples, Space};
use super::{avif, heic, jxl};
use crate::format::ImageFormat;
use crate::imaging::{Error, Probe};

/// The hidden command of the program that runs [`serve`].
pub const COMMAND: &str = "decode-isolated";

/// Exit code of a child whose time was up.
const TIMED_OUT: u8 = 124;

/// What the child may map beyond what the image needs: the program, its stacks, the allocator's arenas.
const HEADROOM: u64 = 1 << 29;

/// The largest colour profile or error text the child may answer with, in bytes.
const MAX_EXTRA: u32 = 64 << 20;

/// First byte of an answer.
const PICTURE: u8 = 0;
const MALFORMED: u8 = 1;
const UNSUPPORTED: u8 = 2;
const OTHER: u8 = 3;

/// Four channels that are ink, where others are told by their number.
const INK: u8 = 5;

fn failed(format: ImageFormat, detail: impl ToString) -> Error {
    Error::Malformed { format, detail: detail.to_string() }
}

/// Has `program` decode `bytes`.
///
/// # Errors
/// What the decoder says of the bytes; `Malformed` too when it crashed over them, `Deadline` when it took too long.
pub(super) fn decode(program: &Path, bytes: &[u8], probe: &Probe, deadline: Instant) -> Result<Raw, Error> {
    let time = deadline.saturating_duration_since(Instant::now()).as_millis().to_string();
    let memory = probe.decoded_bytes.saturating_add(bytes.len() as u64).saturating_add(HEADROOM).to_string();
    let mut child = Command::new(program)
        .args([COMMAND, probe.format.as_str(), &time, &memory])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Error::Decoder(error.to_string()))?;
    // Both pipes are closed when this returns, so a child that still writes ends too.
    let answer = converse(&mut child, bytes, probe);
    let status = child.wait().map_err(|error| Error::Decoder(error.to_string()))?;
    match answer {
        Ok(outcome) => outcome,
        Err(_) if status.code() == Some(i32::from(TIMED_OUT)) => Err(Error::Deadline),
        // Whoever kills is short of memory or shuts down; decoders do not kill themselves.
        Err(_) if was_killed(status) => Err(Error::Decoder("killed".to_owned())),
        Err(error) => Err(failed(probe.format, format!("the decoder gave no image: {}, {error}", describe(status)))),
    }
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(rustix::process::Signal::KILL.as_raw())
}

/// An exit status without the words of one platform.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

/// The outer error is a conversation that broke off, the inner one what the decoder found.
fn converse(child: &mut Child, bytes: &[u8], probe: &Probe) -> io::Result<Result<Raw, Error>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
        return Err(io::Error::other("no pipe"));
    };
    // The child reads everything before it answers, so neither end waits for the other.
    stdin.write_all(bytes)?;
    drop(stdin);
    read_answer(&mut stdout, probe.format, super::stored_size(probe))
}

fn read_answer(from: &mut impl Read, format: ImageFormat, stored: (u32, u32)) -> io::Result<Result<Raw, Error>> {
    let kind = byte(from)?;
    if kind != PICTURE {
        let detail = String::from_utf8_lossy(&extra(from)?).into_owned();
        return Ok(Err(match kind {
            MALFORMED => Error::Malformed { format, detail },
            UNSUPPORTED => Error::Unsupported { format, detail },
            _ => failed(format, detail),
        }));
    }
    let (width, height) = (word(from)?, word(from)?);
    if (width, height) != stored {
        return Ok(Err(failed(format, format!("decoded as {width} x {height}, not {} x {}", stored.0, stored.1))));
    }
    let channels = match byte(from)? {
        1 => Channels::Grey,
        2 => Channels::GreyAlpha,
        3 => Channels::Rgb,
        4 => Channels::Rgba,
        INK => Channels::Cmyk,
        other => return Err(io::Error::other(format!("{other} channels"))),
    };
    let wide = byte(from)? != 0;
    let (primaries, transfer) = (byte(from)?, byte(from)?);
    let profile = extra(from)?;
    let space = if profile.is_empty() { Space::Cicp { primaries, transfer } } else { Space::Icc(profile) };
    let count = width as usize * height as usize * channels.count();
    let mut bytes = vec![0; if wide { count * 2 } else { count }];
    from.read_exact(&mut bytes)?;
    let samples = if wide {
        Samples::Sixteen(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
    } else {
        Samples::Eight(bytes)
    };
    Ok(Ok(Raw { width, height, channels, samples, space }))
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0; 1];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn word(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// A length and as many bytes.
fn extra(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = word(from)?;
    if length > MAX_EXTRA {
        return Err(io::Error::other(format!("{length} bytes beside the image")));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Decodes in this process.
pub(super) fn here(format: ImageFormat, bytes: &[u8]) -> Result<Raw, Error> {
    match format {
        ImageFormat::Avif => avif::decode(bytes),
        ImageFormat::Jxl => jxl::decode(bytes),
        ImageFormat::Heic => heic::decode(bytes),
        _ => Err(Error::Unsupported { format, detail: "not decoded apart".to_owned() }),
    }
}

/// The child's whole life: a source from `input`, the image or the reason against it to `output`.
///
/// # Errors
/// When it cannot read, write or confine itself; bytes that cannot be decoded are an answer, not an error.
pub fn serve(
    format: &str,
    time: Duration,
    memory_bytes: u64,
    mut input: impl Read,
    output: impl Write,
) -> io::Result<()> {
    let format = ImageFormat::ALL.into_iter().find(|known| known.as_str() == format);
    let format = format.ok_or_else(|| io::Error::other("no such format"))?;
    thread::Builder::new().name("deadline".into()).stack_size(64 << 10).spawn(move || {
        thread::park_timeout(time);
        std::process::exit(i32::from(TIMED_OUT));
    })?;
    confine(memory_bytes)?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    write_answer(io::BufWriter::new(output), here(format, &bytes))
}

/// No new file, no core dump, nothing written to disk, memory within its bound: what the decoder never needs is out of
/// its reach.
fn confine(memory_bytes: u64) -> io::Result<()> {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    for (resource, most) in
        [(Resource::As, memory_bytes), (Resource::Nofile, 3), (Resource::Core, 0), (Resource::Fsize, 0)]
    {
        setrlimit(resource, limit(most))?;
    }
    Ok(())
}

fn write_answer(mut to: impl Write, decoded: Result<Raw, Error>) -> io::Result<()> {
    let Raw { width, height, channels, samples, space } = match decoded {
        Ok(raw) => raw,
        Err(error) => {
            let (kind, detail) = match error {
                Error::Malformed { detail, .. } => (MALFORMED, detail),
                Error::Unsupported { detail, .. } => (UNSUPPORTED, detail),
                other => (OTHER, other.to_string()),
            };
            to.write_all(&[kind])?;
            write_extra(&mut to, detail.as_bytes())?;
            return to.flush();
        }
    };
    let (profile, primaries, transfer) = match space {
        Space::Icc(profile) => (profile, 0, 0),
        Space::Cicp { primaries, transfer } => (Vec::new(), primaries, transfer),
        // Unspecified: drawn as sRGB.
        Space::Srgb | Space::Power { .. } => (Vec::new(), 2, 2),
    };
    to.write_all(&[PICTURE])?;
    to.write_all(&width.to_le_bytes())?;
    to.write_all(&height.to_le_bytes())?;
    let wide = matches!(samples, Samples::Sixteen(_));
    let kind = if channels == Channels::Cmyk { INK } else { channels.count() as u8 };
    to.write_all(&[kind, u8::from(wide), primaries, transfer])?;
    write_extra(&mut to, &profile)?;
    match samples {
        Samples::Eight(bytes) => to.write_all(&bytes)?,
        Samples::Sixteen(words) => {
            for word in words {
                to.write_all(&word.to_le_bytes())?;
            }
        }
    }
    to.flush()
}

fn write_extra(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(samples: Samples, channels: Channels, space: Space) -> Raw {
        Raw { width: 3, height: 2, channels, samples, space }
    }

    fn answer(decoded: Result<Raw, Error>) -> Vec<u8> {
        let mut wire = Vec::new();
        write_answer(&mut wire, decoded).expect("written");
        wire
    }

    #[test]
    fn what_the_child_decoded_is_what_its_parent_gets() {
        let cases = [
            raw(Samples::Eight((0..18).collect()), Channels::Rgb, Space::Cicp { primaries: 9, transfer: 16 }),
            raw(Samples::Sixteen((0..24).map(|n| n * 2000).collect()), Channels::Rgba, Space::Icc(vec![7; 300])),
            raw(Samples::Eight(vec![1; 6]), Channels::Grey, Space::Cicp { primaries: 2, transfer: 2 }),
        ];
        for case in cases {
            let wire = answer(Ok(case.clone()));
            let back = read_answer(&mut wire.as_slice(), ImageFormat::Avif, (3, 2)).expect("whole").expect("an image");
            assert_eq!(format!("{back:?}"), format!("{case:?}"));
            for cut in 0..wire.len() {
                assert!(read_answer(&mut &wire[..cut], ImageFormat::Avif, (3, 2)).is_err(), "cut at {cut}");
            }
            // Of another size than the header that was judged: refused before anything is allocated for it.
            assert!(matches!(
                read_answer(&mut wire.as_slice(), ImageFormat::Avif, (3, 3)),
                Ok(Err(Error::Malformed { .. }))
            ));
        }
        let unsupported = Error::Unsupported { format: ImageFormat::Avif, detail: "depth 9".into() };
        let wire = answer(Err(unsupported.clone()));
        assert_eq!(
            read_answer(&mut wire.as_slice(), ImageFormat::Avif, (3, 2)).expect("whole").expect_err("refused"),
            unsupported
        );
    }

    #[test]
    fn a_program_that_is_not_the_decoder_is_no_picture() {
        let bytes = include_bytes!("../../../fixtures/images/p3.avif");
        let probe = crate::imaging::probe(bytes, &crate::imaging::Limits::default()).expect("an AVIF");
        let soon = Instant::now() + Duration::from_secs(20);
        for program in ["/bin/false", "/bin/cat", "/bin/echo"] {
            let refused = decode(Path::new(program), bytes, &probe, soon).expect_err(program);
            assert!(matches!(refused, Error::Malformed { .. }), "{program}: {refused}");
        }
        let missing = decode(Path::new("/nonexistent"), bytes, &probe, soon).expect_err("not there");
        assert!(matches!(missing, Error::Decoder(_)), "{missing}");
    }
}
