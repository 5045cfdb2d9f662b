//! What a network is fitted on: rows in memory, each alone or in windows, or more rows than memory holds, on disk.

use std::sync::Arc;

use chacha20::ChaCha12Rng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use tocsin_detect::Standardise;

use crate::on_disk::{OnDisk, OnDiskError, Part, look_up};

/// The rows of a fit, in the network's space.
pub(crate) enum Rows {
    /// All of them at hand.
    InMemory(InMemory),
    /// Codes on disk, standardised as they are read.
    OnDisk(Standardised),
}

/// Standardised log spectra, rows x bins, and what is made of them: each alone, or windows of them.
pub(crate) struct InMemory {
    values: Vec<f32>,
    bins: usize,
    /// Spectra of a window; 1 where each row stands alone.
    spectra: usize,
    /// Places of each window's spectra, oldest first, one window after the other.
    places: Vec<usize>,
    /// Which of the windows are held out for early stopping, and which are not.
    held_out: Vec<usize>,
    rest: Vec<usize>,
}

/// Rows on disk, each alone.
pub(crate) struct Standardised {
    stored: Arc<OnDisk>,
    /// What each code is in the network's space: 256 values a bin.
    table: Vec<f32>,
}

/// Some rows.
pub(super) struct Batch {
    /// How many they are.
    pub(super) rows: usize,
    /// As the network is shown them.
    pub(super) input: Vec<f32>,
    /// Their last spectra, as it is to give them back.
    pub(super) target: Vec<f32>,
}

/// Goes once through a part, batch by batch.
pub(super) enum Batches<'a> {
    InMemory {
        rows: &'a InMemory,
        order: std::vec::IntoIter<usize>,
    },
    OnDisk(Box<Walk<'a>>),
}

/// A way through rows on disk, one file in memory at a time.
pub(super) struct Walk<'a> {
    rows: &'a Standardised,
    part: Part,
    files: std::vec::IntoIter<usize>,
    /// Shuffles each file; nothing where the order is that of the files.
    rng: Option<ChaCha12Rng>,
    codes: Vec<u8>,
    order: std::vec::IntoIter<u32>,
}

impl Rows {
    /// Rows of which some, by place, are held out for early stopping.
    pub(crate) fn new(values: Vec<f32>, bins: usize, rest: Vec<usize>, held_out: Vec<usize>) -> Self {
        let places = (0..values.len() / bins).collect();
        Self::InMemory(InMemory {
            values,
            bins,
            spectra: 1,
            places,
            held_out,
            rest,
        })
    }

    /// Windows of rows, each given by the places of its spectra, of which some are held out for early stopping.
    pub(crate) fn windowed(values: Vec<f32>, bins: usize, rest: &[Vec<usize>], held_out: &[Vec<usize>]) -> Self {
        let all = rest.iter().chain(held_out);
        Self::InMemory(InMemory {
            values,
            bins,
            spectra: all.clone().next().map_or(1, Vec::len),
            places: all.flatten().copied().collect(),
            held_out: (rest.len()..rest.len() + held_out.len()).collect(),
            rest: (0..rest.len()).collect(),
        })
    }

    /// Rows on disk.
    pub(crate) fn stored(stored: &Arc<OnDisk>, standardise: &Standardise, s0: f32) -> Self {
        Self::OnDisk(Standardised {
            table: stored.table(standardise, s0),
            stored: Arc::clone(stored),
        })
    }

    /// Bins of a spectrum.
    pub(super) fn bins(&self) -> usize {
        match self {
            Self::InMemory(rows) => rows.bins,
            Self::OnDisk(rows) => rows.stored.bins(),
        }
    }

    /// Whether what is made of each row may be kept in memory too.
    pub(super) fn are_in_memory(&self) -> bool {
        matches!(self, Self::InMemory(_))
    }

    /// How many rows, or windows, a part has.
    pub(super) fn count(&self, part: Part) -> usize {
        match self {
            Self::InMemory(rows) => match part {
                Part::Rest => rows.rest.len(),
                Part::HeldOut => rows.held_out.len(),
                Part::All => rows.len(),
            },
            Self::OnDisk(rows) => rows.stored.count(part),
        }
    }

    /// A part in a new order. Of rows in memory any order is as likely as any other, always; of rows on disk in any one
    /// epoch.
    pub(super) fn shuffled(&self, part: Part, rng: &mut ChaCha12Rng) -> Batches<'_> {
        match self {
            Self::InMemory(rows) => {
                let mut order = rows.places_of(part);
                order.shuffle(rng);
                Batches::InMemory {
                    rows,
                    order: order.into_iter(),
                }
            }
            Self::OnDisk(rows) => {
                let mut own = ChaCha12Rng::seed_from_u64(rng.next_u64());
                let mut files: Vec<usize> = (0..rows.stored.buckets()).collect();
                files.shuffle(&mut own);
                Batches::OnDisk(Box::new(rows.walk(part, files, Some(own))))
            }
        }
    }

    /// A part in the order in which it is kept.
    pub(super) fn in_order(&self, part: Part) -> Batches<'_> {
        match self {
            Self::InMemory(rows) => Batches::InMemory {
                rows,
                order: rows.places_of(part).into_iter(),
            },
            Self::OnDisk(rows) => {
                let files = (0..rows.stored.buckets()).collect();
                Batches::OnDisk(Box::new(rows.walk(part, files, None)))
            }
        }
    }

    /// At most so many rows for what is told of all: evenly spread over those in memory; of those on disk, which lie at
    /// random, the first.
    pub(super) fn some(&self, most: usize) -> Result<Option<Batch>, OnDiskError> {
        match self {
            Self::InMemory(rows) => {
                let every = rows.len().div_ceil(most).max(1);
                let places: Vec<usize> = (0..rows.len()).step_by(every).collect();
                Ok(Some(rows.batch(&places)))
            }
            Self::OnDisk(_) => self.in_order(Part::All).next(most),
        }
    }

    /// SHA-256 of the rows, and of which are held out.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::InMemory(rows) => {
                let mut hash = Sha256::new();
                for value in &rows.values {
                    hash.update(value.to_le_bytes());
                }
                for place in &rows.held_out {
                    hash.update((*place as u64).to_le_bytes());
                }
                hex::encode(hash.finalize())
            }
            Self::OnDisk(rows) => rows.stored.digest().to_owned(),
        }
    }
}

impl InMemory {
    /// How many windows there are.
    fn len(&self) -> usize {
        self.places.len() / self.spectra
    }

    fn places_of(&self, part: Part) -> Vec<usize> {
        match part {
            Part::Rest => self.rest.clone(),
            Part::HeldOut => self.held_out.clone(),
            Part::All => (0..self.len()).collect(),
        }
    }

    fn batch(&self, windows: &[usize]) -> Batch {
        let gathered = windows
            .iter()
            .flat_map(|at| &self.places[at * self.spectra..][..self.spectra]);
        let newest = windows.iter().map(|at| self.places[(at + 1) * self.spectra - 1]);
        Batch {
            rows: windows.len(),
            input: gathered.flat_map(|at| self.row(*at)).copied().collect(),
            target: newest.flat_map(|at| self.row(at)).copied().collect(),
        }
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.bins..][..self.bins]
    }
}

impl Standardised {
    fn walk(&self, part: Part, files: Vec<usize>, rng: Option<ChaCha12Rng>) -> Walk<'_> {
        Walk {
            rows: self,
            part,
            files: files.into_iter(),
            rng,
            codes: Vec::new(),
            order: Vec::new().into_iter(),
        }
    }
}

impl Batches<'_> {
    /// The next rows, `most` of them but at the end.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Batch>, OnDiskError> {
        match self {
            Self::InMemory { rows, order } => {
                let windows: Vec<usize> = order.take(most).collect();
                Ok((!windows.is_empty()).then(|| rows.batch(&windows)))
            }
            Self::OnDisk(walk) => walk.next(most),
        }
    }
}

impl Walk<'_> {
    fn next(&mut self, most: usize) -> Result<Option<Batch>, OnDiskError> {
        let bins = self.rows.stored.bins();
        let (mut input, mut rows) = (Vec::with_capacity(most * bins), 0);
        while rows < most {
            let Some(place) = self.order.next() else {
                if self.load()? {
                    continue;
                }
                break;
            };
            look_up(
                &self.rows.table,
                &self.codes[place as usize * bins..][..bins],
                &mut input,
            );
            rows += 1;
        }
        let target = input.clone();
        Ok((rows > 0).then_some(Batch { rows, input, target }))
    }

    /// Reads the next file; whether there was one.
    fn load(&mut self) -> Result<bool, OnDiskError> {
        let Some(file) = self.files.next() else {
            return Ok(false);
        };
        self.codes.clear();
        self.rows.stored.read(self.part, file, &mut self.codes)?;
        let rows = self.codes.len() / self.rows.stored.bins();
        let mut order: Vec<u32> = (0..rows as u32).collect();
        if let Some(rng) = &mut self.rng {
            order.shuffle(rng);
        }
        self.order = order.into_iter();
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
