//! Archives unpacked in memory: tar, plain or gzipped, up to a bound. Nothing is ever written to disk.
//!
//! What an archive is, its first bytes say and never its name. Only files and directories are taken: a link, also one that stays inside, is refused, since
//! nothing that packs a repository needs one and readers differ in what they make of it.

mod path;

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

pub use path::plain;

/// Files by their path: relative, its segments joined by single slashes, none of them `.` or `..`.
pub type Files = BTreeMap<String, Vec<u8>>;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// Compressions that are told by their first bytes, to be refused by name.
const OTHERS: [(&str, &[u8]); 4] = [
    ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ("xz", &[0xfd, b'7', b'z', b'X', b'Z', 0]),
    ("bzip2", b"BZh"),
    ("zip", b"PK\x03\x04"),
];

/// What is unpacked at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all archives as they come.
    pub packed: u64,
    /// Bytes that come out of them, headers included.
    pub unpacked: u64,
    /// Bytes of one file.
    pub file: u64,
    /// Files and directories.
    pub entries: usize,
    /// Bytes of one path.
    pub path: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self { packed: 64 * MIB, unpacked: 64 * MIB, file: 16 * MIB, entries: 10_000, path: 1024 }
    }
}

/// Why an archive was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is packed in a way that is not read.
    #[error("it is packed with {compression}, and only tar is read, plain or with gzip: pack it anew with gzip")]
    Compression {
        /// With what.
        compression: &'static str,
    },
    /// It is no archive, or is damaged.
    #[error("it cannot be unpacked ({detail}): a tar archive is expected, plain or with gzip")]
    Damaged {
        /// What was met.
        detail: String,
    },
    /// It ends inside a file, or before its compression says that it is complete.
    #[error("it ends too early: the archive seems cut off, copy it anew")]
    CutOff,
    /// Too many bytes.
    #[error("it has more than the {max} bytes that are read {of}")]
    TooLarge {
        /// The bound.
        max: u64,
        /// Of what.
        of: &'static str,
    },
    /// Too many files and directories.
    #[error("it has more than the {max} files and directories that are read: pack the repository alone")]
    TooManyEntries {
        /// The bound.
        max: usize,
    },
    /// An entry that is not taken.
    #[error("its entry `{path}` is refused: {detail}")]
    Entry {
        /// The entry, shortened where it is long.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl ArchiveError {
    pub(crate) fn entry(path: &str, detail: impl Into<String>) -> Self {
        Self::Entry { path: path.chars().take(120).collect(), detail: detail.into() }
    }
}

/// What may still be unpacked, of several archives together.
#[derive(Debug)]
pub struct Allowance {
    limits: Limits,
    packed: u64,
    unpacked: u64,
    entries: usize,
}

impl Allowance {
    /// Nothing was unpacked yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, packed: limits.packed, unpacked: limits.unpacked, entries: limits.entries }
    }

    /// The files of a tar archive, plain or gzipped.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn unpack(&mut self, bytes: &[u8]) -> Result<Files, ArchiveError> {
        self.take_packed(bytes)?;
        let mut stream = self.stream(bytes)?;
        let mut entries = self.entries;
        let files = read_tar(&mut stream, &self.limits, &mut entries);
        let over = stream.is_over;
        self.unpacked = stream.left;
        self.entries = entries;
        if over {
            return Err(self.too_large_together());
        }
        files
    }

    /// A single file that may be gzipped no more than once, of at most `max` bytes.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn gunzip(&mut self, bytes: &[u8], max: u64) -> Result<Vec<u8>, ArchiveError> {
        self.take_packed(bytes)?;
        if !bytes.starts_with(GZIP) {
            return Err(ArchiveError::Damaged { detail: "it does not begin as gzip does".to_owned() });
        }
        let max = max.min(self.limits.file);
        let mut stream = self.stream(bytes)?;
        let mut file = Vec::new();
        let read = (&mut stream).take(max.saturating_add(1)).read_to_end(&mut file);
        let over = stream.is_over;
        self.unpacked = stream.left;
        if over {
            return Err(self.too_large_together());
        }
        read.map_err(|e| damaged(&e))?;
        if len(&file) > max {
            return Err(ArchiveError::TooLarge { max, of: "of one file" });
        }
        Ok(file)
    }

    /// Counts a file that came as it is.
    ///
    /// # Errors
    /// [`ArchiveError::TooLarge`], [`ArchiveError::TooManyEntries`].
    pub fn count(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.take_packed(bytes)?;
        if len(bytes) > self.limits.file {
            return Err(ArchiveError::TooLarge { max: self.limits.file, of: "of one file" });
        }
        self.unpacked = self.unpacked.checked_sub(len(bytes)).ok_or_else(|| self.too_large_together())?;
        self.entries = self.entries.checked_sub(1).ok_or(ArchiveError::TooManyEntries { max: self.limits.entries })?;
        Ok(())
    }

    /// The bounds.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    fn take_packed(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let too_large = ArchiveError::TooLarge { max: self.limits.packed, of: "of what is packed" };
        self.packed = self.packed.checked_sub(len(bytes)).ok_or(too_large)?;
        Ok(())
    }

    fn stream<'a>(&self, bytes: &'a [u8]) -> Result<Bounded<Box<dyn Read + 'a>>, ArchiveError> {
        if let Some((compression, _)) = OTHERS.iter().find(|(_, magic)| bytes.starts_with(magic)) {
            return Err(ArchiveError::Compression { compression });
        }
        // Tools that pack in parallel, and `cat` of two files, write several members one behind the other.
        let inner: Box<dyn Read + 'a> =
            if bytes.starts_with(GZIP) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        Ok(Bounded { inner, left: self.unpacked, is_over: false })
    }

    const fn too_large_together(&self) -> ArchiveError {
        ArchiveError::TooLarge { max: self.limits.unpacked, of: "of what is unpacked, all together" }
    }
}

/// Whether something is gzipped or a tar archive, by what its bytes say.
pub fn is_archive(bytes: &[u8]) -> bool {
    const USTAR: std::ops::Range<usize> = 257..262;
    bytes.starts_with(GZIP)
        || bytes.get(USTAR).is_some_and(|magic| magic == b"ustar")
        || OTHERS.iter().any(|(_, magic)| bytes.starts_with(magic))
}

/// Refuses files that lie in what is itself a file.
///
/// # Errors
/// [`ArchiveError::Entry`].
pub fn no_file_is_a_directory(files: &Files) -> Result<(), ArchiveError> {
    for path in files.keys() {
        let mut above = path.as_str();
        while let Some((directory, _)) = above.rsplit_once('/') {
            if files.contains_key(directory) {
                return Err(ArchiveError::entry(path, format!("`{directory}`, which it lies in, is a file")));
            }
            above = directory;
        }
    }
    Ok(())
}

/// A stream that ends with an error at its bound.
struct Bounded<R> {
    inner: R,
    left: u64,
    is_over: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        let Some(left) = self.left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX)) else {
            self.is_over = true;
            return Err(io::Error::other("the bound is reached"));
        };
        self.left = left;
        Ok(read)
    }
}

fn read_tar(stream: &mut dyn Read, limits: &Limits, entries_left: &mut usize) -> Result<Files, ArchiveError> {
    let mut files = Files::new();
    let mut directories = std::collections::BTreeSet::new();
    let mut archive = tar::Archive::new(&mut *stream);
    for entry in archive.entries().map_err(|e| damaged(&e))? {
        let mut entry = entry.map_err(|e| damaged(&e))?;
        *entries_left = entries_left.checked_sub(1).ok_or(ArchiveError::TooManyEntries { max: limits.entries })?;
        let raw = entry.path_bytes().into_owned();
        let written = String::from_utf8_lossy(&raw).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            global_header(&mut entry, limits, &written)?;
            continue;
        }
        if let Some(what) = refused(kind) {
            return Err(ArchiveError::entry(
                &written,
                format!("it is {what}, and only files and directories are read"),
            ));
        }
        sparse(&mut entry, &written)?;
        let text = std::str::from_utf8(&raw).map_err(|_| ArchiveError::entry(&written, "its name is not UTF-8"))?;
        let text = if kind.is_dir() { text.strip_suffix('/').unwrap_or(text) } else { text };
        if kind.is_dir() && matches!(text, "." | "") {
            continue;
        }
        let path = plain(text, limits.path).map_err(|detail| ArchiveError::entry(&written, detail))?;
        if kind.is_dir() {
            directories.insert(path);
            continue;
        }
        let bytes = contents(&mut entry, limits, &written)?;
        if files.insert(path, bytes).is_some() {
            return Err(ArchiveError::entry(&written, "the archive has it twice"));
        }
    }
    // What follows the archive's end is read to its end as well: so is the checksum of the compression.
    io::copy(stream, &mut io::sink()).map_err(|e| damaged(&e))?;
    if let Some(both) = files.keys().find(|path| directories.contains(*path)) {
        return Err(ArchiveError::entry(both, "the archive has it as a file and as a directory"));
    }
    no_file_is_a_directory(&files)?;
    Ok(files)
}

const fn refused(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Directory => None,
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Link => Some("a hard link"),
        EntryType::Char | EntryType::Block => Some("a device"),
        EntryType::Fifo => Some("a named pipe"),
        EntryType::GNUSparse => Some("a sparse file"),
        _ => Some("of an unknown kind"),
    }
}

/// `git archive` puts a comment in front of all; anything else said of all entries would change what they are.
fn global_header<R: Read>(entry: &mut tar::Entry<'_, R>, limits: &Limits, path: &str) -> Result<(), ArchiveError> {
    let bytes = contents(entry, limits, path)?;
    for extension in tar::PaxExtensions::new(&bytes) {
        let key = extension.map_err(|e| damaged(&e))?.key().unwrap_or("?").to_owned();
        if key != "comment" {
            return Err(ArchiveError::entry(path, format!("it sets `{key}` for every entry, which is not read")));
        }
    }
    Ok(())
}

fn sparse<R: Read>(entry: &mut tar::Entry<'_, R>, path: &str) -> Result<(), ArchiveError> {
    for extension in entry.pax_extensions().map_err(|e| damaged(&e))?.into_iter().flatten() {
        if extension.map_err(|e| damaged(&e))?.key_bytes().starts_with(b"GNU.sparse.") {
            return Err(ArchiveError::entry(path, "it is a sparse file, and only files and directories are read"));
        }
    }
    Ok(())
}

fn contents<R: Read>(entry: &mut tar::Entry<'_, R>, limits: &Limits, path: &str) -> Result<Vec<u8>, ArchiveError> {
    let size = entry.size();
    if size > limits.file {
        let detail = format!("it has {size} bytes, more than the {} that are read of one file", limits.file);
        return Err(ArchiveError::entry(path, detail));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|e| damaged(&e))?;
    if len(&bytes) == size { Ok(bytes) } else { Err(ArchiveError::CutOff) }
}

fn damaged(error: &io::Error) -> ArchiveError {
    let text = error.to_string();
    if error.kind() == io::ErrorKind::UnexpectedEof || text.contains("EOF") {
        return ArchiveError::CutOff;
    }
    ArchiveError::Damaged { detail: text.chars().take(200).collect() }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
