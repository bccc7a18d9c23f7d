//! Where a bundle goes: standard output, a pipe or a device, or a file that gets its name when it is
//! whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use profilez::http::client::RolledBack;

use crate::output::describe;

/// The place where a bundle goes. Nothing is created before its first byte.
pub(crate) struct BundleDestination {
    target: DestinationKind,
    force: bool,
    open: Option<OpenFile>,
}

enum DestinationKind {
    Stdout,
    /// Something that exists and that is not replaced but written to, such as a named pipe.
    Stream(PathBuf),
    /// The path that was given, and where it leads if it is a link.
    Given {
        path: PathBuf,
        given: PathBuf,
    },
    /// A name in this directory, made of the service's address and the server's name for it. The
    /// directory is made where there is none.
    Named {
        directory: PathBuf,
        host: String,
    },
}

/// A stream, or a file that is still called `….partial`.
struct OpenFile {
    file: File,
    path: PathBuf,
    /// Number of bytes that were in the file at the last flush.
    flushed: u64,
}

impl BundleDestination {
    /// Checks `output` before anything is asked of a service: a file, a directory, one that is yet
    /// to be made and ends with `/`, `-`, or nothing for the current directory.
    ///
    /// # Errors
    ///
    /// It is a file that exists, and this is not to be forced; or it is in no directory.
    pub(crate) fn new(
        output: Option<&Path>,
        force: bool,
        url: &str,
    ) -> io::Result<BundleDestination> {
        let target = match output {
            Some(path) if path == Path::new("-") => DestinationKind::Stdout,
            Some(path) if !is_directory(path) => given(path, force)?,
            directory => DestinationKind::Named {
                directory: directory.unwrap_or(Path::new("")).to_owned(),
                host: host(url),
            },
        };
        Ok(BundleDestination { target, force, open: None })
    }

    /// Returns whether what is written can't be taken back: standard output, a pipe or a device.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.target, DestinationKind::Stdout | DestinationKind::Stream(_))
    }

    /// Gives a whole bundle its name, and returns it; `None` for a stream.
    ///
    /// # Errors
    ///
    /// There is a file of that name by now, or it can't be made.
    pub(crate) fn keep(&self, name: Option<&str>) -> io::Result<Option<String>> {
        let Some(open) = &self.open else { return Ok(None) };
        // Where nothing may be overwritten, creating the file is what reserves its name.
        let path = match &self.target {
            DestinationKind::Stdout | DestinationKind::Stream(_) => return Ok(None),
            DestinationKind::Given { path, given } => {
                if !self.force {
                    File::create_new(path).map_err(|error| describe(path, &error))?;
                }
                fs::rename(&open.path, path).map_err(|error| describe(path, &error))?;
                return Ok(Some(given.display().to_string()));
            }
            DestinationKind::Named { directory, host } => {
                let name = name.unwrap_or("profile.tar.gz");
                let (stem, suffix) = match name.strip_suffix(".tar.gz") {
                    Some(stem) => (stem, ".tar.gz"),
                    None => (name, ""),
                };
                create_free(directory, &format!("{host}-{stem}"), suffix)?.path
            }
        };
        fs::rename(&open.path, &path).map_err(|error| describe(&path, &error))?;
        Ok(Some(path.display().to_string()))
    }

    /// Leaves what arrived under its provisional name and returns that, or removes it.
    pub(crate) fn abandon(self, worth_keeping: bool) -> Option<String> {
        if self.is_stream() {
            return None;
        }
        let OpenFile { path, .. } = self.open?;
        if worth_keeping {
            return Some(path.display().to_string());
        }
        // A file that can't be removed is no worse than one that is left.
        let _ = fs::remove_file(&path);
        None
    }

    fn create(&self) -> io::Result<OpenFile> {
        let (options, path) = match &self.target {
            DestinationKind::Named { directory, host } => {
                if !directory.as_os_str().is_empty() {
                    fs::create_dir_all(directory)
                        .map_err(|error| no_directory(directory, &error))?;
                }
                let stem = format!("{host}-{}", std::process::id());
                return create_free(directory, &stem, ".tar.gz.partial");
            }
            DestinationKind::Given { path, .. } => {
                let mut options = File::options();
                options.write(true).truncate(self.force).create(self.force);
                options.create_new(!self.force);
                (options, with_suffix(path, ".partial"))
            }
            DestinationKind::Stream(path) => (File::options().write(true).clone(), path.clone()),
            DestinationKind::Stdout => unreachable!("standard output is open"),
        };
        let file = options.open(&path).map_err(|error| describe(&path, &error))?;
        Ok(OpenFile { file, path, flushed: 0 })
    }
}

impl Write for BundleDestination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if matches!(self.target, DestinationKind::Stdout) {
            return io::stdout().write(bytes);
        }
        if self.open.is_none() {
            self.open = Some(self.create()?);
        }
        let is_stream = self.is_stream();
        let Some(open) = &mut self.open else { return Ok(0) };
        match open.file.write(bytes) {
            Err(error) if !is_stream && error.kind() != io::ErrorKind::Interrupted => {
                Err(open.roll_back(error))
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match (&self.target, &mut self.open) {
            (DestinationKind::Stdout, _) => io::stdout().flush(),
            (DestinationKind::Stream(_), Some(open)) => open.file.flush(),
            (_, Some(open)) => {
                open.file.flush()?;
                open.flushed = open.file.stream_position()?;
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }
}

impl OpenFile {
    /// Cuts off what was written since the last flush, so that there is room for an end.
    fn roll_back(&mut self, error: io::Error) -> io::Error {
        let cut = self.file.set_len(self.flushed);
        match cut.and_then(|()| self.file.seek(SeekFrom::Start(self.flushed))) {
            Ok(_) => io::Error::new(error.kind(), RolledBack(error)),
            Err(_) => error,
        }
    }
}

/// Returns whether a path is that of a directory, or says that it is to be one.
pub(super) fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn given(given: &Path, force: bool) -> io::Result<DestinationKind> {
    let target = |path: PathBuf| Ok(DestinationKind::Given { path, given: given.to_owned() });
    // What is there, links followed.
    match fs::metadata(given) {
        Ok(there) if !there.is_file() => return Ok(DestinationKind::Stream(given.to_owned())),
        Ok(_) if !force => {
            return Err(describe(given, &io::ErrorKind::AlreadyExists.into()));
        }
        // What a link names is replaced, not the link.
        Ok(_) if given.is_symlink() => return target(fs::canonicalize(given)?),
        Ok(_) => return target(given.to_owned()),
        Err(_) => {}
    }
    match given.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            let message = format!("{}: there is no such directory", directory.display());
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        }
        _ => target(given.to_owned()),
    }
}

/// Returns an error that says why a directory can't be made.
fn no_directory(path: &Path, error: &io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{} is no directory", path.display());
            io::Error::new(io::ErrorKind::NotADirectory, message)
        }
        _ => describe(path, error),
    }
}

/// Creates `stem` + `suffix` in a directory, with a number between them where that exists.
fn create_free(directory: &Path, stem: &str, suffix: &str) -> io::Result<OpenFile> {
    const MOST: u32 = 1000;
    let mut number = 1;
    loop {
        let count = if number == 1 { String::new() } else { format!("-{number}") };
        let path = directory.join(format!("{stem}{count}{suffix}"));
        match File::create_new(&path) {
            Ok(file) => return Ok(OpenFile { file, path, flushed: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST => {
                number += 1;
            }
            Err(error) => return Err(describe(&path, &error)),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the host and port of a URL as part of a file name.
fn host(url: &str) -> String {
    // With the server's name for the bundle, a file name of at most 255 bytes.
    const LONGEST: usize = 50;
    let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("");
    let name: String = authority
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .take(LONGEST)
        .collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "service".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_file_names() {
        assert_eq!(host("http://localhost:6060/debug/profile"), "localhost-6060");
        assert_eq!(host("https://[::1]:6060/x"), "1--6060");
        assert_eq!(host("nonsense"), "service");
        assert_eq!(host(&format!("http://{}/", "h".repeat(250))).len(), 50);
    }
}
