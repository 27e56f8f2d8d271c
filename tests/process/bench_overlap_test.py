#!/usr/bin/env python3
"""`thinwire bench overlap` on a small job, by real processes.  usage: bench_overlap_test.py THINWIRE"""
import glob
import json
import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from small_job import JobCase

PROGRAM = ""
KEYS = {"method", "codec", "workers", "link", "utilization", "floor_mbit", "step_seconds", "workers_per_core", "tau",
        "fits", "run_mbytes"}


class BenchOverlap(JobCase):
    def bench(self, *words):
        return subprocess.run([PROGRAM, "bench", "overlap", self.config, "--backend", "threads",
                               "--set", "data.tokenizer=bpe", "--set", "data.vocab_size=400", "--set", "inner.steps=60",
                               *words],
                              capture_output=True, text=True, timeout=300, cwd=self.folder,
                              env=dict(os.environ, TMPDIR=self.folder))

    def test_gives_a_row_for_each_arm_and_draws_it(self):
        plot = os.path.join(self.folder, "plot.svg")
        result = self.bench("--rate", "4mbit", "--rtt", "10ms", "--workers", "2", "--json", "--svg", plot)
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = json.loads(result.stdout)
        self.assertEqual([(row["method"], row["codec"]) for row in rows],
                         [("ddp", "fp32"), ("diloco", "fp32"), ("streaming", "fp32"), ("streaming+overlap", "fp32"),
                          ("streaming+overlap", "e3m0")])
        for row in rows:
            self.assertEqual(set(row), KEYS)
            self.assertEqual((row["workers"], row["link"]), (2, "4mbit/10ms"))
            self.assertTrue(0 < row["utilization"] <= 1, row)
            self.assertTrue(row["step_seconds"] > 0 and row["floor_mbit"] > 0, row)
            overlaps = row["method"] == "streaming+overlap"
            self.assertTrue(1 <= row["tau"] <= 6 if overlaps else row["tau"] == 0, row)
        traffic = {(row["method"], row["codec"]): row["run_mbytes"] for row in rows}
        self.assertAlmostEqual(traffic["ddp", "fp32"] / traffic["diloco", "fp32"], 6, delta=0.1)
        self.assertAlmostEqual(traffic["streaming", "fp32"] / traffic["streaming+overlap", "e3m0"], 7.8, delta=0.3)
        marks = xml.etree.ElementTree.parse(plot).getroot()
        self.assertTrue(marks.tag.endswith("svg"))
        self.assertEqual(glob.glob(os.path.join(self.folder, "thinwire-overlap-*")), [], "the runs are gone")

    def test_refuses_a_link_before_it_runs_anything(self):
        result = self.bench("--rate", "4bananas")
        self.assertEqual(result.returncode, 2)
        self.assertIn("4bananas", result.stderr)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
