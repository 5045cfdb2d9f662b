//! Slack, and what understands its messages (Mattermost, Rocket.Chat): an incoming webhook, the summary first.

use std::path::PathBuf;

use reqwest::RequestBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tocsin_domain::{Invalid, PageAction, Severity};
use tocsin_judge::page::NOTICE;

use super::{Address, Route};
use crate::hook::slack;
use crate::message::{Page, at_most};
use crate::target::Sender;
use crate::{Error, secret};

/// The most characters of a section's text, by the documentation of Block Kit.
const SECTION_CHARS: usize = 3_000;

/// The most fields of a section.
const SECTION_FIELDS: usize = 10;

/// The most characters of one of a section's fields.
const FIELD_CHARS: usize = 2_000;

/// The most characters that stand for an image.
const ALT_CHARS: usize = 2_000;

/// Settings of an incoming webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// The name in delivery histories. Pages are owed to names: another name is another receiver.
    pub name: String,
    /// The webhook's address: whoever has it may post, so it is a secret as a whole.
    pub url: Address,
    /// File with the signing secret of the app that the webhook belongs to, whose interactivity posts to `/hooks/slack` of the
    /// console: with it, every page has a button that acknowledges.
    #[serde(default)]
    pub signing_secret_file: Option<PathBuf>,
    /// Which pages it takes; with none, all of them.
    #[serde(default)]
    pub routes: Vec<Route>,
}

impl Slack {
    /// One that takes every page.
    pub fn new(name: impl Into<String>, url: impl Into<Address>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            signing_secret_file: None,
            routes: Vec::new(),
        }
    }

    pub(super) fn check_secrets(&self) -> Result<(), Invalid> {
        let path = self.signing_secret_file.as_deref();
        path.map(|path| secret::read("signing_secret_file", path))
            .transpose()
            .map(drop)
    }

    /// The post that tells of a page.
    pub(crate) fn request(&self, sender: &Sender, page: &Page) -> Result<RequestBuilder, Error> {
        let url = self.url.parse().map_err(Error::Setting)?;
        let mut message = message(page, sender.console_url.as_deref());
        if self.signing_secret_file.is_some() && page.action == PageAction::Trigger {
            add_button(&mut message, page);
        }
        Ok(sender.client.post(url).json(&message))
    }
}

/// A message: `text` is what notifications show, and all that a receiver without blocks does.
fn message(page: &Page, console_url: Option<&str>) -> Value {
    let summary = escaped(&page.summary());
    let headline = format!("{} *{summary}*", sign(page));
    let mut blocks = vec![section(&headline)];
    if page.action == PageAction::Trigger {
        let fields = fields(page);
        let sections = fields.chunks(SECTION_FIELDS);
        blocks.extend(sections.map(|fields| json!({ "type": "section", "fields": fields })));
    }
    if let Some(url) = &page.picture_url {
        let text = at_most(&page.picture_text(), ALT_CHARS);
        blocks.push(json!({ "type": "image", "image_url": url, "alt_text": text }));
    }
    let mut context = NOTICE.to_owned();
    if let Some(url) = page.incident_url(console_url) {
        context = format!("<{url}|incident {}> · {context}", page.payload.incident_id);
    }
    if let Some(url) = &page.acknowledge_url {
        context = format!("<{url}|acknowledge> · {context}");
    }
    let element = json!({ "type": "mrkdwn", "text": at_most(&context, SECTION_CHARS) });
    blocks.push(json!({ "type": "context", "elements": [element] }));
    json!({ "text": at_most(&summary, SECTION_CHARS), "blocks": blocks })
}

/// Adds the button that takes the incident.
fn add_button(message: &mut Value, page: &Page) {
    let button = json!({
        "type": "button",
        "text": { "type": "plain_text", "text": "Acknowledge" },
        "action_id": slack::ACTION,
        "value": slack::value(page.payload.incident_id, page.outbox_id),
        "style": "primary",
    });
    if let Some(blocks) = message["blocks"].as_array_mut() {
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": at_most(text, SECTION_CHARS) } })
}

fn fields(page: &Page) -> Vec<Value> {
    let payload = &page.payload;
    let mut told = vec![
        ("machine", format!("{}/{}", payload.site, payload.machine)),
        ("class", payload.class.to_string()),
        ("sensor", payload.deciding_sensor.to_string()),
        ("detector", payload.deciding_detector.to_string()),
        (
            "level",
            format!("{:.1} (1 is the alert line, 2 the page line)", payload.level),
        ),
        ("since", payload.opened_at.to_string()),
    ];
    told.extend(page.explained());
    told.into_iter()
        .map(|(name, value)| format!("*{name}*\n{}", escaped(&value)))
        .map(|text| json!({ "type": "mrkdwn", "text": at_most(&text, FIELD_CHARS) }))
        .collect()
}

fn sign(page: &Page) -> &'static str {
    match (page.action, page.payload.severity) {
        (PageAction::Trigger, Severity::Page) => ":rotating_light:",
        (PageAction::Trigger, Severity::Alert) => ":warning:",
        (PageAction::Acknowledge, _) => ":eyes:",
        (PageAction::Resolve, _) => ":white_check_mark:",
    }
}

/// Text in which nothing is taken for markup of links and mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::page;
    use tocsin_domain::Detector;
    use tocsin_judge::page::{DetectorLevel, LineHint};
    use tocsin_judge::{PageReason, Role, TopBin};

    /// The limits that Block Kit's documentation gives; the error says what does not keep to them.
    fn check(message: &Value) -> Result<(), String> {
        let within = |text: &Value, most: usize| match text.as_str() {
            Some(text) if !text.is_empty() && text.chars().count() <= most => Ok(()),
            _ => Err(format!("at most {most} characters: {text}")),
        };
        within(&message["text"], 40_000)?;
        let blocks = message["blocks"].as_array().ok_or("no blocks")?;
        if blocks.is_empty() || blocks.len() > 50 {
            return Err(format!("{} blocks", blocks.len()));
        }
        for block in blocks {
            match block["type"].as_str() {
                Some("section") => {
                    let fields = block["fields"].as_array();
                    if let Some(fields) = fields {
                        (1..=10).contains(&fields.len()).then_some(()).ok_or("fields")?;
                        fields.iter().try_for_each(|field| within(&field["text"], 2_000))?;
                    } else {
                        within(&block["text"]["text"], 3_000)?;
                    }
                }
                Some("image") => {
                    within(&block["image_url"], 3_000)?;
                    within(&block["alt_text"], 2_000)?;
                }
                Some("context") => {
                    let elements = block["elements"].as_array().ok_or("no elements")?;
                    (1..=10).contains(&elements.len()).then_some(()).ok_or("elements")?;
                }
                other => return Err(format!("{other:?}")),
            }
        }
        Ok(())
    }

    #[test]
    fn a_message_keeps_to_the_documented_limits_whatever_the_page() {
        let bin = TopBin {
            index: 1,
            centre: 120.0,
            axis_unit: "Hz".repeat(40),
            error_share: 0.4,
        };
        for reason in [
            PageReason::Opened,
            PageReason::Escalated,
            PageReason::Acknowledged,
            PageReason::Cleared,
        ] {
            let mut page = page(reason, Severity::Page);
            check(&message(&page, None)).unwrap();
            page.picture_url = Some("https://tocsin.example.org/pictures/7.12.x".to_owned());
            page.payload.top_bins = vec![bin.clone(); 100];
            page.payload.above_alert_since = Some(page.payload.opened_at);
            page.payload.line_hint = Some(LineHint::NoneMatches);
            let said = |detector| DetectorLevel {
                detector,
                role: Role::Page,
                level: 1.0,
            };
            page.payload.detectors = [Detector::Severity, Detector::Growth].map(said).to_vec();
            check(&message(&page, Some("https://tocsin.example.org"))).unwrap();
        }
    }

    #[test]
    fn the_summary_comes_first_and_the_link_with_it() {
        let page = page(PageReason::Opened, Severity::Page);
        let told = message(&page, Some("https://tocsin.example.org"));
        assert_eq!(told["text"], page.summary());
        let first = told["blocks"][0]["text"]["text"].as_str().unwrap();
        assert_eq!(first, format!(":rotating_light: *{}*", page.summary()));
        let last = told["blocks"][2]["elements"][0]["text"].as_str().unwrap();
        assert!(
            last.starts_with("<https://tocsin.example.org/incidents/7|incident 7>"),
            "{last}"
        );
    }

    #[test]
    fn a_page_can_be_acknowledged_by_its_link_and_by_its_button() {
        let mut page = page(PageReason::Opened, Severity::Page);
        page.acknowledge_url = Some("https://tocsin.example.org/acknowledge/7.12.x".to_owned());
        let mut told = message(&page, Some("https://tocsin.example.org"));
        let context = told["blocks"][2]["elements"][0]["text"].as_str().unwrap();
        assert!(
            context.starts_with("<https://tocsin.example.org/acknowledge/7.12.x|acknowledge>"),
            "{context}"
        );
        add_button(&mut told, &page);
        assert_eq!(told["blocks"][3]["elements"][0]["value"], "7.12");
    }

    #[test]
    fn nothing_in_a_name_is_taken_for_markup() {
        assert_eq!(escaped("<!channel> & co"), "&lt;!channel&gt; &amp; co");
    }
}
