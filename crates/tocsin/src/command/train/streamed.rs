//! Rows that don't fit in memory. One pass over the corpora takes their keys and finds which row is of which part; a second
//! puts those to learn from on disk and draws those to set limits by. Both choose as [`Choice`] does with rows at hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Error, Result, bail};
use tocsin_corpus::{By, Division, Leak, MaintenanceLog, Row, SensorName};
use tocsin_domain::{Slug, SpectrumSpec, Timestamp};
use tocsin_models::Selection;
use tocsin_trainer::TrainingSet;
use tocsin_trainer::on_disk::{Budget, Cuts, HoldOut, Key, Keys, KeysWriter, OnDiskError, Sample, Writer};

use crate::command::choice::{self, Choice};
use crate::command::corpora::Corpora;

/// The split that sets limits.
const LIMITS: &str = "cal";
/// Marks of a key: the row stands in the split to learn from, in that for limits, and nothing speaks against it.
const TEACHES: u8 = 1;
const SETS_LIMITS: u8 = 2;
const KEPT: u8 = 4;

/// What is to be read, and what there is for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) corpora: &'a Corpora,
    pub(super) choice: &'a Choice,
    /// The split to learn from.
    pub(super) learned: &'a str,
    /// Whether rows of all splits are read, and not only those to learn from and to set limits by.
    pub(super) all_splits: bool,
    /// Most memory for rows.
    pub(super) budget: Budget,
    /// Where rows go that don't fit.
    pub(super) folder: &'a Path,
    pub(super) seed: u64,
    /// Share of each sensor's rows that stop the training.
    pub(super) held_out_share: f64,
}

/// Rows to learn from, all on disk, and rows to set limits by.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) train: TrainingSet,
    pub(super) calibration: TrainingSet,
}

/// Which row is of which part.
struct Parting {
    /// Where rows are parted by machine or time, and not by the splits of the corpora.
    division: Option<Division>,
    cuts: Cuts,
    /// Rows to learn from.
    train_rows: u64,
}

impl Source<'_> {
    /// The rows, on disk; nothing where they fit in memory. `needs_memory` is the flag that can't do without that.
    pub(super) fn read(&self, needs_memory: Option<&str>) -> Result<Option<Sets>> {
        let used = [self.learned, LIMITS];
        let splits = self.splits(&used);
        let Some(bins) = self.corpora.first_bins(splits)? else {
            return Ok(None);
        };
        let spec = self.corpora.spec_of(bins)?;
        if self.budget.holds(self.corpora.rows_total()?, spec.bins) {
            return Ok(None);
        }
        let log = self.choice.log(self.corpora)?;
        let mut scan = Scan::new(self, log.as_ref())?;
        self.corpora.each(splits, "looking at", |row| scan.take(&row))?;
        if self.budget.holds(scan.rows, spec.bins) {
            return Ok(None);
        }
        if let Some(flag) = needs_memory {
            let (rows, bins) = (scan.rows, spec.bins);
            let (needed, memory) = (Budget::in_memory_mib(rows, bins), self.budget.as_mib());
            bail!(
                "{flag}: takes all of the {rows} rows of {bins} bins in memory, about {needed} MiB; --memory allows {memory}"
            );
        }
        let (names, keys, selection) = scan.finish()?;
        choice::tell(&selection);
        let parting = self.part(&names, &keys)?;
        drop(keys);
        eprintln!(
            "{} rows to learn from do not fit in the {} MiB of --memory: they are put on disk, in {}",
            parting.train_rows,
            self.budget.as_mib(),
            self.folder.display()
        );
        self.store(&spec, log.as_ref(), (&names, &parting), selection).map(Some)
    }

    /// The splits to read: those that are used, or all of them.
    fn splits<'u>(&self, used: &'u [&'u str]) -> Option<&'u [&'u str]> {
        if self.all_splits {
            None
        } else {
            self.choice.splits(used)
        }
    }

    /// Looks at the keys of all rows, some machines at a time.
    fn part(&self, names: &Names, keys: &Keys) -> Result<Parting> {
        let mut division = match self.choice.by() {
            None => None,
            Some(By::Time) => Some(Division::by_time()),
            Some(By::Machine) => {
                let machines = names.kept.iter().cloned();
                Some(Division::by_machine(machines).context("--split-by")?)
            }
        };
        let mut hold_out = HoldOut::new(self.held_out_share);
        let mut train_rows = 0;
        for file in 0..keys.files() {
            let keys = keys.sorted(file).map_err(flagged)?;
            match &mut division {
                None => self.refuse_leak(names, &keys)?,
                Some(division) if division.by() == By::Time => divide(division, names, &keys),
                Some(_) => {}
            }
            for keys in keys.chunk_by(|a, b| a.sensor == b.sensor) {
                let name = names.name(keys[0].sensor);
                let teaches = |key: &&Key| match &division {
                    None => key.mark & (TEACHES | KEPT) == TEACHES | KEPT,
                    Some(division) => division.part(name, key.captured_at) == Some(self.learned),
                };
                let times: Vec<Timestamp> = keys.iter().filter(teaches).map(|key| key.captured_at).collect();
                train_rows += times.len() as u64;
                hold_out.add(keys[0].sensor, &times);
            }
        }
        Ok(Parting {
            division,
            cuts: hold_out.finish(),
            train_rows,
        })
    }

    /// Refuses a reading that stands in both splits; of keys in order such ones are neighbours.
    fn refuse_leak(&self, names: &Names, keys: &[Key]) -> Result<()> {
        let split = |key: &Key| key.mark & (TEACHES | SETS_LIMITS);
        let both = keys.windows(2).find(|pair| {
            let same = (pair[0].sensor, pair[0].captured_at) == (pair[1].sensor, pair[1].captured_at);
            same && split(&pair[0]) != split(&pair[1])
        });
        let Some([key, _]) = both else { return Ok(()) };
        let splits = [self.learned, LIMITS].map(str::to_owned);
        let leak = Leak::new(names.name(key.sensor).clone(), key.captured_at, splits);
        Err(choice::refused(&leak))
    }

    /// Goes through the rows once more and puts them where they belong.
    fn store(
        &self,
        spec: &SpectrumSpec,
        log: Option<&MaintenanceLog>,
        (names, parting): (&Names, &Parting),
        selection: Selection,
    ) -> Result<Sets> {
        let room = (self.budget, parting.train_rows);
        let mut train = Writer::new(spec, self.folder, room, self.seed).map_err(flagged)?;
        let mut calibration = Sample::new(spec, self.budget, self.seed).map_err(flagged)?;
        let used = [self.learned, LIMITS];
        self.corpora.each(self.splits(&used), "keeping", |row| {
            if !self.choice.healthy(&row, self.learned) || self.choice.against(&row, log).is_some() {
                return Ok(());
            }
            let part = match &parting.division {
                Some(division) => division.part(&row.sensor, row.captured_at),
                None => row.split.as_deref(),
            };
            let (sensor, at) = (row.sensor.to_string(), row.captured_at);
            let place = || format!("{sensor} at {at}");
            if part == Some(self.learned) {
                let number = names
                    .number(&row.sensor)
                    .context("--corpus: changed while it was read")?;
                let held_out = parting.cuts.holds_out(number, at);
                let pushed = train.push(&sensor, at, &row.bins, held_out);
                pushed.map_err(flagged).with_context(place)?;
            }
            if part == Some(LIMITS) {
                calibration.push(&sensor, at, &row.bins).with_context(place)?;
            }
            Ok(())
        })?;
        Ok(Sets {
            train: train.finish().map_err(flagged)?.chosen_by(Some(selection)),
            calibration: calibration.finish(),
        })
    }
}

/// Adds the machines of these keys to a division by time.
fn divide(division: &mut Division, names: &Names, keys: &[Key]) {
    let mut machines: BTreeMap<(Slug, Slug), Vec<Timestamp>> = BTreeMap::new();
    for keys in keys.chunk_by(|a, b| a.sensor == b.sensor) {
        let times = machines.entry(machine(names.name(keys[0].sensor))).or_default();
        times.extend(keys.iter().map(|key| key.captured_at));
    }
    for ((site, machine), times) in machines {
        division.add(site, machine, times);
    }
}

/// The first pass.
struct Scan<'a> {
    source: &'a Source<'a>,
    log: Option<&'a MaintenanceLog>,
    names: Names,
    keys: KeysWriter,
    selection: Selection,
    /// Rows of the splits that are read.
    rows: u64,
}

impl<'a> Scan<'a> {
    fn new(source: &'a Source<'a>, log: Option<&'a MaintenanceLog>) -> Result<Self> {
        let most = source.corpora.rows_total()?;
        Ok(Self {
            source,
            log,
            names: Names::default(),
            keys: KeysWriter::new(source.folder, source.budget, most).map_err(flagged)?,
            selection: Selection {
                sensors: source.corpora.sensors.clone(),
                ..source.choice.selection(log)
            },
            rows: 0,
        })
    }

    fn take(&mut self, row: &Row) -> Result<()> {
        let Source { choice, learned, .. } = self.source;
        self.rows += 1;
        let healthy = choice.healthy(row, learned);
        let reason = healthy.then(|| choice.against(row, self.log)).flatten();
        if let Some(reason) = reason {
            *self.selection.left_out.entry(reason.to_owned()).or_default() += 1;
        }
        let kept = healthy && reason.is_none();
        if choice.by().is_some() && !kept {
            // Only what is parted has to be known; a reading in two splits is no matter then.
            return Ok(());
        }
        let mark = |holds: bool, mark: u8| if holds { mark } else { 0 };
        let split = row.split.as_deref();
        let teaches = mark(split == Some(*learned), TEACHES) | mark(split == Some(LIMITS), SETS_LIMITS);
        let (machine, sensor) = self.names.take(&row.sensor, kept);
        let key = Key {
            sensor,
            captured_at: row.captured_at,
            mark: teaches | mark(kept, KEPT),
        };
        self.keys.push(machine, key).map_err(flagged)
    }

    fn finish(self) -> Result<(Names, Keys, Selection)> {
        Ok((self.names, self.keys.finish().map_err(flagged)?, self.selection))
    }
}

/// Sensors and machines, by number.
#[derive(Debug, Default)]
struct Names {
    sensors: Vec<SensorName>,
    /// The numbers of a sensor's machine and of itself.
    numbers: HashMap<SensorName, (u32, u32)>,
    machines: HashMap<(Slug, Slug), u32>,
    /// Machines of which a row is kept.
    kept: BTreeSet<(Slug, Slug)>,
}

impl Names {
    /// The numbers of a sensor's machine and of itself.
    fn take(&mut self, sensor: &SensorName, kept: bool) -> (u32, u32) {
        let numbers = if let Some(numbers) = self.numbers.get(sensor) {
            *numbers
        } else {
            let next = self.machines.len() as u32;
            let machine = *self.machines.entry(machine(sensor)).or_insert(next);
            let numbers = (machine, self.sensors.len() as u32);
            self.sensors.push(sensor.clone());
            self.numbers.insert(sensor.clone(), numbers);
            numbers
        };
        if kept && !self.kept.contains(&machine(sensor)) {
            self.kept.insert(machine(sensor));
        }
        numbers
    }

    fn number(&self, sensor: &SensorName) -> Option<u32> {
        self.numbers.get(sensor).map(|(_, number)| *number)
    }

    fn name(&self, number: u32) -> &SensorName {
        &self.sensors[number as usize]
    }
}

fn machine(sensor: &SensorName) -> (Slug, Slug) {
    (sensor.site.clone(), sensor.machine.clone())
}

/// Says by which flag it can be helped.
fn flagged(error: OnDiskError) -> Error {
    let flag = match &error {
        OnDiskError::Memory { .. } => "--memory",
        OnDiskError::Io { .. } => "--scratch",
        OnDiskError::Row(_) | OnDiskError::Fit(_) => "--corpus",
    };
    Error::new(error).context(flag)
}

#[cfg(test)]
mod tests;
