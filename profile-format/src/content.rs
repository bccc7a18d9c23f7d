//! What is in a file: bytes that are there, a profile that is still its model, or what is made as it is
//! written.

use std::fmt;
use std::io::{self, Write};
use std::ops::Deref;
use std::sync::OnceLock;

use crate::profile::{DecodeError, DecodeLimits, Profile};

/// The content of a file, in one of three forms. A profile is its model until its bytes are asked
/// for: who draws it or subtracts from it needs none. One that would be large beside what it is made
/// of, as a trace is, is made anew each time it is written, and its length is known before. Anything
/// else is bytes in memory.
///
/// It can be read as a slice in every form. Its bytes are then made, once, and kept.
pub struct Content {
    form: ContentStorage,
    shortfall: Option<String>,
}

enum ContentStorage {
    Whole(Vec<u8>),
    Model { profile: Box<Profile>, encoded: OnceLock<Vec<u8>> },
    Written { len: u64, write: Box<WriteContent>, whole: OnceLock<Vec<u8>> },
}

type WriteContent = dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync;

impl Content {
    /// Makes content of what `write` writes, which must be the same bytes each time. It is run once
    /// here, to count them.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub fn written(
        write: impl Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Content> {
        let mut counted = CountingWriter { bytes: 0, inner: io::sink() };
        write(&mut counted)?;
        let whole = OnceLock::new();
        let form = ContentStorage::Written { len: counted.bytes, write: Box::new(write), whole };
        Ok(Content { form, shortfall: None })
    }

    /// Returns the same content, of which most is missing that should be in it: a bundle has it,
    /// and an error beside it that says so.
    #[must_use]
    pub fn with_shortfall(self, reason: String) -> Content {
        Content { shortfall: Some(reason), ..self }
    }

    /// Says why most of what should be in it isn't.
    pub fn shortfall(&self) -> Option<&str> {
        self.shortfall.as_deref()
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        match &self.form {
            ContentStorage::Whole(bytes) => bytes.len() as u64,
            ContentStorage::Model { profile, encoded } => {
                encode_once(profile, encoded).len() as u64
            }
            ContentStorage::Written { len, .. } => *len,
        }
    }

    /// Returns whether it is no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes where they are in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        match &self.form {
            ContentStorage::Whole(bytes) => Some(bytes),
            ContentStorage::Model { encoded, .. } => encoded.get().map(Vec::as_slice),
            ContentStorage::Written { whole, .. } => whole.get().map(Vec::as_slice),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// Those of the writer; and that what was written now is longer or shorter than it was said to
    /// be.
    pub fn write_to(&self, writer: &mut dyn Write) -> io::Result<()> {
        match &self.form {
            ContentStorage::Whole(bytes) => writer.write_all(bytes),
            ContentStorage::Model { profile, encoded } => {
                writer.write_all(encode_once(profile, encoded))
            }
            ContentStorage::Written { len, write, .. } => {
                let mut counted = CountingWriter { bytes: 0, inner: writer };
                write(&mut counted)?;
                if counted.bytes == *len {
                    return Ok(());
                }
                let message = format!("{} bytes were written of a file of {len}", counted.bytes);
                Err(io::Error::other(message))
            }
        }
    }

    /// Returns the same as bytes where it was a profile, whose model is given back. Compressing it
    /// is most of the work.
    #[must_use]
    pub fn into_encoded(self) -> Content {
        match self.form {
            ContentStorage::Model { profile, encoded } => {
                let bytes = encoded.into_inner().unwrap_or_else(|| profile.encode_gzip());
                Content { form: ContentStorage::Whole(bytes), shortfall: self.shortfall }
            }
            form => Content { form, shortfall: self.shortfall },
        }
    }

    /// Returns the profile that it is.
    ///
    /// # Errors
    ///
    /// It is bytes, and they are none.
    pub fn into_profile(self) -> Result<Profile, DecodeError> {
        match self.form {
            ContentStorage::Model { profile, .. } => Ok(*profile),
            form => {
                let bytes = Content { form, shortfall: None }.into_vec();
                Profile::decode(&bytes, &DecodeLimits::default())
            }
        }
    }

    /// Returns all of it in memory.
    pub fn into_vec(self) -> Vec<u8> {
        match self.form {
            ContentStorage::Whole(bytes) => bytes,
            ContentStorage::Model { profile, encoded } => {
                encoded.into_inner().unwrap_or_else(|| profile.encode_gzip())
            }
            ContentStorage::Written { write, whole, .. } => {
                whole.into_inner().unwrap_or_else(|| run_writer(&*write))
            }
        }
    }
}

/// Returns the bytes of a profile, compressed.
fn encode_once<'a>(profile: &Profile, encoded: &'a OnceLock<Vec<u8>>) -> &'a [u8] {
    encoded.get_or_init(|| profile.encode_gzip())
}

/// Runs the writer. Writing to a vector can't fail, and what else fails leaves it short.
fn run_writer(write: &WriteContent) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = write(&mut bytes);
    bytes
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content { form: ContentStorage::Whole(bytes), shortfall: None }
    }
}

impl From<Profile> for Content {
    fn from(profile: Profile) -> Content {
        let form = ContentStorage::Model { profile: Box::new(profile), encoded: OnceLock::new() };
        Content { form, shortfall: None }
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.form {
            ContentStorage::Whole(bytes) => bytes,
            ContentStorage::Model { profile, encoded } => encode_once(profile, encoded),
            ContentStorage::Written { write, whole, .. } => {
                whole.get_or_init(|| run_writer(&**write))
            }
        }
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            ContentStorage::Model { profile, .. } => {
                write!(f, "Content({} samples)", profile.samples.len())
            }
            _ => write!(f, "Content({} bytes)", Content::len(self)),
        }
    }
}

/// Counts what goes through.
struct CountingWriter<W> {
    bytes: u64,
    inner: W,
}

impl<W: Write> Write for CountingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::profile::Builder;

    #[test]
    fn both_forms_are_the_same_bytes() {
        let written = Content::written(|writer| writer.write_all(b"some bytes")).unwrap();
        for (content, in_memory) in [(written, false), (b"some bytes".to_vec().into(), true)] {
            assert_eq!((content.len(), content.in_memory().is_some()), (10, in_memory));
            let mut bytes = Vec::new();
            content.write_to(&mut bytes).unwrap();
            assert_eq!((&bytes[..], &content[..]), (&b"some bytes"[..], &b"some bytes"[..]));
            assert_eq!(content.in_memory(), Some(&b"some bytes"[..]));
            assert_eq!(content.into_vec(), b"some bytes");
        }
    }

    #[test]
    fn a_profile_is_its_model_until_its_bytes_are_asked_for() {
        let content = || {
            let mut builder = Builder::new(&[("samples", "count")]);
            builder.sample(&[], &[3], &[]);
            Content::from(builder.finish()).with_shortfall("half of it".to_owned())
        };
        assert!(content().in_memory().is_none());
        assert_eq!(content().into_profile().unwrap().samples.get(0).values, [3]);
        let encoded = content().into_encoded();
        assert_eq!(encoded.shortfall(), Some("half of it"));
        assert_eq!(encoded.in_memory().map(<[u8]>::len), Some(content().len() as usize));
        assert_eq!(encoded.into_vec(), content().into_vec());
        let read = Content::from(content().into_vec()).into_profile();
        assert_eq!(read.unwrap().samples.get(0).values, [3]);
        assert!(Content::from(b"no profile".to_vec()).into_profile().is_err());
    }

    #[test]
    fn what_is_not_the_same_each_time_is_an_error() {
        let times = AtomicUsize::new(0);
        let content = Content::written(move |writer| {
            writer.write_all(&[0; 3][times.fetch_add(1, Ordering::Relaxed)..])
        });
        let error = content.unwrap().write_to(&mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "2 bytes were written of a file of 3");
    }

    #[test]
    fn a_writer_that_fails_is_told_of() {
        let content = Content::written(|writer| writer.write_all(b"some bytes")).unwrap();
        let mut room = [0; 4];
        let error = content.write_to(&mut &mut room[..]).unwrap_err();
        assert_eq!((error.kind(), &room), (io::ErrorKind::WriteZero, b"some"));
    }
}
