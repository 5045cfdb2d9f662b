//! ONNX as protobuf messages: to write a model, and to read one without running it.

use prost::Message;
pub use tract_onnx::pb as proto;

/// The model as a file's bytes.
pub fn to_bytes(model: &proto::ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Reads a file's bytes; says what is wrong with them.
pub fn from_bytes(bytes: &[u8]) -> Result<proto::ModelProto, String> {
    proto::ModelProto::decode(bytes).map_err(|e| format!("not an ONNX model: {e}"))
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
