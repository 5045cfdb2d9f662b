//! Keys of more rows than memory holds, sorted machine by machine: what was looked at together has to be of one machine.

use std::path::Path;

use tocsin_domain::Timestamp;

use super::buckets::{Buckets, Scatter};
use super::{Budget, OnDiskError};

/// Bytes of a key on disk.
const LENGTH: usize = 13;

/// What a row is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The number of its sensor.
    pub sensor: u32,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Whatever else is to be known of it.
    pub mark: u8,
}

impl Key {
    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&self.sensor.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.captured_at.as_micros().to_le_bytes());
        bytes[12] = self.mark;
        bytes
    }

    fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        let [a, b, c, d, time @ .., mark] = bytes;
        Self {
            sensor: u32::from_le_bytes([a, b, c, d]),
            captured_at: Timestamp::from_micros(i64::from_le_bytes(time)),
            mark,
        }
    }
}

/// Takes keys in any order.
pub struct KeysWriter {
    budget: Budget,
    scatter: Scatter,
}

/// Keys in files, each with all keys of some machines.
#[derive(Debug)]
pub struct Keys {
    buckets: Buckets,
}

impl KeysWriter {
    /// For at most so many rows.
    pub fn new(folder: &Path, budget: Budget, rows: u64) -> Result<Self, OnDiskError> {
        let scatter = Scatter::new(folder, budget.key_files(rows), LENGTH, budget.buffers())?;
        Ok(Self { budget, scatter })
    }

    /// Adds the key of a row of a machine, by the machine's number.
    pub fn push(&mut self, machine: u32, key: Key) -> Result<(), OnDiskError> {
        let file = machine as usize % self.scatter.count();
        self.scatter.push(file, &key.to_bytes())
    }

    /// All keys; refused where those of one file do not fit in memory.
    pub fn finish(self) -> Result<Keys, OnDiskError> {
        let buckets = self.scatter.finish()?;
        self.budget.check_keys(buckets.fullest())?;
        Ok(Keys { buckets })
    }
}

impl Keys {
    /// How many files there are.
    pub fn files(&self) -> usize {
        self.buckets.count()
    }

    /// The keys of a file, by sensor and then by time.
    pub fn sorted(&self, file: usize) -> Result<Vec<Key>, OnDiskError> {
        let mut bytes = Vec::new();
        self.buckets.read(file, &mut bytes)?;
        let (records, _) = bytes.as_chunks::<LENGTH>();
        let mut keys: Vec<Key> = records.iter().map(|record| Key::from_bytes(*record)).collect();
        keys.sort_unstable();
        Ok(keys)
    }
}
