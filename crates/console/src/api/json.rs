//! Messages as JSON: the protobuf mapping, with the fields' names as the contracts write them, and none left out.

use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};

use super::problem::Problem;

/// Reads a message; an empty body is the empty message.
pub(super) fn parse(descriptor: MessageDescriptor, body: &[u8]) -> Result<DynamicMessage, Problem> {
    if body.is_empty() {
        return Ok(DynamicMessage::new(descriptor));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let message = DynamicMessage::deserialize(descriptor, tracked);
    let message = message.map_err(|error| Problem::malformed(track.path().to_string(), error.to_string()))?;
    reader
        .end()
        .map_err(|error| Problem::malformed(String::new(), error.to_string()))?;
    Ok(message)
}

pub(super) fn write(message: &DynamicMessage) -> Result<Vec<u8>, Problem> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false);
    let mut writer = serde_json::Serializer::new(Vec::new());
    message
        .serialize_with_options(&mut writer, &options)
        .map_err(|error| Problem::from(tonic::Status::internal(format!("writing the answer as JSON: {error}"))))?;
    Ok(writer.into_inner())
}
