//! Limits that labels choose: the scores of readings that people labelled as a failure, held against healthy ones.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_domain::{Detector, MachineId, Principal, Scope, Scores, SensorId, Timestamp};
use tocsin_judge::{LabelledLines, ThresholdSet};
use tocsin_store::bundle::Bundle;
use tocsin_store::label::LabelledWindow;
use tocsin_store::reading::LoggedScore;

use crate::propose::Proposed;
use crate::provenance::Proposal;
use crate::scores::{all_of, is_judged};
use crate::{Error, Provenance, Service};

/// Scores of readings in windows labelled as a failure.
#[derive(Debug, Default)]
pub(crate) struct Anomalous {
    pub(crate) scores: Vec<Scores>,
    pub(crate) sensors: BTreeSet<SensorId>,
}

/// What a set by labels rests on.
pub(crate) struct LabelledSet {
    pub(crate) anomalous: Anomalous,
    /// The lines that labels chose.
    pub(crate) chosen: Vec<(Detector, LabelledLines)>,
}

impl Service {
    /// The scores of windows that people labelled as a failure, logged under a bundle in a period, hot and archived.
    async fn anomalous(
        &self,
        scope: &Scope,
        bundle: &Bundle,
        period: (Timestamp, Timestamp),
    ) -> Result<Anomalous, Error> {
        let store = &self.parts.store;
        let mut windows: BTreeMap<MachineId, Vec<LabelledWindow>> = BTreeMap::new();
        for window in store.labels_between(scope, bundle.class, period).await? {
            if window.label.is_failure() {
                windows.entry(window.machine).or_default().push(window);
            }
        }
        let machines: Vec<MachineId> = windows.keys().copied().collect();
        let step = store.class_by_id(bundle.class).await?.step;
        let limit = self.config.logged_readings_limit;
        let mut found = Anomalous::default();
        let take = |machine: MachineId, score: &LoggedScore| {
            let at = score.key.captured_at;
            let mut of_machine = windows.get(&machine).into_iter().flatten();
            let is_within = |window: &LabelledWindow| window.from <= at && window.to.is_none_or(|to| at < to);
            if is_judged(score) && of_machine.any(is_within) {
                found.scores.push(score.scores);
                found.sensors.insert(score.key.sensor);
            }
            if found.scores.len() > limit as usize {
                return Err(Error::TooManyScores { limit });
            }
            Ok(())
        };
        let replayed = all_of(bundle, period);
        self.read_scores(scope, &machines, (replayed, step), take).await?;
        Ok(found)
    }

    /// Percentiles of healthy scores, moved where labelled failures choose.
    pub(crate) async fn labels(
        &self,
        by: &Principal,
        bundle: &Bundle,
        (proposal, period): (Proposal, (Timestamp, Timestamp)),
    ) -> Result<Proposed, Error> {
        let healthy = self.healthy(&by.scope(), bundle, proposal.source).await?;
        let anomalous = self.anomalous(&by.scope(), bundle, period).await?;
        let persistence = self.config.persistence;
        let (healthy, anomalous, found) = tokio::task::spawn_blocking(move || {
            let found = ThresholdSet::from_labels(&healthy.scores(), &anomalous.scores, persistence);
            (healthy, anomalous, found)
        })
        .await?;
        let (set, chosen) = found?;
        if chosen.is_empty() {
            return Err(Error::NoScores(
                "no detector has 20 readings labelled as a failure in that period under that bundle that its lines could tell \
                 from healthy ones",
            ));
        }
        let expected = self.expected_of(by, bundle, &set, proposal.source).await?;
        let labelled = LabelledSet { anomalous, chosen };
        let provenance = Provenance {
            expected,
            ..Provenance::labels(proposal, &healthy, &set, &labelled)
        };
        Ok((set, provenance))
    }
}
