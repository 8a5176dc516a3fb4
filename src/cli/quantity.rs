//! The numbers of mount options, as tmpfs reads them: `memparse` and `kstrtouint` of the kernel, without what they let
//! pass by accident. A number that is missing, or that 64 bits do not hold, is none.

const PAGE: u64 = 4096;
/// tmpfs reckons an inode with so many bytes, and counts those with 64 bits.
const BYTES_PER_INODE: u64 = 1024;
const MODE_BITS: u32 = 0o7777;

/// Bytes as `size=` has them: whole pages, 0 for no limit, `%` of `memory`. `u64::MAX` means no limit.
pub fn size(text: &str, memory: u64) -> Option<u64> {
    let bytes = match parse(text)? {
        (number, "") => number,
        (percent, "%") => {
            let share = u128::from(memory) * u128::from(percent) / 100;
            u64::try_from(share).ok()?
        }
        _ => return None,
    };
    Some(unlimited_if_zero(bytes.checked_next_multiple_of(PAGE)?))
}

/// Bytes as `nr_blocks=` has them: a number of pages, 0 for no limit.
pub fn blocks(text: &str) -> Option<u64> {
    Some(unlimited_if_zero(count(text)?.checked_mul(PAGE)?))
}

/// Inodes as `nr_inodes=` has them, 0 for no limit.
pub fn inodes(text: &str) -> Option<u64> {
    let number = count(text)?;
    (number <= u64::MAX / BYTES_PER_INODE).then(|| unlimited_if_zero(number))
}

/// A number, with a suffix or without.
pub fn count(text: &str) -> Option<u64> {
    parse(text)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(number, _)| number)
}

/// A user or group id. The largest number of 32 bits is none: to the kernel it means "leave it alone".
pub fn id(text: &str) -> Option<u32> {
    let (number, rest) = digits(text.strip_prefix('+').unwrap_or(text))?;
    let id = u32::try_from(number).ok()?;
    (rest.is_empty() && id != u32::MAX).then_some(id)
}

/// Permissions in octal; bits that are none are left out.
pub fn mode(text: &str) -> Option<u16> {
    let mode = u32::from_str_radix(text, 8).ok()?;
    u16::try_from(mode & MODE_BITS).ok()
}

/// A number with one of the suffixes for powers of 1024, and what follows.
fn parse(text: &str) -> Option<(u64, &str)> {
    const SUFFIXES: &str = "kmgtpe";
    let (number, rest) = digits(text)?;
    let suffix = rest.chars().next().map(|first| first.to_ascii_lowercase());
    match suffix.and_then(|suffix| SUFFIXES.find(suffix)) {
        Some(at) => Some((number.checked_mul(1024 << (10 * at))?, &rest[1..])),
        None => Some((number, rest)),
    }
}

/// Digits, of a base as in C (`0x` hexadecimal, `0` octal), and what follows.
fn digits(text: &str) -> Option<(u64, &str)> {
    let hexadecimal = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_hexdigit()));
    let (base, text) = match hexadecimal {
        Some(rest) => (16, rest),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let rest = text.trim_start_matches(|digit: char| digit.is_digit(base));
    let number = u64::from_str_radix(&text[..text.len() - rest.len()], base).ok()?;
    Some((number, rest))
}

fn unlimited_if_zero(number: u64) -> u64 {
    if number == 0 { u64::MAX } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 8 << 30;

    #[test]
    fn sizes_are_read_in_all_units_and_are_whole_pages() {
        let size = |text: &str| size(text, MEMORY);
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("1"), Some(4096));
        assert_eq!(size("5K"), Some(8 << 10));
        assert_eq!(size("3m"), Some(3 << 20));
        assert_eq!(size("1t"), Some(1 << 40));
        assert_eq!(size("2P"), Some(2 << 50));
        assert_eq!(size("15e"), Some(15 << 60));
        assert_eq!(size("0x10000"), Some(65_536));
        assert_eq!(size("010000"), Some(4096));
        assert_eq!(size("25%"), Some(2 << 30));
        assert_eq!(size("0x64%"), Some(MEMORY));
        assert_eq!((size("0"), size("0%")), (Some(u64::MAX), Some(u64::MAX)));
    }

    #[test]
    fn counts_modes_and_ids_are_read_as_the_kernel_does() {
        assert_eq!(blocks("3k"), Some(3 << 22));
        assert_eq!(inodes("0x10"), Some(16));
        assert_eq!(inodes("18014398509481983"), Some(u64::MAX / 1024));
        assert_eq!(inodes("18014398509481984"), None);
        assert_eq!((inodes("0"), blocks("0")), (Some(u64::MAX), Some(u64::MAX)));
        assert_eq!((mode("+1777"), mode("10755")), (Some(0o1777), Some(0o755)));
        assert_eq!(
            (id("+5"), id("0x10"), id("010")),
            (Some(5), Some(16), Some(8))
        );
        assert_eq!(
            (id("4294967294"), id("4294967295")),
            (Some(u32::MAX - 1), None)
        );
    }

    #[test]
    fn nonsense_is_no_number() {
        for text in [
            "", "k", "-1", "+1", "1.5g", "08", "1kk", "1kb", "1x", "0x", "é", "5%", " 1",
        ] {
            assert_eq!(count(text), None, "{text}");
        }
        for text in [
            "%",
            "1%%",
            "1%k",
            "16e",
            "99999999999999999999",
            "18446744073709551615",
        ] {
            assert_eq!(size(text, MEMORY), None, "{text}");
        }
        for text in ["", "8", "-1", "0x1ed", "u+x", "77777777777", "++7"] {
            assert_eq!(mode(text), None, "{text}");
        }
        for text in ["", "root", "-1", "08", "1k", "4294967296", "++1"] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
