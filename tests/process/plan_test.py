#!/usr/bin/env python3
"""What a run says before it starts, against what it then does; and how it takes the place of another one.

usage: plan_test.py THINWIRE
"""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

from small_job import CONFIG, REPOSITORY, JobCase

PROGRAM = ""
QAT_RULE = '[{match = "blocks", weights = "int4", activations = "int8"}]'
# Method, workers, further settings.
JOBS = [
    ("none", 2, {}),
    ("ddp", 2, {}),
    ("ddp", 3, {"outer.codec": "int8", "outer.error_feedback": "true"}),
    ("diloco", 2, {}),
    ("diloco", 3, {"outer.codec": "fp32", "outer.error_feedback": "false", "inner.steps": "18"}),
    ("diloco", 2, {"outer.final_sync": "false"}),
    ("streaming_diloco", 2, {}),
    ("streaming_diloco", 2, {"outer.overlap": "0", "inner.steps": "18"}),
    ("streaming_diloco", 4, {"outer.embeddings_codec": "int8", "outer.codec": "topk"}),
    ("streaming_diloco", 2, {"task.kind": "qat", "quant.rule": QAT_RULE}),
    ("eager_diloco", 2, {"outer.final_sync": "false"}),
    ("eager_diloco", 3, {"outer.leg": "reduce"}),
]


class PlanCase(JobCase):
    def thinwire(self, *words, code=0):
        result = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def words(self, settings, workers, backend):
        words = ["launch", self.config, "-n", str(workers), "--backend", backend, "--set", "run.dir=" + self.run_dir]
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        return words

    def launch(self, *words, workers=2, backend="threads", settings=None, code=0):
        return self.thinwire(*self.words(settings or {}, workers, backend), *words, code=code)

    def plan(self, settings, workers=2, backend="threads"):
        return json.loads(self.launch("--dry-run", "--json", workers=workers, backend=backend, settings=settings).stdout)

    def summary(self):
        with open(os.path.join(self.run_dir, "summary.json")) as file:
            return json.load(file)

    def files(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.run_dir)
                      for folder, _, names in os.walk(self.run_dir) for name in names)


class Plan(PlanCase):
    # The small job's file is of streaming_diloco: what means nothing to another method is set aside, with a line.
    def test_is_what_the_run_then_does(self):
        for method, workers, settings in JOBS:
            with self.subTest(method=method, workers=workers, **settings):
                self.setUp()
                settings = {**settings, "outer.method": method}
                plan = self.plan(settings, workers)
                self.assertFalse(os.path.exists(self.run_dir))
                self.launch(workers=workers, settings=settings)
                summary = self.summary()
                self.assertEqual(plan["wire_bytes_per_worker"], summary["wire_bytes_per_worker"])
                self.assertEqual(plan["tokens"], summary["tokens"])
                with open(os.path.join(self.run_dir, "commits.jsonl")) as lines:
                    self.assertEqual(plan["commits"], len(list(lines)))
                described = json.loads(self.thinwire("inspect", self.run_dir, "--json").stdout)
                self.assertIn("config", json.dumps(described))

    def test_of_a_model_that_is_started_from_is_what_the_run_then_does(self):
        self.launch()
        base, self.run_dir = self.run_dir, self.path("second")
        for settings in ({"model.from": base, "task.kind": "lora"}, {"task.teacher": base, "task.kind": "distill"}):
            plan = self.plan(settings)
            self.launch(settings=settings)
            self.assertEqual(plan["wire_bytes_per_worker"], self.summary()["wire_bytes_per_worker"])
            if "model.from" in settings:
                self.assertLess(plan["trainable_parameters"], plan["parameters"])
            self.run_dir = self.path("third")

    # With sizes at which the model is more than LibTorch: within a factor of 2 of the most that a process held.
    def test_estimates_the_memory(self):
        large = {"model.layers": "6", "model.width": "512", "model.heads": "8", "model.context": "128",
                 "data.sequence": "128", "inner.batch": "4", "inner.steps": "2"}
        jobs = [("threads", {}), ("mpi", {}), ("threads", {"outer.method": "ddp"}),
                ("threads", {"inner.optimizer": "sgd", "outer.method": "none"}),
                ("threads", {"model.layers": "2", "outer.fragments": "2", "inner.batch": "32"}),
                ("threads", {"task.kind": "qat", "quant.rule": QAT_RULE}),
                ("threads", {"outer.method": "eager_diloco"})]
        for backend, settings in jobs:
            with self.subTest(backend=backend, **settings):
                self.setUp()
                plan = self.plan({**large, **settings}, backend=backend)
                self.launch(backend=backend, settings={**large, **settings})
                peak = self.summary()["peak_resident_bytes"]  # of a process; threads share one
                estimate = plan["memory_bytes_per_worker" if backend == "mpi" else "memory_bytes"]
                print(f"{backend} {settings}: estimate {estimate / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB")
                self.assertLess(estimate, 2 * peak)
                self.assertGreater(estimate, peak / 2)

    def test_a_dry_run_does_nothing_else(self):
        said = self.launch("--dry-run").stdout
        for part in ("nothing is started", "llama, 2 layers, width 32", "trainable", "a worker", "tokens", "commits",
                     "sent by each worker"):
            self.assertIn(part, said)
        self.assertEqual(os.listdir(self.folder), ["job.toml"])
        self.thinwire("train", self.config, "--set", "run.dir=" + self.run_dir, "--dry-run")
        self.assertEqual(os.listdir(self.folder), ["job.toml"])

    def test_is_said_before_the_first_step(self):
        for said in (self.launch().stdout,
                     self.thinwire("train", self.config, "--set", "run.dir=" + self.path("alone")).stdout):
            self.assertLess(said.index("starting"), said.index("parameters"))
            self.assertLess(said.index("sent by each worker"), said.index("step "))

    def test_what_does_not_fit_is_refused_with_the_figures_at_once(self):
        for words in (["-n", "100000"], ["--set", "model.width=65536", "--set", "model.heads=256"]):
            for start in (["launch", self.config, "-n", "2", "--backend", "threads"],
                          ["launch", self.config, "-n", "2", "--backend", "mpi"]):
                if words[0] == "-n":
                    start = start[:2] + start[4:]
                begin = time.monotonic()
                result = self.thinwire(*start, *words, "--set", "run.dir=" + self.run_dir, code=2)
                self.assertLess(time.monotonic() - begin, 20)
                self.assertRegex(result.stderr, r"on this machine need at least [\d.]+[GT]B of memory .* are free; .*take")
                self.assertFalse(os.path.exists(self.run_dir))
        result = self.thinwire("train", self.config, "--set", "model.width=65536", "--set", "model.heads=256", "--set",
                               "run.dir=" + self.run_dir, code=2)
        self.assertIn("1 worker on this machine needs at least", result.stderr)

    def test_a_setting_that_an_override_makes_meaningless_is_set_aside_with_a_line(self):
        said = self.launch(settings={"outer.method": "ddp"}).stdout
        self.assertIn("outer.fragments, outer.sync_every of the config file set aside", said)


class Overwrite(PlanCase):
    def test_says_what_goes_and_begins_anew(self):
        self.launch(workers=3)
        with open(os.path.join(self.run_dir, "notes.txt"), "w") as file:
            file.write("mine")
        refused = self.launch(code=2).stderr
        self.assertIn("thinwire resume " + self.run_dir, refused)
        self.assertIn("--overwrite", refused)
        before = self.files()
        said = self.launch("--overwrite", "--dry-run").stdout
        self.assertRegex(said, r"checkpoints of steps 7, 14, 20, [\d.]+MB")
        self.assertEqual(self.files(), before)
        said = self.launch("--overwrite", settings={"inner.steps": "9"}).stdout
        self.assertRegex(said, r"goes when this one begins:\n(  .*\n)*  checkpoints of steps 7, 14, 20, [\d.]+MB\n  logs, ")
        self.assertEqual({name.split("/")[1] for name in self.files() if name.startswith("checkpoints")},
                         {"step-7", "step-9"})
        self.assertNotIn("checkpoints/step-9/worker-2/manifest.json", self.files())
        self.assertIn("notes.txt", self.files())
        self.assertEqual(self.summary()["steps"], 9)
        self.thinwire("verify", self.run_dir)
        with open(os.path.join(self.run_dir, "history.jsonl")) as lines:
            self.assertEqual(len(list(lines)), 1)

    def test_by_train_and_by_processes(self):
        self.launch(backend="mpi")
        self.launch("--overwrite", backend="mpi", settings={"run.seed": "2"})
        self.assertEqual(self.summary()["workers"], 2)
        said = self.thinwire("train", self.config, "--set", "run.dir=" + self.run_dir, "--overwrite").stdout
        self.assertIn("checkpoints of steps", said)
        self.assertEqual(self.summary()["workers"], 1)
        self.thinwire("verify", self.run_dir)

    def test_a_run_that_is_refused_leaves_the_old_one_whole(self):
        self.launch()
        before, digest = self.files(), self.summary()["outer_digest"]
        empty = self.path("empty.txt")
        open(empty, "w").close()
        for settings in ({"data.path": empty}, {"data.path": self.path("none")}, {"model.width": "33"}):
            self.assertNotEqual(self.run_code("--overwrite", settings=settings), 0)
            self.assertEqual([name for name in self.files() if not name.startswith("cache")],
                             [name for name in before if not name.startswith("cache")])
        self.assertEqual(self.summary()["outer_digest"], digest)
        self.thinwire("verify", self.run_dir)

    def run_code(self, *words, settings):
        return subprocess.run([PROGRAM, *self.words(settings, 2, "threads"), *words], capture_output=True,
                              timeout=120).returncode

    def test_a_run_under_way_is_not_touched(self):
        words = self.words({"inner.steps": "100000"}, 1, "threads")
        first = subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not os.path.exists(os.path.join(self.run_dir, "metrics.jsonl")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            result = self.launch("--overwrite", code=1)
            self.assertIn(f"in use by process {first.pid}", result.stderr)
            self.assertTrue(os.path.exists(os.path.join(self.run_dir, "config.toml")))
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()

    def test_a_folder_without_a_run_is_begun_in_as_ever(self):
        os.mkdir(self.run_dir)
        with open(os.path.join(self.run_dir, "notes.txt"), "w") as file:
            file.write("mine")
        self.assertNotIn("goes when", self.launch("--overwrite").stdout)
        self.assertIn("notes.txt", self.files())

    # Each worker has its own folder where the run's is not shared: that of worker 1 holds an older run as well.
    def test_reaches_the_folders_of_workers_that_have_their_own(self):
        script = ('exec "$0" train "$1" --set comm.backend=mpi --set run.dir="$2-$OMPI_COMM_WORLD_RANK" $3 '
                  '--set inner.steps=$4')
        def run(*more):
            self.thinwire("launch", "-n", "2", "--", "sh", "-c", script, PROGRAM, self.config, self.run_dir, *more)
        run("", "20")
        run("--overwrite", "9")
        steps = os.listdir(os.path.join(self.run_dir + "-1", "checkpoints"))
        self.assertEqual(sorted(steps), ["step-7", "step-9"])


class Words(PlanCase):
    """Messages that users met in words of a library."""

    def said(self, *settings):
        result = self.launch(code=2, settings=dict(setting.split("=", 1) for setting in settings))
        self.assertEqual(result.stdout, "")
        for foreign in ("json.exception", "terminate called", "frame #", "Exception raised"):
            self.assertNotIn(foreign, result.stderr)
        return result.stderr

    def test_values_of_keys(self):
        self.assertIn("inner.lr: expected a finite number, found nan", self.said("inner.lr=nan"))
        self.assertIn("outer.lr: expected a finite number, found inf", self.said("outer.lr=inf"))
        self.assertIn("inner.steps=99999999999999999999: expected a number that fits into 64 bits",
                      self.said("inner.steps=99999999999999999999"))

    def test_digits_and_bare_lists_are_texts_where_texts_are_wanted(self):
        for name in ("2024", "a.txt", "b.txt"):
            with open(self.path(name), "w") as file, open(os.path.join(REPOSITORY, "LICENSE")) as text:
                file.write(text.read())
        for value in ("2024", "[a.txt,b.txt]"):
            result = subprocess.run([PROGRAM, *self.words({"data.path": value}, 2, "threads"), "--dry-run"],
                                    capture_output=True, text=True, cwd=self.folder)
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_links_in_the_place_of_folders(self):
        os.makedirs(self.run_dir)
        os.mkdir(self.path("real"))
        os.symlink("../real", os.path.join(self.run_dir, "checkpoints"))
        self.launch()
        self.assertEqual(sorted(os.listdir(self.path("real"))), ["step-14", "step-20", "step-7"])
        self.run_dir = self.path("loose")
        os.symlink("nowhere", self.run_dir)
        result = self.launch(code=1)
        self.assertIn("is a link that leads nowhere", result.stderr)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
