"""The other side of bench-training: `forest` by scikit-learn, `conv` by PyTorch. Prints one JSON document."""

import json
import sys
import time

import duckdb
import numpy

S0, BATCH, SEED = 0.001, 4096, 0


def part(corpus, split):
    wanted = f"split = '{split}' and sensor like '%/horizontal'"
    rows = duckdb.sql(f"select bins from '{corpus}' where {wanted} order by sensor, captured_at").fetchall()
    return numpy.log1p(numpy.array([row[0] for row in rows], dtype=numpy.float32) / S0)


def area(healthy, faulty):
    """Area under the receiver operating characteristic, by ranks."""
    from sklearn.metrics import roc_auc_score

    labels = numpy.r_[numpy.zeros(len(healthy)), numpy.ones(len(faulty))]
    return roc_auc_score(labels, numpy.r_[healthy, faulty])


def forest(corpus):
    from sklearn.ensemble import IsolationForest

    train, healthy, end = (part(corpus, split) for split in ("train", "test_healthy", "end"))
    model = IsolationForest(n_estimators=100, max_samples=256, n_jobs=1, random_state=time.time_ns() % 2**32).fit(train)
    score = lambda rows: -model.score_samples(rows)
    whole = numpy.concatenate([train, healthy, end])
    whole = numpy.resize(whole, (25 * BATCH, whole.shape[1]))
    score(whole[:BATCH])
    started = time.perf_counter()
    for first in range(0, len(whole), BATCH):
        score(whole[first : first + BATCH])
    rate = len(whole) / (time.perf_counter() - started)
    return {"rows_per_second": rate, "auroc": area(score(healthy), score(end))}


def conv(corpus, epochs):
    try:
        import torch
    except ImportError:
        return {}
    from torch import nn

    torch.manual_seed(SEED)
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


what, epochs, corpus = sys.argv[1:4]
print(json.dumps(forest(corpus) if what == "forest" else conv(corpus, int(epochs))))
