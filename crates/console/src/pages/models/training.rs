//! Training jobs.

use maud::{Markup, html};
use tocsin_contracts::training::v1::TrainingJob;

use super::class::REASON_CHARS;
use super::tables::bundle_link;
use crate::view::{self, class_href, moment, tag};

/// Jobs shown: the newest.
const SHOWN: usize = 20;

/// The table of a class's jobs, newest first.
pub(super) fn jobs(jobs: &[TrainingJob]) -> Markup {
    html! {
        @if jobs.is_empty() { p.none { "No training was asked for." } }
        @else {
            div.table-frame {
                table {
                    thead {
                        tr {
                            th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Readings" } th scope="col" { "Why" }
                            th scope="col" { "Asked for" } th scope="col" { "Model" }
                        }
                    }
                    tbody data-live #training-jobs { @for job in jobs.iter().take(SHOWN) { (row(job)) } }
                }
            }
            @if jobs.len() > SHOWN { p.hint { (view::count((jobs.len() - SHOWN) as u64)) " older ones: " code { "tocsin models jobs" } "." } }
        }
    }
}

fn row(job: &TrainingJob) -> Markup {
    html! {
        tr {
            th scope="row" { "#" (job.training_job_id) }
            td data-label="state" { (state(job)) }
            td data-label="readings" { (moment(view::at(job.since))) span.sub { "to " (moment(view::at(job.until))) } }
            td data-label="why" { (job.reason) }
            td data-label="asked for" { (moment(view::at(job.requested_at))) span.sub { "by " (job.requested_by) } }
            td data-label="model" { (bundle_link(job.bundle_id)) }
        }
    }
}

fn state(job: &TrainingJob) -> Markup {
    html! {
        (tag(&job.state))
        @if job.state == "running" {
            (view::bar(job.progress.into()))
            span.sub { (format!("{:.0} %", job.progress * 100.0)) }
        }
        @if job.attempts > 1 { span.sub { "attempt " (job.attempts) } }
        @if !job.error.is_empty() { span.sub.warn { (view::icon("alert")) " " (job.error) } }
    }
}

/// The form that asks for a class's models to be fitted anew.
pub(super) fn form(class: &str) -> Markup {
    html! {
        form.take method="post" action=(format!("{}/retrain", class_href(class))) {
            label for="retrain-reason" { "Fit the models anew from the healthy readings that are kept. Reason" }
            input #retrain-reason type="text" name="reason" required maxlength=(REASON_CHARS) placeholder="What has changed for good";
            button type="submit" { "Retrain" }
        }
    }
}
