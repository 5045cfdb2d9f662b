//! Encoders over windows, as operators.

use super::graph::Graph;
use super::{down, linear, values_of};
use crate::network::{Lstm, Over, Temporal, padded_bins};

/// The spectrum that is rebuilt: the last of each window, rows x spectra x bins to rows x bins.
pub(super) fn newest(graph: &mut Graph, temporal: &Temporal, windows: &str, bins: usize) -> String {
    let newest = graph.slice(windows, 1, temporal.spectra - 1, temporal.spectra);
    graph.reshape(&newest, &[bins])
}

/// What the latent is computed from.
pub(super) fn features(graph: &mut Graph, temporal: &Temporal, windows: &str, bins: usize) -> String {
    match &temporal.over {
        Over::Conv(layers) => {
            let mut positions = padded_bins(bins);
            let mut values = windows.to_owned();
            if positions > bins {
                values = graph.pad(&values, &[0, 0, 0, 0, 0, positions - bins]);
            }
            values = graph.transpose(&values, &[0, 2, 1]);
            let mut channels = temporal.spectra;
            for (at, layer) in layers.iter().enumerate() {
                values = down(graph, layer, at, &values, positions, channels);
                positions /= 2;
                channels = layer.bias.dims()[0];
            }
            graph.reshape(&values, &[positions * channels])
        }
        Over::Lstm(lstm) => remembered(graph, lstm, windows, (temporal.spectra, bins)),
    }
}

/// An LSTM step by step: its operator would run a subgraph in the engine, which no bundle may.
fn remembered(graph: &mut Graph, lstm: &Lstm, windows: &str, (spectra, bins): (usize, usize)) -> String {
    let hidden = lstm.hidden();
    let rows = graph.reshape(windows, &[bins]);
    let gates = linear(graph, &lstm.input, "lstm_input", &rows);
    let gates = graph.reshape(&gates, &[spectra, 4 * hidden]);
    let recurrent = values_of(lstm.recurrent.val());
    let recurrent = graph.stored("lstm_recurrent", &[hidden, 4 * hidden], &recurrent);
    let first = step(graph, &gates, 0, hidden);
    let mut cell = entered(graph, &first, hidden);
    let mut said = told(graph, &first, &cell, hidden);
    for at in 1..spectra {
        let now = step(graph, &gates, at, hidden);
        let past = graph.op("MatMul", &[&said, &recurrent]);
        let now = graph.op("Add", &[&now, &past]);
        let keeping = gate(graph, &now, 1, hidden, "Sigmoid");
        let kept = graph.op("Mul", &[&keeping, &cell]);
        let new = entered(graph, &now, hidden);
        cell = graph.op("Add", &[&kept, &new]);
        said = told(graph, &now, &cell, hidden);
    }
    said
}

/// What one spectrum of the window says to the gates.
fn step(graph: &mut Graph, gates: &str, at: usize, hidden: usize) -> String {
    let step = graph.slice(gates, 1, at, at + 1);
    graph.reshape(&step, &[4 * hidden])
}

/// One of the four that lie side by side.
fn gate(graph: &mut Graph, gates: &str, nth: usize, hidden: usize, squash: &str) -> String {
    let gate = graph.slice(gates, 1, nth * hidden, (nth + 1) * hidden);
    graph.op(squash, &[&gate])
}

/// What enters the memory.
fn entered(graph: &mut Graph, gates: &str, hidden: usize) -> String {
    let entering = gate(graph, gates, 0, hidden, "Sigmoid");
    let new = gate(graph, gates, 2, hidden, "Tanh");
    graph.op("Mul", &[&entering, &new])
}

/// What the memory tells.
fn told(graph: &mut Graph, gates: &str, cell: &str, hidden: usize) -> String {
    let telling = gate(graph, gates, 3, hidden, "Sigmoid");
    let squashed = graph.op("Tanh", &[cell]);
    graph.op("Mul", &[&telling, &squashed])
}
