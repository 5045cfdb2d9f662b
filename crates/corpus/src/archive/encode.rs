//! Rows to columns.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float32Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;
use tocsin_domain::{Detector, Verdict};

use super::{ArchiveRow, SensorNames, schema};

/// A batch of rows of one sensor.
pub(super) fn batch(names: &SensorNames, rows: &[ArchiveRow]) -> Result<RecordBatch, ArrowError> {
    let text = |of: &dyn Fn(&ArchiveRow) -> String| -> ArrayRef {
        let mut column = StringBuilder::new();
        for row in rows {
            column.append_value(of(row));
        }
        Arc::new(column.finish())
    };
    let short = |of: &dyn Fn(&ArchiveRow) -> i16| -> ArrayRef {
        let mut column = Int16Builder::new();
        for row in rows {
            column.append_value(of(row));
        }
        Arc::new(column.finish())
    };
    let int = |of: &dyn Fn(&ArchiveRow) -> i32| -> ArrayRef {
        let mut column = Int32Builder::new();
        for row in rows {
            column.append_value(of(row));
        }
        Arc::new(column.finish())
    };
    let long = |of: &dyn Fn(&ArchiveRow) -> i64| -> ArrayRef {
        let mut column = Int64Builder::new();
        for row in rows {
            column.append_value(of(row));
        }
        Arc::new(column.finish())
    };
    let float = |of: &dyn Fn(&ArchiveRow) -> Option<f32>| -> ArrayRef {
        let mut column = Float32Builder::new();
        for row in rows {
            column.append_option(of(row));
        }
        Arc::new(column.finish())
    };
    let time = |of: &dyn Fn(&ArchiveRow) -> Option<i64>| -> ArrayRef {
        let mut column = TimestampMicrosecondBuilder::new();
        for row in rows {
            column.append_option(of(row));
        }
        Arc::new(column.finish().with_timezone("UTC"))
    };
    let bytes = |of: &dyn Fn(&ArchiveRow) -> Option<&[u8]>| -> ArrayRef {
        let mut column = BinaryBuilder::new();
        for row in rows {
            column.append_option(of(row));
        }
        Arc::new(column.finish())
    };
    let mut columns = vec![
        text(&|_| names.site.to_string()),
        text(&|_| names.machine.to_string()),
        text(&|_| names.sensor.to_string()),
        text(&|_| names.class.to_string()),
        int(&|row| row.key.sensor.0),
        int(&|_| names.spec_id),
        time(&|row| Some(row.key.captured_at.as_micros())),
        time(&|row| Some(row.received_at.as_micros())),
        text(&|row| row.verdict.as_str().to_owned()),
        text(&|row| decided_by(row.verdict)),
        short(&|row| row.verdict.to_code()),
    ];
    columns.extend(Detector::ALL.map(|detector| float(&|row| row.scores.get(detector))));
    columns.extend([
        float(&|row| row.condition.rpm),
        float(&|row| row.condition.load),
        short(&|row| row.flags.0),
        short(&|row| row.condition_cell),
        short(&|row| row.scores.mask().0 as i16),
        int(&|row| row.threshold_set),
        int(&|row| row.bundle),
        int(&|row| row.baseline),
        int(&|row| row.scorer_build),
        time(&|row| row.predecessors.map(|(oldest, _)| oldest.as_micros())),
        short(&|row| row.predecessors.map_or(0, |(_, count)| count)),
        long(&|row| row.commit_seq),
        long(&|row| row.content_hash.0),
        overall(rows),
        bytes(&|row| (!row.latent.is_empty()).then_some(&row.latent[..])),
        bytes(&|row| row.spectrum.as_deref()),
    ]);
    RecordBatch::try_new(schema::schema(), columns)
}

fn decided_by(verdict: Verdict) -> String {
    match verdict {
        Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => by.as_str().to_owned(),
        Verdict::Unjudged { reason } => reason.to_string(),
    }
}

fn overall(rows: &[ArchiveRow]) -> ArrayRef {
    let mut column = ListBuilder::new(Float32Builder::new()).with_field(schema::item());
    for row in rows {
        for value in &row.overall {
            column.values().append_option(*value);
        }
        column.append(!row.overall.is_empty());
    }
    Arc::new(column.finish())
}
