//! The columns of the archive.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tocsin_domain::Detector;

/// How codes become amplitudes, as the file's metadata says it.
pub(super) const CODEC: &str = "version 1: one byte a bin; code 0 is at or below the floor (amplitude 0); code c from 1 to 255 is \
                                full_scale * 10^((c - 255) * 0.375 / 20)";

/// A column name, its type, whether it may be null, and what its metadata says.
type Column = (&'static str, DataType, bool, &'static str);

pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(super) fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

/// Names, key and decision.
fn head() -> Vec<Column> {
    use DataType::{Int16, Int32, Utf8};
    vec![
        ("site", Utf8, false, "the site's name"),
        ("machine", Utf8, false, "the machine's name in the site"),
        ("sensor", Utf8, false, "the sensor's name on the machine"),
        ("class", Utf8, false, "the machine's class"),
        ("sensor_id", Int32, false, "number of the sensor"),
        ("spec_id", Int32, false, "key into the file's metadata tocsin.specs"),
        ("captured_at", time_type(), false, "when the sensor took the spectrum"),
        ("received_at", time_type(), false, "when it was received"),
        ("verdict", Utf8, false, "normal, alert, page or unjudged"),
        (
            "decided_by",
            Utf8,
            false,
            "the deciding detector, or the reason it is unjudged",
        ),
        (
            "verdict_code",
            Int16,
            false,
            "low byte: 0 normal, 1 alert, 2 page, 3 unjudged; high byte: detector or reason",
        ),
    ]
}

/// What it was judged from and by.
fn tail() -> Vec<Column> {
    use DataType::{Binary, Float32, Int16, Int32, Int64, List};
    vec![
        ("rpm", Float32, true, "shaft speed in revolutions per minute"),
        ("load", Float32, true, "load in the class's unit"),
        (
            "flags",
            Int16,
            false,
            "bits: 1 clipped, 2 judged without the network, 4 historical, 8 replay",
        ),
        (
            "condition_cell",
            Int16,
            false,
            "0 a condition that was seen, 1 one that was not, 2 transient, 3 stopped",
        ),
        (
            "detector_mask",
            Int16,
            false,
            "bits of the detectors that scored, in the order of their columns",
        ),
        (
            "threshold_set_id",
            Int32,
            false,
            "the limits it was judged by; 0 for none",
        ),
        (
            "bundle_id",
            Int32,
            false,
            "the model version it was judged by; 0 for none",
        ),
        (
            "baseline_id",
            Int32,
            false,
            "the baseline it was judged against; 0 for none",
        ),
        (
            "scorer_build_id",
            Int32,
            false,
            "the build of the scorer that gave the network's score; 0 for none",
        ),
        (
            "predecessors_from",
            time_type(),
            true,
            "the oldest earlier spectrum it was judged with",
        ),
        (
            "predecessor_count",
            Int16,
            false,
            "how many earlier spectra it was judged with",
        ),
        ("commit_seq", Int64, false, "order of commits"),
        (
            "content_hash",
            Int64,
            false,
            "first 64 bits of SHA-256 over the content",
        ),
        (
            "overall",
            List(item()),
            true,
            "overall levels in the order of the spec, in their canonical units",
        ),
        ("latent", Binary, true, "little-endian half floats"),
        (
            "spectrum",
            Binary,
            true,
            "one code per bin, see the file's metadata tocsin.codec; null where thinned away",
        ),
    ]
}

/// All columns, in their order.
pub(super) fn schema() -> Arc<Schema> {
    let scores = Detector::ALL.into_iter().map(|detector| {
        (
            detector.as_str(),
            DataType::Float32,
            true,
            "raw score; null where it did not judge",
        )
    });
    let fields = head()
        .into_iter()
        .chain(scores)
        .chain(tail())
        .map(|(name, kind, nullable, about)| {
            let about = HashMap::from([("about".to_owned(), about.to_owned())]);
            Field::new(name, kind, nullable).with_metadata(about)
        });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
