//! From canonical readings to judged rows: the network's scores from a scorer, the other detectors' meanwhile here, and
//! the verdict under the class's threshold set.

mod explain;
mod network;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::ensemble::PlacedReading;
use tocsin_contracts::scorer::Spectra;
use tocsin_contracts::scorer::v1::ScoreRequest;
use tocsin_domain::{
    BaselineId, ClassId, Detector, Level, MachineId, OperatingState, ReadingFlags, ScorerBuildId, Scores, Timestamp,
    TokenId, Verdict,
};
use tocsin_judge::fold::Effect;
use tocsin_judge::{JudgedReading, Judgement};
use tocsin_models::Bundle;
use tocsin_models::scoring::{Against, detect};
use tocsin_store::reading::NewReading;
use tocsin_transport::Replicas;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::baselines::Known;
use crate::bindings::{Active, ActiveClass, Limits};
use crate::gather::Job;
use crate::scorer_builds::ScorerBuilds;
use crate::ticket::Place;
use crate::zones::Placed;

use window::Windowed;

pub(crate) use network::{alike, coded, split};
pub(crate) use window::History;

/// Rows that one scorer call and one detector task take: enough to fill a batch, few enough to share out.
const CHUNK_ROWS: usize = 512;

/// A spool that is at most this many intervals behind now may open incidents again.
const CATCHING_UP_INTERVALS: u32 = 5;

/// A judged reading, ready to be stored and folded.
#[derive(Debug)]
pub(crate) struct Assessed {
    /// Where its outcome goes.
    pub(crate) place: Place,
    /// The machine.
    pub(crate) machine: MachineId,
    /// The token by which it came, where ingest says.
    pub(crate) gateway: Option<TokenId>,
    /// Its sensor is there only to show that readings get here: what is judged leaves a mark in the outbox.
    pub(crate) is_canary: bool,
    /// What judged it; nothing when its class has neither model and limits nor severity zones.
    pub(crate) class: Option<Arc<ActiveClass>>,
    /// The full scale its spectrum's codes stand for.
    pub(crate) full_scale: f32,
    /// The row to store.
    pub(crate) row: NewReading,
    /// What the fold sees.
    pub(crate) judged: JudgedReading,
    /// Historical readings are stored and never folded.
    pub(crate) folds: bool,
    /// Whether it may open, raise or clear.
    pub(crate) effect: Effect,
    /// What each bin adds to what the deciding detector saw of a flagged reading: its share of the deviation where that was
    /// measured against a baseline, else its squared error, as far as the network judged.
    pub(crate) bin_error: Vec<f32>,
    /// How many of these, the greatest first, must stand at the baseline for the reading to be below the page line; none where
    /// that is not known, or not so.
    pub(crate) decisive_bins: Option<usize>,
}

impl Assessed {
    /// May have to be folded even when the machine has nothing open.
    pub(crate) fn is_flagged(&self) -> bool {
        self.folds && self.row.verdict.is_flagged()
    }

    /// A canary's reading that was judged to be well.
    pub(crate) fn is_judged_canary(&self) -> bool {
        self.is_canary && matches!(self.row.verdict, Verdict::Normal { .. })
    }

    /// Its network looks at windows, and its history made none.
    pub(crate) fn lacks_history(&self) -> bool {
        let limits = self.class.as_ref().and_then(|class| class.limits.as_ref());
        let looks_back = limits.is_some_and(|limits| limits.window().is_some());
        let by_the_network = self.row.scores.get(Detector::Residual).is_some();
        looks_back && by_the_network && self.row.predecessors.is_none()
    }
}

/// What every reading of a batch shares.
#[derive(Debug, Clone, Copy)]
struct Stream {
    gateway: Option<TokenId>,
    received_at: Timestamp,
    clock_is_capture: bool,
    historical: bool,
}

struct Pending {
    place: Place,
    placed: PlacedReading,
    stream: Stream,
    /// Its overall levels in the zones of its class.
    severity: Option<Level>,
    /// Its overall levels say that the machine stands still.
    is_stopped: bool,
    scored: ScoredRow,
    /// What the network is shown with it, where that looks at windows and its history makes one.
    window: Option<Windowed>,
    bin_error: Vec<f32>,
    decisive_bins: Option<usize>,
}

/// What the detectors said of one row.
#[derive(Debug, Clone, Default)]
struct ScoredRow {
    scores: Scores,
    /// What it was held against.
    baseline: Option<BaselineId>,
    /// What its machine was doing, as that knows it; none without one.
    state: Option<OperatingState>,
    latent: Vec<u8>,
    /// What scored it by the network; none where nothing did.
    scorer_build: Option<ScorerBuildId>,
    degraded: bool,
}

/// Asks the scorers, and judges.
#[derive(Debug, Clone)]
pub(crate) struct Assessor {
    pub(crate) scorers: Replicas,
    pub(crate) deadline: Duration,
    pub(crate) builds: ScorerBuilds,
}

impl Assessor {
    /// Judges every reading of a group under the bindings and baselines it was given: one set of limits per class and one
    /// baseline per sensor for the whole group. Classes go side by side.
    pub(crate) async fn assess(
        &self,
        group: Vec<Job>,
        (active, baselines, zones): (&Active, &Known, &Placed),
        history: &Arc<History>,
    ) -> Vec<Assessed> {
        let mut by_class: BTreeMap<ClassId, Vec<Pending>> = BTreeMap::new();
        for mut pending in group.into_iter().flat_map(readings_of) {
            let overall = &pending.placed.reading.overall;
            if let Some(zones) = zones.of(&pending.placed) {
                (pending.severity, pending.is_stopped) = (zones.severity(overall), zones.is_stopped(overall));
            }
            by_class.entry(pending.placed.class).or_default().push(pending);
        }
        let mut classes = JoinSet::new();
        for (class, readings) in by_class {
            let active = active.get(&class).cloned().or_else(|| zones.class(class));
            let (this, baselines, history) = (self.clone(), baselines.clone(), history.clone());
            let work = async move {
                this.assess_class(active.as_ref(), (&baselines, &history), readings)
                    .await
            };
            classes.spawn(work.in_current_span());
        }
        let mut assessed = Vec::new();
        while let Some(class) = classes.join_next().await {
            assessed.extend(class.expect("a class's task neither panics nor is aborted"));
        }
        assessed
    }

    async fn assess_class(
        &self,
        active: Option<&Arc<ActiveClass>>,
        (baselines, history): (&Known, &History),
        mut readings: Vec<Pending>,
    ) -> Vec<Assessed> {
        if let Some(limits) = active.and_then(|active| active.limits.as_ref()) {
            self.score(limits, (baselines, history), &mut readings).await;
        }
        for pending in &mut readings {
            pending.add_severity();
        }
        if let Some(limits) = active.and_then(|active| active.limits.as_ref()) {
            self.explain(limits, baselines, &mut readings).await;
        }
        readings.into_iter().map(|pending| pending.judge(active)).collect()
    }

    /// Scores what the class's bundle can read: readings with as many bins as it was trained on.
    async fn score(&self, limits: &Limits, (baselines, history): (&Known, &History), readings: &mut [Pending]) {
        let bins = limits.bins();
        let fitting: Vec<usize> = (0..readings.len())
            .filter(|i| readings[*i].placed.reading.spectrum.codes().len() == bins)
            .collect();
        if let Some(window) = limits.window() {
            for (place, window) in history.windows(window, baselines, (readings, &fitting), bins) {
                readings[place].window = Some(window);
            }
        }
        let mut chunks = JoinSet::new();
        for rows in alike(&fitting, network::windows(readings)) {
            let spectra = network::spectra(limits, &rows, readings);
            let request = network::request(limits, &rows, readings, Vec::new());
            let against: Vec<_> = rows
                .iter()
                .map(|i| Against {
                    active: baselines.of(readings[*i].placed.reading.key.sensor, bins),
                    condition: readings[*i].placed.reading.condition,
                })
                .collect();
            let (this, bundle) = (self.clone(), limits.bundle.clone());
            let work = async move { (rows, this.score_chunk(bundle, (spectra, request), against).await) };
            chunks.spawn(work.in_current_span());
        }
        while let Some(chunk) = chunks.join_next().await {
            let (rows, scored) = chunk.expect("a scoring task neither panics nor is aborted");
            for (row, scored) in rows.into_iter().zip(scored) {
                readings[row].scored = scored;
            }
        }
    }

    async fn score_chunk(
        &self,
        bundle: Arc<Bundle>,
        (spectra, request): (Spectra, ScoreRequest),
        against: Vec<Against>,
    ) -> Vec<ScoredRow> {
        let rows = spectra.rows();
        let baselines: Vec<_> = against.iter().map(Against::known_as).collect();
        let detectors = tokio::task::spawn_blocking(move || detect(&bundle, coded(&spectra), &against));
        let (network, detectors) = tokio::join!(self.call(request), detectors);
        let scores = detectors.expect("a detector task neither panics nor is aborted");
        let mut scored: Vec<ScoredRow> = scores
            .into_iter()
            .zip(baselines)
            .map(|(scores, (baseline, state))| ScoredRow {
                scores,
                baseline,
                state,
                latent: Vec::new(),
                scorer_build: None,
                degraded: true,
            })
            .collect();
        match network.and_then(|response| split(response, rows)) {
            Ok(network) => {
                let build = self.builds.id(&network.build).await;
                for (row, (error, latent)) in scored.iter_mut().zip(network.rows) {
                    row.scores.set(Detector::Residual, error);
                    (row.latent, row.scorer_build, row.degraded) = (latent, build, false);
                }
            }
            Err(status) => {
                tracing::warn!(rows, code = ?status.code(), message = status.message(), "no scorer answered, judging without the network");
            }
        }
        scored
    }
}

impl Limits {
    /// Bins of the spectra the bundle reads.
    pub(crate) fn bins(&self) -> usize {
        usize::from(self.bundle.manifest().bins)
    }
}

fn readings_of(job: Job) -> impl Iterator<Item = Pending> {
    let Job { assessment, ticket } = job;
    let stream = Stream {
        gateway: assessment.gateway,
        received_at: assessment.received_at,
        clock_is_capture: assessment.clock_is_capture,
        historical: assessment.historical,
    };
    assessment
        .readings
        .into_iter()
        .enumerate()
        .map(move |(index, placed)| Pending {
            place: ticket.place(index),
            placed,
            stream,
            severity: None,
            is_stopped: false,
            scored: ScoredRow::default(),
            window: None,
            bin_error: Vec::new(),
            decisive_bins: None,
        })
}

impl Pending {
    fn add_severity(&mut self) {
        if let Some(Level(level)) = self.severity {
            self.scored.scores.set(Detector::Severity, level);
        }
    }

    fn is_scored(&self) -> bool {
        self.scored.scores.mask().0 != 0
    }

    /// What its machine was doing, as far as is known.
    fn state(&self) -> OperatingState {
        if self.is_stopped {
            return OperatingState::Stopped;
        }
        self.scored
            .state
            .unwrap_or_else(|| self.placed.reading.condition.into())
    }

    fn judgement(&self, limits: Option<&Limits>) -> Judgement {
        let (scores, state) = (&self.scored.scores, self.state());
        Judgement::of_scores(limits.map(|limits| &*limits.set), scores, state, self.scored.degraded)
    }

    fn judge(self, active: Option<&Arc<ActiveClass>>) -> Assessed {
        let limits = active
            .and_then(|active| active.limits.as_ref())
            .filter(|_| self.is_scored());
        let judgement = self.judgement(limits);
        let (flags, state) = (self.flags(), self.state());
        let effect = self
            .stream
            .effect(self.placed.reading.key.captured_at, active.map(|a| a.step));
        let content_hash = self.placed.reading.content_hash();
        let reading = self.placed.reading;
        let row = NewReading {
            key: reading.key,
            received_at: self.stream.received_at,
            content_hash,
            threshold_set: limits.map(|limits| limits.threshold_set_id),
            bundle: limits.map(|limits| limits.bundle_id),
            baseline: self.scored.baseline,
            scorer_build: self.scored.scorer_build,
            predecessors: self
                .window
                .filter(|_| !self.scored.degraded)
                .map(|window| window.predecessors),
            scores: self.scored.scores,
            condition: reading.condition,
            flags,
            verdict: judgement.verdict,
            state,
            overall: reading.overall,
            latent: self.scored.latent,
            spectrum: reading.spectrum.into_codes(),
        };
        Assessed {
            place: self.place,
            machine: self.placed.machine,
            gateway: self.stream.gateway,
            is_canary: self.placed.class == ClassId::CANARY && !self.stream.historical,
            class: active.cloned(),
            full_scale: self.placed.full_scale,
            judged: JudgedReading::new(row.key, &judgement),
            row,
            folds: !self.stream.historical,
            effect,
            bin_error: self.bin_error,
            decisive_bins: self.decisive_bins,
        }
    }

    fn flags(&self) -> ReadingFlags {
        let flag = |on: bool, flag: ReadingFlags| if on { flag } else { ReadingFlags::default() };
        flag(self.placed.reading.clipped, ReadingFlags::CLIPPED)
            .with(flag(self.scored.degraded, ReadingFlags::DEGRADED))
            .with(flag(self.stream.historical, ReadingFlags::HISTORICAL))
            .with(flag(self.stream.clock_is_capture, ReadingFlags::REPLAY))
    }
}

impl Stream {
    /// A spool catching up is judged without paging until it is near now.
    fn effect(self, captured_at: Timestamp, step: Option<Duration>) -> Effect {
        let near = step.unwrap_or_default() * CATCHING_UP_INTERVALS;
        if self.clock_is_capture || captured_at + near >= self.received_at {
            Effect::Acts
        } else {
            Effect::Counts
        }
    }
}
