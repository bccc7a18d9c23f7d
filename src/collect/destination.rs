//! Where a bundle goes: standard output, or a file that gets its name when it is whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::args::CollectArgs;

/// A bundle on its way.
pub(super) enum Destination {
    Stdout,
    File(Partial),
}

/// A file that is still called `….partial`.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    target: Target,
    force: bool,
}

/// What the file is to be called.
enum Target {
    /// The path that was given.
    Given(PathBuf),
    /// A name in this directory, made of the service's address and the server's name for it.
    Named { directory: PathBuf, host: String },
}

impl Destination {
    pub(super) fn open(args: &CollectArgs, url: &str) -> io::Result<Destination> {
        let target = match args.output.as_deref() {
            Some(path) if path == Path::new("-") => return Ok(Destination::Stdout),
            Some(path) if !path.is_dir() => Target::Given(path.to_owned()),
            directory => Target::Named {
                directory: directory.unwrap_or(Path::new(".")).to_owned(),
                host: host(url),
            },
        };
        let path = match &target {
            Target::Given(path) => {
                refuse_existing(path, args.force)?;
                with_suffix(path, ".partial")
            }
            Target::Named { directory, host } => {
                directory.join(format!("{host}-{}.tar.gz.partial", std::process::id()))
            }
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| describe(&path, &error))?;
        Ok(Destination::File(Partial { file, path, target, force: args.force }))
    }

    /// Gives a whole bundle its name. The file, for reading, and its path.
    pub(super) fn keep(self, name: Option<&str>) -> io::Result<(Option<File>, Option<String>)> {
        let Destination::File(partial) = self else { return Ok((None, None)) };
        let path = match partial.target {
            Target::Given(path) => path,
            Target::Named { directory, host } => {
                directory.join(format!("{host}-{}", name.unwrap_or("profile.tar.gz")))
            }
        };
        refuse_existing(&path, partial.force)?;
        fs::rename(&partial.path, &path).map_err(|error| describe(&path, &error))?;
        let file = File::open(&path)?;
        Ok((Some(file), Some(path.display().to_string())))
    }

    /// Keeps what arrived under its provisional name, or nothing where nothing arrived.
    pub(super) fn abandon(self, bytes: u64) -> Option<String> {
        let Destination::File(partial) = self else { return None };
        if bytes == 0 {
            // An empty file that can't be removed is no worse than one that is left.
            let _ = fs::remove_file(&partial.path);
            return None;
        }
        Some(partial.path.display().to_string())
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Destination::Stdout => io::stdout().write(bytes),
            Destination::File(partial) => partial.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Destination::Stdout => io::stdout().flush(),
            Destination::File(partial) => partial.file.flush(),
        }
    }
}

fn refuse_existing(path: &Path, force: bool) -> io::Result<()> {
    if !force && path.exists() {
        let message = format!("{} exists; --force overwrites it", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    Ok(())
}

fn describe(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The host and port of a URL as part of a file name.
fn host(url: &str) -> String {
    let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("");
    let name: String = authority
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
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
    }
}
