//! Typed views of a record batch's columns, whichever of the usual layouts the writing library chose.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use arrow_schema::{DataType, TimeUnit};
use tocsin_domain::Timestamp;

use crate::error::Fault;

/// The columns that are read, in the order of the schema; the first three must be there.
pub(crate) const NAMES: [&str; 7] = ["sensor", "captured_at", "bins", "rpm", "load", "label", "split"];

/// The columns of one batch.
pub(crate) struct Columns<'a> {
    pub(crate) sensor: Text<'a>,
    pub(crate) captured_at: Times<'a>,
    pub(crate) bins: Bins<'a>,
    pub(crate) rpm: Numbers<'a>,
    pub(crate) load: Numbers<'a>,
    pub(crate) label: Text<'a>,
    pub(crate) split: Text<'a>,
}

impl<'a> Columns<'a> {
    /// Finds and types the columns.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        let required = |name| batch.column_by_name(name).ok_or_else(|| Fault::new(name, "is missing"));
        let text = |name| {
            batch
                .column_by_name(name)
                .map_or(Ok(Text::Absent), |array| Text::of(name, array))
        };
        let numbers = |name| {
            batch
                .column_by_name(name)
                .map_or(Ok(Numbers::Absent), |array| Numbers::of(name, array))
        };
        Ok(Self {
            sensor: Text::of("sensor", required("sensor")?)?,
            captured_at: Times::of("captured_at", required("captured_at")?)?,
            bins: Bins::of(required("bins")?)?,
            rpm: numbers("rpm")?,
            load: numbers("load")?,
            label: text("label")?,
            split: text("split")?,
        })
    }
}

fn wrong_type(column: &'static str, want: &str, got: &DataType) -> Fault {
    Fault::new(column, format!("must be {want}, is {got}"))
}

/// A column of optional text.
pub(crate) enum Text<'a> {
    Absent,
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    Dictionary {
        array: &'a dyn Array,
        keys: Vec<usize>,
        values: Box<Text<'a>>,
    },
}

impl<'a> Text<'a> {
    pub(crate) fn of(column: &'static str, array: &'a ArrayRef) -> Result<Self, Fault> {
        match array.data_type() {
            DataType::Null => Ok(Self::Absent),
            DataType::Utf8 => Ok(Self::Small(array.as_string())),
            DataType::LargeUtf8 => Ok(Self::Large(array.as_string())),
            DataType::Utf8View => Ok(Self::View(array.as_string_view())),
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                if dictionary.values().is_empty() {
                    return Ok(Self::Absent);
                }
                let values = Box::new(Self::of(column, dictionary.values())?);
                Ok(Self::Dictionary {
                    array,
                    keys: dictionary.normalized_keys(),
                    values,
                })
            }
            other => Err(wrong_type(column, "text", other)),
        }
    }

    /// The text of `row`; `None` is null.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Dictionary { array, keys, values } => {
                if array.is_valid(row) {
                    values.get(keys[row])
                } else {
                    None
                }
            }
        }
    }
}

/// A column of optional numbers.
pub(crate) enum Numbers<'a> {
    Absent,
    F32(&'a dyn Array, &'a [f32]),
    F64(&'a dyn Array, &'a [f64]),
    I32(&'a dyn Array, &'a [i32]),
    I64(&'a dyn Array, &'a [i64]),
}

impl<'a> Numbers<'a> {
    fn of(column: &'static str, array: &'a ArrayRef) -> Result<Self, Fault> {
        match array.data_type() {
            DataType::Null => Ok(Self::Absent),
            DataType::Float32 => Ok(Self::F32(array, array.as_primitive::<Float32Type>().values())),
            DataType::Float64 => Ok(Self::F64(array, array.as_primitive::<Float64Type>().values())),
            DataType::Int32 => Ok(Self::I32(array, array.as_primitive::<Int32Type>().values())),
            DataType::Int64 => Ok(Self::I64(array, array.as_primitive::<Int64Type>().values())),
            other => Err(wrong_type(column, "a float or an integer", other)),
        }
    }

    /// The number of `row`; `None` is null.
    pub(crate) fn get(&self, row: usize) -> Option<f32> {
        match self {
            Self::Absent => None,
            Self::F32(array, values) => array.is_valid(row).then(|| values[row]),
            Self::F64(array, values) => array.is_valid(row).then(|| values[row] as f32),
            Self::I32(array, values) => array.is_valid(row).then(|| values[row] as f32),
            Self::I64(array, values) => array.is_valid(row).then(|| values[row] as f32),
        }
    }
}

/// A column of times. Without a time zone they are taken as UTC.
pub(crate) struct Times<'a> {
    column: &'static str,
    array: &'a dyn Array,
    ticks: &'a [i64],
    unit: TimeUnit,
}

impl<'a> Times<'a> {
    pub(crate) fn of(column: &'static str, array: &'a ArrayRef) -> Result<Self, Fault> {
        let DataType::Timestamp(unit, _) = array.data_type() else {
            return Err(wrong_type(column, "a timestamp", array.data_type()));
        };
        let ticks: &[i64] = match unit {
            TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
            TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
        };
        Ok(Self {
            column,
            array,
            ticks,
            unit: *unit,
        })
    }

    /// The time of `row`, cut to microseconds.
    pub(crate) fn get(&self, row: usize) -> Result<Timestamp, Fault> {
        if self.is_null(row) {
            return Err(Fault::new(self.column, "is null"));
        }
        let ticks = self.ticks[row];
        let micros = match self.unit {
            TimeUnit::Second => ticks.checked_mul(1_000_000),
            TimeUnit::Millisecond => ticks.checked_mul(1_000),
            TimeUnit::Microsecond => Some(ticks),
            TimeUnit::Nanosecond => Some(ticks.div_euclid(1_000)),
        };
        micros
            .filter(|micros| (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).contains(micros))
            .map(Timestamp::from_micros)
            .ok_or_else(|| Fault::new(self.column, format!("{ticks} lies outside the years 1 to 9999")))
    }

    /// Whether there is no time in `row`.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }
}

/// The column of spectra.
pub(crate) struct Bins<'a> {
    lists: &'a dyn Array,
    extents: Extents<'a>,
    items: &'a dyn Array,
    values: Values<'a>,
}

enum Extents<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    Fixed { length: usize },
}

enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl<'a> Bins<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self, Fault> {
        let wrong = || wrong_type("bins", "a list of float32 or float64", array.data_type());
        let (extents, items) = match array.data_type() {
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                (Extents::Small(lists.value_offsets()), lists.values())
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                (Extents::Large(lists.value_offsets()), lists.values())
            }
            DataType::FixedSizeList(_, _) => {
                let lists = array.as_fixed_size_list();
                let length = lists.value_length() as usize;
                (Extents::Fixed { length }, lists.values())
            }
            _ => return Err(wrong()),
        };
        let values = match items.data_type() {
            DataType::Float32 => Values::F32(items.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Values::F64(items.as_primitive::<Float64Type>().values()),
            _ => return Err(wrong()),
        };
        Ok(Self {
            lists: array,
            extents,
            items,
            values,
        })
    }

    /// The amplitudes of `row`.
    pub(crate) fn get(&self, row: usize) -> Result<Vec<f32>, Fault> {
        if self.lists.is_null(row) {
            return Err(Fault::new("bins", "is null"));
        }
        let range = self.range(row);
        if self.items.null_count() > 0
            && let Some(at) = range.clone().position(|item| self.items.is_null(item))
        {
            return Err(Fault::new("bins", format!("[{at}]: is null")));
        }
        Ok(match self.values {
            Values::F32(values) => values[range].to_vec(),
            Values::F64(values) => values[range].iter().map(|s| *s as f32).collect(),
        })
    }

    fn range(&self, row: usize) -> Range<usize> {
        match self.extents {
            Extents::Small(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Extents::Large(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Extents::Fixed { length } => row * length..(row + 1) * length,
        }
    }
}
