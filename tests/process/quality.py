#!/usr/bin/env python3
"""Evaluation loss on WordNet's glosses of one worker, data-parallel, DiLoCo and streaming, at equal steps and equal
batch per worker: the same sweep of inner rates and the same seeds for every arm. Resumable: every run is recorded.

  quality.py THINWIRE --text FILE... --folder DIR [--steps 1000] [--lrs 3e-3,6e-3] [--seeds 1,2] [--workers 2,4]

The sweep is on the first seed; each arm's best rate runs on the others. The table goes to standard output.
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys

MODEL = {
    "model.layers": 4, "model.width": 64, "model.heads": 4, "model.context": 64, "data.tokenizer": '"bpe"',
    "data.vocab_size": 512, "data.sequence": 64, "inner.batch": 32, "inner.warmup": 50, "inner.clip": 1.0,
    "inner.weight_decay": 0.1, "log.every": 50, "log.tensorboard": "false", "checkpoint.every": 0, "checkpoint.keep": 1,
    "comm.timeout_s": 600,
}
OUTER = {"outer.sync_every": 30, "outer.fragments": 4, "outer.overlap": 2, "outer.alpha": 0.5, "outer.lr": 0.7,
         "outer.momentum": 0.9}
FP32 = {"outer.codec": '"fp32"', "outer.error_feedback": "false"}
ARMS = {
    "one worker": {"outer.method": '"none"'},
    "ddp": {"outer.method": '"ddp"', **FP32},
    "DiLoCo": {"outer.method": '"diloco"', **OUTER, **FP32},
    "streaming fp32": {"outer.method": '"streaming_diloco"', **OUTER, **FP32},
    "streaming e3m0+ef": {"outer.method": '"streaming_diloco"', **OUTER, "outer.codec": '"e3m0"',
                          "outer.error_feedback": "true"},
}


def run(arguments, arm, workers, lr, seed):
    name = f"{arm.replace(' ', '_')}-w{workers}-lr{lr}-s{seed}-t{arguments.steps}"
    record = os.path.join(arguments.folder, name + ".json")
    if not os.path.exists(record):
        folder = os.path.join(arguments.folder, name)
        shutil.rmtree(folder, ignore_errors=True)
        config = os.path.join(arguments.folder, name + ".toml")
        open(config, "w").close()
        texts = json.dumps([os.path.abspath(path) for path in arguments.text])
        settings = {**MODEL, **ARMS[arm], "run.dir": json.dumps(folder), "run.seed": seed, "inner.lr": lr,
                    "inner.steps": arguments.steps, "data.path": texts}
        command = [arguments.program, "launch", config, "-n", str(workers), "--backend", "threads", "--json"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{name} failed: {result.stderr[-2000:]}")
        with open(record, "w") as file:
            file.write(result.stdout)
        shutil.rmtree(folder)
        os.remove(config)
    with open(record) as file:
        summary = json.load(file)
    print(f"{name}: {summary['eval_loss']:.4f}", file=sys.stderr, flush=True)
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lrs", default="3e-3,6e-3")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--workers", default="2,4")
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    lrs, seeds = arguments.lrs.split(","), arguments.seeds.split(",")
    cells = [("one worker", 1)] + [(arm, int(m)) for arm in list(ARMS)[1:] for m in arguments.workers.split(",")]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sweep = {(cell, lr): pool.submit(run, arguments, *cell, lr, seeds[0]) for cell in cells for lr in lrs}
        best = {cell: min(lrs, key=lambda lr: sweep[cell, lr].result()["eval_loss"]) for cell in cells}
        rest = {(cell, seed): pool.submit(run, arguments, *cell, best[cell], seed)
                for cell in cells for seed in seeds[1:]}
        losses = {cell: [sweep[cell, best[cell]].result()["eval_loss"]]
                  + [rest[cell, seed].result()["eval_loss"] for seed in seeds[1:]] for cell in cells}

    one = losses["one worker", 1]
    print(f"{arguments.steps} steps, seeds {arguments.seeds}, inner rates {arguments.lrs}\n")
    print("| arm | workers | best lr | eval loss by seed | mean | share of the way to ddp | against fp32 exchange |")
    print("|---|---|---|---|---|---|---|")
    for arm, workers in cells:
        values = losses[arm, workers]
        share = against = "-"
        if workers > 1:
            ddp = losses["ddp", workers]
            shares = [(a - x) / (a - d) for a, x, d in zip(one, values, ddp)]
            share = f"{100 * statistics.mean(shares):.0f} % ({', '.join(f'{100 * s:.0f}' for s in shares)})"
        if arm == "streaming e3m0+ef":
            gaps = [100 * (x / f - 1) for x, f in zip(values, losses["streaming fp32", workers])]
            against = f"{statistics.mean(gaps):+.2f} % ({', '.join(f'{g:+.2f}' for g in gaps)})"
        print(f"| {arm} | {workers} | {best[arm, workers]} | {', '.join(f'{v:.4f}' for v in values)} | "
              f"{statistics.mean(values):.4f} | {share} | {against} |")


if __name__ == "__main__":
    main()
