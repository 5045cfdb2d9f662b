//! A share of the readings is scored by the class's challenger too, after their commit.
//!
//! Which ones is told by a hash of the reading's key, so that replicas agree and a resend is the same choice. What is
//! chosen waits in a short line of its own; a full line, a scorer that doesn't answer and a database that is away cost
//! these scores and nothing else.
//!
//! **Invariant:** no verdict, no page and no answer to a sender depends on anything here.

use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::scorer::v1::ScoreRequest;
use tocsin_contracts::scorer::{ScoreBatch, Spectra};
use tocsin_domain::{BaselineId, BundleId, Clock, ContentHash, Detector, ReadingKey, Scores};
use tocsin_models::Bundle;
use tocsin_models::scoring::{Against, detect};
use tocsin_store::Store;
use tocsin_store::shadow::{OF_A_BUNDLE, ShadowScore};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::assess::{Assessed, Assessor, History, alike, coded, split};
use crate::metrics::Metrics;

/// Groups whose chosen readings may wait; more are dropped.
const WAITING_GROUPS: usize = 16;

/// Rows of one scorer call.
const CHUNK_ROWS: usize = 512;

/// How often old scores are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);

/// A bundle that is tried beside the champion.
#[derive(Debug)]
pub(crate) struct Challenger {
    /// Its number.
    pub(crate) id: BundleId,
    /// The bundle.
    pub(crate) bundle: Arc<Bundle>,
}

/// A reading to be scored by a challenger.
#[derive(Debug)]
pub(crate) struct Chosen {
    key: ReadingKey,
    content_hash: ContentHash,
    /// What the champion held it against.
    baseline: Option<BaselineId>,
    codes: Vec<u8>,
    full_scale: f32,
    challenger: Arc<Challenger>,
}

/// Chooses readings and puts them in line.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    share: f64,
    line: mpsc::Sender<Vec<Chosen>>,
    metrics: Metrics,
}

/// The other end of the line.
#[derive(Debug)]
pub(crate) struct Shadow {
    line: mpsc::Receiver<Vec<Chosen>>,
    store: Store,
    assessor: Assessor,
    clock: Clock,
    keep: Duration,
    metrics: Metrics,
}

/// Why chosen readings were dropped.
#[derive(Debug, thiserror::Error)]
enum ShadowError {
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    #[error("no scorer: {0}")]
    Scorer(#[from] tonic::Status),
    #[error("the detectors broke off: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// A line and its two ends.
pub(crate) fn line(
    config: &Config,
    store: Store,
    assessor: Assessor,
    clock: Clock,
    metrics: Metrics,
) -> (Sampler, Shadow) {
    let (sender, receiver) = mpsc::channel(WAITING_GROUPS);
    let sampler = Sampler {
        share: config.shadow_share,
        line: sender,
        metrics: metrics.clone(),
    };
    let shadow = Shadow {
        line: receiver,
        store,
        assessor,
        clock,
        keep: config.shadow_keep(),
        metrics,
    };
    (sampler, shadow)
}

impl Sampler {
    /// Copies what the challengers of a group's classes are to see, before its commit takes the group.
    pub(crate) fn choose(&self, group: &[Assessed]) -> Vec<Chosen> {
        let chosen = group.iter().filter_map(|assessed| {
            let challenger = assessed.class.as_ref()?.challenger.as_ref()?;
            let (row, bins) = (&assessed.row, usize::from(challenger.bundle.manifest().bins));
            let compares = row.bundle.is_some() && row.scores.get(Detector::Residual).is_some();
            let reads = row.spectrum.len() == bins;
            (compares && reads && is_chosen(row.key, self.share)).then(|| Chosen {
                key: row.key,
                content_hash: row.content_hash,
                baseline: row.baseline,
                codes: row.spectrum.clone(),
                full_scale: assessed.full_scale,
                challenger: challenger.clone(),
            })
        });
        chosen.collect()
    }

    /// Puts readings that were committed in line, or drops them when it is long.
    pub(crate) fn offer(&self, chosen: Vec<Chosen>) {
        let count = chosen.len();
        if count > 0 && self.line.try_send(chosen).is_err() {
            self.metrics.shadowed("dropped", count);
        }
    }
}

/// Whether a reading is among the share; the same answer everywhere (`SplitMix64` of its key).
fn is_chosen(key: ReadingKey, share: f64) -> bool {
    let seed = (key.captured_at.as_micros() as u64) ^ (key.sensor.0 as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    unit < share
}

impl Shadow {
    /// Scores what comes along the line until shutdown; what still waits then is dropped.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let Self {
            mut line,
            store,
            assessor,
            clock,
            keep,
            metrics,
        } = self;
        let score = async {
            while let Some(chosen) = line.recv().await {
                for (challenger, chosen) in by_challenger(chosen) {
                    let count = chosen.len();
                    match shadow(&store, &assessor, &clock, &challenger, chosen).await {
                        Ok(stored) => {
                            metrics.shadowed("stored", stored as usize);
                            // Their readings are not stored, or were scored before.
                            metrics.shadowed("dropped", count - stored as usize);
                        }
                        Err(error) => {
                            tracing::debug!(bundle = challenger.id.0, readings = count, %error, "a challenger's scores are dropped");
                            metrics.shadowed("dropped", count);
                        }
                    }
                }
            }
        };
        let forget = async {
            loop {
                match store.shadow_forget(clock.now() - keep).await {
                    Ok(forgotten) => tracing::debug!(forgotten, "old scores of challengers forgotten"),
                    Err(error) => tracing::warn!(%error, "old scores of challengers can't be forgotten now"),
                }
                tokio::time::sleep(FORGET_INTERVAL).await;
            }
        };
        shutdown
            .run_until_cancelled(async {
                tokio::select! {
                    () = score => {}
                    _ = forget => {}
                }
            })
            .await;
    }
}

/// Chosen readings by who scores them, a call's worth each.
fn by_challenger(mut chosen: Vec<Chosen>) -> Vec<(Arc<Challenger>, Vec<Chosen>)> {
    chosen.sort_by_key(|one| one.challenger.id);
    let mut groups: Vec<(Arc<Challenger>, Vec<Chosen>)> = Vec::new();
    for one in chosen {
        match groups.last_mut() {
            Some((challenger, group)) if challenger.id == one.challenger.id && group.len() < CHUNK_ROWS => {
                group.push(one);
            }
            _ => groups.push((one.challenger.clone(), vec![one])),
        }
    }
    groups
}

/// Scores readings by one challenger and stores what it says; how many are new.
async fn shadow(
    store: &Store,
    assessor: &Assessor,
    clock: &Clock,
    challenger: &Challenger,
    chosen: Vec<Chosen>,
) -> Result<u64, ShadowError> {
    let residuals = residuals(store, assessor, challenger, &chosen).await?;
    let spectra = spectra(challenger, &chosen.iter().collect::<Vec<_>>());
    let (bundle, none) = (challenger.bundle.clone(), vec![Against::default(); chosen.len()]);
    let detected = tokio::task::spawn_blocking(move || detect(&bundle, coded(&spectra), &none)).await?;
    let rows = chosen.iter().zip(residuals).zip(detected);
    let rows: Vec<ShadowScore> = rows
        .map(|((one, residual), detected)| ShadowScore {
            key: one.key,
            content_hash: one.content_hash,
            bundle: challenger.id,
            scores: of_the_bundle(residual, &detected),
        })
        .collect();
    Ok(store.shadow_insert(&rows, clock.now()).await?)
}

/// The network's errors, as it would judge: a temporal one by the last spectra of each sensor, where these make a window.
async fn residuals(
    store: &Store,
    assessor: &Assessor,
    challenger: &Challenger,
    chosen: &[Chosen],
) -> Result<Vec<f32>, ShadowError> {
    let windows = windows(store, challenger, chosen).await?;
    let places: Vec<usize> = (0..chosen.len()).collect();
    let mut residuals = vec![0.0; chosen.len()];
    for rows in alike(&places, |place| windows[place].as_deref()) {
        let mut spectra = spectra(challenger, &rows.iter().map(|row| &chosen[*row]).collect::<Vec<_>>());
        let windows: Option<Vec<&[u8]>> = rows.iter().map(|row| windows[*row].as_deref()).collect();
        if let (Some(windows), Some(temporal)) = (windows, &challenger.bundle.manifest().temporal) {
            (spectra.codes, spectra.window) = (windows.concat(), temporal.window.spectra.into());
        }
        let request = ScoreRequest::from(ScoreBatch {
            spectra,
            bin_error_rows: Vec::new(),
        });
        let said = split(assessor.call(request).await?, rows.len())?.rows;
        for (row, (residual, _)) in rows.into_iter().zip(said) {
            residuals[row] = residual;
        }
    }
    Ok(residuals)
}

/// Codes of the window that ends with each reading; nothing where its past makes none, or the challenger asks for none.
async fn windows(
    store: &Store,
    challenger: &Challenger,
    chosen: &[Chosen],
) -> Result<Vec<Option<Vec<u8>>>, tocsin_store::Error> {
    let Some(temporal) = &challenger.bundle.manifest().temporal else {
        return Ok(vec![None; chosen.len()]);
    };
    let readings: Vec<_> = chosen.iter().map(|one| (temporal.window, one.key)).collect();
    let history = History::before(store, &readings).await?;
    let windows = chosen
        .iter()
        .map(|one| history.window(temporal.window, one.key, one.baseline, &one.codes));
    Ok(windows.collect())
}

/// The spectra of readings, each alone.
fn spectra(challenger: &Challenger, chosen: &[&Chosen]) -> Spectra {
    Spectra {
        bundle: challenger.bundle.digest(),
        codes: chosen.iter().flat_map(|one| &one.codes).copied().collect(),
        window: 1,
        bins: usize::from(challenger.bundle.manifest().bins),
        full_scale: chosen.iter().map(|one| one.full_scale).collect(),
    }
}

fn of_the_bundle(residual: f32, detected: &Scores) -> Scores {
    let mut scores = Scores::default();
    for detector in OF_A_BUNDLE {
        if let Some(score) = detected.get(detector) {
            scores.set(detector, score);
        }
    }
    scores.set(Detector::Residual, residual);
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{SensorId, Timestamp};

    #[test]
    fn about_the_share_is_chosen_and_always_the_same_readings() {
        let keys = || {
            (0..20_000_i64).map(|at| ReadingKey {
                sensor: SensorId((at % 40) as i32),
                captured_at: Timestamp::from_micros(1_767_225_600_000_000 + at / 40 * 10_000_000),
            })
        };
        let chosen = keys().filter(|key| is_chosen(*key, 0.1)).count();
        assert!((1_850..2_150).contains(&chosen), "{chosen} of 20000");
        assert_eq!(keys().filter(|key| is_chosen(*key, 0.0)).count(), 0);
        assert_eq!(keys().filter(|key| is_chosen(*key, 1.0)).count(), 20_000);
        let more = keys()
            .filter(|key| is_chosen(*key, 0.1) && !is_chosen(*key, 0.2))
            .count();
        assert_eq!(more, 0, "a larger share holds the smaller one");
    }
}
