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
    let message = message.map_err(|error| {
        let reason = error.to_string();
        Problem::malformed(field(&track.path().to_string(), &reason), reason)
    })?;
    reader
        .end()
        .map_err(|error| Problem::malformed(String::new(), error.to_string()))?;
    Ok(message)
}

/// The field that is wrong: where reading stopped, and of a field that isn't there its name as well, which the path lacks.
fn field(path: &str, reason: &str) -> String {
    let path = if path == "." { "" } else { path };
    let unknown = reason.strip_prefix("unrecognized field name '");
    match unknown.and_then(|rest| rest.split_once('\'')) {
        Some((name, _)) if path.is_empty() => name.to_owned(),
        Some((name, _)) => format!("{path}.{name}"),
        None => path.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use serde_json::{Value, json};
    use tocsin_contracts::FILE_DESCRIPTOR_SET;

    use super::*;

    fn refused(body: &str) -> Value {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let message = pool.get_message_by_name("tocsin.fleet.v1.CreateSiteRequest").unwrap();
        serde_json::to_value(parse(message, body.as_bytes()).unwrap_err()).unwrap()
    }

    #[test]
    fn the_field_that_cannot_be_read_is_named_with_the_way_to_it() {
        for (body, field) in [
            (r#"{"sight": 1}"#, json!("sight")),
            (r#"{"site": {"nam": "x"}}"#, json!("site.nam")),
            (r#"{"site": {"name": 7}}"#, json!("site.name")),
            (r#"{"site": [}"#, json!("site")),
            ("{} {}", Value::Null),
            ("[", Value::Null),
        ] {
            let problem = refused(body);
            assert_eq!(problem["field"], field, "{body}: {problem:#}");
            assert!(problem["reason"].is_string(), "{body}: {problem:#}");
        }
    }
}
