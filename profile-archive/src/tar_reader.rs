//! The archive inside the gzip stream: blocks of 512 bytes, some of them headers.
//!
//! Only the fixed fields of a header are believed, and of extensions that give an entry another name
//! or size (GNU long names, pax) the name of one that is short: the `tar` crate's own iterator keeps
//! them in memory whole, whatever size they claim.

use std::io::Read;

use crate::gunzip::GunzipReader;
use crate::warning::{DIRECTORY, LONG_NAME, PAX_HEADER};
use crate::{EntryName, Problem};

/// The unit of an archive, in bytes.
pub(crate) const BLOCK: usize = 512;

/// Number of bytes of the scratch space for what is read to be looked at or thrown away.
pub(crate) const SCRATCH: usize = 16 * 1024;

/// The decompressed archive and how far it was read.
pub(crate) struct TarReader<R> {
    pub(crate) stream: GunzipReader<R>,
    pub(crate) offset: u64,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(stream: GunzipReader<R>) -> TarReader<R> {
        TarReader { stream, offset: 0 }
    }

    /// Reads some bytes into a buffer that is not empty, and returns how many; 0 where the stream
    /// ended well.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Problem> {
        let read = self.stream.read(buf)?;
        self.offset += read as u64;
        Ok(read)
    }

    /// Reads one block; `None` where the stream ended well before it was whole.
    pub(crate) fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, Problem> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read(&mut block[filled..])? {
                0 => return Ok(None),
                read => filled += read,
            }
        }
        Ok(Some(block))
    }

    /// Reads bytes and hands them on in pieces.
    pub(crate) fn pass(
        &mut self,
        mut bytes: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Problem> {
        let mut scratch = [0; SCRATCH];
        while bytes > 0 {
            let most = bytes.min(SCRATCH as u64) as usize;
            match self.read(&mut scratch[..most])? {
                0 => return Err(Problem::BreaksOff),
                read => {
                    each(&scratch[..read]);
                    bytes -= read as u64;
                }
            }
        }
        Ok(())
    }

    /// Skips bytes.
    pub(crate) fn skip(&mut self, bytes: u64) -> Result<(), Problem> {
        self.pass(bytes, |_| {})
    }

    /// Skips the bytes of a member, and the maps that precede them in a sparse file.
    pub(crate) fn skip_member(&mut self, member: &TarMember) -> Result<(), Problem> {
        let mut more_maps = member.more_maps;
        while more_maps {
            let block = self.read_block()?.ok_or(Problem::BreaksOff)?;
            // 21 places of 24 bytes, then the flag that says whether another block follows.
            more_maps = block[21 * 24] != 0;
        }
        self.skip(member.size)?;
        self.skip(padding(member.size))
    }
}

/// Returns the number of bytes that fill up the last block of an entry.
pub(crate) fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// The facts that a header states of the file after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TarMember {
    pub(crate) name: EntryName,
    /// True if the name in the header is another one.
    pub(crate) renamed: bool,
    /// Number of bytes that follow, padding not counted.
    pub(crate) size: u64,
    /// Its type in words, where it is not a regular file.
    pub(crate) oddity: Option<&'static str>,
    /// The form in which it names the entry after it, where it does.
    pub(crate) names_next: Option<NextName>,
    /// True if blocks with more of a sparse file's map come first.
    more_maps: bool,
}

/// The ways in which an extension names the entry after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextName {
    /// The name, and a zero.
    Gnu,
    /// Records of `length key=value` and a line's end, one of which has the key `path`.
    Pax,
}

impl NextName {
    /// The most bytes of an extension that are looked at.
    pub(crate) const MOST: u64 = 16 << 10;

    /// Returns the name that an extension gives.
    pub(crate) fn parse(self, extension: &[u8]) -> Option<&[u8]> {
        match self {
            NextName::Gnu => extension.split(|&byte| byte == 0).next(),
            NextName::Pax => {
                let mut rest = extension;
                loop {
                    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let length = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
                    let record = rest.get(digits..length)?.strip_suffix(b"\n")?;
                    if let Some(path) = record.strip_prefix(b" path=") {
                        return Some(path);
                    }
                    rest = &rest[length..];
                }
            }
        }
    }
}

impl TarMember {
    /// Returns whether it is a folder, which holds nothing itself.
    pub(crate) fn is_directory(&self) -> bool {
        self.oddity == Some(DIRECTORY)
    }

    /// Gives the entry the name that an extension before it has.
    pub(crate) fn rename(&mut self, raw: &[u8]) {
        self.name = EntryName::label(raw);
        self.renamed = EntryName::is_unsafe(raw);
    }

    /// Reads a header; `None` where its checksum or its size is wrong.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Option<TarMember> {
        let header = tar::Header::from_byte_slice(block);
        // The checksum counts its own eight bytes as spaces.
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        let own: u32 = block[148..156].iter().map(|&byte| u32::from(byte)).sum();
        if header.cksum().ok()? != sum - own + 8 * u32::from(b' ') {
            return None;
        }
        let (oddity, holds_data) = match block[156] {
            b'0' | 0 | b'7' => (None, true),
            b'1' => (Some("a hard link"), false),
            b'2' => (Some("a symbolic link"), false),
            b'3' => (Some("a character device"), false),
            b'4' => (Some("a block device"), false),
            b'5' => (Some(DIRECTORY), false),
            b'6' => (Some("a named pipe"), false),
            b'S' => (Some("a sparse file"), true),
            b'K' | b'L' => (Some(LONG_NAME), true),
            b'g' | b'x' => (Some(PAX_HEADER), true),
            _ => (Some("of an unknown type"), true),
        };
        let raw = header.path_bytes();
        let name = EntryName::label(&raw);
        let renamed = EntryName::is_unsafe(&raw);
        let size = entry_size(header, block)?;
        Some(TarMember {
            name,
            renamed,
            size: if holds_data { size } else { 0 },
            oddity,
            names_next: match block[156] {
                b'L' => Some(NextName::Gnu),
                b'x' => Some(NextName::Pax),
                _ => None,
            },
            more_maps: block[156] == b'S'
                && header.as_gnu().is_some_and(tar::GnuHeader::is_extended),
        })
    }
}

/// Reads the size in a header: octal digits, or a big-endian number after a byte 0x80.
fn entry_size(header: &tar::Header, block: &[u8; BLOCK]) -> Option<u64> {
    let field = &block[124..136];
    // The `tar` crate looks at the last eight bytes alone, which would read a negative or larger
    // number as a good one.
    if field[0] & 0x80 != 0 && field[..4] != [0x80, 0, 0, 0] {
        return None;
    }
    header.entry_size().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(name: &str, kind: u8, size: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..][..size.len()].copy_from_slice(size);
        block[148..156].fill(b' ');
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    #[track_caller]
    fn check(name: &str, kind: u8, size: &[u8], expected: Option<(&str, u64, Option<&str>)>) {
        let member = TarMember::parse(&header(name, kind, size));
        let found = member.as_ref().map(|m| (m.name.as_str(), m.size, m.oddity));
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_headers() {
        check("cpu.prof", b'0', b"00000000017\0", Some(("cpu.prof", 15, None)));
        check("cpu.prof", 0, b"17 ", Some(("cpu.prof", 15, None)));
        check("x", b'2', b"00000000017\0", Some(("x", 0, Some("a symbolic link"))));
        check("x", b'Z', b"00000000017\0", Some(("x", 15, Some("of an unknown type"))));
    }

    #[test]
    fn doubts_sizes() {
        check("x", b'0', b"777777777777", Some(("x", (1 << 36) - 1, None)));
        let binary = |first: [u8; 4], rest: u64| [&first[..], &rest.to_be_bytes()].concat();
        check("x", b'0', &binary([0x80, 0, 0, 0], 1 << 33), Some(("x", 1 << 33, None)));
        check("x", b'0', &binary([0x80, 0, 0, 0], u64::MAX), Some(("x", u64::MAX, None)));
        check("x", b'0', &binary([0x80, 0, 0, 1], 5), None);
        check("x", b'0', &binary([0xff; 4], u64::MAX), None);
        check("x", b'0', b"-1", None);
        check("x", b'0', b"9", None);
    }

    #[test]
    fn a_name_that_is_not_safe_is_renamed() {
        let renamed = |name| TarMember::parse(&header(name, b'0', b"0")).unwrap().renamed;
        assert!(!renamed("cpu.prof"));
        assert!(!renamed("./cpu.prof"));
        assert!(renamed("../cpu.prof"));
        assert!(renamed("a/../cpu.prof"));
        assert!(renamed("/cpu.prof"));
        assert!(!renamed("a/cpu.prof"));
        assert!(!renamed("of 10:00/cpu.prof"));
    }

    #[test]
    fn extensions_name_what_follows() {
        assert_eq!(NextName::Gnu.parse(b"a/b\0"), Some(&b"a/b"[..]));
        let pax = b"20 mtime=1700000000\n14 path=a/b=c\n";
        assert_eq!(NextName::Pax.parse(pax), Some(&b"a/b=c"[..]));
        for wrong in
            [&b""[..], b"9", b"9 path=a", b"99 path=a\n", b"0 path=a\n", b"x", b"7 path=\n"]
        {
            assert_eq!(NextName::Pax.parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_checksum_guards_the_header() {
        let mut block = header("x", b'0', b"0");
        block[0] = b'y';
        assert_eq!(TarMember::parse(&block), None);
        assert_eq!(TarMember::parse(&[0xff; BLOCK]), None);
    }

    #[test]
    fn padding_fills_blocks() {
        for (size, expected) in [(0, 0), (1, 511), (511, 1), (512, 0), (u64::MAX, 1)] {
            assert_eq!(padding(size), expected);
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let mut block: [u8; BLOCK] = bytes.try_into().unwrap();
            let _ = TarMember::parse(&block);
            // With a good checksum it gets further.
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let _ = TarMember::parse(&block);
        }
    }
}
