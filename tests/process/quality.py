#!/usr/bin/env python3
"""Evaluation loss on WordNet's glosses at equal steps and equal batch per worker. Resumable: every run is recorded.

  quality.py methods THINWIRE --text FILE... --folder DIR    one worker, ddp, DiLoCo, streaming, by number of workers
  quality.py tasks   THINWIRE --text FILE... --folder DIR    each task from one trained model, 1 worker and 2
  quality.py bits    THINWIRE --text FILE... --folder DIR    streaming, by codec, error feedback, workers and H
  quality.py long    THINWIRE --text FILE... --folder DIR    the best of bits, beside ddp and one worker, for longer

Methods and tasks: every arm gets the same sweep on every seed (H, where it has rounds, and inner rate), and is shown at
the point of its best mean. Bits: the outer step is swept on the first seed for float32 and, having no momentum, for
SparseLoCo; every arm of a table then has the same settings and seeds. Long: two workers, one seed, the outer step that
bits found. The table goes to standard output, the plot of bits to DIR/bits.svg.
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys

import svg_plot
from settings import meant

JOB = {"inner.warmup": 50, "inner.clip": 1.0, "inner.weight_decay": 0.1, "inner.batch": 32, "data.sequence": 64,
       "log.every": 50, "log.tensorboard": "false", "checkpoint.every": 0, "checkpoint.keep": 1, "comm.timeout_s": 600}
MODEL = {"model.layers": 4, "model.width": 64, "model.heads": 4, "model.context": 64, "data.tokenizer": '"bpe"',
         "data.vocab_size": 512}
OUTER = {"outer.fragments": 4, "outer.overlap": 2, "outer.alpha": 0.5, "outer.lr": 0.5, "outer.momentum": 0.8}
FP32 = {"outer.codec": '"fp32"', "outer.error_feedback": "false"}
ONE_WORKER = {"outer.method": '"none"'}
STREAMING_E3M0 = {"outer.method": '"streaming_diloco"', **OUTER, "outer.codec": '"e3m0"',
                  "outer.error_feedback": "true"}
ARMS = {
    "one worker": ONE_WORKER,
    "ddp": {"outer.method": '"ddp"', **FP32},
    "DiLoCo": {"outer.method": '"diloco"', **OUTER, **FP32},
    "streaming fp32": {"outer.method": '"streaming_diloco"', **OUTER, **FP32},
    "streaming e3m0+ef": STREAMING_E3M0,
}
# The outer step swept by `bits`, eta:mu. SparseLoCo has no momentum (arXiv 2508.15706, algorithm 1).
OUTER_STEPS = ["0.5:0.8", "0.7:0.8", "0.7:0.6", "0.4:0.9"]
SPARSE_STEPS = ["0.7:0", "1.0:0", "2.0:0"]
# Codecs by bits; beside each the decay of its residual, of the rule that proposes it (MuLoCo: 0.9, SparseLoCo: 0.95).
CODED = {"fp32": None, "int8": None, "int4": 1.0, "e3m0": 1.0, "int2": 0.9, "sign": 0.9, "topk": 0.95}
ARMS_AT_LONG_H = ["fp32", "e3m0+ef", "int2+ef"]
# What is trained for longer: of the table of bits the best at 4 bits and the best at 2.
LONG_ARMS = ["int4", "int2"]
BITS = {**MODEL, "inner.lr": 6e-3, "inner.batch": 16}
TASKS = ["pretrain", "qat", "lora", "distill"]
QAT_RULE = '[{match = "blocks", weights = "int4", activations = "int8"}]'


class Runs:
    """Runs jobs, as many at once as there are cores, each once: its summary is kept by its name."""

    def __init__(self, arguments):
        self.program, self.folder = arguments.program, arguments.folder
        self.text = json.dumps([os.path.abspath(path) for path in arguments.text])
        self.pool, self.submitted = concurrent.futures.ThreadPoolExecutor(os.cpu_count()), {}
        os.makedirs(self.folder, exist_ok=True)

    def submit(self, name, workers, settings, keep=False):
        name = name.replace(" ", "_")
        if name not in self.submitted:
            self.submitted[name] = self.pool.submit(self.run, name, workers, settings, keep)
        return self.submitted[name]

    def run(self, name, workers, settings, keep):
        record, run = (os.path.join(self.folder, name + end) for end in (".json", ""))
        if not os.path.exists(record):
            shutil.rmtree(run, ignore_errors=True)
            config = os.path.join(self.folder, name + ".toml")
            open(config, "w").close()
            command = [self.program, "launch", config, "-n", str(workers), "--backend", "threads", "--json"]
            for key, value in {**JOB, **meant(settings), "run.dir": json.dumps(run), "data.path": self.text}.items():
                command += ["--set", f"{key}={value}"]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise SystemExit(f"{name} failed: {result.stderr[-2000:]}")
            with open(record, "w") as file:
                file.write(result.stdout)
            os.remove(config)
            if not keep:
                shutil.rmtree(run)
        with open(record) as file:
            summary = json.load(file)
        print(f"{name}: {summary['eval_loss']:.4f}", file=sys.stderr, flush=True)
        return summary


def losses_of(started):
    return [run.result()["eval_loss"] for run in started]


def sweep(runs, arms, points, seeds):
    """arms: name -> (workers, settings by seed); points: name -> settings to sweep over.

    Returns arm -> (point of the best mean, its losses by seed)."""
    def start(arm, point, seed):
        workers, settings_of = arms[arm]
        settings = {**settings_of(seed), **points[point], "run.seed": seed}
        if not settings.keys() >= OUTER.keys():  # no rounds, so no H: points that differ in it are one run
            settings.pop("outer.sync_every", None)
            point = point[point.index("lr"):]
        return runs.submit(f"{arm}-{point}-s{seed}", workers, settings)

    started = {arm: {point: [start(arm, point, seed) for seed in seeds] for point in points} for arm in arms}
    found = {}
    for arm, by_point in started.items():
        losses = {point: losses_of(of_seeds) for point, of_seeds in by_point.items()}
        best = min(points, key=lambda point: statistics.mean(losses[point]))
        found[arm] = (best, losses[best])
    return found


def in_full(values, form):
    """The mean, and in brackets what it is of."""
    return f"{format(statistics.mean(values), form)} ({', '.join(format(v, form) for v in values)})"


def methods(runs, arguments):
    worlds = [int(m) for m in arguments.workers.split(",")]
    cells = [("one worker", 1)] + [(arm, m) for arm in list(ARMS)[1:] for m in worlds]
    arms = {f"{arm}, {m}, {arguments.steps} steps":
            (m, lambda seed, arm=arm: {**MODEL, **ARMS[arm], "inner.steps": arguments.steps}) for arm, m in cells}
    points = {f"H{h}-lr{rate}": {"outer.sync_every": h, "inner.lr": rate}
              for h, rate in (point.split(":") for point in arguments.points.split(","))}
    found = dict(zip(cells, sweep(runs, arms, points, arguments.seeds.split(",")).values()))
    one = found["one worker", 1][1]
    print("| arm | workers | best point | evaluation loss (by seed) | share of the way to ddp | against fp32 exchange |")
    print("|---|---|---|---|---|---|")
    for (arm, m), (point, losses) in found.items():
        share = against = "-"
        if m > 1:
            share = in_full([100 * (a - x) / (a - d) for a, x, d in zip(one, losses, found["ddp", m][1])], ".0f") + " %"
        if arm == "streaming e3m0+ef":
            against = in_full([100 * (x / f - 1) for x, f in zip(losses, found["streaming fp32", m][1])], "+.2f") + " %"
        print(f"| {arm} | {m} | {point} | {in_full(losses, '.4f')} | {share} | {against} |")


def tasks(runs, arguments):
    seeds = arguments.seeds.split(",")
    base_of = {seed: f"base,_{arguments.steps}_steps-s{seed}" for seed in seeds}
    bases = [runs.submit(base_of[seed], 1, {**MODEL, **ONE_WORKER, "inner.steps": arguments.steps, "inner.lr": 6e-3,
                                            "run.seed": seed}, keep=True) for seed in seeds]
    floats = losses_of(bases)

    def settings(task, m):
        def of(seed):
            base = json.dumps(os.path.join(runs.folder, base_of[seed]))
            return {**(ONE_WORKER if m == 1 else STREAMING_E3M0), "inner.steps": arguments.task_steps,
                    "outer.sync_every": 15,
                    "model.from": base, "task.kind": json.dumps(task), **({"quant.rule": QAT_RULE} if task == "qat" else {}),
                    **({"task.teacher": base} if task == "distill" else {})}
        return of

    cells = [(task, m) for task in TASKS for m in (1, 2)]
    arms = {f"{task}, {m}, {arguments.task_steps} steps": (m, settings(task, m)) for task, m in cells}
    points = {f"lr{rate}": {"inner.lr": rate} for rate in arguments.task_rates.split(",")}
    found = dict(zip(cells, sweep(runs, arms, points, seeds).values()))
    print("| task | workers | best lr | evaluation loss (by seed) | the float model it starts from |")
    print("|---|---|---|---|---|")
    for (task, m), (rate, losses) in found.items():
        print(f"| {task} | {m} | {rate} | {in_full(losses, '.4f')} | {in_full(floats, '.4f')} |")


def coded_arms():
    """name -> settings: each codec as it is, and with error feedback if it has less than 8 bits."""
    arms = {}
    for codec in CODED:
        arms[codec] = {"outer.codec": json.dumps(codec), "outer.error_feedback": "false"}
        if CODED[codec]:
            arms[codec + "+ef"] = {"outer.codec": json.dumps(codec), "outer.error_feedback": "true",
                                   "outer.decay": CODED[codec]}
    return arms


def bits(runs, arguments):
    seeds, worlds = arguments.seeds.split(","), [int(m) for m in arguments.workers.split(",")]
    streaming = {**BITS, "outer.method": '"streaming_diloco"', **OUTER}
    steps_of = {int(h): int(steps) for h, steps in (length.split(":") for length in arguments.lengths.split(","))}
    base_h = min(steps_of)

    def start(arm, codec, step, m, h, seed):
        eta, mu = step.split(":")
        return runs.submit(f"bits {arm}, {m}, H{h}, {steps_of[h]} steps-outer{step}-s{seed}", m,
                           {**streaming, **codec, "outer.lr": eta, "outer.momentum": mu, "outer.sync_every": h,
                            "inner.steps": steps_of[h], "run.seed": seed})

    arms = coded_arms()
    chosen = arguments.arms.split(",") if arguments.arms else list(arms)
    if "fp32" not in chosen or not set(chosen) <= set(arms):
        raise SystemExit(f"--arms: expected fp32 and others of {', '.join(arms)}; found {arguments.arms}")

    def best_step(arm, steps):
        found = {step: start(arm, arms[arm], step, 2, base_h, seeds[0]) for step in steps}
        return min(steps, key=lambda step: losses_of([found[step]]))

    dense = best_step("fp32", OUTER_STEPS)
    sparse = best_step("topk+ef", SPARSE_STEPS) if any(arm.startswith("topk") for arm in chosen) else "not asked for"
    cells = {(arm, m, h): [start(arm, codec, sparse if arm.startswith("topk") else dense, m, h, seed) for seed in seeds]
             for h in steps_of for m in worlds
             for arm, codec in arms.items() if arm in chosen and (h == base_h or arm in ARMS_AT_LONG_H)}
    print(f"Outer step (eta:mu): {dense}; of topk: {sparse}.\n")
    print("| arm | workers | H | bits a value | evaluation loss (by seed) | against fp32 exchange |")
    print("|---|---|---|---|---|---|")
    points = []
    for (arm, m, h), started in cells.items():
        losses, floats = losses_of(started), losses_of(cells["fp32", m, h])
        sent, sent_floats = (runs_of[0].result()["wire_bytes_per_worker"] for runs_of in (started, cells["fp32", m, h]))
        against = [100 * (x / f - 1) for x, f in zip(losses, floats)]
        width = 32 * sent / sent_floats
        print(f"| {arm} | {m} | {h} | {width:.2f} | {in_full(losses, '.4f')} | {in_full(against, '+.2f')} % |", flush=True)
        points.append((f"{m} workers, H {h}" + (", error feedback" if arm.endswith("+ef") else ""), width, arm,
                       statistics.mean(against)))
    with open(os.path.join(runs.folder, "bits.svg"), "w") as file:
        file.write(svg_plot.scatter(points, "bits a value on the wire", "evaluation loss against fp32 exchange, %"))


def long(runs, arguments):
    steps = arguments.long_steps
    streaming = {"outer.method": '"streaming_diloco"', **OUTER, "outer.lr": 0.7, "outer.momentum": 0.6,
                 "outer.sync_every": 30}
    arms = {"one worker": (1, ONE_WORKER), "ddp": (2, ARMS["ddp"]),
            **{arm: (2, {**streaming, **coded_arms()[arm]}) for arm in LONG_ARMS}}
    started = {arm: runs.submit(f"long {arm}, {m}, {steps} steps-s1", m,
                                {**BITS, **settings, "inner.steps": steps, "run.seed": 1})
               for arm, (m, settings) in arms.items()}
    print("| arm | workers | tokens a parameter | evaluation loss | share of the way to ddp | sent per worker, MB |")
    print("|---|---|---|---|---|---|")
    one, ddp = losses_of([started["one worker"], started["ddp"]])
    # Of two workers each sends every parameter once a step under ddp, in four bytes, and headers of 0.1 %.
    parameters = started["ddp"].result()["wire_bytes_per_worker"] / (4 * steps)
    for arm, (m, _) in arms.items():
        summary = started[arm].result()
        tokens = m * steps * BITS["inner.batch"] * JOB["data.sequence"] / parameters
        share = 100 * (one - summary["eval_loss"]) / (one - ddp)
        print(f"| {arm} | {m} | {tokens:.1f} | {summary['eval_loss']:.4f} | {share:.0f} % "
              f"| {summary['wire_bytes_per_worker'] / 1e6:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["methods", "tasks", "bits", "long"])
    parser.add_argument("program")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lengths", default="30:600,100:2000",
                        help="H:steps of the table of bits; all arms at the shortest H, a few at the others")
    parser.add_argument("--arms", help="of the table of bits, fp32 among them: fp32,e3m0,e3m0+ef; all if not given")
    parser.add_argument("--long-steps", type=int, default=3000)
    parser.add_argument("--task-steps", type=int, default=300)
    parser.add_argument("--points", default="30:6e-3,30:9e-3,15:6e-3", help="H:inner rate, the sweep of methods")
    parser.add_argument("--task-rates", default="1e-3,3e-3", help="of tasks")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--workers", default="2,4", help="of the tables of methods and bits")
    arguments = parser.parse_args()
    arguments.folder = os.path.abspath(arguments.folder)
    {"methods": methods, "tasks": tasks, "bits": bits, "long": long}[arguments.table](Runs(arguments), arguments)


if __name__ == "__main__":
    main()
