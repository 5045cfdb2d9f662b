//! Limits that labels choose: the scores of readings that people labelled as a failure, held against healthy ones.

use std::collections::BTreeSet;

use tocsin_domain::{BundleId, ClassId, Detector, Principal, Scope, Scores, SensorId, Verdict};
use tocsin_judge::{LabelledLines, ThresholdSet};
use tocsin_store::Store;
use tocsin_store::bundle::Bundle;
use tocsin_store::reading::{LoggedScoresQuery, StoredReading};

use crate::propose::Proposed;
use crate::provenance::Proposal;
use crate::{Config, Error, Provenance, Service, Source};

/// Rows asked of the database at once.
const PAGE_ROWS: u32 = 20_000;

/// Scores of readings in windows labelled as a failure.
#[derive(Debug, Default)]
pub(crate) struct Anomalous {
    pub(crate) scores: Vec<Scores>,
    pub(crate) sensors: BTreeSet<SensorId>,
}

impl Anomalous {
    /// Those logged for a class under a bundle in the source's period.
    async fn logged(
        store: &Store,
        scope: &Scope,
        (class, bundle): (ClassId, BundleId),
        source: Source,
        config: &Config,
    ) -> Result<Self, Error> {
        let Source::Logged { from, to } = source else {
            return Ok(Self::default());
        };
        let mut query = LoggedScoresQuery {
            class,
            bundle,
            from,
            to,
            after: None,
            limit: PAGE_ROWS,
        };
        let mut found = Self::default();
        loop {
            let page = store.scores_labelled(scope, &query).await?;
            let judged = |reading: &&StoredReading| !matches!(reading.verdict, Verdict::Unjudged { .. });
            for reading in page.readings.iter().filter(judged) {
                found.scores.push(reading.scores);
                found.sensors.insert(reading.key.sensor);
            }
            let limit = config.logged_readings_limit;
            if found.scores.len() > limit as usize {
                return Err(Error::TooManyScores { limit });
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }
}

/// What a set by labels rests on.
pub(crate) struct LabelledSet {
    pub(crate) anomalous: Anomalous,
    /// The lines that labels chose.
    pub(crate) chosen: Vec<(Detector, LabelledLines)>,
}

impl Service {
    /// Percentiles of healthy scores, moved where labelled failures choose.
    pub(crate) async fn labels(&self, by: &Principal, bundle: &Bundle, proposal: Proposal) -> Result<Proposed, Error> {
        let healthy = self.healthy(&by.scope(), bundle, proposal.source).await?;
        let whose = (bundle.class, bundle.id);
        let anomalous = Anomalous::logged(&self.parts.store, &by.scope(), whose, proposal.source, &self.config).await?;
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
