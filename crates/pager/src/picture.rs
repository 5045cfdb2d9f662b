//! The picture on a page: the spectrum it shows against its baseline, with the bins it names marked. It is drawn when it is
//! sent or asked for, from what is stored of the reading; a page whose reading can't be read any more goes without.

use tocsin_detect::{Baseline, Trend};
use tocsin_domain::spec::Amplitude;
use tocsin_domain::{BaselineId, Codec, Condition, Scope, SpectrumSpec};
use tocsin_judge::PagePayload;
use tocsin_judge::page::ShownReading;
use tocsin_store::Store;

use crate::Error;
use chart::Chart;

mod axis;
mod chart;
mod text;

pub(crate) use chart::SIZE;

/// Draws the picture of a page, PNG; none where the page shows no reading, or it is not there any more.
pub(crate) async fn of(store: &Store, payload: &PagePayload) -> Result<Option<Vec<u8>>, Error> {
    let Some(shown) = payload.shown else { return Ok(None) };
    let chart = chart(store, payload, shown).await?;
    Ok(chart.and_then(|chart| chart.png()))
}

async fn chart(store: &Store, payload: &PagePayload, shown: ShownReading) -> Result<Option<Chart>, Error> {
    let ShownReading { sensor_id, captured_at } = shown;
    let found = store.reading_get(&Scope::All, sensor_id, Some(captured_at)).await?;
    let found = found.filter(|found| found.stored.key.captured_at == captured_at);
    let Some((found, spectrum)) = found.and_then(|mut found| {
        let spectrum = found.spectrum.take()?;
        Some((found, spectrum))
    }) else {
        return Ok(None);
    };
    let listing = store.sensors_by_id(&Scope::All, &[sensor_id]).await?.remove(&sensor_id);
    let Some(listing) = listing else { return Ok(None) };
    let spec = store.spec_by_id(listing.sensor.spec).await?.spec;
    let now = Codec::for_spec(&spec).decode(spectrum.codes());
    let baseline = match payload.baseline_id {
        Some(baseline) => expected(store, baseline, &spec, found.condition).await?,
        None => None,
    };
    Ok(Some(Chart {
        title: format!("{}/{} {}", payload.site, payload.machine, payload.deciding_sensor),
        taken: captured_at.to_string(),
        axis_unit: spec.axis.unit().to_owned(),
        unit: unit(&spec),
        range: (spec.f_min, spec.f_max),
        baseline: baseline.filter(|baseline| baseline.len() == now.len()),
        now,
        named: payload.top_bins.iter().map(|bin| usize::from(bin.index)).collect(),
    }))
}

/// What a baseline expects of each bin in a condition, in canonical units; none where it can't be read.
async fn expected(
    store: &Store,
    baseline: BaselineId,
    spec: &SpectrumSpec,
    condition: Condition,
) -> Result<Option<Vec<f32>>, Error> {
    let stored = store.baselines_by_id(&Scope::All, &[baseline]).await?.pop();
    let Some(profile) = stored.map(|stored| stored.learned.profile) else {
        return Ok(None);
    };
    let trend = profile.trend.as_deref().map(Trend::from_bytes).transpose();
    let baseline = trend.and_then(|trend| Baseline::new(profile.median, profile.scale, trend));
    Ok(baseline.ok().map(|baseline| {
        let mut log = vec![0.0; baseline.bins()];
        baseline.expected_into(baseline.offset(condition), &mut log);
        let s0 = spec.canonical_s0();
        log.into_iter().map(|log| s0 * log.exp_m1().max(0.0)).collect()
    }))
}

/// What the amplitudes are in; canonical ones are peaks, but for densities.
fn unit(spec: &SpectrumSpec) -> String {
    match spec.amplitude {
        Amplitude::Psd => spec.canonical_unit().to_owned(),
        Amplitude::Rms | Amplitude::Peak | Amplitude::PeakToPeak => format!("{} peak", spec.canonical_unit()),
    }
}
