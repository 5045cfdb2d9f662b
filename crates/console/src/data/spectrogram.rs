//! A sensor's spectra over time, as numbers a canvas can draw: a JSON head, then the matrix as little-endian f32.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use tocsin_contracts::review::v1::{GetSpectrogramRequest, GetSpectrogramResponse};
use tocsin_contracts::time::to_wire;
use tocsin_domain::Timestamp;

use super::millis;
use crate::failure::{Failure, Part};
use crate::rebuilding;
use crate::session::Session;

/// Columns: more than the widest phone has, and half a wide screen.
const COLUMNS: u32 = 400;
/// Rows that are sent: a screen has no more. Of bins that share a row the largest is kept, so that a narrow line stays visible.
const ROWS: usize = 512;

/// What the address says; times in microseconds since the epoch.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    sensor: String,
    from: i64,
    to: i64,
    /// Fills in what is not kept with spectra rebuilt from latents.
    #[serde(default)]
    rebuilt: bool,
}

#[derive(Serialize)]
struct Head {
    at: Vec<Option<f64>>,
    /// Centre of each row.
    centre: Vec<f64>,
    axis_unit: String,
    amplitude_unit: String,
    /// Whether each column is rebuilt; empty where none is.
    rebuilt: Vec<bool>,
    /// By what, or why not.
    said: Vec<String>,
}

/// `GET …/spectrogram`.
pub(crate) async fn show(
    session: Session,
    Path((site, machine)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let request = GetSpectrogramRequest {
        site,
        machine,
        sensor: asked.sensor,
        from: Some(to_wire(Timestamp::from_micros(asked.from))),
        to: Some(to_wire(Timestamp::from_micros(asked.to))),
        columns: COLUMNS,
        with_rebuilt: asked.rebuilt,
    };
    let answer = session
        .review()
        .get_spectrogram(request)
        .await
        .map_err(Part::Review.failed())?
        .into_inner();
    Ok(([(CONTENT_TYPE, "application/octet-stream")], packed(answer)).into_response())
}

/// Length of the head as little-endian u32, the head padded to whole words, the matrix (columns x rows).
fn packed(answer: GetSpectrogramResponse) -> Vec<u8> {
    let bins = answer.bin_centre.len();
    // A matrix that doesn't fit its axes is drawn as none.
    let fits = answer.amplitude.len() == bins * answer.at.len();
    let (centre, amplitude) = if fits {
        pooled(&answer.bin_centre, &answer.amplitude)
    } else {
        Default::default()
    };
    let head = Head {
        at: if fits {
            answer.at.into_iter().map(|at| millis(Some(at))).collect()
        } else {
            Vec::new()
        },
        centre,
        axis_unit: answer.axis_unit,
        amplitude_unit: answer.amplitude_unit,
        rebuilt: if fits { answer.rebuilt } else { Vec::new() },
        said: answer
            .rebuilding
            .into_iter()
            .map(|one| rebuilding::said(&one.into()))
            .collect(),
    };
    let mut head = serde_json::to_vec(&head).expect("numbers and names have a JSON form");
    head.resize(head.len().next_multiple_of(4), b' ');
    let mut packed = Vec::with_capacity(4 + head.len() + 4 * amplitude.len());
    packed.extend_from_slice(&(head.len() as u32).to_le_bytes());
    packed.extend_from_slice(&head);
    packed.extend(amplitude.iter().flat_map(|value| value.to_le_bytes()));
    packed
}

fn pooled(centre: &[f64], amplitude: &[f32]) -> (Vec<f64>, Vec<f32>) {
    let bins = centre.len();
    let size = bins.div_ceil(ROWS).max(1);
    if size == 1 {
        return (centre.to_vec(), amplitude.to_vec());
    }
    let middle = |chunk: &[f64]| f64::midpoint(chunk[0], chunk[chunk.len() - 1]);
    let largest = |chunk: &[f32]| chunk.iter().copied().fold(0.0, f32::max);
    (
        centre.chunks(size).map(middle).collect(),
        amplitude
            .chunks(bins)
            .flat_map(|column| column.chunks(size).map(largest))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_line_survives_pooling() {
        let centre: Vec<f64> = (0..1030).map(f64::from).collect();
        let mut amplitude = vec![0.0f32; 2 * 1030];
        amplitude[1030 + 700] = 5.0;
        let (rows, pooled) = pooled(&centre, &amplitude);
        assert_eq!(rows.len(), 344);
        assert_eq!(pooled.len(), 2 * 344);
        let place = pooled.iter().position(|&value| value > 0.0).expect("the line");
        assert_eq!((place / 344, place % 344), (1, 700 / 3));
        assert!((rows[700 / 3] - 700.0).abs() <= 1.5);
    }

    #[test]
    fn a_matrix_that_does_not_fit_its_axes_is_drawn_as_none() {
        let answer = GetSpectrogramResponse {
            amplitude: vec![1.0; 3],
            bin_centre: vec![1.0, 2.0],
            ..Default::default()
        };
        let packed = packed(answer);
        let head = u32::from_le_bytes(packed[..4].try_into().expect("four bytes")) as usize;
        assert_eq!(packed.len(), 4 + head);
    }
}
