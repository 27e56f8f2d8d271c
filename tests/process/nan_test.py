#!/usr/bin/env python3
"""Runs whose loss or gradients stop being finite, under every outer method: what ends them, what is kept, what goes on.
usage: nan_test.py THINWIRE"""
import array
import functools
import glob
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from small_job import MODEL, REPOSITORY, JobCase

PROGRAM = ""
METHODS = ["none", "ddp", "diloco", "streaming_diloco", "eager_diloco"]
WORKERS = 2
# An end by a deadline would take this long; one by the reason is there at once.
TIMEOUT = 60
SOON = 40
# SGD whose rate climbs: healthy at first, infinite after some fifteen steps.
CLIMBING = f"""{MODEL}[data]
path = "{REPOSITORY}/LICENSE"
sequence = 32
[inner]
steps = 40
batch = 2
optimizer = "sgd"
lr = 5
warmup = 40
schedule = "constant"
clip = 0
[outer]
sync_every = 6
fragments = 2
overlap = 2
block = 64
[checkpoint]
every = 3
keep = 3
[log]
every = 1
tensorboard = false
[comm]
timeout_s = {TIMEOUT}
"""
# The factors of a LoRA begin at a product of zero, so with a huge alpha the model and its loss are healthy and every
# gradient is beyond float32: each step is skipped, and what it leaves untouched can be compared.
SKIPPING = ["task.kind=lora", "lora.alpha=1e38", "inner.lr=1e-3", "inner.steps=8"]
NOT_FINITE = r"NaN|infinite|beyond float32"


def tensors_of(path):
    """{name: (dtype, bytes)} of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    return {name: (entry["dtype"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()
            if name != "__metadata__"}


def in_each_way(test):
    """A test for every outer method and backend, with a folder for its run."""
    @functools.wraps(test)
    def all_ways(self):
        for backend in self.backends():
            for method in METHODS:
                with self.subTest(method=method, backend=backend):
                    test(self, method, backend, self.path(f"{method}-{backend}"))
    return all_ways


class NotFinite(JobCase):
    def setUp(self):
        super().setUp()
        self.write_config(CLIMBING)

    def thinwire(self, *words, code=0):
        result = subprocess.run([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=300)
        self.assertEqual(result.returncode, code, f"{words}\n{result.stdout}")
        return result.stdout

    def launch(self, run, method, backend, settings=(), code=0, workers=WORKERS):
        words = ["launch", self.config, "-n", str(workers), "--backend", backend]
        for setting in [f"run.dir={run}", f"outer.method={method}", *settings]:
            words += ["--set", setting]
        return self.thinwire(*words, code=code)

    def backends(self):
        probe = subprocess.run([PROGRAM, "certs", "-o", self.path("probe"), "--name", "probe"], capture_output=True)
        if probe.returncode != 0:
            print("skipped: this build has no gRPC", file=sys.stderr)
        return ["threads", "grpc"] if probe.returncode == 0 else ["threads"]

    def reason(self, said):
        """The step that an error names, with a worker and what is not finite."""
        match = re.search(rf"worker (\d+)[^\n]*: at step (\d+): [^\n]*({NOT_FINITE})", said)
        self.assertIsNotNone(match, said)
        self.assertLess(int(match[1]), WORKERS)
        self.assertNotIn("json", said)
        return int(match[2])

    def checkpoints(self, run):
        """Steps with a checkpoint of every worker; each must hold finite numbers alone."""
        steps = []
        for folder in glob.glob(os.path.join(run, "checkpoints", "step-*")):
            files = glob.glob(os.path.join(folder, "worker-*", "state.safetensors"))
            if len(files) == WORKERS:
                steps.append(int(folder.rsplit("-", 1)[1]))
            for path in files:
                self.assert_finite(path)
        return sorted(steps)

    def assert_finite(self, path):
        for name, (dtype, data) in tensors_of(path).items():
            if dtype == "F32":
                self.assertTrue(all(map(math.isfinite, array.array("f", data))), f"{path}: {name}")

    def resume_from_the_last_good(self, run, good):
        """As the errors advise. A checkpoint of finite numbers may have diverged all the same, which depends on the
        processor: it is left out of `good`, then."""
        words = ["resume", run, "--set", "inner.lr=1e-3", "--set", "inner.clip=1"]
        while len(good) > 1:
            result = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=300)
            if result.returncode == 0:
                return
            folder = f"{run}/checkpoints/step-{good.pop()}"
            self.assertIn(f"had diverged already: remove {folder}", result.stdout + result.stderr)
            shutil.rmtree(folder)
        self.thinwire(*words)

    def summary(self, run):
        with open(os.path.join(run, "summary.json")) as file:
            return json.load(file)

    @in_each_way
    def test_a_run_that_diverges_ends_at_once_and_goes_on_from_its_last_good_checkpoint(self, method, backend, run):
        begin = time.monotonic()
        said = self.launch(run, method, backend, code=1)
        self.assertLess(time.monotonic() - begin, SOON)
        step = self.reason(said)
        good = self.checkpoints(run)
        self.assertTrue(good, "no checkpoint is left")
        self.assertLess(good[-1], step)
        self.assertGreaterEqual(good[-1], step - 4)  # the newest before it, not an old one
        self.thinwire("verify", run)

        # What the error advises works.
        self.assertIn("inner.lr", said)
        self.assertIn(f"thinwire resume {run}", said)
        self.resume_from_the_last_good(run, good)
        summary = self.summary(run)
        self.assertEqual(summary["resumed_from"], good[-1])
        self.assertTrue(math.isfinite(summary["eval_loss"]))
        self.checkpoints(run)

    @in_each_way
    def test_a_rate_beyond_all_measure_ends_the_run_within_its_first_steps(self, method, backend, run):
        begin = time.monotonic()
        said = self.launch(run, method, backend, ["inner.lr=1e30", "inner.warmup=0", "checkpoint.every=1"], code=1)
        self.assertLess(time.monotonic() - begin, SOON)
        step = self.reason(said)
        self.assertLessEqual(step, 3)
        self.assertTrue(all(good < step for good in self.checkpoints(run)))

    def test_every_worker_at_a_coordinator_ends_with_the_reason(self):
        if "grpc" not in self.backends():
            self.skipTest("this build has no gRPC")
        coordinator = subprocess.Popen([PROGRAM, "coordinator", "-n", str(WORKERS), "--timeout", str(TIMEOUT)],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(coordinator.stdout.close)
        self.addCleanup(coordinator.wait)
        self.addCleanup(coordinator.kill)
        address = ""
        while not address:
            line = coordinator.stdout.readline()
            self.assertTrue(line, "the coordinator names no address")
            match = re.search(r"listening at (\S+)", line)
            address = match[1] if match else ""
        begin = time.monotonic()
        workers = [subprocess.Popen([PROGRAM, "train", self.config, "--coordinator", address, "--rank", str(rank),
                                     "--set", "run.dir=" + self.path(f"run-{rank}")],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                   for rank in range(WORKERS)]
        for worker in workers:
            said, _ = worker.communicate(timeout=300)
            self.assertEqual(worker.returncode, 1, said)
            self.reason(said)
        self.assertLess(time.monotonic() - begin, SOON)

    def skipping(self):
        """Settings under which every step is skipped."""
        base = self.path("base")
        if not os.path.exists(base):
            self.launch(base, "none", "threads", ["inner.steps=2", "inner.lr=1e-3"], workers=1)
        return [f"model.from={base}", *SKIPPING]

    @in_each_way
    def test_skipped_steps_leave_the_state_as_it_was_and_are_counted(self, method, backend, run):
        settings = self.skipping() + ["inner.skip_nonfinite=100"]
        self.launch(run, method, backend, settings)
        summary = self.summary(run)
        self.assertEqual(summary["skipped_steps"], 8 * WORKERS)
        self.assertTrue(math.isfinite(summary["eval_loss"]))
        with open(os.path.join(run, "metrics.jsonl")) as lines:
            counts = [record["skipped_steps"] for record in map(json.loads, lines) if "skipped_steps" in record]
        self.assertEqual(counts[0], WORKERS)
        self.assertEqual(counts, sorted(counts))
        self.assertEqual(counts[-1], 8 * WORKERS)
        steps = self.checkpoints(run)
        self.assertEqual(steps, [3, 6, 8])
        for worker in range(WORKERS):
            first, last = (tensors_of(os.path.join(run, "checkpoints", f"step-{step}", f"worker-{worker}",
                                                   "state.safetensors")) for step in (steps[0], steps[-1]))
            for name in [n for n in first if n.startswith(("live/", "agreed/", "optimizer/"))]:
                self.assertEqual(first[name], last[name], f"worker {worker}: {name}")

    @in_each_way
    def test_more_steps_in_a_row_than_may_be_skipped_end_the_run(self, method, backend, run):
        settings = self.skipping() + ["inner.skip_nonfinite=4"]
        begin = time.monotonic()
        said = self.launch(run, method, backend, settings, code=1)
        self.assertLess(time.monotonic() - begin, SOON)
        self.assertEqual(self.reason(said), 5)
        self.assertIn("inner.skip_nonfinite", said)
        self.assertEqual(self.checkpoints(run), [3])

    @in_each_way
    def test_a_run_that_may_skip_nothing_ends_at_the_first_step(self, method, backend, run):
        settings = self.skipping()
        self.assertEqual(self.reason(self.launch(run, method, backend, settings, code=1)), 1)
        self.assertEqual(self.checkpoints(run), [])


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
