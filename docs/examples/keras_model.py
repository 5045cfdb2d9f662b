"""An autoencoder trained with Keras, exported to ONNX by the contract of a Tocsin bundle.

    pip install duckdb numpy keras tensorflow-cpu tf2onnx
    python keras_model.py history.parquet folder
    tocsin train --corpus history.parquet --class pump --variant foreign --latent 12 \
        --autoencoder folder/autoencoder.onnx --decoder folder/decoder.onnx --register

A dense network rebuilds ln(1 + s / s0); logarithm and its inverse are parts of the models, as the platform asks.
autoencoder: input `bins` (rows x bins, linear amplitude), outputs `target`, `reconstruction` and `latent`;
decoder: input `latent`, output `spectrum` (rows x bins, linear amplitude, finite and not negative).
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import duckdb
import keras
import numpy
from keras import layers, ops

LATENT = 12
S0 = 0.001  # the s0 of the sensors' spectrum, in the canonical unit
FULL_SCALE = 10.0
OPSET = 17


def healthy_spectra(corpus):
    rows = duckdb.sql(f"select bins from '{corpus}' where split = 'train'").fetchall()
    return numpy.array([row[0] for row in rows], dtype=numpy.float32)


def networks(scaled):
    """From scaled logarithm to latent, and back, trained together on rows x bins."""
    encode = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(LATENT)])
    decode = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(scaled.shape[1])])
    whole = keras.Sequential([encode, decode])
    whole.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    whole.fit(scaled, scaled, batch_size=64, epochs=60, verbose=0)
    return encode, decode, whole.evaluate(scaled, scaled, verbose=0)


def export(model, path):
    (given,) = model.inputs
    model(numpy.zeros((1, given.shape[1]), dtype=numpy.float32))
    signature = [keras.InputSpec(shape=given.shape, dtype="float32", name=given.name)]
    model.export(path, format="onnx", opset_version=OPSET, input_signature=signature, verbose=False)


def main(corpus, folder):
    keras.utils.set_random_seed(0)
    spectra = healthy_spectra(corpus)
    log = numpy.log1p(spectra / S0)
    mean, deviation = log.mean(axis=0), log.std(axis=0)
    encode, decode, error = networks((log - mean) / deviation)
    rebuild = lambda latent: decode(latent) * deviation + mean

    bins = keras.Input((spectra.shape[1],), name="bins")
    target = ops.log(bins / S0 + 1.0)
    latent = encode((target - mean) / deviation)
    autoencoder = keras.Model(bins, {"target": target, "reconstruction": rebuild(latent), "latent": latent})

    latent = keras.Input((LATENT,), name="latent")
    highest = float(numpy.log1p(FULL_SCALE / S0))
    amplitude = (ops.exp(ops.clip(rebuild(latent), 0.0, highest)) - 1.0) * S0
    decoder = keras.Model(latent, {"spectrum": amplitude})

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    export(autoencoder, folder / "autoencoder.onnx")
    export(decoder, folder / "decoder.onnx")
    print(f"{len(spectra)} spectra of {spectra.shape[1]} bins, mean squared error {error:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
