#!/usr/bin/env python3
"""LSQ step sizes that training drives below zero: whatever stands in a checkpoint or an exported file is above it, as
a reader of safetensors without a line of ours sees it, and the metrics count them.

qat_steps_test.py THINWIRE
"""
import array
import json
import os
import struct
import subprocess
import sys
import unittest

from small_job import CONFIG, JobCase

QAT = """
[task]
kind = "qat"
[[quant.rule]]
match = "blocks"
"""


def steps_in(path):
    """The model's float32 tensors whose names end in _step."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    steps = {}
    for name, entry in header.items():
        if not name.endswith("_step") or not name.startswith(("live/", "agreed/", "blocks.")):
            continue
        begin, end = entry["data_offsets"]
        steps[name] = array.array("f", content[8 + length + begin:8 + length + end])
    return steps


def lines_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


class QatSteps(JobCase):
    def call(self, *arguments):
        done = subprocess.run([THINWIRE, *arguments], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def expect_positive(self, path, count):
        steps = steps_in(path)
        self.assertEqual(len(steps), count, path)
        for name, values in steps.items():
            self.assertGreater(min(values), 0, f"{path} {name}")

    def train(self, method, rate):
        run = self.path(f"{method}-{rate}")
        self.write_config(CONFIG + QAT)
        settings = [f"run.dir={run}", f"outer.method={method}", f"inner.lr={rate}", "inner.warmup=0",
                    "inner.steps=30", "log.eval_every=10"]
        self.call("launch", self.config, "-n", "2", *(part for one in settings for part in ("--set", one)))
        return run

    def test_stay_above_zero_in_every_file(self):
        in_agreed = 0
        for method, rate in [("diloco", 5e-3), ("streaming_diloco", 5e-3), ("ddp", 5e-3), ("diloco", 2e-3)]:
            with self.subTest(method=method, rate=rate):
                run = self.train(method, rate)
                counts = [line["clamped_steps"] for line in lines_of(f"{run}/metrics.jsonl") if "loss" in line]
                self.assertTrue(counts)
                if rate > 2e-3:
                    self.assertGreater(sum(counts), 0, "the test needs steps that cross zero")
                in_agreed += sum(line.get("clamped_steps", 0) for line in lines_of(f"{run}/commits.jsonl"))
                for step in os.listdir(f"{run}/checkpoints"):
                    for worker in range(2):
                        # 7 layers in 2 blocks, 2 step sizes each, live and agreed.
                        self.expect_positive(f"{run}/checkpoints/{step}/worker-{worker}/state.safetensors", 56)
                packed = self.path("packed.safetensors")
                self.call("export", run, "--to", "packed", "-o", packed)
                self.expect_positive(packed, 28)
        self.assertGreater(in_agreed, 0, "the test needs steps of the agreed copy that cross zero")


if __name__ == "__main__":
    THINWIRE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
