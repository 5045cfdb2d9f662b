//! Mail: one message per page and action, and one thread per incident, whose messages name their incident as what they
//! answer. A repeat has the `Message-ID` of what it repeats, by which servers and clients tell it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, PageAction};
use tocsin_judge::page::NOTICE;

use super::Route;
use crate::attempt::Attempt;
use crate::message::Page;
use crate::target::Sender;
use crate::{Error, picture, secret};

mod smtp;

/// What the mail calls its picture.
const PICTURE: &str = "spectrum";

/// How long the end of a connection is waited for: what is sent is sent.
pub(super) const CLOSING: Duration = Duration::from_secs(1);

/// Settings of mail through a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The name in delivery histories. Pages are owed to names: another name is another receiver.
    pub name: String,
    /// The relay's name, which its certificate must bear.
    pub host: String,
    /// The relay's port; without one, 587 for `starttls`, 465 for `tls`, 25 for `none`.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is kept private.
    #[serde(default)]
    pub security: Security,
    /// PEM file with the one authority that signs the relay's certificate; without one, those the system trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who signs in at the relay; without one, nobody does.
    #[serde(default)]
    pub username: Option<String>,
    /// File with the password of `username`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The sender, such as `Tocsin <tocsin@example.org>`.
    pub from: String,
    /// The receivers, each such as `duty@example.org`. The mail is delivered when the relay takes it for one of them: whom
    /// it refused for good the history names, and whom it put off (4xx, as when greylisting) gets it later, alone. Who must be told
    /// whatever becomes of the others gets a destination of their own.
    pub to: Vec<String>,
    /// Which pages it takes; with none, all of them.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// How the connection to a relay is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// TLS after `STARTTLS` (RFC 3207), and no mail without it.
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all: for a relay on this host.
    None,
}

impl Email {
    /// The port that is connected to.
    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::None => 25,
        })
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.host.trim().is_empty() {
            return Err(Invalid::new("host", "is empty"));
        }
        if self.to.is_empty() {
            return Err(Invalid::new("to", "must name at least one receiver"));
        }
        if self.username.is_some() != self.password_file.is_some() {
            return Err(Invalid::new("password_file", "goes with username: both, or neither"));
        }
        if self.username.is_some() && self.security == Security::None {
            return Err(Invalid::new(
                "security",
                "must be starttls or tls where a password is sent",
            ));
        }
        self.mailboxes().map(drop)
    }

    pub(super) fn check_secrets(&self) -> Result<(), Invalid> {
        self.credentials()?;
        match self.security {
            Security::None => Ok(()),
            Security::Starttls | Security::Tls => smtp::tls(self).map(drop),
        }
    }

    /// Who signs in, with the password.
    fn credentials(&self) -> Result<Option<(String, String)>, Invalid> {
        match (&self.username, &self.password_file) {
            (Some(name), Some(path)) => Ok(Some((name.clone(), secret::read("password_file", path)?))),
            _ => Ok(None),
        }
    }

    fn mailboxes(&self) -> Result<(Mailbox, Vec<Mailbox>), Invalid> {
        let mailbox = |field: &str, text: &String| {
            text.parse::<Mailbox>()
                .map_err(|error| Invalid::new(field, format!("{text:?}: {error}")))
        };
        let from = mailbox("from", &self.from)?;
        let to = self
            .to
            .iter()
            .map(|text| mailbox("to", text))
            .collect::<Result<_, _>>()?;
        Ok((from, to))
    }

    /// Sends the mail that tells of a page.
    pub(crate) async fn send(&self, sender: &Sender, page: &Page) -> Result<Attempt, Error> {
        let picture = if page.has_picture() {
            picture::of(&sender.store, &page.payload).await
        } else {
            Ok(None)
        };
        let picture = picture.unwrap_or_else(|error| {
            tracing::warn!(page = page.key, %error, "a page goes without its picture");
            None
        });
        let message = self
            .message(page, sender.console_url.as_deref(), picture)
            .map_err(Error::Setting)?;
        smtp::send(self, (&message, &page.remaining), sender.request_timeout).await
    }

    /// The mail, dated when the page was decided: a repeat is the same to a byte.
    fn message(&self, page: &Page, console_url: Option<&str>, picture: Option<Vec<u8>>) -> Result<Message, Invalid> {
        let (from, to) = self.mailboxes()?;
        let domain = from.email.domain().to_owned();
        let thread = format!("<{}@{domain}>", page.payload.dedup_key);
        let mark = page.resend_mark('.');
        let own = format!("<{}.{}{mark}@{domain}>", page.key, page.action.as_str());
        let since_epoch = Duration::from_micros(page.created_at.as_micros().max(0).unsigned_abs());
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut builder = Message::builder()
            .from(from)
            .date(SystemTime::UNIX_EPOCH + since_epoch)
            .subject(format!("[tocsin] {}", page.summary()))
            .message_id(Some(own))
            .in_reply_to(thread.clone())
            .references(thread)
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        for mailbox in to {
            builder = builder.to(mailbox);
        }
        let text = text(page, console_url);
        let message = match picture {
            Some(picture) => builder.multipart(illustrated(page, text, picture)),
            None => builder.singlepart(SinglePart::plain(text)),
        };
        message.map_err(|error| Invalid::new("pager.destinations.to", error.to_string()))
    }
}

/// The text, and the same with the picture for those who read HTML. The boundaries follow from the page, as all else does.
fn illustrated(page: &Page, text: String, picture: Vec<u8>) -> MultiPart {
    let boundary = |kind: &str| format!("{kind}-{:x}-{}", page.outbox_id, page.action.as_str());
    let markup = markup(page, &text);
    let inline = Attachment::new_inline_with_name(PICTURE.to_owned(), "spectrum.png".to_owned());
    let png = ContentType::parse("image/png").expect("a type of its own");
    MultiPart::alternative()
        .boundary(boundary("either"))
        .singlepart(SinglePart::plain(text))
        .multipart(
            MultiPart::related()
                .boundary(boundary("with"))
                .singlepart(SinglePart::html(markup))
                .singlepart(inline.body(picture, png)),
        )
}

/// The text as HTML, with the picture under its first line.
fn markup(page: &Page, text: &str) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (width, height) = (picture::SIZE.0 / 2, picture::SIZE.1 / 2);
    let (first, rest, alt) = (
        escaped(first),
        escaped(rest.trim_start()),
        escaped(&page.picture_text()),
    );
    format!(
        "<p><strong>{first}</strong></p>\n<p><img src=\"cid:{PICTURE}\" width=\"{width}\" height=\"{height}\" \
         alt=\"{alt}\"></p>\n<div style=\"white-space: pre-line\">{rest}</div>\n"
    )
}

/// Text in which nothing is taken for markup.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// What the mail says: the summary first.
fn text(page: &Page, console_url: Option<&str>) -> String {
    let payload = &page.payload;
    let mut lines = vec![page.summary(), String::new()];
    lines.extend(page.incident_url(console_url));
    let link = page.acknowledge_url.as_ref();
    lines.extend(link.map(|url| format!("Acknowledge without signing in (within 12 hours): {url}")));
    let mut told = vec![
        (
            "machine",
            format!("{}/{} ({})", payload.site, payload.machine, payload.class),
        ),
        (
            "incident",
            format!("{}, since {}", payload.incident_id, payload.opened_at),
        ),
        ("severity", payload.severity.to_string()),
    ];
    if page.action == PageAction::Trigger {
        told.push((
            "decided by",
            format!("{} of {}", payload.deciding_detector, payload.deciding_sensor),
        ));
        told.push((
            "level",
            format!("{:.2} (1 is the alert line, 2 the page line)", payload.level),
        ));
        told.extend(page.explained());
    }
    lines.extend(told.into_iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend([String::new(), NOTICE.to_owned(), String::new()]);
    lines.join("\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::message::tests::page;
    use tocsin_domain::Severity;
    use tocsin_judge::PageReason;

    pub(crate) fn email(host: &str, port: u16) -> Email {
        Email {
            name: "mail".to_owned(),
            host: host.to_owned(),
            port: Some(port),
            security: Security::None,
            ca_file: None,
            username: None,
            password_file: None,
            from: "Tocsin <tocsin@example.org>".to_owned(),
            to: vec!["duty@example.org".to_owned()],
            routes: Vec::new(),
        }
    }

    #[test]
    fn what_makes_no_sense_names_its_field() {
        let good = email("relay.example.org", 25);
        good.check().unwrap();
        let field = |change: &dyn Fn(&mut Email)| {
            let mut email = good.clone();
            change(&mut email);
            email.check().unwrap_err().field
        };
        assert_eq!(field(&|email| email.to.clear()), "to");
        assert_eq!(field(&|email| email.to.push("nobody".to_owned())), "to");
        assert_eq!(field(&|email| email.from = "nobody".to_owned()), "from");
        assert_eq!(field(&|email| email.username = Some("u".to_owned())), "password_file");
        let in_the_clear = |email: &mut Email| {
            email.username = Some("u".to_owned());
            email.password_file = Some("p".into());
        };
        assert_eq!(field(&in_the_clear), "security");
    }

    #[test]
    fn an_incident_s_mails_are_one_thread_and_a_repeat_is_the_same_mail() {
        let email = email("relay.example.org", 25);
        let mail = |reason| {
            let page = page(reason, Severity::Page);
            let message = email.message(&page, Some("https://tocsin.example.org"), None).unwrap();
            String::from_utf8(message.formatted()).unwrap()
        };
        let opened = mail(PageReason::Opened);
        for line in [
            "Subject: [tocsin] lisbon/cnc-1 page: overall_level of spindle at level 2.5\r\n",
            "Message-ID: <tocsin-incident-7-opened-10000.trigger@example.org>\r\n",
            "In-Reply-To: <tocsin-incident-7@example.org>\r\n",
            "Date: Thu, 01 Jan 1970 00:01:00 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "https://tocsin.example.org/incidents/7\r\n",
        ] {
            assert!(opened.contains(line), "{line:?} is not in {opened}");
        }
        assert_eq!(opened, mail(PageReason::Opened));
        let cleared = mail(PageReason::Cleared);
        assert!(cleared.contains("Message-ID: <tocsin-incident-7-cleared-10000.resolve@example.org>"));
        assert!(cleared.contains("References: <tocsin-incident-7@example.org>"));
    }

    #[test]
    fn a_picture_is_in_the_mail_for_those_who_read_html_and_a_repeat_is_the_same_to_a_byte() {
        let email = email("relay.example.org", 25);
        let mail = || {
            let page = page(PageReason::Opened, Severity::Page);
            let message = email.message(&page, Some("https://t.example.org"), Some(vec![7; 300]));
            String::from_utf8(message.unwrap().formatted()).unwrap()
        };
        let told = mail();
        for line in [
            "Content-Type: multipart/alternative;",
            "Content-Type: multipart/related;",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-ID: <spectrum>\r\n",
            "Content-Disposition: inline; filename=\"spectrum.png\"\r\n",
            "src=3D\"cid:spectrum\" width=3D\"480\" height=3D\"200\"",
        ] {
            assert!(told.contains(line), "{line:?} is not in {told}");
        }
        assert_eq!(told, mail());
    }

    #[test]
    fn nothing_in_a_name_is_taken_for_markup() {
        assert_eq!(escaped("<b a=\"1\"> & co"), "&lt;b a=&quot;1&quot;&gt; &amp; co");
    }
}
