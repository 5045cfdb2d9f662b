//! The `OpenAPI` 3.1 description, made from the descriptors: paths from methods, schemas from messages, words from the contracts'
//! comments.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::catalog::{Call, Catalog};

pub(super) fn describe(catalog: &Catalog) -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths = Map::new();
    for call in catalog.calls() {
        collect(&call.method.input(), &mut schemas);
        collect(&call.method.output(), &mut schemas);
        paths.insert(format!("/api/v1{}", call.path), json!({ "post": operation(call) }));
    }
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the console shows, as JSON. Each call is one of the gRPC contracts; the bearer is a session \
                            (AccessService/SignIn) or a token. 64-bit integers are strings.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}

fn operation(call: &Call) -> Value {
    let method = &call.method;
    let service = method.parent_service();
    let mut operation = json!({
        "operationId": format!("{}.{}", service.full_name(), method.name()),
        "tags": [service.full_name()],
        "requestBody": { "required": true, "content": content(&reference(&method.input())) },
        "responses": {
            "200": { "description": "The answer.", "content": content(&reference(&method.output())) },
            "default": {
                "description": "Why there is none.",
                "content": content(&json!({ "$ref": "#/components/schemas/Problem" })),
            },
        },
    });
    add_words(&mut operation, &method.parent_file(), method.path());
    if call.public {
        operation["security"] = json!([]);
    }
    operation
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message"],
        "additionalProperties": false,
        "properties": {
            "code": { "type": "string", "description": "The gRPC code, such as `invalid_argument`." },
            "message": { "type": "string" },
            "field": { "type": "string", "description": "The field of the request that is wrong." },
            "reason": { "type": "string", "description": "What is wrong with it." },
        },
    })
}

/// Adds a message and all it is made of.
fn collect(message: &MessageDescriptor, schemas: &mut BTreeMap<String, Value>) {
    if well_known(message).is_some() || schemas.contains_key(message.full_name()) {
        return;
    }
    schemas.insert(message.full_name().to_owned(), Value::Null);
    let mut properties = Map::new();
    for field in message.fields() {
        let mut schema = of_field(&field);
        add_words(&mut schema, &message.parent_file(), field.path());
        properties.insert(field.name().to_owned(), schema);
        let kind = if field.is_map() {
            map_value(&field).kind()
        } else {
            field.kind()
        };
        if let Kind::Message(inner) = kind {
            collect(&inner, schemas);
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    add_words(&mut schema, &message.parent_file(), message.path());
    schemas.insert(message.full_name().to_owned(), schema);
}

fn of_field(field: &FieldDescriptor) -> Value {
    if field.is_map() {
        return json!({ "type": "object", "additionalProperties": of_kind(&map_value(field).kind()) });
    }
    let one = of_kind(&field.kind());
    if field.is_list() {
        json!({ "type": "array", "items": one })
    } else {
        one
    }
}

fn map_value(field: &FieldDescriptor) -> FieldDescriptor {
    let Kind::Message(entry) = field.kind() else {
        unreachable!("a map is a list of entries")
    };
    entry.map_entry_value_field()
}

/// The protobuf mapping of a value to JSON.
fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "pattern": "^[A-Za-z0-9+/]*={0,2}$", "contentEncoding": "base64" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
        }
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "pattern": "^-?[0-9]{1,19}$" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]{1,20}$" }),
        Kind::Float | Kind::Double => {
            json!({ "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }] })
        }
        Kind::Enum(described) => of_enum(described),
        Kind::Message(message) => reference(message),
    }
}

fn of_enum(described: &EnumDescriptor) -> Value {
    let names: Vec<String> = described.values().map(|value| value.name().to_owned()).collect();
    json!({ "type": "string", "enum": names })
}

fn reference(message: &MessageDescriptor) -> Value {
    well_known(message).unwrap_or_else(|| json!({ "$ref": format!("#/components/schemas/{}", message.full_name()) }))
}

/// Messages that JSON has a form of its own for.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    match message.full_name() {
        "google.protobuf.Timestamp" => Some(json!({ "type": "string", "format": "date-time" })),
        "google.protobuf.Duration" => Some(json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" })),
        _ => None,
    }
}

/// What the contract says about it, in its comment.
fn add_words(schema: &mut Value, file: &FileDescriptor, path: &[i32]) {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let found = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let words = found.map(|location| location.leading_comments().trim().replace("\n ", "\n"));
    if let Some(words) = words.filter(|words| !words.is_empty()) {
        schema["description"] = words.into();
    }
}
