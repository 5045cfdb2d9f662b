//! Alarm limits on a schedule: proposed by the method of those in force, tested, and activated where a rule allows it.
//!
//! A class's round is leased, so that of many recalibrators one takes it. What is proposed is a set like any other: a person
//! may approve and activate what waits, look at it (`tocsin thresholds show`) and take back what policy activated
//! (`tocsin thresholds rollback`), after which policy activates none for that class until a person has.
//!
//! What can't be tested waits for nobody: it ends as rejected, with the reason in its provenance and on record.
//!
//! **Invariant:** a set comes into force here only as `rule` decides, and only while the set it was held against is still
//! the one in force.

mod config;
mod rule;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tocsin_archive::Replayed;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::fleet_replay::Budget;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source as WireSource};
use tocsin_contracts::time;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{ClassId, Label, MachineId, Principal, Scope, ThresholdSetId, Timestamp};
use tocsin_judge::PageBudget;
use tocsin_judge::compare::{Change, IncidentChange};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::binding::Binding;
use tocsin_store::label::LabelQuery;
use tocsin_store::threshold::ThresholdSetRecord;
use tokio_util::sync::CancellationToken;

use crate::service::in_force_entry;
use crate::stored_set::{definition, provenance};
use crate::what_if::{Candidate, WhatIf};
use crate::{Approval, Error, MethodKind, Provenance, Rejection, Service};

pub use config::Policy;
pub use rule::{MemberMove, PolicyDecision, ReplayedPages, SensorMove, SensorMoves};

/// How long a class's round is this process's own.
const LEASE: Duration = Duration::from_hours(1);

/// Bindings looked back at for what people activated.
const LOOK_BACK: u32 = 200;

/// How the reason of every set begins that is proposed here; the set in force follows.
const ON_SCHEDULE: &str = "on schedule, by the method of threshold set ";

/// Who acts.
const BY: &Principal = &Principal::Service;

impl Service {
    /// Looks for classes that are due, until shutdown.
    pub(crate) async fn run_policy(self, shutdown: CancellationToken) {
        if !self.config.policy.propose {
            return;
        }
        let period = Duration::from_secs(self.config.policy.period_s);
        let work = async {
            loop {
                if let Err(error) = self.policy_rounds(period).await {
                    tracing::warn!(%error, "alarm limits wait to be proposed");
                }
                tokio::time::sleep(period.min(Duration::from_mins(5))).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    async fn policy_rounds(&self, period: Duration) -> Result<(), Error> {
        let store = &self.parts.store;
        while let Some(class) = store
            .threshold_round_lease(self.parts.clock.now(), period, LEASE)
            .await?
        {
            let (set, outcome) = match self.policy_round(class).await {
                Ok((set, outcome)) => (Some(set), outcome),
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => (None, format!("none: {error}")),
            };
            tracing::info!(%class, set = set.map(|set| set.0), outcome, "a round of alarm limits");
            store
                .threshold_round_record(class, (set, &outcome), self.parts.clock.now())
                .await?;
        }
        Ok(())
    }

    /// One class: proposed, tested, decided, and activated where the rule allows it; the set and what came of it, in words.
    async fn policy_round(&self, class: ClassId) -> Result<(ThresholdSetId, String), Error> {
        let store = &self.parts.store;
        let class = store.class_by_id(class).await?;
        let in_force = store.binding_current(class.id).await?.and_then(|b| b.threshold_set);
        let in_force = in_force.ok_or_else(|| Error::NothingInForce(class.name.clone()))?;
        let judging = store.threshold_set_get(in_force).await?;
        let now = self.parts.clock.now();
        let window = (now - Duration::from_secs(self.config.policy.window_s), now);
        let request = v1::ProposeRequest {
            class: class.name.to_string(),
            bundle: String::new(),
            source: Some(WireSource::Logged(v1::LoggedScores {
                from: Some(time::to_wire(window.0)),
                to: Some(time::to_wire(window.1)),
            })),
            reason: format!("{ON_SCHEDULE}{in_force}"),
            method: Some(method_of(&provenance(&judging)?)),
        };
        self.reject_what_was_left(class.id).await?;
        let proposed = self.do_propose(BY, request).await?;
        let (mut provenance, decision) = match self.tried_and_decided(&proposed, (in_force, window)).await {
            Ok(found) => found,
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => {
                let reason = format!("its test failed: {error}");
                self.reject(&proposed, &reason).await?;
                return Ok((proposed.id, format!("rejected: {reason}")));
            }
        };
        provenance.policy = Some(decision.clone());
        let tested = self.advance(BY, &proposed, ThresholdState::Tested, &provenance).await?;
        if !decision.activated {
            return Ok((tested.id, format!("waits: {}", decision.waits_for.join("; "))));
        }
        self.activate_by_policy(&tested, provenance, in_force).await?;
        Ok((tested.id, "activated by policy".to_owned()))
    }

    async fn tried_and_decided(
        &self,
        proposed: &ThresholdSetRecord,
        against: (ThresholdSetId, (Timestamp, Timestamp)),
    ) -> Result<(Provenance, PolicyDecision), Error> {
        let provenance = self.tried(BY, proposed).await?;
        let decision = self.decide(proposed, &provenance, against).await?;
        Ok((provenance, decision))
    }

    /// Ends the sets of rounds that broke off before theirs was tested: this one has the class's lease. One that can't be
    /// ended stands in nobody's way.
    async fn reject_what_was_left(&self, class: ClassId) -> Result<(), Error> {
        for record in self.parts.store.threshold_set_list(Some(class)).await? {
            let on_schedule = record.created_by == BY.actor() && record.reason.starts_with(ON_SCHEDULE);
            if record.state == ThresholdState::Proposed && on_schedule {
                match self.reject(&record, "its round broke off before it was tested").await {
                    Err(error) if error.may_pass() => return Err(error),
                    Err(error) => tracing::warn!(set = %record.id, %error, "what a round left behind stays proposed"),
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// Ends a proposed set, which would wait for nobody.
    async fn reject(&self, proposed: &ThresholdSetRecord, reason: &str) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let mut provenance = provenance(proposed)?;
        provenance.rejection = Some(Rejection {
            by: BY.actor(),
            at: now,
            reason: reason.to_owned(),
        });
        let audit = |moved: &ThresholdSetRecord| {
            let detail = json!({
                "class": moved.class_name, "state": moved.state, "bundle": moved.bundle, "reason": reason,
            });
            NewAuditEntry::new(
                BY.actor(),
                "threshold_set.rejected",
                format!("threshold_set:{}", moved.id),
                &detail,
            )
        };
        let step = (ThresholdState::Proposed, ThresholdState::Rejected);
        let store = &self.parts.store;
        store
            .threshold_set_set_state(proposed.id, step, Some(&provenance.to_json()), now, audit)
            .await?;
        Ok(())
    }

    async fn decide(
        &self,
        proposed: &ThresholdSetRecord,
        behind: &Provenance,
        (in_force, window): (ThresholdSetId, (Timestamp, Timestamp)),
    ) -> Result<PolicyDecision, Error> {
        let store = &self.parts.store;
        let set = definition(proposed)?;
        let history = store.binding_history(Some(proposed.class), Some(LOOK_BACK)).await?;
        let (anchor, taken_back) = self.by_people(&history, in_force).await?;
        let anchor = match anchor {
            Some(record) if record.bundle == proposed.bundle => Some((record.id, definition(&record)?)),
            _ => None,
        };
        let facts = rule::Facts {
            set: &set,
            anchor: anchor.as_ref().map(|(id, set)| (*id, set)),
            in_force,
            taken_back,
            expected: behind.expected.as_ref(),
            sensors: self.sensor_moves(proposed.class).await?,
            replayed: self.replayed(proposed, window).await?,
        };
        Ok(rule::decide(&self.config.policy, facts, self.parts.clock.now()))
    }

    /// The set that a person last activated, and one that policy had and a person took back.
    async fn by_people(
        &self,
        history: &[Binding],
        in_force: ThresholdSetId,
    ) -> Result<(Option<ThresholdSetRecord>, Option<ThresholdSetId>), Error> {
        let (mut anchor, mut taken_back) = (None, None);
        let mut seen = BTreeSet::new();
        for set in history.iter().filter_map(|binding| binding.threshold_set) {
            if !seen.insert(set) {
                continue;
            }
            let record = self.parts.store.threshold_set_get(set).await?;
            // One that a person made before there was policy has no word of it.
            let policy = provenance(&record).ok().and_then(|provenance| provenance.policy);
            if policy.is_some_and(|decision| decision.activated) {
                taken_back = taken_back.or((set > in_force).then_some(set));
            } else if anchor.is_none() {
                anchor = Some(record);
            }
        }
        Ok((anchor, taken_back))
    }

    async fn sensor_moves(&self, class: ClassId) -> Result<Vec<SensorMove>, Error> {
        let store = &self.parts.store;
        let mut sensors = Vec::new();
        for machine in store.machines_by_class(&Scope::All, class).await? {
            let of_machine = store.sensors_by_machine(&Scope::All, machine.id).await?;
            sensors.extend(of_machine.into_iter().map(|listing| listing.sensor.id));
        }
        let rounds = store.following_rounds(&Scope::All, &sensors).await?;
        let moves = rounds.into_iter().map(|round| SensorMove {
            sensor: round.sensor,
            finding: round.finding,
            held: round.held,
            recent_db: round.recent_db,
        });
        Ok(moves.collect())
    }

    /// What the window would have been under the set, beside the one in force, or why that can't be told.
    async fn replayed(
        &self,
        proposed: &ThresholdSetRecord,
        period: (Timestamp, Timestamp),
    ) -> Result<Result<ReplayedPages, String>, Error> {
        let candidate = Candidate {
            class: self.parts.store.class_by_id(proposed.class).await?,
            bundle: proposed.bundle,
            id: Some(proposed.id),
            set: definition(proposed)?,
        };
        let active = self.in_force(&candidate).await?;
        let replayed = Replayed {
            bundle: Some(candidate.bundle),
            period,
            active_baselines_only: false,
            historical: false,
        };
        let what_if = self
            .replay_fleet(&Scope::All, candidate, active, (&replayed, 1))
            .await?;
        let in_force = match &what_if.active {
            Ok((.., expected)) => *expected,
            Err(reason) => return Ok(Err(reason.clone())),
        };
        let (pages_lost, false_alarms_lost) = self.pages_lost(&what_if).await?;
        Ok(Ok(ReplayedPages {
            expected: what_if.expected,
            in_force,
            pages_lost,
            false_alarms_lost,
        }))
    }

    /// Pages that would be gone, and those of them that were labelled false alarms.
    async fn pages_lost(&self, what_if: &WhatIf) -> Result<(u64, u64), Error> {
        let (mut lost, mut false_alarms) = (0, 0);
        for outcome in &what_if.machines {
            for change in outcome.comparison.changes.iter().filter(|change| loses_a_page(change)) {
                if self.is_false_alarm(outcome.machine.id, change).await? {
                    false_alarms += 1;
                } else {
                    lost += 1;
                }
            }
        }
        Ok((lost, false_alarms))
    }

    async fn is_false_alarm(&self, machine: MachineId, change: &IncidentChange) -> Result<bool, Error> {
        let Some(before) = &change.before else { return Ok(false) };
        let query = LabelQuery {
            machine,
            incident: None,
        };
        let labels = self.parts.store.labels(&Scope::All, &query).await?;
        let until = before.closed_at.unwrap_or(Timestamp::MAX);
        let mut meeting = labels
            .iter()
            .filter(|label| label.in_force && label.from < until && label.to.is_none_or(|to| to > before.opened_at));
        let said: Vec<Label> = meeting.by_ref().map(|label| label.label).collect();
        Ok(said.contains(&Label::FalseAlarm) && !said.iter().any(|label| label.is_failure()))
    }

    async fn activate_by_policy(
        &self,
        tested: &ThresholdSetRecord,
        mut provenance: Provenance,
        in_force: ThresholdSetId,
    ) -> Result<(), Error> {
        let reason = format!(
            "by policy: within {} dB of where a person put the lines, {}",
            self.config.policy.most_db,
            self.config.policy.budget()
        );
        provenance.approval = Some(Approval {
            by: "policy".to_owned(),
            at: self.parts.clock.now(),
            reason: reason.clone(),
        });
        let store = &self.parts.store;
        let approved = self.advance(BY, tested, ThresholdState::Approved, &provenance).await?;
        let (by, now) = (BY.actor(), self.parts.clock.now());
        let audit = |binding: &Binding| in_force_entry(BY, "threshold_set.activate", binding, &reason);
        let sets = (approved.id, in_force);
        store
            .threshold_activate_instead_of(sets, (&by, &reason), now, audit)
            .await?;
        Ok(())
    }
}

/// A page that would be an alert, or nothing.
fn loses_a_page(change: &IncidentChange) -> bool {
    let paged = change.before.as_ref().is_some_and(|before| before.paged_at.is_some());
    paged && matches!(change.change, Change::Lost | Change::Lowered)
}

/// The method that the limits in force were found by, as it would be asked for.
fn method_of(behind: &Provenance) -> Method {
    match behind.found_by() {
        MethodKind::Percentile => Method::Percentiles(v1::Percentiles {}),
        MethodKind::Labels => Method::Labels(v1::Labels {}),
        MethodKind::Tail => Method::Tail(v1::Tail {}),
        MethodKind::FleetReplay => Method::FleetReplay(factors_of(behind)),
    }
}

/// The factors of limits by fleet replay, or the budget that chose them.
fn factors_of(behind: &Provenance) -> v1::FleetReplay {
    let own = behind.factors.unwrap_or_default();
    let budget = behind.expected.as_ref().and_then(|expected| expected.budget);
    let budget = budget.map(|budget| match budget {
        PageBudget::PagesPerSiteDay(pages) => Budget::PagesPerSiteDay(pages),
        PageBudget::PagesPerPersonWeek(pages) => Budget::PagesPerPersonWeek(pages),
    });
    v1::FleetReplay {
        alert_factor: own.alert_factor,
        page_factor: if budget.is_some() { 0.0 } else { own.page_factor },
        two_sided_factor: own.two_sided_factor,
        persons: behind
            .expected
            .as_ref()
            .map_or(1, |expected| u32::try_from(expected.expected.persons).unwrap_or(1)),
        budget,
    }
}
