//! Walks a bundle entry by entry and believes nothing it says.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::gunzip::GunzipReader;
use crate::listed::Listed;
use crate::manifest::{FORMAT, MANIFEST_NAME};
use crate::tar_reader::{BLOCK, NextName, SCRATCH, TarMember, TarReader, padding};
use crate::verify::{FoundEntry, to_hex, verify};
use crate::warning::WarningList;
use crate::{EntryName, Error, Limits, Manifest, Problem, Result};

/// A bundle that is being read as a stream.
///
/// ```no_run
/// use profile_archive::{BundleReader, Limits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = std::fs::File::open("shop-profile-1700000000.tar.gz")?;
/// let mut reader = BundleReader::open(file, &Limits::default())?;
/// while let Some(entry) = reader.next_entry() {
///     println!("{} {}", entry.name(), entry.size());
/// }
/// let contents = reader.finish();
/// for warning in &contents.warnings {
///     eprintln!("{warning}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct BundleReader<R> {
    tar: TarReader<R>,
    limits: Limits,
    warnings: WarningList,
    /// The first block, which [`BundleReader::open`] has looked at.
    first: Option<[u8; BLOCK]>,
    /// True if the end was reached, be it a good one or not.
    ended: bool,
    headers: u64,
    /// The name that an extension gave to the entry after it.
    next_name: Option<Vec<u8>>,
    /// The entry that is being read: the last of `found`.
    current: Option<CurrentEntry>,
    found: Vec<FoundEntry>,
    names: HashSet<EntryName>,
    manifest: Option<Manifest>,
    /// The bytes of the manifest, as it was written.
    json: Vec<u8>,
    /// True if there is a manifest, be it a good one or not.
    has_manifest: bool,
}

struct CurrentEntry {
    size: u64,
    left: u64,
    hash: Sha256,
}

/// One entry while it is being read: a [`Read`] of its bytes.
///
/// What is not read is skipped. Where the bundle breaks off, reading fails; the reason is in
/// [`Contents::warnings`].
pub struct EntryReader<'a, R> {
    reader: &'a mut BundleReader<R>,
}

/// The content of a bundle, without the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The manifest, where it could be read.
    pub manifest: Option<Manifest>,
    /// The entries besides the manifest, in the order of the stream.
    pub entries: Vec<Listed>,
    /// True if something of the bundle is lost. A manifest may be missing all the same: other
    /// tools' archives have none.
    pub truncated: bool,
    /// The faults, in the order they were noticed.
    pub warnings: Vec<crate::Warning>,
}

impl<R: Read> BundleReader<R> {
    /// Begins to read a bundle, gzip'd or unpacked by `gunzip`.
    ///
    /// # Errors
    ///
    /// [`Error::NotGzip`] and [`Error::NotTar`] where the input is something else, [`Error::Read`]
    /// where it fails before that can be told. Whatever happens later is a warning.
    pub fn open(input: R, limits: &Limits) -> Result<BundleReader<R>> {
        let mut reader = BundleReader {
            tar: TarReader::new(GunzipReader::open(input, limits)?),
            limits: limits.clone(),
            warnings: WarningList::default(),
            first: None,
            ended: false,
            headers: 0,
            next_name: None,
            current: None,
            found: Vec::new(),
            names: HashSet::new(),
            manifest: None,
            json: Vec::new(),
            has_manifest: false,
        };
        // Where nothing is compressed, only the header of an entry tells that this is a bundle.
        let plain = reader.tar.stream.members == 0;
        match reader.tar.read_block() {
            Ok(Some(block))
                if TarMember::parse(&block).is_some() || (is_zero(&block) && !plain) =>
            {
                reader.first = Some(block);
            }
            Ok(_) if plain => return Err(Error::NotGzip),
            Ok(_) => return Err(Error::NotTar),
            Err(problem) if plain => return Err(Error::Read(io::Error::other(problem))),
            Err(problem) => reader.stop(problem),
        }
        Ok(reader)
    }

    /// Goes on to the next regular file; `None` at the end, be it a good one or not.
    ///
    /// The manifest is not among them: it is read on the way, as are the things that are skipped.
    pub fn next_entry(&mut self) -> Option<EntryReader<'_, R>> {
        if self.ended {
            return None;
        }
        match self.advance() {
            Ok(true) => Some(EntryReader { reader: self }),
            Ok(false) => {
                self.ended = true;
                None
            }
            Err(problem) => {
                self.stop(problem);
                None
            }
        }
    }

    /// Returns the manifest as it was written, once it was passed by: to hand it on with the fields
    /// that only a later version knows. Empty where there is none that can be read.
    pub fn manifest_json(&self) -> &[u8] {
        &self.json
    }

    /// Reads what is left, compares everything with the manifest and returns what there was.
    pub fn finish(mut self) -> Contents {
        while self.next_entry().is_some() {}
        let end = self.tar.offset;
        if !self.has_manifest {
            self.warnings.push(end, Problem::NoManifest);
        }
        if let Some(manifest) = &self.manifest {
            verify(manifest, &self.found, end, &mut self.warnings);
        }
        let (truncated, warnings) = self.warnings.finish();
        Contents {
            manifest: self.manifest,
            entries: self.found.into_iter().map(|found| found.listed).collect(),
            truncated,
            warnings,
        }
    }

    /// Finds the next entry. Returns false if there is none.
    fn advance(&mut self) -> Result<bool, Problem> {
        loop {
            self.close_entry()?;
            let block = match self.first.take() {
                Some(block) => block,
                None => self.tar.read_block()?.ok_or(Problem::BreaksOff)?,
            };
            let offset = self.tar.offset - BLOCK as u64;
            if is_zero(&block) {
                return self.close_archive().map(|()| false);
            }
            self.headers += 1;
            if self.headers > self.limits.max_entries {
                let value = self.limits.max_entries;
                return Err(Problem::Limit { limit: "max_entries", value });
            }
            let member = TarMember::parse(&block).ok_or(Problem::BadHeader)?;
            if self.admit(offset, member)? {
                return Ok(true);
            }
        }
    }

    /// Opens an entry, reads the manifest, or skips what is neither. Returns true if it is an
    /// entry.
    fn admit(&mut self, offset: u64, mut member: TarMember) -> Result<bool, Problem> {
        if let Some(form) = member.names_next.filter(|_| member.size <= NextName::MOST) {
            let mut extension = Vec::new();
            self.tar.pass(member.size, |bytes| extension.extend_from_slice(bytes))?;
            self.next_name = form.parse(&extension).map(<[u8]>::to_vec);
            return self.tar.skip(padding(member.size)).map(|()| false);
        }
        if let Some(name) = self.next_name.take() {
            member.rename(&name);
        }
        if member.is_directory() {
            return self.tar.skip_member(&member).map(|()| false);
        }
        if let Some(what) = member.oddity {
            self.warnings.push(offset, Problem::Skipped { name: member.name.clone(), what });
            return self.tar.skip_member(&member).map(|()| false);
        }
        let is_new = self.names.insert(member.name.clone());
        if !is_new {
            self.warnings.push(offset, Problem::Duplicate(member.name.clone()));
        } else if self.has_manifest {
            self.warnings.push(offset, Problem::AfterManifest(member.name.clone()));
        }
        let is_manifest = member.name == MANIFEST_NAME;
        if is_manifest && !is_new {
            return self.tar.skip_member(&member).map(|()| false);
        }
        self.has_manifest |= is_manifest;
        let (limit, value) = if is_manifest {
            ("max_manifest_bytes", self.limits.max_manifest_bytes)
        } else {
            ("max_entry_bytes", self.limits.max_entry_bytes)
        };
        if member.size > value {
            let (name, bytes) = (member.name.clone(), member.size);
            self.warnings.push(offset, Problem::TooLarge { name, bytes, limit, value });
            return self.tar.skip_member(&member).map(|()| false);
        }
        if is_manifest {
            return self.read_manifest(offset, member.size).map(|()| false);
        }
        if member.renamed {
            self.warnings.push(offset, Problem::Renamed(member.name.clone()));
        }
        let name = member.name;
        let listed = Listed { name, bytes: 0, sha256: String::new(), complete: false };
        self.found.push(FoundEntry { listed, offset });
        self.current =
            Some(CurrentEntry { size: member.size, left: member.size, hash: Sha256::new() });
        Ok(true)
    }

    fn read_manifest(&mut self, offset: u64, size: u64) -> Result<(), Problem> {
        // It grows as bytes arrive: the size is only what the header claims.
        let mut json = Vec::new();
        self.tar.pass(size, |bytes| json.extend_from_slice(bytes))?;
        match serde_json::from_slice::<Manifest>(&json) {
            Ok(manifest) => {
                if manifest.format > FORMAT {
                    self.warnings.push(offset, Problem::NewerFormat(manifest.format));
                }
                if !manifest.incomplete.is_empty() {
                    let why = manifest.incomplete.chars().take(200).collect();
                    self.warnings.push(offset, Problem::Incomplete(why));
                }
                self.manifest = Some(manifest);
                self.json = json;
            }
            Err(error) => {
                // Such a message can quote the manifest at length.
                let text = error.to_string().chars().take(200).collect();
                self.warnings.push(offset, Problem::ManifestUnreadable(text));
            }
        }
        self.tar.skip(padding(size))
    }

    /// Reads some bytes of the current entry, and returns how many; 0 at its end.
    fn read_entry(&mut self, buf: &mut [u8]) -> Result<usize, Problem> {
        let (Some(current), Some(found)) = (&mut self.current, self.found.last_mut()) else {
            return Ok(0);
        };
        let most = usize::try_from(current.left).map_or(buf.len(), |left| left.min(buf.len()));
        if most == 0 {
            return Ok(0);
        }
        let read = self.tar.read(&mut buf[..most])?;
        if read == 0 {
            return Err(Problem::BreaksOff);
        }
        current.left -= read as u64;
        current.hash.update(&buf[..read]);
        found.listed.bytes += read as u64;
        Ok(read)
    }

    /// Skips what is left of the current entry.
    fn close_entry(&mut self) -> Result<(), Problem> {
        let mut scratch = [0; SCRATCH];
        while self.read_entry(&mut scratch)? > 0 {}
        let (Some(current), Some(found)) = (self.current.take(), self.found.last_mut()) else {
            return Ok(());
        };
        found.listed.complete = true;
        found.listed.sha256 = to_hex(current.hash.finalize().as_slice());
        self.tar.skip(padding(current.size))
    }

    /// Reads up to the end of the compressed stream, where its checksum is.
    fn close_archive(&mut self) -> Result<(), Problem> {
        // Two blocks of zeros end an archive. With less of the second one it was cut off there.
        let end = self.tar.offset + BLOCK as u64;
        let mut scratch = [0; SCRATCH];
        let mut trailing = false;
        loop {
            let offset = self.tar.offset;
            let read = self.tar.read(&mut scratch)?;
            if read == 0 {
                break;
            }
            if !trailing && !is_zero(&scratch[..read]) {
                trailing = true;
                self.warnings.push(offset, Problem::TrailingData);
            }
        }
        if self.tar.offset < end {
            return Err(Problem::BreaksOff);
        }
        if self.tar.stream.members > 1 {
            self.warnings.push(self.tar.offset, Problem::SeveralMembers);
        }
        if self.tar.stream.trailing && !trailing {
            self.warnings.push(self.tar.offset, Problem::TrailingData);
        }
        Ok(())
    }

    fn stop(&mut self, problem: Problem) {
        self.ended = true;
        self.warnings.push(self.tar.offset, problem);
    }
}

impl<R: Read> EntryReader<'_, R> {
    /// Returns its name, or the nearest good name: a label, not a path.
    pub fn name(&self) -> &EntryName {
        // An entry is only handed out together with its place in the list.
        &self.reader.found[self.reader.found.len() - 1].listed.name
    }

    /// Returns the size that its header claims, within [`Limits::max_entry_bytes`].
    pub fn size(&self) -> u64 {
        self.reader.current.as_ref().map_or(0, |current| current.size)
    }
}

impl<R: Read> Read for EntryReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reader.ended {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Problem::BreaksOff));
        }
        self.reader.read_entry(buf).map_err(|problem| {
            self.reader.stop(problem.clone());
            let kind = match problem {
                Problem::BreaksOff => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, problem)
        })
    }
}

impl<R> fmt::Debug for BundleReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleReader").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for EntryReader<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryReader").finish_non_exhaustive()
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
