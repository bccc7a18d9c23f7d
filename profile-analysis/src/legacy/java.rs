//! What profiles of Java's agents say in lines of their own: settings, and the names of addresses.

use super::content::LegacyFrame;

/// Reads ` 0x00000003 com.example.Shop.load (Shop.java:99)`: an address, and what is there.
pub(super) fn parse_location(line: &str) -> Option<(u64, LegacyFrame)> {
    let (address, place) = line.trim().strip_prefix("0x")?.split_once(char::is_whitespace)?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let place = place.trim();
    let (name, file, line) = match place.rsplit_once(" (").and_then(|(name, file)| {
        let file = file.strip_suffix(')')?;
        Some((name.trim_end(), file))
    }) {
        // Of a library's path only the file's name is of interest.
        Some((name, file)) => match file.rsplit_once(':') {
            Some((file, line)) if line.parse::<i64>().is_ok() => {
                (name, file, line.parse().unwrap_or(0).max(0))
            }
            _ => (name, file.rsplit('/').next().unwrap_or(file), 0),
        },
        None if place.contains("generated stub/JIT") => ("STUB", "", 0),
        None => (place, "", 0),
    };
    let frame = LegacyFrame { name: name.to_owned(), file: file.to_owned(), line };
    (!name.is_empty()).then_some((address, frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places() {
        let check = |line: &str, name: &str, file: &str, at: i64| {
            let frame = LegacyFrame { name: name.to_owned(), file: file.to_owned(), line: at };
            assert_eq!(parse_location(line), Some((0xd, frame)));
        };
        check(" 0x0000000d a.B.f (B.java:99)", "a.B.f", "B.java", 99);
        check("0xd a.B.f (B.java:-1)", "a.B.f", "B.java", 0);
        check("0xd do_fork (/lib/libjvm.so)", "do_fork", "libjvm.so", 0);
        check("0xd generated stub/JIT", "STUB", "", 0);
        check("0xd GC", "GC", "", 0);
        assert_eq!(parse_location("0xd"), None);
        assert_eq!(parse_location("d a.B.f"), None);
    }
}
