"""An autoencoder trained with scikit-learn, exported to ONNX by the contract of a Tocsin bundle.

    pip install duckdb numpy onnx scikit-learn skl2onnx
    python foreign_model.py history.parquet folder
    tocsin train --corpus history.parquet --class pump --variant foreign --latent 12 \
        --autoencoder folder/autoencoder.onnx --decoder folder/decoder.onnx --register

Principal components encode ln(1 + s / s0), a small neural network decodes. What the platform asks of the files:
autoencoder: input `bins` (rows x bins, linear amplitude), outputs `target`, `reconstruction` and `latent`;
decoder: input `latent`, output `spectrum` (rows x bins, linear amplitude, finite and not negative).
"""

import sys
from pathlib import Path

import duckdb
import numpy
import onnx
from onnx import TensorProto, compose, helper, numpy_helper
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPRegressor
from skl2onnx import to_onnx

LATENT = 12
S0 = 0.001  # the s0 of the sensors' spectrum, in the canonical unit
FULL_SCALE = 10.0
OPSET, IR = 17, 8


def healthy_spectra(corpus):
    rows = duckdb.sql(f"select bins from '{corpus}' where split = 'train'").fetchall()
    return numpy.array([row[0] for row in rows], dtype=numpy.float32)


def exported(model, columns, outputs, name):
    """What skl2onnx makes of a fitted model, from `name/X` to `name/Y`, with names of its own so that graphs can be joined."""
    example = numpy.zeros((1, columns), dtype=numpy.float32)
    made = compose.add_prefix(to_onnx(model, example, target_opset=OPSET), name + "/")
    made.ir_version = IR
    nodes = made.graph.node
    if nodes[-1].op_type == "Reshape":  # a regressor's end, which takes its outputs for one column
        del nodes[-1]
    nodes[-1].output[0] = name + "/Y"
    del made.graph.output[:]
    made.graph.output.append(helper.make_tensor_value_info(name + "/Y", TensorProto.FLOAT, ["N", outputs]))
    return made


def scalar(name, value):
    return numpy_helper.from_array(numpy.array(value, dtype=numpy.float32), name)


def model(nodes, inputs, outputs, constants, name):
    value = lambda pair: helper.make_tensor_value_info(pair[0], TensorProto.FLOAT, ["N", pair[1]])
    graph = helper.make_graph(nodes, name, [value(pair) for pair in inputs], [value(pair) for pair in outputs], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR
    return made


def logarithm(bins):
    nodes = [
        helper.make_node("Mul", ["bins", "inverse_s0"], ["ratio"]),
        helper.make_node("Add", ["ratio", "one"], ["from_one"]),
        helper.make_node("Log", ["from_one"], ["target"]),
    ]
    return model(nodes, [("bins", bins)], [("target", bins)], [scalar("inverse_s0", 1 / S0), scalar("one", 1)], "logarithm")


def amplitude(bins):
    top = float(numpy.log1p(FULL_SCALE / S0))
    nodes = [
        helper.make_node("Clip", ["log", "low", "high"], ["held"]),
        helper.make_node("Exp", ["held"], ["from_one"]),
        helper.make_node("Sub", ["from_one", "one"], ["ratio"]),
        helper.make_node("Mul", ["ratio", "s0"], ["spectrum"]),
    ]
    constants = [scalar("low", 0), scalar("high", top), scalar("one", 1), scalar("s0", S0)]
    return model(nodes, [("log", bins)], [("spectrum", bins)], constants, "amplitude")


def joined(first, second, pairs, outputs):
    return compose.merge_models(first, second, io_map=pairs, outputs=outputs)


def renamed(made, names):
    """Gives inputs and outputs the names of the contract."""
    for node in made.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
    for value in [*made.graph.input, *made.graph.output]:
        value.name = names.get(value.name, value.name)
    del made.graph.value_info[:]
    onnx.checker.check_model(made, full_check=True)
    return made


def main(corpus, folder):
    spectra = healthy_spectra(corpus)
    bins = spectra.shape[1]
    log = numpy.log1p(spectra / S0)
    encoder = PCA(n_components=LATENT, random_state=0).fit(log)
    latents = encoder.transform(log).astype(numpy.float32)
    decoder = MLPRegressor(hidden_layer_sizes=(32,), max_iter=300, random_state=0).fit(latents, log)

    encode = exported(encoder, bins, LATENT, "encode")
    decode = exported(decoder, LATENT, bins, "decode")
    coded = joined(logarithm(bins), encode, [("target", "encode/X")], ["target", "encode/Y"])
    whole = joined(coded, decode, [("encode/Y", "decode/X")], ["target", "encode/Y", "decode/Y"])
    spectrum = joined(decode, amplitude(bins), [("decode/Y", "log")], ["spectrum"])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {"encode/Y": "latent", "decode/Y": "reconstruction"}
    onnx.save(renamed(whole, names), folder / "autoencoder.onnx")
    onnx.save(renamed(spectrum, {"decode/X": "latent"}), folder / "decoder.onnx")
    print(f"{len(spectra)} spectra of {bins} bins, mean squared error {((decoder.predict(latents) - log) ** 2).mean():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
