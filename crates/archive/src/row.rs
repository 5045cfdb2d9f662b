//! A stored reading as a row of a file, and back.

use tocsin_corpus::archive::{ArchiveRow, ArchivedScores};
use tocsin_domain::{
    BaselineId, BundleId, CanonicalSpectrum, Condition, Invalid, OperatingState, ScorerBuildId, ThresholdSetId,
};
use tocsin_store::reading::{FullReading, LoggedScore, Predecessors, StoredReading};

/// As it goes into a file; its spectrum only when that is kept.
pub(crate) fn to_row(reading: FullReading, keep_spectrum: bool) -> ArchiveRow {
    let stored = reading.stored;
    ArchiveRow {
        key: stored.key,
        received_at: stored.received_at,
        content_hash: reading.content_hash,
        commit_seq: stored.commit_seq,
        threshold_set: stored.threshold_set.map_or(0, |set| set.0),
        bundle: stored.bundle.map_or(0, |bundle| bundle.0),
        baseline: stored.baseline.map_or(0, |baseline| baseline.0),
        scorer_build: reading.scorer_build.map_or(0, |build| build.0),
        predecessors: reading.predecessors.map(|found| (found.oldest, found.count)),
        scores: stored.scores,
        condition: reading.condition,
        flags: stored.flags,
        verdict: stored.verdict,
        condition_cell: stored.state.to_cell(),
        overall: reading.overall,
        latent: reading.latent,
        spectrum: reading
            .spectrum
            .filter(|_| keep_spectrum)
            .map(CanonicalSpectrum::into_codes),
    }
}

/// As it was read from a file.
pub(crate) fn from_row(row: ArchiveRow) -> Result<FullReading, Invalid> {
    let number = |number: i32| (number != 0).then_some(number);
    Ok(FullReading {
        stored: StoredReading {
            key: row.key,
            received_at: row.received_at,
            commit_seq: row.commit_seq,
            threshold_set: number(row.threshold_set).map(ThresholdSetId),
            bundle: number(row.bundle).map(BundleId),
            baseline: number(row.baseline).map(BaselineId),
            scores: row.scores,
            flags: row.flags,
            verdict: row.verdict,
            state: OperatingState::from_row(row.condition_cell, Condition::default())?,
        },
        content_hash: row.content_hash,
        condition: row.condition,
        scorer_build: number(row.scorer_build).map(ScorerBuildId),
        predecessors: row.predecessors.map(|(oldest, count)| Predecessors { oldest, count }),
        overall: row.overall,
        latent: row.latent,
        spectrum: row.spectrum.map(CanonicalSpectrum::from_codes),
    })
}

/// As a replay takes it.
pub(crate) fn logged(row: ArchivedScores) -> Result<LoggedScore, Invalid> {
    Ok(LoggedScore {
        key: row.key,
        baseline: (row.baseline != 0).then_some(BaselineId(row.baseline)),
        scores: row.scores,
        flags: row.flags,
        verdict: row.verdict,
        state: OperatingState::from_row(row.condition_cell, Condition::default())?,
    })
}
