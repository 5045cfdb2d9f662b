//! Records of one length in files that have no name, each read whole.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::OnDiskError;

/// Least and most bytes gathered before a file is written to.
const BUFFER: std::ops::RangeInclusive<usize> = 4 << 10..=256 << 10;

/// Files under way.
pub(super) struct Scatter {
    folder: PathBuf,
    writers: Vec<BufWriter<File>>,
    records: Vec<u64>,
    length: usize,
}

/// Files that were written.
#[derive(Debug)]
pub(super) struct Buckets {
    folder: PathBuf,
    files: Vec<File>,
    records: Vec<u64>,
    length: usize,
}

impl Scatter {
    /// So many files for records of `length` bytes, with so many bytes of memory for all of them.
    pub(super) fn new(folder: &Path, files: usize, length: usize, memory: usize) -> Result<Self, OnDiskError> {
        let buffer = (memory / files.max(1)).clamp(*BUFFER.start(), *BUFFER.end());
        let file = |_| tempfile::tempfile_in(folder).map(|file| BufWriter::with_capacity(buffer, file));
        let writers = (0..files).map(file).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            writers: writers.map_err(|source| io(folder, source))?,
            folder: folder.to_path_buf(),
            records: vec![0; files],
            length,
        })
    }

    /// How many files there are.
    pub(super) fn count(&self) -> usize {
        self.writers.len()
    }

    /// Adds a record to a file.
    pub(super) fn push(&mut self, file: usize, record: &[u8]) -> Result<(), OnDiskError> {
        debug_assert_eq!(record.len(), self.length, "bytes of a record");
        self.records[file] += 1;
        let written = self.writers[file].write_all(record);
        written.map_err(|source| io(&self.folder, source))
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<Buckets, OnDiskError> {
        let files = self.writers.into_iter().map(|writer| {
            let file = writer.into_inner();
            file.map_err(|error| io(&self.folder, error.into_error()))
        });
        Ok(Buckets {
            files: files.collect::<Result<_, _>>()?,
            folder: self.folder,
            records: self.records,
            length: self.length,
        })
    }
}

impl Buckets {
    /// How many files there are.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Records in all files.
    pub(super) fn records(&self) -> u64 {
        self.records.iter().sum()
    }

    /// Records in the fullest file.
    pub(super) fn fullest(&self) -> u64 {
        self.records.iter().copied().max().unwrap_or(0)
    }

    /// Adds the records of a file, in the order they came, to `into`. One reader at a time: a file has one place.
    pub(super) fn read(&self, file: usize, into: &mut Vec<u8>) -> Result<(), OnDiskError> {
        let bytes = self.records[file] as usize * self.length;
        let start = into.len();
        into.resize(start + bytes, 0);
        let mut read = || {
            let mut file = &self.files[file];
            file.rewind()?;
            file.read_exact(&mut into[start..])
        };
        read().map_err(|source| io(&self.folder, source))
    }
}

fn io(folder: &Path, source: std::io::Error) -> OnDiskError {
    OnDiskError::Io {
        folder: folder.to_path_buf(),
        source,
    }
}
