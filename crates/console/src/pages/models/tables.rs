//! Tables of a class's bundles and of what judged when.

use maud::{Markup, html};
use serde_json::Value;
use tocsin_contracts::registry::v1::{Binding, Bundle};

use super::report;
use crate::view::{self, class_href, moment, tag};

pub(super) fn bundle_table(bundles: &[Bundle]) -> Markup {
    html! {
        div.table-frame {
            table {
                thead {
                    tr {
                        th scope="col" { "Model" } th scope="col" { "State" } th scope="col" { "Kind" }
                        th.num scope="col" title="Mean squared error on healthy rows held out, in the model's space" { "Validation error" }
                        th.num scope="col" title="The same of principal components with as many numbers, if the manifest has it" { "PCA" }
                        th.num scope="col" { "Training rows" } th scope="col" { "Pushed" }
                    }
                }
                tbody { @for bundle in bundles { (bundle_row(bundle)) } }
            }
        }
    }
}

fn bundle_row(bundle: &Bundle) -> Markup {
    let manifest: Value = serde_json::from_str(&bundle.manifest_json).unwrap_or_default();
    let loss = |name: &str| manifest["metrics"][name].as_f64();
    let rows = |split: &str| manifest["lineage"]["rows_by_split"][split].as_u64();
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), view::number);
    html! {
        tr id=(format!("bundle-{}", bundle.bundle_id)) {
            th scope="row" {
                "#" (bundle.bundle_id) " " code title=(bundle.digest) { (bundle.digest.get(..12).unwrap_or(&bundle.digest)) }
                @if !bundle.alias.is_empty() { " " (tag(&bundle.alias)) }
            }
            td { (tag(&bundle.state)) @if !bundle.reason.is_empty() { span.sub { (bundle.reason) } } }
            td {
                (manifest["variant"].as_str().unwrap_or("–"))
                @if let (Some(bins), Some(latent)) = (manifest["bins"].as_u64(), manifest["latent"].as_u64()) {
                    span.sub { (bins) " bins, latent " (latent) }
                }
                @if manifest["files"].get(report::FILE).is_some() {
                    span.sub { a href=(format!("{}/bundles/{}/{}", class_href(&bundle.class), bundle.bundle_id, report::FILE)) download { "training report" } }
                }
            }
            td.num data-label="validation error" { (shown(loss("validation_loss"))) }
            td.num data-label="PCA" { (shown(loss("pca_validation_loss"))) }
            td.num data-label="training rows" { @match rows("train") { Some(rows) => (view::count(rows)), None => "–" } }
            td { (moment(view::at(bundle.pushed_at))) span.sub { "by " (bundle.pushed_by) } }
        }
    }
}

pub(super) fn history(bindings: &[Binding]) -> Markup {
    html! {
        @if bindings.is_empty() { p.none { "Nothing was bound yet." } }
        @else {
            div.table-frame {
                table {
                    thead { tr { th.num scope="col" { "Version" } th scope="col" { "Champion" } th scope="col" { "Alarm limits" } th scope="col" { "Challenger" } th scope="col" { "Since" } th scope="col" { "Why" } } }
                    tbody {
                        @for (place, binding) in bindings.iter().enumerate() {
                            tr aria-current=[(place == 0).then_some("true")] {
                                td.num data-label="version" { (binding.version) }
                                td { (bundle_link(binding.champion_bundle_id)) }
                                td { @if binding.threshold_set_id == 0 { span.none { "none" } } @else { a href=(format!("/limits#set-{}", binding.threshold_set_id)) { "#" (binding.threshold_set_id) } } }
                                td { (bundle_link(binding.challenger_bundle_id)) }
                                td { (moment(view::at(binding.changed_at))) span.sub { "by " (binding.changed_by) } }
                                td { @if binding.reason.is_empty() { span.none { "–" } } @else { (binding.reason) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn bundle_link(bundle: i32) -> Markup {
    html! { @if bundle == 0 { span.none { "none" } } @else { a href=(format!("#bundle-{bundle}")) { "#" (bundle) } } }
}
