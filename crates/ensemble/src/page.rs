//! What a page carries: names instead of numbers, the deciding step, and the bins that stand out.

use half::f16;
use tocsin_detect::Bearing;
use tocsin_detect::lines::{Hint, hint, known};
use tocsin_domain::spec::Axis;
use tocsin_domain::{
    BaselineId, Detector, IncidentId, Level, MachineId, OperatingState, PageAction, ReadingFlags, Scope, Scores,
    SensorId, Severity, SpectrumSpec, ThresholdSetId, Timestamp, Verdict,
};
use tocsin_judge::Judgement;
use tocsin_judge::course::{DAY, StepLevelAt, above_alert_since, growth_per_day};
use tocsin_judge::page::{
    DetectorLevel, LineHint, PagePayload, PageReason, ShownReading, TOP_BINS, TopBin, dedup_key, top_bins,
};
use tocsin_store::{Error, Result, Store};

use crate::assess::Assessed;
use crate::bindings::ActiveClass;

/// The most steps before an incident in which its beginning is looked for.
const MOST_STEPS: u32 = 5_000;

/// What the fold knows of the page it wants written.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) machine: MachineId,
    pub(crate) incident: IncidentId,
    pub(crate) severity: Severity,
    pub(crate) reason: PageReason,
    pub(crate) opened_at: Timestamp,
    pub(crate) step: Timestamp,
    pub(crate) deciding_sensor: SensorId,
    pub(crate) deciding_detector: Detector,
    pub(crate) level: f32,
    /// What the deciding sensor showed last, if it is among the readings at hand.
    pub(crate) shown: Option<&'a Shown>,
    /// Levels of steps that are in no journal yet.
    pub(crate) unwritten: Vec<StepLevelAt>,
    /// Capture time of the reading that brought the page about.
    pub(crate) arrived: Timestamp,
    pub(crate) class: &'a ActiveClass,
    pub(crate) replay: bool,
    pub(crate) delayed_by_ms: Option<u64>,
}

/// What the newest reading of a sensor shows; the newest at page level where there is any, or else at alert level.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    at: Timestamp,
    verdict: Verdict,
    bin_error: Vec<f32>,
    /// How many of these explain the page.
    decisive_bins: Option<usize>,
    baseline: Option<BaselineId>,
    /// The limits that judged it, what they judged, and with which lines.
    threshold_set: Option<ThresholdSetId>,
    scores: Scores,
    state: OperatingState,
    rpm: Option<f32>,
    degraded: bool,
}

impl Shown {
    pub(crate) fn of(assessed: &Assessed) -> Self {
        Self {
            at: assessed.row.key.captured_at,
            verdict: assessed.row.verdict,
            bin_error: assessed.bin_error.clone(),
            decisive_bins: assessed.decisive_bins,
            baseline: assessed.row.baseline,
            threshold_set: assessed.row.threshold_set,
            scores: assessed.row.scores,
            state: assessed.row.state,
            rpm: assessed.row.condition.rpm,
            degraded: assessed.row.flags.contains(ReadingFlags::DEGRADED),
        }
    }

    /// Whether it goes before `other` of the same sensor.
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        let rank = |shown: &Self| match shown.verdict {
            Verdict::Page { .. } => 2,
            Verdict::Alert { .. } => 1,
            Verdict::Normal { .. } | Verdict::Unjudged { .. } => 0,
        };
        (rank(self), self.at) >= (rank(other), other.at)
    }

    /// What is stored of the sensor's newest reading at or before `at`.
    async fn stored(store: &Store, sensor: SensorId, at: Timestamp) -> Result<Option<Self>> {
        let Some(found) = store.reading_get(&Scope::All, sensor, Some(at)).await? else {
            return Ok(None);
        };
        let key = found.stored.key;
        let kept = store.evidence_bin_error(&Scope::All, sensor, key.captured_at).await?;
        Ok(Some(Self {
            at: key.captured_at,
            verdict: found.stored.verdict,
            bin_error: kept.map(|bytes| half_floats(&bytes)).unwrap_or_default(),
            decisive_bins: None,
            baseline: found.stored.baseline,
            threshold_set: found.stored.threshold_set,
            scores: found.stored.scores,
            state: found.stored.state,
            rpm: found.condition.rpm,
            degraded: found.stored.flags.contains(ReadingFlags::DEGRADED),
        }))
    }

    /// What each bin adds to what `detector` saw; nothing when another kind of detector decided about the reading.
    fn bins_of(&self, detector: Detector) -> &[f32] {
        let is_its_kind = |by: Detector| by.needs_baseline() == detector.needs_baseline();
        if flagged_by(self.verdict).is_some_and(is_its_kind) {
            &self.bin_error
        } else {
            &[]
        }
    }

    /// How many bins explain that `detector` stands at the page line.
    fn decisive_bins(&self, detector: Detector) -> Option<usize> {
        self.decisive_bins
            .filter(|_| flagged_by(self.verdict) == Some(detector))
    }

    /// What each detector says of it, the highest level first; nothing when other limits than the class's present ones
    /// judged it.
    fn detectors(&self, class: &ActiveClass) -> Vec<DetectorLevel> {
        let limits = class.limits.as_ref();
        let limits = limits.filter(|limits| self.threshold_set == Some(limits.threshold_set_id));
        let judgement = match (limits, self.threshold_set) {
            (Some(limits), _) => limits.set.judge(&self.scores, self.state, self.degraded),
            (None, None) => Judgement::by_severity(&self.scores, self.state),
            (None, Some(_)) => return Vec::new(),
        };
        let said = judgement.members.into_iter().map(|member| DetectorLevel {
            detector: member.detector,
            role: member.role,
            level: member.level.0,
        });
        let mut said: Vec<_> = said.collect();
        said.sort_by(|a, b| b.level.total_cmp(&a.level));
        said
    }
}

fn flagged_by(verdict: Verdict) -> Option<Detector> {
    match verdict {
        Verdict::Alert { by } | Verdict::Page { by } => Some(by),
        Verdict::Normal { .. } | Verdict::Unjudged { .. } => None,
    }
}

/// Reads little-endian half floats.
fn half_floats(bytes: &[u8]) -> Vec<f32> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect()
}

/// Completes a draft with the names and units people know. Incidents are rare, so the look-ups are not kept.
pub(crate) async fn complete(store: &Store, draft: Draft<'_>) -> Result<PagePayload> {
    let sensor = draft.deciding_sensor;
    let mut listings = store.sensors_by_id(&Scope::All, &[sensor]).await?;
    let listing = listings.remove(&sensor).ok_or_else(|| Error::NotFound {
        what: format!("sensor number {sensor}"),
    })?;
    let spec = store.spec_by_id(listing.sensor.spec).await?.spec;
    let shown = match draft.shown {
        Some(shown) => Some(shown.clone()),
        None => Shown::stored(store, sensor, draft.arrived).await?,
    };
    // What has gone stands out no more.
    let bins = shown.as_ref().filter(|_| draft.reason.action() == PageAction::Trigger);
    let by = draft.deciding_detector;
    let decisive = bins.and_then(|shown| shown.decisive_bins(by));
    let most = decisive.unwrap_or(TOP_BINS).max(TOP_BINS);
    let (above_alert_since, growth_per_day) = course(store, &draft).await?.unzip();
    Ok(PagePayload {
        incident_id: draft.incident,
        site: listing.site,
        machine: listing.machine,
        class: listing.class,
        severity: draft.severity,
        opened_at: draft.opened_at,
        reason: draft.reason,
        step: draft.step,
        deciding_sensor: listing.name,
        deciding_detector: by,
        level: draft.level,
        shown: bins.map(|shown| ShownReading {
            sensor_id: sensor,
            captured_at: shown.at,
        }),
        top_bins: bins.map_or_else(Vec::new, |shown| named(shown.bins_of(by), &spec, most)),
        top_bins_decide: decisive.is_some(),
        line_hint: match bins {
            Some(shown) => line_hint(store, sensor, shown, (by, &spec)).await?,
            None => None,
        },
        detectors: bins.map_or_else(Vec::new, |shown| shown.detectors(draft.class)),
        threshold_set_id: draft.class.threshold_set_id(),
        bundle_digest: draft.class.limits.as_ref().map(|limits| limits.bundle.digest()),
        baseline_id: shown.and_then(|shown| shown.baseline),
        replay: draft.replay,
        delayed_by_ms: draft.delayed_by_ms,
        above_alert_since,
        growth_per_day: growth_per_day.flatten(),
        kept_by: None,
        flood: None,
        dedup_key: dedup_key(draft.incident),
    })
}

/// Which known line of the machine the bins that stand out could be; none where no bins or no speed are known.
async fn line_hint(
    store: &Store,
    sensor: SensorId,
    shown: &Shown,
    (by, spec): (Detector, &SpectrumSpec),
) -> Result<Option<LineHint>> {
    let bins = shown.bins_of(by);
    let (Some(rpm), false) = (shown.rpm.filter(|rpm| *rpm > 0.0), bins.is_empty()) else {
        return Ok(None);
    };
    let shaft = match spec.axis {
        Axis::Hertz => f64::from(rpm) / 60.0,
        Axis::Orders => 1.0,
    };
    let bearing = store.sensor_bearing(&Scope::All, sensor).await?;
    // One that can't be read costs the hint of its lines, not the page.
    let bearing: Option<Bearing> = bearing.and_then(|json| serde_json::from_str(&json).ok());
    let width = (spec.f_max - spec.f_min) / f64::from(spec.bins);
    let told = hint(bins, spec.f_min, width, &known(shaft, bearing.as_ref()));
    Ok(Some(match told {
        Hint::Named { line, harmonics, .. } => LineHint::Named {
            line: line.as_str().to_owned(),
            harmonics: harmonics as u8,
        },
        Hint::ResolutionTooLow => LineHint::ResolutionTooLow,
        Hint::None => LineHint::NoneMatches,
    }))
}

/// Since when the machine has been above the alert line, and how fast it grew in the last 24 hours, or since then where
/// that is later; nothing for what calls nobody.
async fn course(store: &Store, draft: &Draft<'_>) -> Result<Option<(Timestamp, Option<f32>)>> {
    if draft.reason.action() != PageAction::Trigger {
        return Ok(None);
    }
    let mut steps = store
        .levels_before_incident(draft.machine, draft.incident, MOST_STEPS)
        .await?;
    steps.extend(&draft.unwritten);
    let (rules, step) = (draft.class.persistence(), draft.class.step);
    let since = above_alert_since(&steps, draft.opened_at, rules.reach_back(None, step));
    let in_incident = store.incident_level_around(draft.incident, draft.step - DAY).await?;
    let at_first = || steps.iter().find(|(at, _)| *at == since).copied();
    let before = in_incident.map(|(at, level)| (at, Level(level))).or_else(at_first);
    let growth = before.and_then(|before| growth_per_day(before, (draft.step, Level(draft.level))));
    Ok(Some((since, growth)))
}

/// The bins that add most to what the deciding detector saw, most first, each with its share of the whole.
fn named(bin_error: &[f32], spec: &SpectrumSpec, most: usize) -> Vec<TopBin> {
    let bin = |(index, error_share): (usize, f32)| TopBin {
        index: index as u16,
        centre: spec.bin_centre(index),
        axis_unit: spec.axis.unit().to_owned(),
        error_share,
    };
    top_bins(bin_error, most).into_iter().map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(second: i64, verdict: Verdict) -> Shown {
        Shown {
            at: Timestamp::from_micros(second * 1_000_000),
            verdict,
            bin_error: vec![1.0],
            decisive_bins: Some(1),
            baseline: Some(BaselineId(3)),
            threshold_set: None,
            scores: Scores::default(),
            state: OperatingState::Known,
            rpm: None,
            degraded: false,
        }
    }

    #[test]
    fn bins_are_shown_of_a_detector_of_the_kind_that_decided_alone() {
        let flagged = |by| shown(1, Verdict::Page { by });
        assert_eq!(flagged(Detector::Growth).bins_of(Detector::Narrowband), [1.0]);
        assert_eq!(flagged(Detector::Residual).bins_of(Detector::OverallLevel), [1.0]);
        assert!(flagged(Detector::Residual).bins_of(Detector::Growth).is_empty());
        assert!(flagged(Detector::Growth).bins_of(Detector::OverallLevel).is_empty());
        let normal = Verdict::Normal { by: Detector::Growth };
        assert!(shown(1, normal).bins_of(Detector::Growth).is_empty());
        assert_eq!(flagged(Detector::Growth).decisive_bins(Detector::Growth), Some(1));
        assert_eq!(flagged(Detector::Growth).decisive_bins(Detector::Narrowband), None);
    }

    #[test]
    fn a_sensor_shows_its_worst_reading_and_of_those_its_newest() {
        let by = Detector::Growth;
        let rising = [Verdict::Normal { by }, Verdict::Alert { by }, Verdict::Page { by }];
        for verdict in rising {
            let at = |second| shown(second, verdict);
            assert!(at(2).outranks(&at(1)) && !at(1).outranks(&at(2)));
        }
        for pair in rising.windows(2) {
            let (newer, worse) = (shown(2, pair[0]), shown(1, pair[1]));
            assert!(worse.outranks(&newer) && !newer.outranks(&worse), "{pair:?}");
        }
    }

    #[test]
    fn the_loudest_bins_are_named_first_with_their_share() {
        let spec = SpectrumSpec::corpus_default(64);
        let mut bin_error = vec![0.0; 64];
        bin_error[10] = 6.0;
        bin_error[3] = 2.0;
        let bins = named(&bin_error, &spec, TOP_BINS);
        assert_eq!((bins[0].index, bins[1].index, bins.len()), (10, 3, 5));
        assert!((bins[0].error_share - 0.75).abs() < 1e-6);
        assert!((bins[0].centre - 2100.0).abs() < 1e-9);
        assert!(named(&[], &spec, TOP_BINS).is_empty());
    }
}
