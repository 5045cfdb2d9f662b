"""The other side of bench-training: `forest` by scikit-learn, `conv` by PyTorch. Prints one JSON document."""

import json
import sys
import time

import duckdb
import numpy

S0, BATCH = 0.001, 4096


def part(corpus, split):
    wanted = f"split = '{split}' and sensor like '%/horizontal'"
    rows = duckdb.sql(f"select bins from '{corpus}' where {wanted} order by sensor, captured_at").fetchall()
    return numpy.log1p(numpy.array([row[0] for row in rows], dtype=numpy.float32) / S0)


def area(healthy, faulty):
    """Area under the receiver operating characteristic, by ranks."""
    from sklearn.metrics import roc_auc_score

    labels = numpy.r_[numpy.zeros(len(healthy)), numpy.ones(len(faulty))]
    return roc_auc_score(labels, numpy.r_[healthy, faulty])


def forests(corpus, seed, count):
    from sklearn.ensemble import IsolationForest

    train, healthy, end = (part(corpus, split) for split in ("train", "test_healthy", "end"))
    fitted = lambda seed: IsolationForest(n_estimators=100, max_samples=256, n_jobs=1, random_state=seed).fit(train)
    models = [fitted(seed) for seed in range(seed, seed + count)]
    areas = [area(-model.score_samples(healthy), -model.score_samples(end)) for model in models]
    score = models[0].score_samples
    whole = numpy.concatenate([train, healthy, end])
    whole = numpy.resize(whole, (25 * BATCH, whole.shape[1]))
    score(whole[:BATCH])
    started = time.perf_counter()
    for first in range(0, len(whole), BATCH):
        score(whole[first : first + BATCH])
    rate = len(whole) / (time.perf_counter() - started)
    return {"rows_per_second": rate, "auroc": float(numpy.mean(areas))}


def conv(corpus, seed, epochs):
    try:
        import torch
    except ImportError:
        return {}
    from torch import nn

    torch.manual_seed(seed)
    rows = part(corpus, "train")
    rows = torch.from_numpy((rows - rows.mean(0)) / rows.std(0)).unsqueeze(1)
    down = lambda inputs, outputs: [nn.Conv1d(inputs, outputs, 5, 2, 2), nn.ReLU()]
    up = lambda inputs, outputs: [nn.ConvTranspose1d(inputs, outputs, 5, 2, 2, 1), nn.ReLU()]
    flat = 32 * rows.shape[2] // 8
    network = nn.Sequential(
        *down(1, 16), *down(16, 32), *down(32, 32), nn.Flatten(), nn.Linear(flat, 12),
        nn.Linear(12, flat), nn.ReLU(), nn.Unflatten(1, (32, flat // 32)),
        *up(32, 32), *up(32, 16), *up(16, 1)[:1],
    )
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    started = time.perf_counter()
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(256):
            optimiser.zero_grad()
            nn.functional.mse_loss(network(rows[batch]), rows[batch]).backward()
            optimiser.step()
    return {"rows_per_second": epochs * len(rows) / (time.perf_counter() - started)}


what, corpus = sys.argv[1], sys.argv[5]
seed, count, epochs = map(int, sys.argv[2:5])
print(json.dumps(forests(corpus, seed, count) if what == "forest" else conv(corpus, seed, epochs)))
