"""A serverless function that encodes rows: onnxruntime and NumPy alone, one thread, the model loaded once.

The file is what ``er.export(posterior, "encoder.onnx", what="encode", draws=250)`` wrote, in ``MODEL``; it is run ``PASSES`` times for a
row, each time with other noise, so that memory is that of a few draws and evidence that of all: eight times for 2,000. The event holds rows
by argument, ``{"x": [[…], …]}``; the answer, for each row, means and sds of its latent quantities, corrected by the weights of its draws,
with k̂ of these and a verdict.
"""

from __future__ import annotations

import json
import os
import time

import numpy as np

BEGIN = time.perf_counter()
import onnxruntime as ort  # noqa: E402  its start is part of what is measured

KHAT, LEAST = 0.5, 1143
"""Up to which k̂, and from how many effective draws on, a row is trusted: and no better than the file's notes say of any row."""
KHAT_CAUTION, LEAST_CAUTION = 0.7, 100
VERDICTS = ["trusted", "caution", "untrusted"]
MOST_ROWS = 64
PASSES = int(os.environ.get("PASSES", "1"))


def session(path: str) -> ort.InferenceSession:
    """The model in little memory: one thread, no arena that grows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


MODEL = session(os.environ["MODEL"])
INPUTS = {one.name: one for one in MODEL.get_inputs()}
OUTPUTS = [one.name for one in MODEL.get_outputs()]
NOTES = json.loads(MODEL.get_modelmeta().custom_metadata_map.get("elboroom", "{}"))
TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
COLD = time.perf_counter() - BEGIN


def handler(event: dict, context: object = None) -> dict:
    """Answer one event."""
    try:
        rows = given(json.loads(event["body"]) if isinstance(event.get("body"), str) else event)
    except (KeyError, TypeError, ValueError) as error:
        return {"statusCode": 422, "body": json.dumps({"error": str(error)})}
    count = len(next(iter(rows.values())))
    answers = [answer({name: value[i : i + 1] for name, value in rows.items()}) for i in range(count)]
    return {"statusCode": 200, "body": json.dumps({"rows": answers, "model": NOTES.get("verdict")})}


def given(event: dict) -> dict[str, np.ndarray]:
    """Arrays of an event, as the model takes them."""
    rows = {}
    for name in (name for name in INPUTS if not name.startswith("eps_")):
        if name not in event:
            raise ValueError(
                f"'{name}' is missing: expected {sorted(n for n in INPUTS if not n.startswith('eps_'))}"
            )
        value = np.asarray(
            [
                [np.nan if v is None else v for v in row] if isinstance(row, list) else row
                for row in event[name]
            ]
        )
        if value.dtype.kind not in "fiub" or value.shape[1:] != tuple(INPUTS[name].shape[1:]):
            raise ValueError(f"'{name}': expected numbers of shape {INPUTS[name].shape}, got {value.shape}")
        rows[name] = value.astype(TYPES[INPUTS[name].type])
    counts = {len(value) for value in rows.values()}
    if len(counts) != 1 or not 1 <= max(counts) <= MOST_ROWS:
        raise ValueError(f"expected 1 to {MOST_ROWS} rows, as many of each input, got {sorted(counts)}")
    return rows


def normal(count: int, stream: int) -> np.ndarray:
    """Standard normal numbers, by SplitMix64 (Steele, Lea & Flood 2014) and Box–Muller: ``numpy.random`` would take 6 MiB."""
    place = np.arange(1, count + count % 2 + 1, dtype=np.uint64) + np.uint64(stream << 40)
    z = place * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(float) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-u[::2])), 2 * np.pi * u[1::2]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def ran(row: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """Outputs of one row: the noise of a pass is always the same, so that the same row has the same answer."""
    noise = {}
    for i, (name, one) in enumerate(INPUTS.items()):
        if name.startswith("eps_"):
            shape = (1, *one.shape[1:])
            stream = 1 + number * len(INPUTS) + i
            noise[name] = normal(int(np.prod(shape)), stream).reshape(shape).astype(TYPES[one.type])
    return dict(zip(OUTPUTS, MODEL.run(OUTPUTS, {**row, **noise}), strict=True))


def answer(row: dict[str, np.ndarray]) -> dict:
    """Law of one row."""
    passes = [ran(row, number) for number in range(PASSES if "log_weights" in OUTPUTS else 1)]
    found = {name: passes[0][name] for name in OUTPUTS}
    for name in ("log_weights", "z"):
        if name in found:
            found[name] = np.concatenate([one[name] for one in passes], axis=1)
    if "log_weights" not in found:
        return {"mean": numbers(found["mean"][0]), "sd": numbers(found["sd"][0]), "verdict": None}
    log_weights, z = found["log_weights"][0].astype(float), found["z"][0].astype(float)
    if not np.isfinite(log_weights).all():
        return {"mean": None, "sd": None, "verdict": None, "reason": "this row cannot be answered"}
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    mean = weights @ z
    sd = np.sqrt(weights @ (z - mean) ** 2)
    shape, effective = khat(log_weights), 1 / np.sum(weights**2)
    order = (
        0
        if shape < KHAT and effective >= LEAST
        else 1
        if shape < KHAT_CAUTION and effective >= LEAST_CAUTION
        else 2
    )
    verdict = VERDICTS[max(order, VERDICTS.index(NOTES.get("best_row", "untrusted")))]
    return {
        "mean": numbers(mean),
        "sd": numbers(sd),
        "khat": round(shape, 3),
        "effective": round(effective),
        "verdict": verdict,
    }


def numbers(values: np.ndarray) -> list:
    """As JSON takes them."""
    return [None if not np.isfinite(v) else float(v) for v in values]


def khat(log_weights: np.ndarray) -> float:
    """Shape of the tail of importance weights (Zhang & Stephens 2009; Vehtari et al. 2024, with their weak prior)."""
    count = len(log_weights)
    tail = int(np.ceil(min(0.2 * count, 3 * np.sqrt(count))))
    ordered = np.exp(np.sort(log_weights)[-tail - 1 :] - log_weights.max())
    x = ordered[1:] - ordered[0]
    if tail < 5 or x[-1] <= 0:
        return float("inf") if tail < 5 else 0.0
    grid = 30 + int(np.sqrt(tail))
    theta = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (
        3 * x[int(tail / 4 + 0.5) - 1]
    )
    shapes = np.log1p(-theta[:, None] * x).mean(1)
    fit = tail * (np.log(-theta / shapes) - shapes - 1)
    best = np.sum(theta / np.exp(fit - fit[:, None]).sum(1))
    return float((tail * np.log1p(-best * x).mean() + 5) / (tail + 10))


def main() -> None:
    """Answer events, one a line of standard input, as a platform's runtime hands them over."""
    import sys

    for line in sys.stdin:
        print(json.dumps(handler(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
