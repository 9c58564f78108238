//! Every value comes back as it was, and no value that was cut, lengthened or changed anywhere comes back at all.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::record::{Lifetime, PlaceholderSet, Validators};
use crate::variant::{ContentHash, Quality, Rgb};

fn record() -> SourceRecord {
    SourceRecord {
        content: ContentHash::of(b"bytes"),
        validators: Validators { etag: Some("W/\"a\"".into()), last_modified: None },
        format: ImageFormat::Jpeg,
        width: 4000,
        height: 3000,
        has_alpha: false,
        frames: 1,
        bytes: 5_000_000_000,
        decode_cost: 48_000_000,
        placeholder: Some(Arc::new(PlaceholderSet {
            blurhash: "LEHV6nWB2yk8pyo0adR*.7kCMdnj".into(),
            thumbhash: vec![1, 2, 3],
            png: vec![0x89, b'P'],
            width: 8,
            height: 6,
            dominant: Rgb([1, 2, 3]),
            has_alpha: false,
        })),
        fair_quality: Quality::new(61),
        lifetime: Lifetime {
            checked_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123),
            ttl: Duration::from_secs(60),
            early: Duration::ZERO,
            stale_while_revalidate: Duration::from_millis(1_500),
            stale_if_error: Duration::ZERO,
            immutable: false,
        },
        storable: true,
        epoch: 0,
    }
}

fn entry() -> Entry {
    Entry::new(Bytes::from_static(b"a picture"), ImageFormat::Avif, 640, 480, Some(Effort::Fast))
}

fn values() -> [Vec<u8>; 2] {
    [encode_record(&record()).expect("encodes"), encode_entry(&entry()).expect("encodes")]
}

fn refused(value: Vec<u8>) -> bool {
    let value = Bytes::from(value);
    decode_record(&value).is_err() && decode_entry(&value).is_err()
}

#[test]
fn values_come_back_as_they_were() {
    let [stored_record, stored_entry] = values().map(Bytes::from);
    assert_eq!(decode_record(&stored_record), Ok(record()));
    assert_eq!(decode_entry(&stored_entry), Ok(entry()));
    let bare = SourceRecord { placeholder: None, validators: Validators::default(), ..record() };
    assert_eq!(decode_record(&encode_record(&bare).expect("encodes").into()), Ok(bare));
    let empty = Entry { bytes: Bytes::new(), ..entry() };
    assert_eq!(decode_entry(&encode_entry(&empty).expect("encodes").into()), Ok(empty));
}

#[test]
fn a_picture_is_not_copied_out_of_its_value() {
    let value = Bytes::from(encode_entry(&entry()).expect("encodes"));
    let picture = decode_entry(&value).expect("decodes").bytes;
    assert!(value.as_ptr_range().contains(&picture.as_ptr()));
}

#[test]
fn every_cut_is_refused() {
    for value in values() {
        for end in 0..value.len() {
            assert!(refused(value[..end].to_vec()), "the first {end} of {}", value.len());
            assert!(refused(value[end + 1..].to_vec()), "without the first {}", end + 1);
        }
        assert!(refused([value.as_slice(), &[0]].concat()));
    }
}

#[test]
fn every_changed_byte_is_refused() {
    for value in values() {
        for at in 0..value.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = value.clone();
                changed[at] ^= change;
                assert!(refused(changed), "byte {at} of {} with {change:#x}", value.len());
            }
        }
    }
}

#[test]
fn kinds_and_versions_are_not_mixed_up() {
    let [stored_record, stored_entry] = values();
    assert_eq!(decode_record(&stored_entry.clone().into()), Err(Damage::Kind));
    assert_eq!(decode_entry(&stored_record.into()), Err(Damage::Kind));
    let mut other = stored_entry;
    other[4] = VERSION + 1;
    assert_eq!(decode_entry(&other.into()), Err(Damage::Version(VERSION + 1)));
    assert_eq!(decode_entry(&Bytes::from_static(b"hello, this is no value of ours")), Err(Damage::Foreign));
}

#[test]
fn a_whole_value_with_nonsense_inside_is_refused() {
    // Every field is at its largest: a moment after the end of time, counts and lengths beyond the value's end.
    for kind in [Kind::Record, Kind::Entry] {
        for filling in [0xff, 0x80] {
            for length in 0..200 {
                assert!(refused(seal(kind, &vec![filling; length], &[]).expect("short")), "{kind:?} {length}");
            }
        }
    }
}

/// The format is a contract between replicas of different builds: who changes it raises [`VERSION`].
#[test]
fn the_format_of_this_version_does_not_change() {
    let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [stored_record, stored_entry] = values();
    assert_eq!(VERSION, 3);
    assert_eq!(ContentHash::of(&stored_record).to_base64url(), "OymC9pOgINP-FlXnNp7SBUk2_tuohETDY9bzgUn6RFM");
    let entry = "70786774030200000000003e9900e4a3008005e0032d226b724c3657414b4a5744462d5149765954732d6e4431376a5778495a6b6476\
                 434d735364466d4e54634973220100612070696374757265";
    assert_eq!(hex(&stored_entry), entry);
}
