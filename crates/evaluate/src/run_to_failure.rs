//! Machines run to failure: was each one paged, how early, and at what cost in false pages?
//!
//! Every machine is judged under limits learned from the others alone. With `nested`, the constants are chosen on the
//! others as well: each fold picks, from the [candidates], those that did best when its machines were judged by each
//! other. That table is the honest one; constants picked on the machines they are reported on flatter themselves.

pub(crate) mod ablation;
mod candidates;
pub(crate) mod class_size;
mod outcome;

use serde::Serialize;
use tocsin_detect::poisson::{RateEstimate, event_rate};
use tocsin_judge::{Member, ThresholdSet};

use class_size::Draw;
pub use outcome::Outcome;

use crate::life::MachineLife;
use crate::rules::Rules;
use crate::textbook::{self, Train};
use crate::trial::{Asset, Trial, TrialError};
use crate::variation::Variation;

/// What judges.
#[derive(Clone, Copy)]
pub enum Method<'a> {
    /// Detectors against a baseline.
    Baselines(Variation),
    /// One network and one energy for the whole fleet, trained by this.
    Textbook(&'a Train<'a>),
}

/// How machines are judged by what others were.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The constants.
    pub rules: Rules,
    /// What judges.
    pub method: Method<'a>,
    /// Whether each fold chooses its constants on the other machines.
    pub nested: bool,
    /// Learn from so many of the others alone; nothing is from all.
    pub draw: Option<Draw>,
}

impl Setting<'_> {
    /// The product under these constants.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            method: Method::Baselines(Variation::default()),
            nested: false,
            draw: None,
        }
    }
}

/// A detector's lines in one fold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The detector.
    pub detector: &'static str,
    /// Its role.
    pub role: &'static str,
    /// Its alert line.
    pub alert: f64,
    /// Its page line.
    pub page: f64,
    /// At least three machines stand behind it.
    pub supported: bool,
}

/// What judged one machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Constants {
    /// The machine.
    pub machine: String,
    /// The constants, as given or as its fold chose them.
    pub rules: Rules,
    /// The lines that followed.
    pub lines: Vec<Line>,
    /// Machines they were learned from.
    pub fleet: usize,
}

/// All machines together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Machines judged.
    pub machines: usize,
    /// Those with a page open in the last tenth of their life.
    pub detected: usize,
    /// Those of them whose page did not open before 35 % of it.
    pub valid: usize,
    /// Pages opened before 35 % of life.
    pub false_pages_before_35: usize,
    /// Pages opened before half of life.
    pub false_pages_before_50: usize,
    /// Pages opened.
    pub pages: usize,
    /// Those that name bins without which there would have been no page; nothing where detectors have no bins.
    pub pages_explained: Option<usize>,
    /// Most page-level incidents of one machine that are open in the last tenth of its life.
    pub incidents_at_end_most: usize,
    /// Most pages of one machine after its first.
    pub re_pages_most: usize,
    /// Share of the judged steps before half of life that stood under a page.
    pub false_page_share: f64,
    /// Median lead in steps over all machines, 0 where none was valid.
    pub median_lead_readings: f64,
    /// False pages before half of life per machine-hour judged there, with its 95 % interval.
    pub false_pages_per_machine_hour: Option<RateEstimate>,
}

/// The document of `tocsin evaluate run-to-failure`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunToFailure {
    /// Whether the constants were chosen on the other machines.
    pub nested: bool,
    /// One row a machine.
    pub machines: Vec<Outcome>,
    /// What judged each.
    pub constants: Vec<Constants>,
    /// All together.
    pub summary: Summary,
}

/// Judges every machine of `lives` under limits of the others, and of `fleet`, whose machines are not judged themselves.
/// `progress` is called once a machine is done.
pub fn run_to_failure(
    lives: &[MachineLife],
    fleet: &[MachineLife],
    setting: &Setting<'_>,
    progress: impl Fn() + Sync,
) -> Result<RunToFailure, TrialError> {
    let judged = in_parallel(lives, |at, life| {
        let mut others: Vec<&MachineLife> = others(lives, fleet, at).collect();
        if let Some(draw) = setting.draw {
            draw.keep(&mut others, at);
        }
        let rules = if setting.nested {
            candidates::choose(&others, setting)?
        } else {
            setting.rules
        };
        let outcome = judge(life, &others, &rules, setting.method);
        progress();
        outcome
    })?;
    let (machines, constants): (Vec<Outcome>, Vec<Constants>) = judged.into_iter().unzip();
    Ok(RunToFailure {
        nested: setting.nested,
        summary: summarise(&machines, &setting.rules),
        machines,
        constants,
    })
}

/// What a machine of `lives` learns from: all the others, and of `fleet` those of another name.
pub(crate) fn others<'a>(
    lives: &'a [MachineLife],
    fleet: &'a [MachineLife],
    at: usize,
) -> impl Iterator<Item = &'a MachineLife> {
    let others = lives.iter().enumerate().filter(move |(other, _)| *other != at);
    let others = others.map(|(_, life)| life).chain(fleet);
    others.filter(move |other| other.name != lives[at].name)
}

fn judge(
    life: &MachineLife,
    others: &[&MachineLife],
    rules: &Rules,
    method: Method<'_>,
) -> Result<(Outcome, Constants), TrialError> {
    let asset = Asset::new(life, rules)?;
    let fleet = others
        .iter()
        .map(|other| Asset::new(other, rules))
        .collect::<Result<Vec<_>, _>>()?;
    let fleet: Vec<&Asset<'_>> = fleet.iter().collect();
    let (trial, judged) = match method {
        Method::Baselines(variation) => {
            let trial = Trial::varied(&asset, &fleet, rules, variation)?;
            let judged = trial.judge(life);
            (trial, judged)
        }
        Method::Textbook(train) => {
            let (judged, limits) = textbook::judge(life, others, rules, train)?;
            (Trial::under(asset.references(&fleet, rules)?, limits, rules), judged)
        }
    };
    let (course, commissioning) = (trial.fold(&judged), trial.commissioning_steps(life, &judged));
    let explained = match method {
        Method::Baselines(_) => Some(trial.pages_explained(life, &course)),
        Method::Textbook(_) => None,
    };
    let constants = Constants {
        machine: life.name.clone(),
        rules: *rules,
        lines: lines(&trial.limits),
        fleet: fleet.len(),
    };
    Ok((Outcome::of(&life.name, &course, commissioning, explained), constants))
}

fn lines(limits: &ThresholdSet) -> Vec<Line> {
    limits.members.iter().map(line).collect()
}

fn line(member: &Member) -> Line {
    Line {
        detector: member.detector.as_str(),
        role: member.role.as_str(),
        alert: member.alert_line,
        page: member.page_line,
        supported: member.page_line_supported,
    }
}

fn summarise(machines: &[Outcome], rules: &Rules) -> Summary {
    let sum = |of: fn(&Outcome) -> usize| machines.iter().map(of).sum::<usize>();
    let mut leads: Vec<usize> = machines.iter().map(|m| m.lead_readings).collect();
    leads.sort_unstable();
    let judged = sum(|m| m.judged_before_50);
    let hours = judged as f64 * rules.step_s / 3600.0;
    Summary {
        machines: machines.len(),
        detected: sum(|m| usize::from(m.detected)),
        valid: sum(|m| usize::from(m.valid)),
        false_pages_before_35: sum(|m| m.false_pages_before_35),
        false_pages_before_50: sum(|m| m.false_pages_before_50),
        pages: sum(|m| m.pages),
        pages_explained: machines.iter().map(|m| m.pages_explained).sum(),
        incidents_at_end_most: machines.iter().map(|m| m.incidents_at_end).max().unwrap_or(0),
        re_pages_most: machines.iter().map(|m| m.re_pages).max().unwrap_or(0),
        false_page_share: sum(|m| m.false_page_readings) as f64 / judged.max(1) as f64,
        median_lead_readings: median(&leads),
        false_pages_per_machine_hour: event_rate(sum(|m| m.false_pages_before_50) as u64, hours, 0.95),
    }
}

fn median(sorted: &[usize]) -> f64 {
    match (sorted.get(sorted.len() / 2), sorted.len().is_multiple_of(2)) {
        (None, _) => 0.0,
        (Some(upper), true) => f64::midpoint(sorted[sorted.len() / 2 - 1] as f64, *upper as f64),
        (Some(middle), false) => *middle as f64,
    }
}

/// Does something with every item on as many threads as there are processors; answers in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = std::sync::Mutex::new(Vec::with_capacity(items.len()));
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, item)) = Some(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                    .and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = work(at, item);
                    done.lock().expect("no worker panics with the lock").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics with the lock");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
