//! ONNX as protobuf messages: to write a model, and to read one without running it.

use prost::Message;
pub use tract_onnx::pb as proto;

use self::proto::tensor_proto::DataType;
use self::proto::tensor_shape_proto::{Dimension, dimension};
use self::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};

/// ONNX file version: what every runtime of the last years reads.
const IR_VERSION: i64 = 8;
/// Operator set version.
const OPSET: i64 = 17;

/// A graph as a model.
pub fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        graph: Some(graph),
        ..Default::default()
    }
}

/// An operator without attributes, whose result has a name.
pub fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: operator.to_owned(),
        ..Default::default()
    }
}

/// A weight of 32-bit floats.
pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    weight(name, DataType::Float, dims, raw)
}

/// A weight of 64-bit integers, one after the other.
pub fn integers(name: &str, values: &[i64]) -> TensorProto {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    weight(name, DataType::Int64, &[values.len()], raw)
}

fn weight(name: &str, data_type: DataType, dims: &[usize], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        data_type: data_type as i32,
        raw_data,
        ..Default::default()
    }
}

/// An input or output of 32-bit floats, N x the dimensions of a row.
pub fn rows_of(name: &str, row: &[usize]) -> ValueInfoProto {
    let dimension = |value| Dimension {
        value: Some(value),
        ..Default::default()
    };
    let rows = dimension(dimension::Value::DimParam("N".to_owned()));
    let row = row
        .iter()
        .map(|size| dimension(dimension::Value::DimValue(*size as i64)));
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto {
            dim: std::iter::once(rows).chain(row).collect(),
        }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The model as a file's bytes.
pub fn to_bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Reads a file's bytes; says what is wrong with them.
pub fn from_bytes(bytes: &[u8]) -> Result<ModelProto, String> {
    ModelProto::decode(bytes).map_err(|e| format!("not an ONNX model: {e}"))
}

/// Name of the autoencoder's input: rows x bins, linear amplitude in canonical units.
pub const BINS: &str = "bins";
/// Name of a temporal network's input: rows x spectra x bins, the last spectra of the row's sensor, oldest first and the one
/// that is scored last, linear amplitude in canonical units. Its outputs are those of an autoencoder, of the last spectrum.
pub const HISTORY: &str = "history";
/// Name of the autoencoder's output that is compared: rows x bins, target space.
pub const TARGET: &str = "target";
/// Name of the autoencoder's output it is compared with: rows x bins, target space.
pub const RECONSTRUCTION: &str = "reconstruction";
/// Name of the autoencoder's output, and the decoder's input, between the two: rows x latent.
pub const LATENT: &str = "latent";
/// Name of an optional output of the autoencoder that takes the place of the mean squared error: one value a row.
pub const SCORE: &str = "score";
/// Name of the decoder's output: rows x bins, linear amplitude in canonical units.
pub const SPECTRUM: &str = "spectrum";
