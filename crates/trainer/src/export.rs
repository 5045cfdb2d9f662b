//! Trained networks as ONNX files, by the contract of a bundle.
//!
//! Everything between linear amplitude and the network's own space is inside: `autoencoder.onnx` takes the logarithm
//! and standardises, `decoder.onnx` undoes both. The batch is a free dimension, `N`.

mod graph;
mod temporal;

use burn::tensor::Tensor;
use tocsin_detect::Standardise;
use tocsin_models::{Objective, onnx};

use crate::linear::LinearModel;
use crate::network::{Autoencoder, Body, Conv, Dense, Down, KERNEL, LOG_VARIANCE, Linear, Up, padded_bins};
use graph::Graph;

/// What lies between linear amplitude and the network's space.
#[derive(Debug, Clone, Copy)]
pub struct Preprocessing<'a> {
    /// The s0 of ln(1 + s / s0), canonical units.
    pub s0: f32,
    /// Full scale in canonical units: reconstructions end there.
    pub full_scale: f32,
    /// Mean and deviation of each bin's logarithm.
    pub standardise: &'a Standardise,
}

/// The autoencoder as a file: `bins` (`history` of a temporal one) to `target`, `reconstruction` and `latent`, and to `score`
/// where the objective scores rows by more than their error, or scores are to be multiplied by something.
pub(crate) fn autoencoder(
    network: &Autoencoder,
    objective: Objective,
    latent: usize,
    score_factor: Option<f32>,
    preprocessing: Preprocessing<'_>,
) -> Vec<u8> {
    let bins = preprocessing.standardise.bins();
    let mut graph = Graph::new("autoencoder");
    let (input, row) = match &network.body {
        Body::Temporal(temporal) => (onnx::HISTORY, vec![temporal.spectra, bins]),
        Body::Dense(_) | Body::Conv(_) => (onnx::BINS, vec![bins]),
    };
    let given = preprocessing.target(&mut graph, input);
    let (target, features) = match &network.body {
        Body::Dense(dense) => (given.clone(), features_dense(&mut graph, dense, &given)),
        Body::Conv(conv) => (given.clone(), features_conv(&mut graph, conv, &given, bins)),
        Body::Temporal(temporal) => (
            temporal::newest(&mut graph, temporal, &given, bins),
            temporal::features(&mut graph, temporal, &given, bins),
        ),
    };
    let mut code = linear(&mut graph, network.body.encoder_latent(), "encoder_latent", &features);
    if network.bounded {
        code = graph.op("Sigmoid", &[&code]);
    }
    let rebuilt = decode(&mut graph, network, &code, bins);
    let mut outputs = vec![
        (target.clone(), onnx::TARGET, bins),
        (rebuilt.clone(), onnx::RECONSTRUCTION, bins),
        (code.clone(), onnx::LATENT, latent),
    ];
    let mut score = None;
    if let (Objective::VariationalElbo { beta }, Some(layer)) = (objective, &network.log_variance) {
        let log_variance = linear(&mut graph, layer, "log_variance", &features);
        let log_variance = graph.clip(&log_variance, -LOG_VARIANCE, LOG_VARIANCE);
        let divergence = divergence(&mut graph, &code, &log_variance, latent);
        let error = error(&mut graph, &target, &rebuilt, bins);
        let weighed = graph.with_weight("Mul", &divergence, "beta", &[], &[2.0 * beta / bins as f32]);
        score = Some(graph.op("Add", &[&error, &weighed]));
    }
    if let Some(factor) = score_factor {
        let own = score.unwrap_or_else(|| error(&mut graph, &target, &rebuilt, bins));
        score = Some(graph.with_weight("Mul", &own, "score_factor", &[], &[factor]));
    }
    outputs.extend(score.map(|score| (score, onnx::SCORE, 1)));
    let named: Vec<_> = outputs
        .iter()
        .map(|(value, name, size)| (value.as_str(), *name, *size))
        .collect();
    graph.finish((input, &row), &named)
}

/// The mean squared error of each row: rows x 1.
fn error(graph: &mut Graph, target: &str, rebuilt: &str, bins: usize) -> String {
    let difference = graph.op("Sub", &[target, rebuilt]);
    let squared = graph.op("Mul", &[&difference, &difference]);
    graph.sum_of_row(&squared, "mean", bins, 1.0 / bins as f32)
}

/// The divergence of each row's latents from a standard normal distribution, in nats: rows x 1.
fn divergence(graph: &mut Graph, mean: &str, log_variance: &str, latent: usize) -> String {
    let variance = graph.op("Exp", &[log_variance]);
    let squared = graph.op("Mul", &[mean, mean]);
    let sum = graph.op("Add", &[&variance, &squared]);
    let difference = graph.op("Sub", &[&sum, log_variance]);
    let each = graph.with_weight("Sub", &difference, "one_each", &[], &[1.0]);
    graph.sum_of_row(&each, "half_each", latent, 0.5)
}

fn decode(graph: &mut Graph, network: &Autoencoder, latent: &str, bins: usize) -> String {
    match &network.body {
        Body::Dense(dense) => decode_dense(graph, dense, latent),
        Body::Conv(conv) => decode_conv(graph, conv, latent, bins),
        Body::Temporal(temporal) => decode_dense(graph, &temporal.beside, latent),
    }
}

/// The decoder as a file: `latent` to `spectrum`, from zero to full scale.
pub(crate) fn decoder(network: &Autoencoder, latent: usize, preprocessing: Preprocessing<'_>) -> Vec<u8> {
    let bins = preprocessing.standardise.bins();
    let mut graph = Graph::new("decoder");
    let rebuilt = decode(&mut graph, network, onnx::LATENT, bins);
    let spectrum = preprocessing.spectrum(&mut graph, &rebuilt);
    graph.finish((onnx::LATENT, &[latent]), &[(&spectrum, onnx::SPECTRUM, bins)])
}

/// A linear model as a file, with the same inputs and outputs as a network.
pub(crate) fn linear_autoencoder(model: &LinearModel, latent: usize, preprocessing: Preprocessing<'_>) -> Vec<u8> {
    let bins = preprocessing.standardise.bins();
    let mut graph = Graph::new("autoencoder");
    let target = preprocessing.target(&mut graph, onnx::BINS);
    let code = graph.with_weight("MatMul", &target, "encode", &[bins, latent], &model.encode);
    let rebuilt = match &model.rebuild {
        Some(matrix) => graph.with_weight("MatMul", &target, "rebuild", &[bins, bins], matrix),
        None => graph.with_weight("MatMul", &code, "decode", &[latent, bins], &model.decode),
    };
    graph.finish(
        (onnx::BINS, &[bins]),
        &[
            (&target, onnx::TARGET, bins),
            (&rebuilt, onnx::RECONSTRUCTION, bins),
            (&code, onnx::LATENT, latent),
        ],
    )
}

/// A linear model's decoder as a file.
pub(crate) fn linear_decoder(model: &LinearModel, latent: usize, preprocessing: Preprocessing<'_>) -> Vec<u8> {
    let bins = preprocessing.standardise.bins();
    let mut graph = Graph::new("decoder");
    let rebuilt = graph.with_weight("MatMul", onnx::LATENT, "decode", &[latent, bins], &model.decode);
    let spectrum = preprocessing.spectrum(&mut graph, &rebuilt);
    graph.finish((onnx::LATENT, &[latent]), &[(&spectrum, onnx::SPECTRUM, bins)])
}

impl Preprocessing<'_> {
    /// From the linear amplitude of `input` to the network's space.
    fn target(self, graph: &mut Graph, input: &str) -> String {
        let standardise = self.standardise;
        let bins = standardise.bins();
        let scale: Vec<f32> = standardise.sd().iter().map(|sd| 1.0 / sd).collect();
        let means = standardise.mean().iter().zip(&scale);
        let shift: Vec<f32> = means.map(|(mean, scale)| -mean * scale).collect();
        let ratio = graph.with_weight("Mul", input, "inverse_s0", &[], &[1.0 / self.s0]);
        let from_one = graph.with_weight("Add", &ratio, "one", &[], &[1.0]);
        let log = graph.op("Log", &[&from_one]);
        let scaled = graph.with_weight("Mul", &log, "inverse_sd", &[bins], &scale);
        graph.with_weight("Add", &scaled, "shift", &[bins], &shift)
    }

    /// From the network's space to linear amplitude.
    fn spectrum(self, graph: &mut Graph, rebuilt: &str) -> String {
        let standardise = self.standardise;
        let bins = standardise.bins();
        let scaled = graph.with_weight("Mul", rebuilt, "sd", &[bins], standardise.sd());
        let log = graph.with_weight("Add", &scaled, "mean", &[bins], standardise.mean());
        // The canonical form holds nothing beyond full scale; without an end the exponential could overflow.
        let top = (self.full_scale / self.s0).ln_1p();
        let held = graph.clip(&log, 0.0, top);
        let exponential = graph.op("Exp", &[&held]);
        let ratio = graph.with_weight("Sub", &exponential, "one", &[], &[1.0]);
        graph.with_weight("Mul", &ratio, "s0", &[], &[self.s0])
    }
}

fn features_dense(graph: &mut Graph, dense: &Dense, rows: &str) -> String {
    let hidden = linear(graph, &dense.encoder_hidden, "encoder_hidden", rows);
    graph.op("Relu", &[&hidden])
}

fn decode_dense(graph: &mut Graph, dense: &Dense, latent: &str) -> String {
    let hidden = linear(graph, &dense.decoder_hidden, "decoder_hidden", latent);
    let hidden = graph.op("Relu", &[&hidden]);
    linear(graph, &dense.decoder_bins, "decoder_bins", &hidden)
}

fn features_conv(graph: &mut Graph, conv: &Conv, rows: &str, bins: usize) -> String {
    let mut positions = padded_bins(bins);
    let mut values = rows.to_owned();
    if positions > bins {
        values = graph.pad(&values, &[0, 0, 0, positions - bins]);
    }
    let mut channels = 1;
    for (at, layer) in conv.down.iter().enumerate() {
        values = down(graph, layer, at, &values, positions, channels);
        positions /= 2;
        channels = layer.bias.dims()[0];
    }
    graph.reshape(&values, &[positions * channels])
}

fn decode_conv(graph: &mut Graph, conv: &Conv, latent: &str, bins: usize) -> String {
    let flat = linear(graph, &conv.decoder_flat, "decoder_flat", latent);
    let mut values = graph.op("Relu", &[&flat]);
    let mut positions = padded_bins(bins) >> conv.up.len();
    for (at, layer) in conv.up.iter().enumerate() {
        values = up(graph, layer, at, &values, positions);
        positions *= 2;
        if at + 1 < conv.up.len() {
            values = graph.op("Relu", &[&values]);
        }
    }
    let flat = graph.reshape(&values, &[positions]);
    if positions == bins {
        flat
    } else {
        graph.slice(&flat, 1, 0, bins)
    }
}

/// A convolution as one product: see the network's own words.
fn down(graph: &mut Graph, layer: &Down, at: usize, values: &str, positions: usize, channels: usize) -> String {
    let half = positions / 2;
    let pairs = graph.reshape(values, &[half, 2 * channels]);
    let pairs = graph.pad(&pairs, &[0, 1, 0, 0, 1, 0]);
    let before = graph.slice(&pairs, 1, 0, half);
    let own = graph.slice(&pairs, 1, 1, half + 1);
    let after = graph.slice(&pairs, 1, 2, half + 2);
    let after = graph.slice(&after, 2, 0, channels);
    let taps = graph.concat(&[&before, &own, &after], 2);
    let taps = graph.reshape(&taps, &[KERNEL * channels]);
    let outputs = layer.bias.dims()[0];
    let name = format!("down_{at}");
    let out = product(graph, &name, &taps, &layer.weight.val(), &values_of(layer.bias.val()));
    let out = graph.op("Relu", &[&out]);
    graph.reshape(&out, &[half, outputs])
}

/// A transposed convolution as one product.
fn up(graph: &mut Graph, layer: &Up, at: usize, values: &str, positions: usize) -> String {
    let channels = layer.even.dims()[0] / 3;
    let outputs = layer.bias.dims()[0];
    let values = graph.reshape(values, &[positions, channels]);
    let values = graph.pad(&values, &[0, 1, 0, 0, 1, 0]);
    let taps: Vec<String> = (0..3)
        .map(|from| graph.slice(&values, 1, from, from + positions))
        .collect();
    let taps = graph.concat(&[&taps[0], &taps[1], &taps[2]], 2);
    let taps = graph.reshape(&taps, &[3 * channels]);
    let bias = values_of(layer.bias.val()).repeat(2);
    let out = product(graph, &format!("up_{at}"), &taps, &layer.joined(), &bias);
    graph.reshape(&out, &[2 * positions, outputs])
}

fn linear(graph: &mut Graph, layer: &Linear, name: &str, rows: &str) -> String {
    product(graph, name, rows, &layer.weight.val(), &values_of(layer.bias.val()))
}

fn product(graph: &mut Graph, name: &str, rows: &str, weight: &Tensor<2>, bias: &[f32]) -> String {
    let dims = weight.dims();
    let out = graph.with_weight(
        "MatMul",
        rows,
        &format!("{name}_weight"),
        &dims,
        &values_of(weight.clone()),
    );
    graph.with_weight("Add", &out, &format!("{name}_bias"), &[bias.len()], bias)
}

fn values_of<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("weights are 32-bit floats")
}
