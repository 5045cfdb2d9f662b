//! What limits may come into force without a person, as a pure rule over what is known of them.
//!
//! **Invariant:** no line stands further from where a person last put it than the rule allows, however often limits were
//! activated by policy since.

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, SensorId, ThresholdSetId, Timestamp};
use tocsin_judge::{Expected, Member, PageBudget, Role, ThresholdSet};

use super::Policy;
use crate::fleet_limits::ExpectedPages;

/// Sensors named in a provenance: those furthest from what was commissioned.
const MOST_SENSORS: usize = 50;

/// How far a member's lines stand from where a person last put them: dB of score, 20 lg of the ratio, above when
/// positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemberMove {
    /// The detector.
    pub detector: Detector,
    /// Of the lines for "without the network".
    pub without_network: bool,
    /// The alert line.
    pub alert_db: f64,
    /// The page line.
    pub page_db: f64,
}

/// Where a sensor stood in its last round of following.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensorMove {
    /// The sensor.
    pub sensor: SensorId,
    /// `steady`, `drift` or `suspicion`.
    pub finding: String,
    /// It may not move up.
    pub held: bool,
    /// Above what was commissioned, dB.
    pub recent_db: f32,
}

/// The sensors of the class, as far as their baselines follow.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SensorMoves {
    /// Sensors that were looked at.
    pub sensors: u64,
    /// Suspected or held ones.
    pub suspected: u64,
    /// Median of what they stood above what was commissioned, dB; 0 of none.
    pub median_db: f32,
    /// Those that stood furthest from it, at most 50.
    pub furthest: Vec<SensorMove>,
}

/// What a replay of the window tells of the limits beside those in force, over all machines of the class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayedPages {
    /// What the limits would have opened.
    pub expected: Expected,
    /// What those in force would have.
    pub in_force: Expected,
    /// Pages there would be none of any more, or that would be alerts, without those labelled false alarms.
    pub pages_lost: u64,
    /// The same, of those labelled false alarms.
    pub false_alarms_lost: u64,
}

/// What policy found of a set and did with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyDecision {
    /// When.
    pub at: Timestamp,
    /// The set came into force by it.
    pub activated: bool,
    /// Why it waits for a person; empty when it was activated.
    pub waits_for: Vec<String>,
    /// How far lines may move, dB.
    pub most_db: f64,
    /// The set a person last activated, which moves are counted from.
    pub counted_from: Option<ThresholdSetId>,
    /// The set in force.
    pub in_force: ThresholdSetId,
    /// Its lines against those of that set.
    pub members: Vec<MemberMove>,
    /// The class's sensors.
    pub sensors: SensorMoves,
    /// What a replay of the window tells; none where the two judge other scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<ReplayedPages>,
}

/// What a decision rests on.
pub(super) struct Facts<'a> {
    pub(super) set: &'a ThresholdSet,
    /// The set a person last activated for the same bundle.
    pub(super) anchor: Option<(ThresholdSetId, &'a ThresholdSet)>,
    pub(super) in_force: ThresholdSetId,
    /// A set that policy activated and a person took back, and nobody has activated another since.
    pub(super) taken_back: Option<ThresholdSetId>,
    pub(super) expected: Option<&'a ExpectedPages>,
    pub(super) sensors: Vec<SensorMove>,
    pub(super) replayed: Result<ReplayedPages, String>,
}

/// Decides about a set.
pub(super) fn decide(policy: &Policy, facts: Facts<'_>, at: Timestamp) -> PolicyDecision {
    let mut waits_for = Vec::new();
    let mut members = Vec::new();
    match facts.anchor {
        None => waits_for.push("no person has activated limits for this bundle".to_owned()),
        Some((_, anchor)) => {
            members = moves(facts.set, anchor, &mut waits_for);
            waits_for.extend(too_far(&members, policy.most_db));
        }
    }
    if let Some(set) = facts.taken_back {
        waits_for.push(format!(
            "a person took back set {set}, which policy had activated, and has activated none since"
        ));
    }
    let unsupported = facts
        .set
        .members
        .iter()
        .find(|m| m.role == Role::Page && !m.page_line_supported);
    if let Some(member) = unsupported {
        waits_for.push(format!("{}: too little stands behind its page line", member.detector));
    }
    let sensors = sensors(facts.sensors);
    waits_for.extend(not_common(&sensors, policy.most_db));
    waits_for.extend(over_budget(policy.budget(), facts.expected));
    match &facts.replayed {
        Err(reason) => waits_for.push(reason.clone()),
        Ok(replayed) if replayed.pages_lost > 0 => waits_for.push(format!(
            "{} pages of the window would be lost that nobody labelled a false alarm",
            replayed.pages_lost
        )),
        Ok(_) => {}
    }
    if !policy.activate {
        waits_for.push("recalibrator.policy.activate is off".to_owned());
    }
    PolicyDecision {
        at,
        activated: waits_for.is_empty(),
        waits_for,
        most_db: policy.most_db,
        counted_from: facts.anchor.map(|(id, _)| id),
        in_force: facts.in_force,
        members,
        sensors,
        replayed: facts.replayed.ok(),
    }
}

/// How every member moved; what is no matter of lines is a reason to wait.
fn moves(set: &ThresholdSet, anchor: &ThresholdSet, waits_for: &mut Vec<String>) -> Vec<MemberMove> {
    if set.persistence != anchor.persistence {
        waits_for.push("the persistence rules differ".to_owned());
    }
    let mut moves = Vec::new();
    let both = [
        (&set.members, &anchor.members, false),
        (&set.without_network, &anchor.without_network, true),
    ];
    for (new, old, without_network) in both {
        let names = |members: &[Member]| members.iter().map(|m| (m.detector, m.role)).collect::<Vec<_>>();
        if names(new) != names(old) {
            waits_for.push("the detectors or their roles differ".to_owned());
        }
        for member in new {
            let Some(before) = old.iter().find(|old| old.detector == member.detector) else {
                continue;
            };
            moves.push(MemberMove {
                detector: member.detector,
                without_network,
                alert_db: decibels(member.alert_line, before.alert_line),
                page_db: decibels(member.page_line, before.page_line),
            });
        }
    }
    moves
}

/// 20 lg of a ratio of scores; a change of sign, or to or from nothing, is further than anything allowed.
fn decibels(new: f64, old: f64) -> f64 {
    let db = 20.0 * (new / old).log10();
    match (new.total_cmp(&old).is_eq(), db.is_finite()) {
        (true, _) => 0.0,
        (false, true) => db,
        (false, false) => f64::MAX,
    }
}

fn too_far(members: &[MemberMove], most_db: f64) -> Option<String> {
    let distance = |m: &MemberMove| m.alert_db.abs().max(m.page_db.abs());
    let furthest = members.iter().max_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    (distance(furthest) > most_db).then(|| {
        format!(
            "{}{}: its lines moved by {:+.2} dB (alert) and {:+.2} dB (page) from where a person put them, at most {most_db} \
             may go without one",
            furthest.detector,
            if furthest.without_network { " without the network" } else { "" },
            furthest.alert_db,
            furthest.page_db
        )
    })
}

fn sensors(mut moves: Vec<SensorMove>) -> SensorMoves {
    moves.sort_by(|a, b| b.recent_db.abs().total_cmp(&a.recent_db.abs()));
    SensorMoves {
        sensors: moves.len() as u64,
        suspected: moves.iter().filter(|m| m.held || m.finding == "suspicion").count() as u64,
        median_db: moves.get(moves.len() / 2).map_or(0.0, |m| m.recent_db),
        furthest: moves.into_iter().take(MOST_SENSORS).collect(),
    }
}

fn not_common(sensors: &SensorMoves, most_db: f64) -> Option<String> {
    if sensors.suspected > 0 {
        return Some(format!(
            "the shift is not common to the class: {} of {} sensors are suspected or held",
            sensors.suspected, sensors.sensors
        ));
    }
    let furthest = sensors.furthest.first()?;
    (f64::from(furthest.recent_db.abs()) > most_db).then(|| {
        format!(
            "sensor {} stands {:.1} dB above what was commissioned, at most {most_db} may go without a person",
            furthest.sensor, furthest.recent_db
        )
    })
}

fn over_budget(budget: PageBudget, expected: Option<&ExpectedPages>) -> Option<String> {
    let Some(expected) = expected else {
        return Some("nothing tells how many pages are to be expected".to_owned());
    };
    let pages = &expected.expected.pages;
    if budget.holds(pages) {
        return None;
    }
    Some(match budget.rate(pages) {
        None => "nothing was judged in the window: no pages can be expected".to_owned(),
        Some(rate) => format!("{:.3} pages are expected, the budget is {budget}", rate.rate),
    })
}

#[cfg(test)]
mod tests;
