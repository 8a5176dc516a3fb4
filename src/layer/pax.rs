//! Records of extended headers, which say what a plain header of an archive has no room for.

use crate::delta::Xattr;
use crate::tree::Time;
use std::fmt::Write as _;

/// The record of an extended attribute, by the name behind it.
const XATTR: &str = "SCHILY.xattr.";
/// The same of a name that no record can have: by its bytes in URL encoding, the value in base 64.
const CODED_XATTR: &str = "LIBARCHIVE.xattr.";

/// A record.
pub(super) type Record = (String, Vec<u8>);

/// The records in `bytes`; `None` if that is none of them.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let (record, rest) = bytes.split_at_checked(length)?;
        let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let key = std::str::from_utf8(&record[..equals]).ok()?;
        records.push((key, &record[equals + 1..]));
        bytes = rest;
    }
    Some(records)
}

/// One record as it stands in an extended header.
pub(super) fn push(bytes: &mut Vec<u8>, key: &str, value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
}

/// A time in seconds, with all digits of its fraction.
pub(super) fn of_time(time: Time) -> Vec<u8> {
    let (sign, sec, nsec) = match (time.sec < 0, time.nsec) {
        (false, nsec) => ("", time.sec.unsigned_abs(), nsec),
        (true, 0) => ("-", time.sec.unsigned_abs(), 0),
        (true, nsec) => ("-", time.sec.unsigned_abs() - 1, 1_000_000_000 - nsec),
    };
    format!("{sign}{sec}.{nsec:09}").into_bytes()
}

/// The other way round.
pub(super) fn to_time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (sec, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(sec) || !digits(fraction) {
        return None;
    }
    let sec: i64 = sec.parse().ok()?;
    let nsec: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (negative, nsec) {
        (false, nsec) => Time { sec, nsec },
        (true, 0) => Time { sec: -sec, nsec: 0 },
        (true, nsec) => Time {
            sec: -sec - 1,
            nsec: 1_000_000_000 - nsec,
        },
    })
}

/// The record of an extended attribute.
pub(super) fn of_xattr((name, value): Xattr) -> Record {
    use base64::Engine;
    match std::str::from_utf8(&name) {
        Ok(name) if !name.contains(['=', '%']) => (format!("{XATTR}{name}"), value),
        _ => {
            let mut key = CODED_XATTR.to_owned();
            for byte in name {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                        key.push(char::from(byte));
                    }
                    // Writing to a string does not fail.
                    byte => write!(key, "%{byte:02X}").unwrap_or_default(),
                }
            }
            let value = base64::engine::general_purpose::STANDARD_NO_PAD.encode(value);
            (key, value.into_bytes())
        }
    }
}

/// The other way round; `None` of another record.
pub(super) fn to_xattr(key: &str, value: &[u8]) -> Option<Xattr> {
    use base64::Engine;
    if let Some(name) = key.strip_prefix(XATTR) {
        return Some((name.as_bytes().to_vec(), value.to_vec()));
    }
    let coded = key.strip_prefix(CODED_XATTR)?;
    let mut parts = coded.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(byte, 16).ok()?);
        name.extend_from_slice(rest.as_bytes());
    }
    let value = base64::engine::general_purpose::STANDARD_NO_PAD.decode(value);
    Some((name, value.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length_and_has_any_bytes() {
        for length in [0, 1, 80, 81, 82, 90, 91, 92, 980, 981, 982, 983, 100_000] {
            let (mut bytes, value) = (Vec::new(), vec![b'\n'; length]);
            push(&mut bytes, "key", &value);
            push(&mut bytes, "other", b"a=b");
            let expected = [("key", &value[..]), ("other", b"a=b")];
            assert_eq!(records(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for bytes in [
            &b"x"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 ab-c\n",
            b"99999999999999999999 a=b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"6 a=bc",
            b"7 \xff=b\n\n",
        ] {
            assert_eq!(records(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn every_time_survives() {
        for (sec, nsec, shown) in [
            (0, 0, "0.000000000"),
            (1, 5, "1.000000005"),
            (-1, 0, "-1.000000000"),
            (-1, 5, "-0.999999995"),
            (-7, 999_999_999, "-6.000000001"),
            (i64::MAX, 1, "9223372036854775807.000000001"),
        ] {
            let time = Time { sec, nsec };
            assert_eq!(of_time(time), shown.as_bytes());
            assert_eq!(to_time(shown.as_bytes()), Some(time));
        }
        assert_eq!(to_time(b"3.5").map(|time| time.nsec), Some(500_000_000));
        for bad in ["", "x", "1.x", "--1", "1.-5", "99999999999999999999"] {
            assert_eq!(to_time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn every_name_of_an_attribute_survives() {
        for name in [&b"user.plain"[..], b"user.\xff\n", b"user.a=b%", b"user."] {
            let xattr = (name.to_vec(), b"\0value\n".to_vec());
            let (key, value) = of_xattr(xattr.clone());
            assert!(!key.contains('='), "{key}");
            assert_eq!(to_xattr(&key, &value), Some(xattr));
        }
        assert_eq!(to_xattr("mtime", b"1"), None);
        assert_eq!(to_xattr("LIBARCHIVE.xattr.%f", b""), None);
    }
}
