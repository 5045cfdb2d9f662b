//! What a page carries: names instead of numbers, the deciding step, and the bins that stand out.

use tocsin_domain::{IncidentId, Scope, SensorId, Severity, SpectrumSpec, Timestamp};
use tocsin_judge::page::{PagePayload, PageReason, TopBin, dedup_key};
use tocsin_store::{Error, Result, Store};

use crate::bindings::ActiveClass;

/// Bins named in a page.
const TOP_BINS: usize = 5;

/// What the fold knows of the page it wants written.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) incident: IncidentId,
    pub(crate) severity: Severity,
    pub(crate) reason: PageReason,
    pub(crate) opened_at: Timestamp,
    pub(crate) step: Timestamp,
    pub(crate) deciding_sensor: SensorId,
    pub(crate) deciding_detector: tocsin_domain::Detector,
    pub(crate) level: f32,
    pub(crate) bin_error: &'a [f32],
    pub(crate) class: &'a ActiveClass,
    pub(crate) replay: bool,
    pub(crate) delayed_by_ms: Option<u64>,
}

/// Completes a draft with the names and units people know. Incidents are rare, so the look-ups are not kept.
pub(crate) async fn complete(store: &Store, draft: Draft<'_>) -> Result<PagePayload> {
    let sensor = draft.deciding_sensor;
    let mut listings = store.sensors_by_id(&Scope::All, &[sensor]).await?;
    let listing = listings.remove(&sensor).ok_or_else(|| Error::NotFound {
        what: format!("sensor number {sensor}"),
    })?;
    let spec = store.spec_by_id(listing.sensor.spec).await?.spec;
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
        deciding_detector: draft.deciding_detector,
        level: draft.level,
        top_bins: top_bins(draft.bin_error, &spec),
        threshold_set_id: draft.class.threshold_set_id(),
        bundle_digest: draft.class.limits.as_ref().map(|limits| limits.bundle.digest()),
        replay: draft.replay,
        delayed_by_ms: draft.delayed_by_ms,
        dedup_key: dedup_key(draft.incident),
    })
}

/// The bins with the largest squared errors, most first, each with its share of the whole.
fn top_bins(bin_error: &[f32], spec: &SpectrumSpec) -> Vec<TopBin> {
    let total: f32 = bin_error.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..bin_error.len()).collect();
    order.sort_by(|a, b| bin_error[*b].total_cmp(&bin_error[*a]));
    order
        .into_iter()
        .take(TOP_BINS)
        .map(|index| TopBin {
            index: index as u16,
            centre: spec.bin_centre(index),
            axis_unit: spec.axis.unit().to_owned(),
            error_share: bin_error[index] / total,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loudest_bins_are_named_first_with_their_share() {
        let spec = SpectrumSpec::corpus_default(64);
        let mut bin_error = vec![0.0; 64];
        bin_error[10] = 6.0;
        bin_error[3] = 2.0;
        let bins = top_bins(&bin_error, &spec);
        assert_eq!((bins[0].index, bins[1].index, bins.len()), (10, 3, TOP_BINS));
        assert!((bins[0].error_share - 0.75).abs() < 1e-6);
        assert!((bins[0].centre - 2100.0).abs() < 1e-9);
        assert!(top_bins(&[], &spec).is_empty());
    }
}
