//! A graph under construction.

use tocsin_models::onnx;
use tocsin_models::onnx::proto::attribute_proto::AttributeType;
use tocsin_models::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Operators and weights added so far. Values are known by name; each operator's result gets one.
pub(super) struct Graph {
    name: &'static str,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
}

impl Graph {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            nodes: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Adds an operator with one result.
    pub(super) fn op(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.op_with(op_type, inputs, Vec::new())
    }

    /// Adds an operator on a value and a weight.
    pub(super) fn with_weight(
        &mut self,
        op_type: &str,
        value: &str,
        name: &str,
        dims: &[usize],
        data: &[f32],
    ) -> String {
        let weight = self.stored(name, dims, data);
        self.op(op_type, &[value, &weight])
    }

    /// Adds a weight that several operators use; its name.
    pub(super) fn stored(&mut self, name: &str, dims: &[usize], data: &[f32]) -> String {
        self.weights.push(onnx::floats(name, dims, data));
        name.to_owned()
    }

    /// The value as rows x `dims`; where rows x dims does not fill it, the first dimension grows.
    pub(super) fn reshape(&mut self, value: &str, dims: &[usize]) -> String {
        let shape: Vec<i64> = std::iter::once(-1).chain(dims.iter().map(|dim| *dim as i64)).collect();
        let shape = self.integers(&shape);
        self.op("Reshape", &[value, &shape])
    }

    /// Zeros before and after: for each dimension the count before, then for each the count after.
    pub(super) fn pad(&mut self, value: &str, pads: &[usize]) -> String {
        let pads: Vec<i64> = pads.iter().map(|pad| *pad as i64).collect();
        let pads = self.integers(&pads);
        self.op("Pad", &[value, &pads])
    }

    /// Positions `from..to` of one dimension.
    pub(super) fn slice(&mut self, value: &str, axis: i64, from: usize, to: usize) -> String {
        let from = self.integers(&[from as i64]);
        let to = self.integers(&[to as i64]);
        let axis = self.integers(&[axis]);
        self.op("Slice", &[value, &from, &to, &axis])
    }

    /// The value with its dimensions in another order.
    pub(super) fn transpose(&mut self, value: &str, order: &[i64]) -> String {
        let order = AttributeProto {
            name: "perm".to_owned(),
            r#type: AttributeType::Ints as i32,
            ints: order.to_vec(),
            ..Default::default()
        };
        self.op_with("Transpose", &[value], vec![order])
    }

    /// Values side by side along one dimension.
    pub(super) fn concat(&mut self, values: &[&str], axis: i64) -> String {
        let axis = AttributeProto {
            name: "axis".to_owned(),
            r#type: AttributeType::Int as i32,
            i: axis,
            ..Default::default()
        };
        self.op_with("Concat", values, vec![axis])
    }

    /// The sum of each row, each value times `weight`: rows x columns to rows x 1.
    ///
    /// A product, because an engine's reductions may start at another lane in rows that lie otherwise in memory, and round
    /// otherwise: a row would change with its place in the batch.
    pub(super) fn sum_of_row(&mut self, value: &str, name: &str, columns: usize, weight: f32) -> String {
        self.with_weight("MatMul", value, name, &[columns, 1], &vec![weight; columns])
    }

    /// The value held between two bounds.
    pub(super) fn clip(&mut self, value: &str, low: f32, high: f32) -> String {
        let low = self.stored("low", &[], &[low]);
        let high = self.stored("high", &[], &[high]);
        self.op("Clip", &[value, &low, &high])
    }

    /// The file: one input with rows of these dimensions, and values given out under a name with a number of columns.
    pub(super) fn finish(mut self, input: (&str, &[usize]), outputs: &[(&str, &str, usize)]) -> Vec<u8> {
        // Values get their public names where they are made: an Identity would be one more copy.
        for (value, name, _) in outputs {
            for node in &mut self.nodes {
                let places = node
                    .input
                    .iter_mut()
                    .chain(&mut node.output)
                    .filter(|place| place == value);
                places.for_each(|place| (*name).clone_into(place));
            }
        }
        let graph = GraphProto {
            name: self.name.to_owned(),
            node: self.nodes,
            initializer: self.weights,
            input: vec![onnx::rows_of(input.0, input.1)],
            output: outputs
                .iter()
                .map(|(_, name, columns)| onnx::rows_of(name, &[*columns]))
                .collect(),
            ..Default::default()
        };
        let model = ModelProto {
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..onnx::model(graph)
        };
        onnx::to_bytes(&model)
    }

    fn op_with(&mut self, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("{}_{}", op_type.to_lowercase(), self.nodes.len());
        self.nodes.push(NodeProto {
            attribute,
            ..onnx::node(op_type, inputs, &name)
        });
        name
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let name = format!("integers_{}", self.weights.len());
        self.weights.push(onnx::integers(&name, values));
        name
    }
}
