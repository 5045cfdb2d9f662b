//! Where the model comes from, and the rows a person should look at.

use maud::{Markup, html};
use tocsin_models::Selection;

use super::Material;
use crate::chart::number;
use crate::suspects::Suspects;
use crate::train::LeftOut;

/// Most suspicious rows, and most sensors, named.
const SUSPECTS: usize = 20;
const SENSORS: usize = 200;

pub(super) fn suspects(material: &Material<'_>) -> Markup {
    let Suspects { in_all, listed } = material.suspects;
    html! {
        h2 #suspects { "Rows taken for healthy that hardly are" }
        p {
            (in_all) " of " (material.request.train.len())
            " rows are rebuilt far worse than the others (four robust spreads of the logarithm of the error). Nothing was deleted"
            @let LeftOut { train, calibration } = material.left_out;
            @if !train.is_empty() {
                "; " (train.len()) " rows were left out of the training as hardly healthy, and " (calibration.len())
                " like them of those that set limits"
            }
            "."
        }
        @if !listed.is_empty() {
            div.table { table {
                thead { tr { th { "Sensor" } th { "Taken at" } th.num { "Error" } th.num { "Spreads" } th { "Left out" } } }
                tbody { @for suspect in listed.iter().take(SUSPECTS) { tr {
                    td { (suspect.sensor) } td { (suspect.captured_at) } td.num { (number(suspect.error.into())) } td.num { (number(suspect.spreads)) }
                    td { (if suspect.left_out { "yes" } else { "no" }) }
                } } }
            } }
            @if listed.len() > SUSPECTS { p.sub { "These are the worst of them." } }
        }
    }
}

/// How the rows were chosen, as rows of the table.
fn chosen(selection: &Selection) -> Markup {
    html! {
        @for (split, rows) in &selection.sampled_by_split { tr { th { "Rows sampled of split " (split) } td { (rows) } } }
        @if let Some(sensors) = &selection.sensors { tr { th { "Sensors, chosen by" } td { code { (sensors) } } } }
        @if let Some(by) = &selection.split_by { tr { th { "Rows parted by" } td { (by) ", not by the splits of the corpora" } } }
        @if let Some(log) = &selection.maintenance_log { tr { th { "Maintenance log" } td { (log.name) ", " (log.rows) " intervals, SHA-256 " code { (log.sha256) } } } }
        @if selection.only_logged_healthy { tr { th { "Taken for healthy" } td { "rows alone that the log calls healthy" } } }
        @for (reason, rows) in &selection.left_out { tr { th { "Rows left out, " (reason) } td { (rows) } } }
    }
}

pub(super) fn section(material: &Material<'_>) -> Markup {
    let manifest = material.manifest();
    let lineage = &manifest.lineage;
    html! {
        h2 #lineage { "Where it comes from" }
        div.table { table { tbody {
            tr { th { "Class" } td { (manifest.class) } }
            tr { th { "Kind" } td { (manifest.network_name()) @if manifest.variant.is_network() { ", objective " code { (format!("{:?}", manifest.objective)) } } } }
            tr { th { "Space" } td { (manifest.bins) " bins, latent " (manifest.latent) ", full scale " (manifest.full_scale) " " (manifest.unit) ", s0 " (manifest.s0) " " (manifest.unit) ", codec " (manifest.codec) } }
            @for (split, rows) in &lineage.rows_by_split { tr { th { "Rows, split " (split) } td { (rows) } } }
            @if let Some(selection) = &lineage.selection { (chosen(selection)) }
            tr { th { "Seed" } td { (lineage.seed) } }
            tr { th { "Trainer" } td { (lineage.trainer) } }
            tr { th { "Made at" } td { (lineage.created_at) } }
        } } }
        h3 { "Corpora" }
        @if lineage.corpora.is_empty() { p { "The rows were not read from files." } }
        @else {
            div.table { table {
                thead { tr { th { "File" } th.num { "Rows read of all" } th { "SHA-256" } } }
                tbody { @for corpus in &lineage.corpora { tr { td { (corpus.name) } td.num { (corpus.rows) } td { code { (corpus.sha256) } } } } }
            } }
        }
        h3 { "Files of the bundle" }
        div.table { table {
            thead { tr { th { "File" } th.num { "Bytes" } th { "SHA-256" } } }
            tbody { @for (name, entry) in &manifest.files { tr { td { (name) } td.num { (entry.bytes) } td { code { (entry.sha256) } } } } }
        } }
        h3 { "Sensors" }
        p {
            @for (nth, sensor) in lineage.sensors.iter().take(SENSORS).enumerate() { @if nth > 0 { ", " } (sensor) }
            @if lineage.sensors.len() > SENSORS { " and " (lineage.sensors.len() - SENSORS) " more" }
        }
    }
}
