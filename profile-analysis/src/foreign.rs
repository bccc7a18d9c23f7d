//! Files that are no profile, and what they are: whoever gave one wants to know what came instead.

/// Formats that are known by their beginning and not read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForeignFormat {
    /// A page, such as one that asks for a password.
    Html,
    /// An XML document.
    Xml,
    /// A program or a core of Linux.
    Elf,
    /// What `perf record` writes.
    PerfData,
    /// A recording of the JDK's Flight Recorder.
    Jfr,
    /// Data packed by zstd.
    Zstd,
    /// Data packed by lz4.
    Lz4,
    /// Data packed by xz.
    Xz,
    /// Data packed by bzip2.
    Bzip2,
    /// A zip archive.
    Zip,
    /// A page of bytes of the SQLite library.
    Sqlite,
    /// Parquet, a table for engines.
    Parquet,
}

/// What is told of a format: its beginning, the word for programs, and that for people.
struct ForeignRow(ForeignFormat, &'static [&'static [u8]], &'static str, &'static str);

const ROWS: [ForeignRow; 11] = {
    use ForeignFormat::*;
    [
        ForeignRow(Elf, &[b"\x7fELF"], "elf", "an ELF program, library or core"),
        ForeignRow(
            PerfData,
            &[b"PERFILE2", b"2ELIFREP", b"PERFFILE"],
            "perf_data",
            "a recording of perf, which `perf script` turns into text that is read",
        ),
        ForeignRow(Jfr, &[b"FLR\0"], "jfr", "a recording of the JDK's Flight Recorder"),
        ForeignRow(Zstd, &[b"\x28\xb5\x2f\xfd"], "zstd", "data packed by zstd"),
        ForeignRow(Lz4, &[b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"], "lz4", "data packed by lz4"),
        ForeignRow(Xz, &[b"\xfd7zXZ\0"], "xz", "data packed by xz"),
        ForeignRow(Bzip2, &[b"BZh"], "bzip2", "data packed by bzip2"),
        ForeignRow(Zip, &[b"PK\x03\x04", b"PK\x05\x06"], "zip", "a zip archive"),
        ForeignRow(Sqlite, &[b"SQLite format 3\0"], "sqlite", "an SQLite database"),
        ForeignRow(Parquet, &[b"PAR1"], "parquet", "a Parquet table"),
        ForeignRow(Xml, &[], "xml", "an XML document"),
    ]
};

impl ForeignFormat {
    /// Returns the format that a beginning tells for sure.
    pub(crate) fn of(head: &[u8]) -> Option<ForeignFormat> {
        let begins = |ForeignRow(_, starts, ..): &&ForeignRow| {
            starts.iter().any(|start| head.starts_with(start))
        };
        ROWS.iter().find(begins).map(|&ForeignRow(format, ..)| format)
    }

    /// Returns the format that text which is nothing else seems to have.
    pub(crate) fn of_text(head: &[u8]) -> Option<ForeignFormat> {
        let text = head.trim_ascii_start();
        let start = text[..text.len().min(15)].to_ascii_lowercase();
        let starts = |wanted: &[&str]| wanted.iter().any(|word| start.starts_with(word.as_bytes()));
        if starts(&["<!doctype html", "<html", "<head", "<body", "<script", "<title", "<!--"]) {
            return Some(ForeignFormat::Html);
        }
        if starts(&["<?xml"]) {
            let is_page = memchr::memmem::find(text, b"<html").is_some();
            return Some(if is_page { ForeignFormat::Html } else { ForeignFormat::Xml });
        }
        None
    }

    /// Returns the word that programs read.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ForeignFormat::Html => "html",
            _ => self.row().map_or("unknown", |&ForeignRow(.., word, _)| word),
        }
    }

    /// Returns the format in words, with an article.
    pub(crate) fn description(self) -> &'static str {
        match self {
            ForeignFormat::Html => {
                "an HTML page, such as a server gives to who has to log in or asks for what is not there"
            }
            _ => self.row().map_or("something unknown", |&ForeignRow(.., text)| text),
        }
    }

    fn row(self) -> Option<&'static ForeignRow> {
        ROWS.iter().find(|ForeignRow(format, ..)| *format == self)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, open, read};

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let expected = format!("this is {expected}, not a profile");
        assert_eq!(open(bytes).unwrap_err().to_string(), expected);
        assert!(matches!(read(bytes), Err(Error::NotAProfile(_))));
    }

    #[test]
    fn a_refusal_says_what_it_is() {
        check(b"\x7fELF\x02\x01\x01\0\0\0\0\0", "an ELF program, library or core");
        check(b"FLR\0\0\x02\0\x01", "a recording of the JDK's Flight Recorder");
        check(b"\xfd7zXZ\0\0\x04", "data packed by xz");
        check(b"BZh91AY&SY", "data packed by bzip2");
        let page = "an HTML page, such as a server gives to who has to log in or asks for what is not \
                    there";
        for text in ["<!DOCTYPE html>\n<html>", "\n<HTML>", "<?xml version=\"1.0\"?><html>"] {
            check(text.as_bytes(), page);
        }
        check(b"<?xml version=\"1.0\"?><Error>", "an XML document");
        let perf = "a recording of perf, which `perf script` turns into text that is read";
        check(b"PERFILE2\x68\0\0\0", perf);
        check(b"hello", "something unknown");
    }
}
