//! What a command prints: one JSON document, or a table for people. Everything else goes to standard error.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

/// How to print.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Output {
    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for people
    #[default]
    Table,
    /// One document, for scripts
    Json,
}

impl Output {
    /// Prints a list: `{"<name>": [...]}`, or a table of `columns`, each a field's name.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn list(self, name: &str, items: Vec<Value>, columns: &[&str]) -> Result<()> {
        match self.format {
            Format::Json => document(&json!({ name: items })),
            Format::Table if items.is_empty() => {
                eprintln!("no {name}");
                Ok(())
            }
            Format::Table => text(&table(&items, columns)),
        }
    }

    /// Prints a line of words above what follows, for people: a document says the same in its fields.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn words(self, words: &str) -> Result<()> {
        match self.format {
            Format::Json => Ok(()),
            Format::Table => text(&format!("{words}\n\n")),
        }
    }

    /// Prints one thing: `{"<name>": {...}}`, or a line per field.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn item(self, name: &str, item: Value) -> Result<()> {
        match self.format {
            Format::Json => document(&json!({ name: item })),
            Format::Table => match item {
                Value::Object(fields) => text(&lines(&fields)),
                other => text(&(cell(Some(&other)) + "\n")),
            },
        }
    }
}

/// A titled table in a report.
#[derive(Debug)]
pub struct Section<'a> {
    /// What stands above it.
    pub title: String,
    /// Its rows; a section without any is left out.
    pub items: Vec<Value>,
    /// The fields shown.
    pub columns: &'a [&'a str],
}

impl Output {
    /// Prints one thing that has lists in it: `{"<name>": {...}}` with `whole`, or a line per field of `head`, if it
    /// has any, and a table for each of `sections`.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn report(self, name: &str, whole: &Value, head: &Value, sections: &[Section<'_>]) -> Result<()> {
        match self.format {
            Format::Json => document(&json!({ name: whole })),
            Format::Table => text(&report(head, sections)),
        }
    }
}

fn report(head: &Value, sections: &[Section<'_>]) -> String {
    let mut out = head.as_object().map(lines).unwrap_or_default();
    for section in sections.iter().filter(|section| !section.items.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!(
            "{}\n{}",
            section.title,
            table(&section.items, section.columns)
        ));
    }
    out
}

/// Prints `value` as the one JSON document.
///
/// # Errors
/// If standard output is closed.
pub fn document(value: &Value) -> Result<()> {
    text(&format!("{value:#}\n"))
}

fn text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("writing to standard output")
}

fn lines(fields: &Map<String, Value>) -> String {
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let line = |(name, value): (&String, &Value)| format!("{name:width$}  {}\n", cell(Some(value)));
    fields.iter().map(line).collect()
}

fn table(items: &[Value], columns: &[&str]) -> String {
    let heads = columns.iter().map(|column| column.replace('_', " "));
    let mut rows: Vec<Vec<String>> = vec![heads.collect()];
    rows.extend(
        items
            .iter()
            .map(|item| columns.iter().map(|column| cell(item.get(column))).collect()),
    );
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A value on one line.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.replace('\n', " "),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(","),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(value) if number.is_f64() => readable(value),
            _ => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}

/// Six significant digits, or as many as stand before the point: no more is measured, and none of them is read.
fn readable(value: f64) -> String {
    const DIGITS: i32 = 6;
    let before_point = value.abs().log10().floor() as i32 + 1;
    let decimals = DIGITS.saturating_sub(before_point).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_its_fields_and_its_tables_under_titles() {
        let section = |title: &str, items| Section {
            title: title.to_owned(),
            items,
            columns: &["machine", "pages"],
        };
        let head = json!({"class": "pump", "bundle_id": 2});
        let full = section("machines", vec![json!({"machine": "m1", "pages": 3})]);
        insta::assert_snapshot!(report(&head, &[section("nothing", Vec::new()), full]), @r"
        bundle_id  2
        class      pump

        machines
        machine  pages
        m1       3
        ");
    }

    #[test]
    fn a_number_has_as_many_digits_as_people_read() {
        let shown = |value: f64| cell(Some(&json!(value)));
        let read = [5.415_215_163_934_427, 0.1, 0.0, -0.000_123_456_78, 1_234_567.89, 12.0].map(shown);
        assert_eq!(read, ["5.41522", "0.1", "0", "-0.000123457", "1234568", "12"]);
    }

    #[test]
    fn a_table_has_aligned_columns_and_a_sign_for_nothing() {
        let items = [
            json!({"name": "a", "sites": ["x", "y"], "revoked_at": null, "may_replay": true}),
            json!({"name": "longer", "sites": [], "may_replay": false}),
        ];
        let text = table(&items, &["name", "sites", "revoked_at", "may_replay"]);
        insta::assert_snapshot!(text, @r"
        name    sites  revoked at  may replay
        a       x,y    -           yes
        longer  -      -           no
        ");
    }
}
