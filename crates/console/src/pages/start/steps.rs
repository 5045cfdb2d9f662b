//! The steps of the first run, with commands that work against this platform as they stand.

use maud::{Markup, html};
use serde_json::Value;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_domain::PersonRole;

use super::Setup;
use crate::session::may;
use crate::view::icon;

/// What a spectrum is, as the commands declare it: the example of the documentation.
const SPEC: &str = r#"{"axis": "hertz", "f_min": 0.0, "f_max": 12800.0, "bins": 64, "quantity": "acceleration", "unit": "g",
 "amplitude": "peak", "aggregation": "mean", "window": "hann", "averages": 1, "full_scale": 10.0, "s0": 0.001}"#;

/// Bins of [`SPEC`].
const BINS: u64 = 64;

/// The names the commands use: those that are there, or else ones to begin with.
struct Names<'a> {
    site: &'a str,
    class: &'a str,
    spec: &'a str,
    bins: u64,
}

impl<'a> Names<'a> {
    fn of(setup: &'a Setup) -> Self {
        let bins = |definition: &str| serde_json::from_str::<Value>(definition).ok()?["bins"].as_u64();
        let spec = setup.specs.first();
        Self {
            site: setup.sites.first().map_or("my-plant", |site| &site.name),
            class: setup.classes.first().map_or("pump", |class| &class.name),
            spec: spec.map_or("pump-64", |spec| &spec.name),
            bins: spec.and_then(|spec| bins(&spec.definition_json)).unwrap_or(BINS),
        }
    }
}

/// The list. `ingest` is where gateways send, and where the command line asks.
pub(super) fn show(setup: &Setup, ingest: &str, who: &WhoAmIResponse) -> Markup {
    let names = Names::of(setup);
    let [site, class, token, machine, reading, judged, destination] = setup.done();
    html! {
        (before(ingest, who))
        ol.steps {
            (step("site", site, "A site", html! {
                p { "A plant, with its time zone and the most sensors that its gateways may register by themselves." }
                (command("do-site", &format!("tocsin sites create {} --time-zone Europe/Lisbon --auto-register-cap 200", names.site)))
            }))
            (step("class", class, "A class and a specification", html! {
                p { "A class is machines of one construction; its step is how often their sensors report. A specification says once what a spectrum of theirs is: axis, bins, unit, amplitude." }
                (command("do-class", &class_commands(setup, &names)))
            }))
            (step("token", token, "A gateway's token", html! {
                p { "What a gateway of the site shows. This one may register what it is the first to name. The secret goes into a file and is nowhere else." }
                (command("do-token", &format!(
                    "tocsin tokens create --site {} --name gateway-1 \\\n    --auto-register-class {} --auto-register-spec {} --secret-file gateway-1.token",
                    names.site, names.class, names.spec
                )))
                @if token.is_none() { p.hint { "Whether there is one, administrators alone are told." } }
            }))
            (step("machine", machine, "A machine and its sensor", html! {
                p { "The first reading registers both. Where gateways may not, they are declared:" }
                (command("do-machine", &format!(
                    "tocsin sensors create --site {} --machine pump-1 --sensor drive-end \\\n    --class {} --spec {}",
                    names.site, names.class, names.spec
                )))
            }))
            (step("reading", reading, "The first reading", html! {
                p { "One spectrum of " (names.bins) " bins, as linear amplitudes in the specification's unit. It is stored and unjudged: nobody has said yet what healthy looks like." }
                (command("do-reading", &reading_command(ingest, &names)))
                p { "Or a file of them with " code { "tocsin import --csv" } ", or a whole history with " code { "tocsin replay --corpus" } "." }
            }))
            (step("judged", judged, "A model and alarm limits", html! {
                p { "From a history of healthy spectra in Parquet. Until a class has a model its readings are shown as unjudged, never as healthy." }
                (command("do-judged", &format!("tocsin train --corpus history.parquet --class {} --register", names.class)))
            }))
            (step("destination", destination, "A destination of pages", html! {
                @if setup.destinations.is_empty() {
                    p { "Pages wait for somebody to be sent to. Webhooks, Alertmanager, PagerDuty, Slack and mail are named in the configuration file that " code { "tocsin up" } " or " code { "tocsin serve" } " is started with:" }
                    (command("do-destination", "[[pager.destinations]]\nkind = \"webhook\"\nname = \"on-call\"\nurl = \"https://hooks.example.org/tocsin\""))
                } @else {
                    p { "Pages go to " @for (nth, one) in setup.destinations.iter().enumerate() { @if nth > 0 { ", " } strong { (one.name) } " (" (one.kind.replace('_', " ")) ")" } "." }
                }
            }))
        }
        p.hint { "Each step is ticked by itself as it comes true. " a href="/" { "The fleet" } " shows every machine from its first reading on." }
    }
}

/// Who types all this, and where.
fn before(ingest: &str, who: &WhoAmIResponse) -> Markup {
    html! {
        p {
            "On the machine where " code { "tocsin up" } " runs its commands need nothing else. From elsewhere they ask this address, with a credential in "
            code { "TOCSIN_TOKEN_FILE" } ":"
        }
        (command("do-target", &format!("export TOCSIN_TARGET={ingest}")))
        @if !may(who, PersonRole::Admin) { p.hint { "Sites and tokens are made by administrators; your role is " (who.role) "." } }
    }
}

fn step(id: &str, done: Option<bool>, title: &str, body: Markup) -> Markup {
    let is_done = done == Some(true);
    html! {
        li id=(format!("step-{id}")) data-done=[is_done.then_some("true")] {
            h2 {
                @if is_done { (icon("normal")) " " }
                (title)
                @if is_done { span.sub { " done" } }
            }
            // What is done is folded away, and can be looked up.
            @if is_done { details { summary { "How" } (body) } } @else { (body) }
        }
    }
}

fn command(id: &str, text: &str) -> Markup {
    html! { pre id=(id) data-copy { code { (text) } } }
}

/// What of the two is missing yet.
fn class_commands(setup: &Setup, names: &Names<'_>) -> String {
    let class = format!("tocsin classes create {} --step 10s\n", names.class);
    let spec = format!(
        "cat > {spec}.json <<'EOF'\n{SPEC}\nEOF\ntocsin specs create {spec} --file {spec}.json",
        spec = names.spec
    );
    match (setup.classes.is_empty(), setup.specs.is_empty()) {
        (false, true) => spec,
        (true, false) => class.trim_end().to_owned(),
        _ => class + &spec,
    }
}

fn reading_command(ingest: &str, names: &Names<'_>) -> String {
    format!(
        "BINS=$(seq {} | sed 's/.*/0.01/' | paste -sd, -)\n\
         curl -sS {ingest}/v1/readings -H \"authorization: Bearer $(cat gateway-1.token)\" \\\n    \
         -H 'content-type: application/json' \\\n    \
         -d \"{{\\\"readings\\\": [{{\\\"sensor\\\": \\\"pump-1/drive-end\\\", \
         \\\"captured_at\\\": \\\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\\\", \\\"bins\\\": [$BINS]}}]}}\"",
        names.bins
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_has_as_many_bins_as_the_specification_says() {
        let names = Names {
            site: "my-plant",
            class: "pump",
            spec: "pump-128",
            bins: 128,
        };
        let command = reading_command("http://127.0.0.1:7700", &names);
        assert!(command.starts_with("BINS=$(seq 128 | "), "{command}");
        let sent =
            "-d \"{\\\"readings\\\": [{\\\"sensor\\\": \\\"pump-1/drive-end\\\", \\\"captured_at\\\": \\\"$(date";
        assert!(
            command.contains("curl -sS http://127.0.0.1:7700/v1/readings ") && command.contains(sent),
            "{command}"
        );
        let spec: Value = serde_json::from_str(SPEC).unwrap();
        assert_eq!(spec["bins"], BINS);
    }
}
