//! The static part: what a model may hold, read off its protobuf.

use std::collections::{BTreeMap, BTreeSet};

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::VerifyLimits;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Operators a model may use: none mixes rows by itself, runs a subgraph, reads a file, draws a number, or makes a
/// tensor of a size that isn't plain from its inputs' sizes.
const OPERATORS: [&str; 49] = [
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "Pad",
    "Pow",
    "PRelu",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Selu",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

/// ONNX file versions accepted.
const IR_VERSIONS: std::ops::RangeInclusive<i64> = 7..=10;
/// Operator set versions accepted.
const OPSETS: std::ops::RangeInclusive<i64> = 13..=21;
/// Imported by exporters (of Keras, for one) whether or not an operator is of it; none may be.
const IDLE_DOMAIN: &str = "ai.onnx.ml";
/// Fields of a model that are understood: everything up to the graph, the operator sets and the metadata. What is not
/// here is training information, local functions and whatever comes after them.
const MODEL_FIELDS: [u32; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 14];
/// Most dimensions of a tensor.
const MAX_RANK: usize = 6;

/// What a model is made of.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// How often each operator occurs.
    pub(super) operators: BTreeMap<String, usize>,
    /// Elements of all stored tensors.
    pub(super) parameters: usize,
}

/// Refuses a model with parts that the protobuf reader would silently skip.
pub(super) fn check_messages(mut bytes: &[u8]) -> Result<(), String> {
    while bytes.has_remaining() {
        let malformed = |e| format!("not an ONNX model: {e}");
        let (field, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
        if !MODEL_FIELDS.contains(&field) {
            return Err(format!(
                "field {field} of the model (functions, training or later) is not allowed"
            ));
        }
        skip_field(wire_type, field, &mut bytes, DecodeContext::default()).map_err(malformed)?;
    }
    Ok(())
}

/// Checks everything that can be seen without running the model.
pub(super) fn check(model: &ModelProto, limits: VerifyLimits) -> Result<Census, String> {
    if !IR_VERSIONS.contains(&model.ir_version) {
        return Err(format!("ir_version: {} is outside {IR_VERSIONS:?}", model.ir_version));
    }
    check_operator_sets(model)?;
    let graph = model.graph.as_ref().ok_or("graph: is missing")?;
    check_graph(graph, limits)
}

/// Of the standard operators one set we know, and of others none that an operator could come from.
fn check_operator_sets(model: &ModelProto) -> Result<(), String> {
    let (standard, others): (Vec<_>, Vec<_>) = model
        .opset_import
        .iter()
        .partition(|import| standard_domain(&import.domain));
    if let Some(import) = others.iter().find(|import| import.domain != IDLE_DOMAIN) {
        return Err(format!("opset_import: domain {:?} is not allowed", import.domain));
    }
    for import in &standard {
        if !OPSETS.contains(&import.version) {
            return Err(format!(
                "opset_import: version {} is outside {OPSETS:?}",
                import.version
            ));
        }
    }
    if standard.is_empty() {
        return Err("opset_import: is missing".to_owned());
    }
    Ok(())
}

fn check_graph(graph: &GraphProto, limits: VerifyLimits) -> Result<Census, String> {
    if graph.node.len() > limits.nodes {
        return Err(format!("{} operators, the limit is {}", graph.node.len(), limits.nodes));
    }
    if !graph.sparse_initializer.is_empty() || !graph.quantization_annotation.is_empty() {
        return Err("sparse or quantised tensors are not allowed".to_owned());
    }
    let mut census = Census::default();
    let mut constants = BTreeSet::new();
    for tensor in &graph.initializer {
        census.parameters += check_tensor(tensor, limits.parameters).map_err(|e| format!("{:?}: {e}", tensor.name))?;
        constants.insert(tensor.name.as_str());
    }
    for node in &graph.node {
        let named = |reason: String| format!("{} {:?}: {reason}", node.op_type, node.name);
        census.parameters += check_node(node, &mut constants, limits).map_err(named)?;
        *census.operators.entry(node.op_type.clone()).or_default() += 1;
    }
    check_wiring(graph)?;
    if census.parameters > limits.parameters {
        return Err(format!(
            "{} weights, the limit is {}",
            census.parameters, limits.parameters
        ));
    }
    Ok(census)
}

/// Every value is made once, before it is used.
fn check_wiring(graph: &GraphProto) -> Result<(), String> {
    let mut made = BTreeSet::new();
    let inputs = graph.input.iter().map(|input| &input.name);
    for name in inputs.chain(graph.initializer.iter().map(|tensor| &tensor.name)) {
        if name.is_empty() || !made.insert(name) {
            return Err(format!("the value {name:?} is made twice or has no name"));
        }
    }
    for node in &graph.node {
        // An input with an empty name is an optional one left out.
        if let Some(unknown) = node
            .input
            .iter()
            .find(|input| !input.is_empty() && !made.contains(input))
        {
            return Err(format!(
                "{} {:?}: its input {unknown:?} is not made before it",
                node.op_type, node.name
            ));
        }
        if let Some(again) = node
            .output
            .iter()
            .find(|output| !output.is_empty() && !made.insert(output))
        {
            return Err(format!(
                "{} {:?}: its output {again:?} is made twice",
                node.op_type, node.name
            ));
        }
    }
    match graph.output.iter().find(|output| !made.contains(&output.name)) {
        Some(unknown) => Err(format!("the output {:?} is never made", unknown.name)),
        None => Ok(()),
    }
}

/// Checks one operator; returns the elements of tensors in its attributes.
fn check_node<'a>(
    node: &'a NodeProto,
    constants: &mut BTreeSet<&'a str>,
    limits: VerifyLimits,
) -> Result<usize, String> {
    if !standard_domain(&node.domain) {
        return Err(format!("domain {:?} is not allowed", node.domain));
    }
    if !OPERATORS.contains(&node.op_type.as_str()) {
        return Err("the operator is not on the list of allowed ones".to_owned());
    }
    let mut elements = 0;
    for attribute in &node.attribute {
        elements += check_attribute(attribute, limits.parameters).map_err(|e| format!("{}: {e}", attribute.name))?;
    }
    if node.op_type == "Constant" {
        constants.extend(node.output.iter().map(String::as_str));
    } else if node
        .input
        .iter()
        .all(|input| input.is_empty() || constants.contains(input.as_str()))
    {
        // Such a node is computed while the model is loaded, before the sizes of its results can be checked.
        return Err("computes on constants only; fold them before the export".to_owned());
    }
    Ok(elements)
}

fn check_attribute(attribute: &AttributeProto, max_elements: usize) -> Result<usize, String> {
    let subgraph = attribute.g.is_some() || !attribute.graphs.is_empty();
    let sparse = attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty();
    if subgraph || sparse || !attribute.ref_attr_name.is_empty() || !attribute.type_protos.is_empty() {
        return Err("subgraphs, references, types and sparse tensors are not allowed".to_owned());
    }
    if AttributeType::try_from(attribute.r#type).is_err() {
        return Err(format!("type {} is not known", attribute.r#type));
    }
    // Kernel shapes, strides, dilations and pads: a window of a model on 4096 bins fits in these.
    if attribute.ints.iter().any(|value| value.unsigned_abs() > 1 << 20) {
        return Err("a value is beyond a million".to_owned());
    }
    let tensors = attribute.t.iter().chain(&attribute.tensors);
    tensors.map(|tensor| check_tensor(tensor, max_elements)).sum()
}

/// Checks a stored tensor; returns its number of elements.
fn check_tensor(tensor: &TensorProto, max_elements: usize) -> Result<usize, String> {
    let external = tensor
        .data_location
        .is_some_and(|location| location != DataLocation::Default as i32);
    if external || tensor.segment.is_some() {
        return Err("data outside the file is not allowed".to_owned());
    }
    if tensor.dims.len() > MAX_RANK {
        return Err(format!("{} dimensions, the most is {MAX_RANK}", tensor.dims.len()));
    }
    let elements = tensor
        .dims
        .iter()
        .try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(*dim).ok()?))
        .filter(|elements| *elements <= max_elements)
        .ok_or_else(|| format!("dimensions {:?} are negative or too large", tensor.dims))?;
    let (width, typed) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => (4, tensor.float_data.len()),
        Ok(DataType::Int64) => (8, tensor.int64_data.len()),
        Ok(DataType::Int32) => (4, tensor.int32_data.len()),
        _ => return Err(format!("data type {} is not allowed", tensor.data_type)),
    };
    let stored = if tensor.raw_data.is_empty() {
        typed * width
    } else {
        tensor.raw_data.len()
    };
    if stored != elements * width {
        return Err(format!("{stored} bytes of data for dimensions {:?}", tensor.dims));
    }
    Ok(elements)
}

fn standard_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}
