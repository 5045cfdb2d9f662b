//! Any call of the contracts, with messages made from their descriptors, over plain HTTP/2.

use std::time::Duration;

use anyhow::{Context, Result};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage, Value};
use reqwest::Client;
use tocsin_contracts::FILE_DESCRIPTOR_SET;
use tocsin_transport::auth::Token;

/// How long a stream is listened to.
const MOMENT: Duration = Duration::from_millis(800);

/// The numbers of what belongs to a class and to no site.
const SHARED: [&str; 3] = ["bundle_id", "threshold_set_id", "training_job_id"];

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// gRPC's; 0 when there is a payload.
    pub(super) status: i32,
    pub(super) message: String,
    /// The messages, as text.
    pub(super) payload: String,
}

impl Answer {
    /// Whether it is an answer to the question, and has the word.
    pub(super) fn tells(&self, word: &str) -> bool {
        self.status == 0 && self.payload.contains(word)
    }

    pub(super) fn holds(&self, word: &str) -> bool {
        self.message.contains(word) || self.payload.contains(word)
    }
}

/// A client of all services at an address.
pub(super) struct Calls {
    client: Client,
    base: String,
    pool: DescriptorPool,
}

impl Calls {
    pub(super) fn of(base: String) -> Result<Self> {
        Ok(Self {
            client: Client::builder().http2_prior_knowledge().build()?,
            base,
            pool: DescriptorPool::decode(FILE_DESCRIPTOR_SET)?,
        })
    }

    /// All there are, with the one that ends the session at the end.
    pub(super) fn methods(&self) -> Vec<MethodDescriptor> {
        let mut all: Vec<_> = self
            .pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .collect();
        all.sort_by_key(|method| method.name() == "SignOut");
        assert!(all.len() > 70, "{}", all.len());
        all
    }

    pub(super) async fn ask(
        &self,
        method: &MethodDescriptor,
        token: &Token,
        message: DynamicMessage,
    ) -> Result<Answer> {
        let bytes = message.encode_to_vec();
        let mut frame = vec![0];
        frame.extend(u32::try_from(bytes.len())?.to_be_bytes());
        frame.extend(bytes);
        let request = self
            .client
            .post(format!("{}{}", self.base, path(method)))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .bearer_auth(token.expose())
            .body(frame);
        let answer = tokio::time::timeout(MOMENT * 20, request.send())
            .await
            .context(path(method))??;
        let header = |name: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned).unwrap_or_default()
        };
        let (status, message) = (header("grpc-status").parse().unwrap_or(0), header("grpc-message"));
        Ok(Answer {
            status,
            message,
            payload: self.read(method, answer).await?,
        })
    }

    async fn read(&self, method: &MethodDescriptor, mut answer: reqwest::Response) -> Result<String> {
        let streams = method.is_server_streaming();
        let mut bytes = Vec::new();
        loop {
            let chunk = tokio::time::timeout(if streams { MOMENT } else { MOMENT * 20 }, answer.chunk()).await;
            match chunk {
                Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
                Ok(Ok(None)) => break,
                _ if streams => break,
                other => {
                    other.context("no end")??;
                }
            }
        }
        let mut text = String::new();
        let mut rest = bytes.as_slice();
        while let Some((head, more)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes(head[1..].try_into()?) as usize;
            let (frame, more) = more.split_at_checked(length).context("a whole message")?;
            text.push_str(&DynamicMessage::decode(method.output(), frame)?.to_string());
            rest = more;
        }
        Ok(text)
    }
}

pub(super) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Whether it only looks, as its name says.
pub(super) fn only_reads(method: &MethodDescriptor) -> bool {
    [
        "List", "Get", "Watch", "WhoAmI", "WhatIf", "Compare", "Explain", "Verify",
    ]
    .iter()
    .any(|verb| method.name().starts_with(verb))
}

pub(super) fn empty(method: &MethodDescriptor) -> DynamicMessage {
    DynamicMessage::new(method.input())
}

/// A message whose every text is `name` and whose every number of a thing is `number`; its times are all of time.
pub(super) fn about(method: &MethodDescriptor, name: &str, number: &str) -> DynamicMessage {
    filled(DynamicMessage::new(method.input()), name, number, 0)
}

fn filled(mut message: DynamicMessage, name: &str, number: &str, depth: usize) -> DynamicMessage {
    if depth > 3 {
        return message;
    }
    let mut arms = Vec::new();
    for field in message.descriptor().fields() {
        // Of alternatives the first.
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            if arms.contains(&oneof.full_name().to_owned()) {
                continue;
            }
            arms.push(oneof.full_name().to_owned());
        }
        let Some(value) = value(&field, name, number, depth) else {
            continue;
        };
        let value = if field.is_list() {
            Value::List(vec![value])
        } else {
            value
        };
        if !field.is_map() {
            message.set_field(&field, value);
        }
    }
    message
}

fn value(field: &FieldDescriptor, name: &str, number: &str, depth: usize) -> Option<Value> {
    let numbered = field.name().ends_with("_id");
    // Where to go on in a list: at its start.
    if field.name().starts_with("before_") {
        return None;
    }
    // What a class has is every site's: its number is asked about as it is.
    let number = if SHARED.iter().any(|thing| field.name().ends_with(thing)) {
        "1"
    } else {
        number
    };
    match field.kind() {
        // How bad an incident was has words of its own; without any, all are asked for.
        Kind::String if depth == 0 && field.name() == "severity" => None,
        Kind::String => Some(Value::String(word(field.name(), name).to_owned())),
        Kind::Int64 if numbered => number.parse().ok().map(Value::I64),
        Kind::Int32 if numbered => number.parse().ok().map(Value::I32),
        Kind::Uint64 if numbered => number.parse().ok().map(Value::U64),
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Timestamp" => {
            let mut time = DynamicMessage::new(inner);
            // From the start of the plant's time, a thousand steps.
            let seconds = 1_767_225_600 + if field.name() == "to" { 10_000 } else { 0 };
            time.set_field_by_name("seconds", Value::I64(seconds));
            Some(Value::Message(time))
        }
        Kind::Message(inner) => Some(Value::Message(filled(
            DynamicMessage::new(inner),
            name,
            number,
            depth + 1,
        ))),
        _ => None,
    }
}

/// Fields with words of their own, so that it is the name of a place that decides and not these.
fn word<'a>(field: &str, name: &'a str) -> &'a str {
    match field {
        "state" | "destination" | "baseline" | "bundle" | "digest" => "",
        "kind" => "shelved",
        "label" => "true_failure",
        "class" => "pump",
        "spec" => "pump-64",
        "role" => "viewer",
        "password" => "nobody's password",
        _ => name,
    }
}
