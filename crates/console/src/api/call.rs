//! A call to a service with messages that are known by their descriptors alone.

use std::net::IpAddr;

use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tocsin_transport::Channel;
use tocsin_transport::auth::Token;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::catalog::Call;
use super::problem::Problem;
use crate::console::Services;
use crate::pages::login::speak_for;

/// As the pages: 1,000 columns of 4,096 bins are 16 MB.
const MOST_BYTES: usize = 32 << 20;

pub(super) async fn unary(
    services: &Services,
    call: &Call,
    token: Option<&Token>,
    from: Option<IpAddr>,
    message: DynamicMessage,
) -> Result<DynamicMessage, Problem> {
    let channel: Channel = (call.channel)(services).clone();
    let channel = match token {
        Some(token) => channel.with_token(token),
        None => channel,
    };
    let mut client = Grpc::new(channel).max_decoding_message_size(MOST_BYTES);
    let path = PathAndQuery::try_from(call.path.as_str()).map_err(|_| Problem::no_such_call(&call.path))?;
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(format!("the service does not answer: {error}")))?;
    let codec = Dynamic(call.method.output());
    Ok(client.unary(speak_for(from, message), path, codec).await?.into_inner())
}

/// Reads and writes messages by their descriptors; answers are of this one.
#[derive(Debug, Clone)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let written = item.encode(to);
        written.map_err(|error| Status::internal(format!("writing the message: {error}")))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let read = DynamicMessage::decode(self.0.clone(), from);
        read.map(Some)
            .map_err(|error| Status::internal(format!("reading the answer: {error}")))
    }
}
