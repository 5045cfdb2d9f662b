//! How a memory budget is divided among what holds rows.
//!
//! Half of it is for the file that is being read, an eighth each for the sample of the rows to learn from, for that of the
//! rows that set limits and for what is gathered before it is written; the rest is room.

use super::OnDiskError;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;
/// Most files that rows are scattered over; there are two of each.
const MOST_FILES: u64 = 256;
/// Share of its half that a file is planned to fill: at random some get more rows than others.
const FILLED: f64 = 0.85;
/// Most rows of a sample: no bundle keeps the scores of more.
const MOST_SAMPLE: u64 = tocsin_models::HeldOut::MAX_ROWS as u64;
/// Fewest rows of a sample, where there are as many: what a tree of the isolation forest grows from.
const FEWEST_SAMPLE: u64 = 256;
/// Bytes of a row's key while it is sorted, with what is made of it.
const KEY_BYTES: u64 = 40;

/// The memory that rows may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    bytes: u64,
}

impl Budget {
    /// So many MiB.
    pub fn mib(mib: u64) -> Self {
        Self {
            bytes: mib.saturating_mul(MIB),
        }
    }

    /// So many bytes.
    #[cfg(test)]
    pub(crate) fn bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// The budget in MiB.
    pub fn as_mib(self) -> u64 {
        self.bytes / MIB
    }

    /// MiB that a training takes which has all rows in memory: as they were read, in canonical form, and as the network sees
    /// them.
    pub fn in_memory_mib(rows: u64, bins: u16) -> u64 {
        rows.saturating_mul(424 + 16 * u64::from(bins)).div_ceil(MIB)
    }

    /// Whether so many rows can be trained on in memory.
    pub fn holds(self, rows: u64, bins: u16) -> bool {
        Self::in_memory_mib(rows, bins).saturating_mul(MIB) <= self.bytes
    }

    /// Files to scatter so many rows over.
    pub(super) fn files(self, rows: u64, bins: usize) -> Result<usize, OnDiskError> {
        // A row in the file that is read: its codes and its place in the order.
        let bytes = rows.saturating_mul(bins as u64 + 4) as f64;
        let of_file = |budget: u64| budget as f64 / 2.0 * FILLED;
        let files = (bytes / of_file(self.bytes.max(1))).ceil() as u64;
        if files > MOST_FILES {
            let needed = (bytes / MOST_FILES as f64 / FILLED * 2.0).ceil() as u64;
            return Err(self.too_small(format!("{rows} rows of {bins} bins on disk"), needed));
        }
        Ok(files.max(1) as usize)
    }

    /// Most rows of a sample.
    pub(super) fn sample(self, bins: usize) -> Result<usize, OnDiskError> {
        // Linear amplitudes, their logarithms and a copy of some for the report, as 32-bit floats, and a row's key.
        let row = 12 * bins as u64 + 64;
        let rows = (self.bytes / 8 / row).min(MOST_SAMPLE);
        if rows < FEWEST_SAMPLE {
            let what = format!("a sample of {FEWEST_SAMPLE} rows of {bins} bins");
            return Err(self.too_small(what, 8 * row * FEWEST_SAMPLE));
        }
        Ok(rows as usize)
    }

    /// Bytes to gather before they are written.
    pub(super) fn buffers(self) -> usize {
        (self.bytes / 8) as usize
    }

    /// Files to scatter the keys of at most so many rows over.
    pub(super) fn key_files(self, rows: u64) -> usize {
        let files = rows.saturating_mul(KEY_BYTES).div_ceil((self.bytes / 4).max(1));
        files.clamp(1, MOST_FILES) as usize
    }

    /// Refuses a file of keys that does not fit.
    pub(super) fn check_keys(self, fullest: u64) -> Result<(), OnDiskError> {
        let needed = 2 * fullest.saturating_mul(KEY_BYTES);
        if needed <= self.bytes {
            return Ok(());
        }
        Err(self.too_small(format!("the times of {fullest} rows that are sorted together"), needed))
    }

    fn too_small(self, what: String, needed: u64) -> OnDiskError {
        OnDiskError::Memory {
            what,
            memory_mib: self.as_mib(),
            needed_mib: needed.div_ceil(MIB),
        }
    }
}
