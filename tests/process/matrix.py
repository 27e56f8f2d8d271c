#!/usr/bin/env python3
"""Runs one small job in many ways that must end in the same bits, and compares outer_digest.

For every codec and number of workers: over three links, three backends, every SIMD target (all workers alike, and
each worker another), and killed at five moments and resumed. For every task and rule, at two workers, the same kills.

  matrix.py THINWIRE            everything; a record per run is kept, so a second call goes on where it stopped
  matrix.py THINWIRE --cover    every value at least once and every pair of (codec, moment), mostly with threads

Exit status 0 if all digests agree. The table goes to standard output as Markdown.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

from settings import meant
from small_job import REPOSITORY

CODECS = {
    "fp32": {"outer.codec": "fp32", "outer.error_feedback": "false"},
    "int4+ef": {"outer.codec": "int4", "outer.error_feedback": "true"},
    "e3m0+ef": {"outer.codec": "e3m0", "outer.error_feedback": "true"},
    "int2 stochastic": {"outer.codec": "int2", "outer.error_feedback": "false", "outer.rounding": "stochastic"},
    "topk+ef": {"outer.codec": "topk", "outer.k": "512", "outer.error_feedback": "true", "outer.decay": "0.95",
                "outer.momentum": "0.0"},
    "int2 rotated+ef": {"outer.codec": "int2", "outer.rotate": "true", "outer.error_feedback": "true",
                        "outer.decay": "0.9"},
}
LINKS = {"unlimited": "unlimited", "slow": "1mbit/100ms", "asymmetric": "up=2mbit,down=20mbit,rtt=30ms"}
# Checkpoints at steps 7 and 14 of 20; with three fragments, H = 6 and tau = 2, something is in flight at each.
MOMENTS = {
    "before the first checkpoint": "step:3",
    "fragments in flight": "step:9",
    "during a checkpoint write": "checkpoint_write:14",
    "during one worker's checkpoint write": "checkpoint_write:14:{last}",
    "at the last step": "step:20",
}
TASKS = ["pretrain", "qat", "lora", "distill"]
RULES = {
    "eager updates": {"outer.method": "eager_diloco", **CODECS["e3m0+ef"]},
    "int4, embeddings int8": {"outer.embeddings_codec": "int8", **CODECS["int4+ef"]},
    "muon": {"inner.optimizer": "muon", **CODECS["e3m0+ef"]},
}
BASE = {
    "run.seed": "1", "model.layers": "2", "model.width": "32", "model.heads": "2", "model.context": "32",
    "data.sequence": "32", "inner.steps": "20", "inner.batch": "2", "inner.warmup": "5", "inner.lr": "3e-3",
    "outer.method": "streaming_diloco", "outer.sync_every": "6", "outer.fragments": "2", "outer.overlap": "2",
    "outer.block": "64", "checkpoint.every": "7", "log.every": "5", "log.tensorboard": "false", "comm.timeout_s": "60",
}


class Matrix:
    def __init__(self, program, folder, record):
        self.program, self.folder, self.record = program, folder, record
        self.done = {}
        if os.path.exists(record):
            with open(record) as lines:
                for line in lines:
                    entry = json.loads(line)
                    self.done[entry["run"]] = entry["digest"]
        self.teacher = None

    def settings(self, **changes):
        settings = dict(BASE)
        settings["data.path"] = os.path.join(REPOSITORY, "LICENSE")
        settings.update({key.replace("__", "."): value for key, value in changes.items()})
        return settings

    def command(self, run, settings, workers, backend, simd):
        settings = meant(settings)
        config = os.path.join(self.folder, "empty.toml")
        open(config, "w").close()
        overrides = ["--set", "run.dir=" + run]
        for key, value in settings.items():
            overrides += ["--set", f"{key}={toml(value)}"]
        if isinstance(simd, list):  # each worker another target: every process picks its own before it starts
            overrides += ["--set", "comm.backend=mpi"]
            script = ('shift "$((OMPI_COMM_WORLD_RANK % {n}))"; export THINWIRE_SIMD="$1"; shift "$(({n} - '
                      'OMPI_COMM_WORLD_RANK % {n}))"; exec "$@"').format(n=len(simd))
            worker = [self.program, "train", config] + overrides
            return [self.program, "launch", "-n", str(workers), "--", "sh", "-c", script, "sh"] + simd + worker
        return [self.program, "launch", config, "-n", str(workers), "--backend", backend] + overrides

    def launch(self, name, settings, workers, backend, fault=None, simd=None):
        """Starts the run (and resumes it if a fault broke it off); returns its digest."""
        if name in self.done:
            return self.done[name]
        run = os.path.join(self.folder, "run")
        shutil.rmtree(run, ignore_errors=True)
        command = self.command(run, settings, workers, backend, simd)
        environment = dict(os.environ)
        if isinstance(simd, str):
            environment["THINWIRE_SIMD"] = simd
        if fault:
            broken = self.run(command, dict(environment, THINWIRE_FAULT=fault), must_fail=True)
            if broken.returncode == 0:
                raise SystemExit(f"{name}: the fault {fault} did not strike")
            self.run([self.program, "resume", run], environment)
        else:
            self.run(command, environment)
        with open(os.path.join(run, "summary.json")) as summary:
            digest = json.load(summary)["outer_digest"]
        self.done[name] = digest
        with open(self.record, "a") as lines:
            lines.write(json.dumps({"run": name, "digest": digest}) + "\n")
        return digest

    def run(self, command, environment, must_fail=False):
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if result.returncode != 0 and not must_fail:
            raise SystemExit(f"failed ({result.returncode}): {' '.join(command)}\n{result.stdout}\n{result.stderr}")
        return result

    def prepare_teacher(self):
        """A pretrained model that lora starts from and distill learns from."""
        path = os.path.join(self.folder, "teacher")
        if not os.path.exists(os.path.join(path, "summary.json")):
            shutil.rmtree(path, ignore_errors=True)
            command = self.command(path, self.settings(), 1, "threads", None)
            self.run(command, os.environ)
        return path

    def task_settings(self, task):
        settings = self.settings(task__kind=task)
        settings.update(CODECS["e3m0+ef"])
        if task == "qat":
            settings["quant.rule"] = '[{match = "blocks", weights = "int4", activations = "int8"}]'
        if task == "lora":
            settings["model.from"] = self.prepare_teacher()
        if task == "distill":
            settings["task.teacher"] = self.prepare_teacher()
        return settings


def toml(value):
    if value.startswith("["):
        return value
    return value if value in ("true", "false") or value.replace(".", "").replace("e-", "").isdigit() else f'"{value}"'


def simd_targets(program):
    """Those that this machine has, by trying."""
    found = []
    for target in ["scalar", "avx2", "avx512"]:
        probe = subprocess.run([program, "bench", "codec", "--values", "1024", "--json"],
                               env=dict(os.environ, THINWIRE_SIMD=target), capture_output=True)
        if probe.returncode == 0:
            found.append(target)
        else:
            print(f"skipped: SIMD target {target} is not on this machine", file=sys.stderr)
    return found


def has_grpc(program):
    with tempfile.TemporaryDirectory() as folder:
        probe = subprocess.run([program, "certs", "-o", folder, "--name", "probe"], capture_output=True)
    if probe.returncode != 0:
        print("skipped: this build has no gRPC", file=sys.stderr)
    return probe.returncode == 0


def cells(matrix, cover):
    """Yields (row, way, settings, workers, backend, fault, simd)."""
    targets = simd_targets(matrix.program)
    grpc = has_grpc(matrix.program)
    for codec_index, (codec, codec_settings) in enumerate(CODECS.items()):
        for workers in [1, 2, 3, 4]:
            settings = matrix.settings()
            settings.update(codec_settings)
            row = f"{codec}, {workers} workers"
            # The covering choice: each codec at one world size in full, the links, backends and targets in turn.
            chosen = not cover or workers == [2, 3, 4, 1, 2, 3][codec_index]
            if not chosen:
                continue
            yield row, "threads, unlimited", settings, workers, "threads", None, None
            for link_index, (link, text) in enumerate(LINKS.items()):
                if link != "unlimited" and (not cover or codec_index % 2 == link_index % 2):
                    yield row, f"link {link}", dict(settings, **{"comm.link": text}), workers, "threads", None, None
            if not cover or codec_index < 2:
                yield row, "mpi", settings, workers, "mpi", None, None
            if grpc and (not cover or codec_index >= 2):
                yield row, "grpc", settings, workers, "grpc", None, None
                fault = MOMENTS["fragments in flight"]
                yield row, "grpc, killed fragments in flight", settings, workers, "grpc", fault, None
            for target in targets:
                if not cover or codec_index == 1:
                    yield row, f"SIMD {target}", settings, workers, "threads", None, target
            if workers > 1 and len(targets) > 1 and (not cover or codec_index == 2):
                yield row, "SIMD by worker", settings, workers, "mpi", None, targets
            for moment, fault in MOMENTS.items():
                yield row, f"killed {moment}", settings, workers, "threads", fault.format(last=workers - 1), None
            if not cover:
                for moment, fault in MOMENTS.items():
                    yield (row, f"mpi, killed {moment}", settings, workers, "mpi", fault.format(last=workers - 1), None)
    jobs = [(f"task {task}", matrix.task_settings(task)) for task in TASKS]
    jobs += [(rule, dict(matrix.settings(), **settings)) for rule, settings in RULES.items()]
    moments = list(MOMENTS.items())
    for index, (job, settings) in enumerate(jobs):
        row = f"{job}, 2 workers"
        yield row, "threads, unlimited", settings, 2, "threads", None, None
        yield row, "mpi", settings, 2, "mpi", None, None
        if grpc and not cover:
            yield row, "grpc", settings, 2, "grpc", None, None
        yield row, "link slow", dict(settings, **{"comm.link": LINKS["slow"]}), 2, "threads", None, None
        for moment, fault in [moments[index % len(moments)]] if cover else moments:
            yield row, f"killed {moment}", settings, 2, "threads", fault.format(last=1), None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--cover", action="store_true")
    parser.add_argument("--folder", help="where runs and records are kept; a temporary one if not given")
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.program)
    folder = arguments.folder or tempfile.mkdtemp(prefix="thinwire-matrix-")
    os.makedirs(folder, exist_ok=True)
    with open(program, "rb") as file:  # what another build did is not taken over
        build = hashlib.sha256(file.read()).hexdigest()[:12]
    matrix = Matrix(program, folder, os.path.join(folder, f"done-{build}.jsonl"))
    rows, failures = {}, 0
    try:
        for row, way, settings, workers, backend, fault, simd in cells(matrix, arguments.cover):
            digest = matrix.launch(f"{row}: {way}", settings, workers, backend, fault, simd)
            first, ways = rows.setdefault(row, (digest, []))
            ways.append((way, digest == first))
            failures += digest != first
            print(f"{'ok' if digest == first else 'DIFFERS'}  {row}: {way}  {digest}", file=sys.stderr, flush=True)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print("| job | digest | ways that gave it | ways that did not |\n|---|---|---|---|")
    for row, (digest, ways) in rows.items():
        good = [way for way, same in ways if same]
        bad = [way for way, same in ways if not same]
        print(f"| {row} | `{digest[:16]}` | {len(good)}: {', '.join(good)} | {', '.join(bad) or 'none'} |")
    print(f"\n{sum(len(ways) for _, ways in rows.values()) - failures} runs agree, {failures} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
