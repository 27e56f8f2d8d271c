#!/usr/bin/env python3
"""Peak resident memory of a worker against its parameters, by method and workers.  usage: memory.py THINWIRE TEXT

Two models that differ only in the number of their blocks are trained under MPI for a few steps: what the larger one
holds more, divided by its further parameters, is free of LibTorch's own share and of all that does not grow with the
model. Beside it, the formula of docs/results.md.
"""
import json
import os
import subprocess
import sys
import tempfile

from settings import meant

WIDTH, SMALL, LARGE = 256, 8, 24
SETTINGS = {"model.width": WIDTH, "model.heads": 8, "model.context": 16, "data.sequence": 16, "inner.batch": 1,
            "inner.steps": 9, "inner.warmup": 1, "log.every": 3, "log.tensorboard": "false", "checkpoint.every": 0,
            "outer.sync_every": 8, "outer.fragments": 4, "outer.overlap": 2, "comm.timeout_s": 600}
ARMS = [(method, codec, feedback, workers) for workers in (2, 4) for method, codec, feedback in
        (("ddp", "fp32", False), ("ddp", "int8", True), ("diloco", "fp32", False), ("streaming_diloco", "fp32", False),
         ("streaming_diloco", "e3m0", True))]
BYTES_A_VALUE = {"fp32": 4, "int8": 1 + 4 / 256, "e3m0": 0.5 + 4 / 256}


def formula(method, codec, feedback, workers):
    """Bytes a parameter: theta, gradient, Adam's two moments; G and V, or ddp's mean gradient; the residual; and of
    what is in flight all workers' payloads (gathered; reduced it is two, and fewer), with ddp the own alone."""
    inner = 4 * 4
    agreed = 4 if method == "ddp" else 2 * 4
    residual = 4 if feedback else 0
    # ddp: all gradients at once. DiLoCo: one fragment, the whole; streaming: a fifth of it.
    at_once = 1 if method in ("ddp", "diloco") else 1 / 5
    payloads = 1 if method == "ddp" else workers
    return inner + agreed + residual + at_once * payloads * BYTES_A_VALUE[codec]


def peak(program, text, blocks, method, codec, feedback, workers):
    with tempfile.TemporaryDirectory(prefix="thinwire-memory-") as folder:
        config = os.path.join(folder, "job.toml")
        settings = {**SETTINGS, "model.layers": blocks, "data.path": json.dumps(os.path.abspath(text)),
                    "run.dir": json.dumps(os.path.join(folder, "run")), "outer.method": json.dumps(method),
                    "outer.codec": json.dumps(codec), "outer.error_feedback": str(feedback).lower()}
        open(config, "w").close()
        words = [word for key, value in meant(settings).items() for word in ("--set", f"{key}={value}")]
        result = subprocess.run([program, "launch", config, "-n", str(workers), "--backend", "mpi", "--json", *words],
                                capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{method}, {codec}: {result.stderr[-2000:]}")
        return json.loads(result.stdout)["peak_resident_bytes"]


def main():
    program, text = sys.argv[1:]
    per_block = 4 * WIDTH * WIDTH + 3 * WIDTH * 688 + 2 * WIDTH  # attention, MLP (8/3 of the width, up to 16), norms
    further = (LARGE - SMALL) * per_block
    print(f"| method | codec | error feedback | workers | peak, {LARGE} blocks, MiB | bytes a parameter | formula |")
    print("|---|---|---|---|---|---|---|")
    for arm in ARMS:
        small, large = (peak(program, text, blocks, *arm) for blocks in (SMALL, LARGE))
        method, codec, feedback, workers = arm
        print(f"| {method} | {codec} | {'yes' if feedback else 'no'} | {workers} | {large / 2**20:.0f} | "
              f"{(large - small) / further:.1f} | {formula(*arm):.1f} |", flush=True)


if __name__ == "__main__":
    main()
