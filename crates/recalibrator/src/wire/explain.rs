//! An explanation on the wire.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::time;
use tocsin_detect::Trend;
use tocsin_domain::{Detector, OperatingState, ReadingFlags, Verdict};
use tocsin_judge::{Member, MemberLevel};
use tocsin_store::baseline::Baseline;
use tocsin_store::commissioning::{Commissioning, Progress};

use crate::explain::{Explanation, Limits, Newest};
use crate::{DetectorSource, Provenance, Source};

/// Writes the answer.
pub(crate) fn response(explanation: &Explanation) -> v1::ExplainResponse {
    let (sensor, binding) = (&explanation.sensor, explanation.binding.as_ref());
    let champion = binding.and_then(|binding| binding.champion);
    let has_baseline = explanation.baseline.is_some();
    v1::ExplainResponse {
        site: sensor.site.to_string(),
        machine: sensor.machine.to_string(),
        sensor: sensor.name.to_string(),
        class: sensor.class.to_string(),
        spec: sensor.spec.to_string(),
        bundle_id: champion.map_or(0, |(id, _)| id.0),
        bundle_digest: champion.map(|(_, digest)| digest.to_string()).unwrap_or_default(),
        in_force_since: binding.map(|binding| time::to_wire(binding.changed_at)),
        in_force_by: binding.map(|binding| binding.changed_by.clone()).unwrap_or_default(),
        limits: explanation
            .limits
            .as_ref()
            .map(|limits| explained_limits(limits, has_baseline)),
        commissioning: Some(stands(&explanation.commissioning)),
        baseline: explanation.baseline.as_ref().map(baseline),
        borrows_limits: explanation.borrows(),
        newest: explanation.newest.as_ref().map(newest),
    }
}

fn explained_limits(limits: &Limits, has_baseline: bool) -> v1::ExplainedLimits {
    let provenance = &limits.provenance;
    let member = |member: &Member| {
        let behind = provenance
            .detectors
            .iter()
            .find(|source| source.detector == member.detector);
        v1::ExplainedMember {
            detector: member.detector.to_string(),
            role: member.role.as_str().to_owned(),
            alert_line: member.alert_line,
            page_line: member.page_line,
            page_line_supported: member.page_line_supported,
            origin: origin(member, provenance),
            scores: behind.map_or(0, |source| source.scores),
            machines: behind.and_then(|source| source.machines).unwrap_or_default(),
            waits_for_baseline: member.detector.needs_baseline() && !has_baseline,
        }
    };
    v1::ExplainedLimits {
        threshold_set_id: limits.id.0,
        method: provenance.method.clone(),
        proposed_by: provenance.proposed_by.clone(),
        proposed_at: Some(time::to_wire(provenance.proposed_at)),
        reason: provenance.reason.clone(),
        approved_by: provenance
            .approval
            .as_ref()
            .map(|approval| approval.by.clone())
            .unwrap_or_default(),
        members: limits.set.members.iter().map(member).collect(),
    }
}

/// How a member's lines came to be, in words.
fn origin(member: &Member, provenance: &Provenance) -> String {
    let behind = |source: &&DetectorSource| source.detector == member.detector;
    let Some(behind) = provenance.detectors.iter().find(behind) else {
        return "its provenance does not name it".to_owned();
    };
    // Beside lines against baselines, those of the bundle's own detectors are from the scores held out.
    let beside = behind.machines.is_none() && provenance.detectors.iter().any(|source| source.machines.is_some());
    let from = match provenance.source {
        Source::Logged { from, to } if !beside => format!("logged from {from} to {to}"),
        Source::HeldOut | Source::Logged { .. } => "the trainer held out".to_owned(),
    };
    let mut words = match behind.machines {
        Some(machines) => format!(
            "multiples of what the median of {machines} machines reached in {} scores {from}",
            behind.scores
        ),
        None => format!("percentiles of {} healthy scores {from}", behind.scores),
    };
    if let Some(borrowed) = provenance.borrowed.as_ref().filter(|_| behind.machines.is_some()) {
        words.push_str(&format!(", {borrowed}"));
    }
    if !member.page_line_supported {
        words.push_str("; the page line rests on too little");
    }
    words
}

fn stands(commissioning: &Commissioning) -> v1::SensorCommissioning {
    let (readings, needed) = match commissioning.progress {
        Progress::Commissioning { readings, needed } => (readings, needed),
        Progress::Commissioned { readings, .. } => (readings, 0),
    };
    v1::SensorCommissioning {
        state: commissioning.progress.state().as_str().to_owned(),
        epoch: commissioning.epoch,
        readings,
        readings_needed: needed,
        started_at: Some(time::to_wire(commissioning.started_at)),
        started_by: commissioning.started_by.clone(),
        reason: commissioning.reason.clone(),
    }
}

fn baseline(baseline: &Baseline) -> v1::SensorBaseline {
    let learned = &baseline.learned;
    // One that can't be read judges nothing, and the ensemble's log says why.
    let trend = learned
        .profile
        .trend
        .as_deref()
        .and_then(|bytes| Trend::from_bytes(bytes).ok());
    let usual = trend.map(|trend| trend.conditions().usual()).unwrap_or_default();
    v1::SensorBaseline {
        baseline_id: baseline.id.0,
        epoch: learned.epoch,
        readings: learned.readings,
        first_at: Some(time::to_wire(learned.window.0)),
        last_at: Some(time::to_wire(learned.window.1)),
        pooled_machines: learned.pooled_machines,
        created_at: Some(time::to_wire(baseline.created_at)),
        created_by: learned.created_by.clone(),
        reason: learned.reason.clone(),
        usual_rpm: usual.rpm,
        usual_load: usual.load,
    }
}

fn newest(newest: &Newest) -> v1::ExplainedReading {
    let reading = &newest.reading;
    let (verdict, detector, unjudged_reason) = verdict(reading.verdict);
    let judged = |detector| {
        let mut members = newest.judgement.iter().flat_map(|judgement| &judgement.members);
        members.find(|member: &&MemberLevel| member.detector == detector)
    };
    let level = |(detector, score): (Detector, f32)| {
        let member = judged(detector);
        v1::ExplainedLevel {
            detector: detector.to_string(),
            role: member.map(|member| member.role.as_str().to_owned()).unwrap_or_default(),
            score,
            level: member.map(|member| member.level.0),
        }
    };
    v1::ExplainedReading {
        captured_at: Some(time::to_wire(reading.key.captured_at)),
        threshold_set_id: reading.threshold_set.map_or(0, |id| id.0),
        bundle_id: reading.bundle.map_or(0, |id| id.0),
        baseline_id: reading.baseline.map_or(0, |id| id.0),
        degraded: reading.flags.contains(ReadingFlags::DEGRADED),
        verdict: verdict.to_owned(),
        deciding_detector: detector,
        unjudged_reason,
        level: newest
            .judgement
            .as_ref()
            .and_then(|judgement| judgement.level)
            .map(|level| level.0),
        levels: reading.scores.iter().map(level).collect(),
        condition_unseen: reading.state == OperatingState::Unseen,
    }
}

/// Its kind, and the detector that decided it or why there is none.
fn verdict(verdict: Verdict) -> (&'static str, String, String) {
    match verdict {
        Verdict::Normal { by } => ("normal", by.to_string(), String::new()),
        Verdict::Alert { by } => ("alert", by.to_string(), String::new()),
        Verdict::Page { by } => ("page", by.to_string(), String::new()),
        Verdict::Unjudged { reason } => ("unjudged", String::new(), reason.to_string()),
    }
}
