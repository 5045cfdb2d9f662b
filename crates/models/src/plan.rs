//! A model made ready to run on a fixed number of rows.
//!
//! Every call computes [`PLAN_ROWS`] rows, the last ones padded with zeros. A plan for another number of rows could
//! take other kernels, which round differently; with one number a row gives the same bits whatever comes with it, since
//! no operator of an allowed model mixes rows.

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::RunnableModel;

use crate::error::NetworkError;
use crate::onnx;

/// Rows of one call of the engine.
pub(crate) const PLAN_ROWS: usize = 32;

type Runnable = RunnableModel<TypedFact, Box<dyn TypedOp>>;

/// A model with one input of `PLAN_ROWS` rows. Threads share it; each runs it in a state of its own.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    file: &'static str,
    runnable: Arc<Runnable>,
    /// `PLAN_ROWS` x the dimensions of a row.
    shape: Vec<usize>,
    outputs: Vec<Output>,
}

/// An output's name and what it holds per row.
#[derive(Debug, Clone)]
struct Output {
    name: String,
    columns: usize,
}

/// Room of one thread to run a [`Plan`] in.
#[derive(Debug)]
pub(crate) struct PlanState {
    file: &'static str,
    shape: Vec<usize>,
    state: TypedSimpleState,
}

impl Plan {
    /// Reads a model whose one input is called `input` and has rows of the dimensions `row`. Refuses a model in which any
    /// tensor has more than `max_elements` before anything of that size exists.
    pub(crate) fn load(
        file: &'static str,
        model: &onnx::proto::ModelProto,
        input: &str,
        row: &[usize],
        max_elements: usize,
    ) -> Result<Self, NetworkError> {
        let contract = |reason: String| NetworkError::Contract { file, reason };
        let engine = |e: TractError| NetworkError::Engine {
            file,
            reason: format!("{e:#}"),
        };
        let graph = model
            .graph
            .as_ref()
            .ok_or_else(|| contract("has no graph".to_owned()))?;
        let inputs: Vec<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
        if inputs != [input] {
            return Err(contract(format!("inputs must be [{input:?}], got {inputs:?}")));
        }
        let shape = [&[PLAN_ROWS], row].concat();
        let fact = f32::fact(&shape);
        let typed = tract_onnx::onnx()
            .with_ignore_output_shapes(true)
            .model_for_proto_model(model)
            .and_then(|model| model.with_input_fact(0, fact.into()))
            .and_then(InferenceModelExt::into_typed)
            .map_err(engine)?;
        check_sizes(&typed, max_elements).map_err(contract)?;
        let model = typed.into_optimized().map_err(engine)?;
        let outputs = outputs_of(&model, graph).map_err(contract)?;
        let runnable = model.into_runnable().map_err(engine)?;
        Ok(Self {
            file,
            runnable,
            shape,
            outputs,
        })
    }

    /// Place of the output called `name`.
    pub(crate) fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Place of the output called `name`, which must hold `columns` values a row when stated.
    pub(crate) fn require(&self, name: &str, columns: Option<usize>) -> Result<usize, NetworkError> {
        let refuse = |reason| NetworkError::Contract {
            file: self.file,
            reason,
        };
        let place = self
            .output(name)
            .ok_or_else(|| refuse(format!("has no output {name:?}")))?;
        let found = self.outputs[place].columns;
        match columns {
            Some(columns) if columns != found => Err(refuse(format!(
                "output {name:?} holds {found} values a row, must hold {columns}"
            ))),
            _ => Ok(place),
        }
    }

    /// Room for one thread.
    pub(crate) fn state(&self) -> Result<PlanState, NetworkError> {
        let state = self.runnable.spawn().map_err(|e| NetworkError::Engine {
            file: self.file,
            reason: format!("{e:#}"),
        })?;
        Ok(PlanState {
            file: self.file,
            shape: self.shape.clone(),
            state,
        })
    }
}

impl PlanState {
    /// Runs at most [`PLAN_ROWS`] rows and hands the outputs, each of `PLAN_ROWS` rows, to `take`.
    pub(crate) fn run(&mut self, rows: &[f32], take: impl FnOnce(&[&[f32]])) -> Result<(), NetworkError> {
        let values: usize = self.shape.iter().product();
        debug_assert!(rows.len() <= values, "at most one plan's rows");
        let file = self.file;
        let engine = |e: TractError| NetworkError::Engine {
            file,
            reason: format!("{e:#}"),
        };
        let input = if rows.len() == values {
            Tensor::from_shape(&self.shape, rows)
        } else {
            let mut padded = vec![0.0; values];
            padded[..rows.len()].copy_from_slice(rows);
            Tensor::from_shape(&self.shape, &padded)
        };
        let outputs = self
            .state
            .run(tvec!(input.map_err(engine)?.into_tvalue()))
            .map_err(engine)?;
        let views = outputs
            .iter()
            .map(|output| output.try_as_plain_ram())
            .collect::<TractResult<Vec<_>>>();
        let views = views.map_err(engine)?;
        let slices = views
            .iter()
            .map(tract_onnx::prelude::PlainView::as_slice::<f32>)
            .collect::<TractResult<Vec<_>>>();
        take(&slices.map_err(engine)?);
        Ok(())
    }
}

/// Refuses a model in which some tensor is too large.
fn check_sizes(model: &TypedModel, max_elements: usize) -> Result<(), String> {
    for node in &model.nodes {
        for output in &node.outputs {
            let volume = output
                .fact
                .shape
                .as_concrete()
                .map(|dims| dims.iter().try_fold(1_usize, |volume, dim| volume.checked_mul(*dim)));
            match volume {
                Some(Some(volume)) if volume <= max_elements => {}
                Some(_) => {
                    let reason = "more elements in a batch than the limit";
                    return Err(format!(
                        "{:?}: {:?} is {reason} of {max_elements}",
                        node.name, output.fact.shape
                    ));
                }
                None => {
                    return Err(format!(
                        "{:?}: its shape {:?} is not fixed",
                        node.name, output.fact.shape
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The outputs in the order of the graph; each must be `PLAN_ROWS` rows of 32-bit floats.
fn outputs_of(model: &TypedModel, graph: &onnx::proto::GraphProto) -> Result<Vec<Output>, String> {
    let mut outputs = Vec::new();
    for (place, info) in graph.output.iter().enumerate() {
        let fact = model
            .output_fact(place)
            .map_err(|e| format!("output {:?}: {e}", info.name))?;
        if fact.datum_type != f32::datum_type() {
            return Err(format!(
                "output {:?} is {:?}, must be 32-bit floats",
                info.name, fact.datum_type
            ));
        }
        let columns = match fact.shape.as_concrete() {
            Some([PLAN_ROWS]) => 1,
            Some([PLAN_ROWS, columns]) => *columns,
            _ => {
                return Err(format!(
                    "output {:?} has the shape {:?}, must be rows x columns",
                    info.name, fact.shape
                ));
            }
        };
        outputs.push(Output {
            name: info.name.clone(),
            columns,
        });
    }
    Ok(outputs)
}
