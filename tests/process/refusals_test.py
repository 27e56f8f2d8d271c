#!/usr/bin/env python3
"""What the program refuses and warns of, each with its message, by real processes.  usage: refusals_test.py THINWIRE"""
import json
import os
import subprocess
import sys
import time
import unittest

from small_job import CONFIG, TIMEOUT, JobCase

PROGRAM = ""


class Refusals(JobCase):
    def thinwire(self, *words, environment=None, timeout=120):
        return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=timeout,
                              env=dict(os.environ, **(environment or {})))

    def launch(self, *words, workers=2, backend="threads", environment=None):
        return self.thinwire("launch", self.config, "-n", str(workers), "--backend", backend, "--set",
                             "run.dir=" + self.run_dir, *words, environment=environment)

    def refused(self, result, code, *parts):
        said = result.stdout + result.stderr
        self.assertEqual(result.returncode, code, said)
        for part in parts:
            self.assertIn(part, said)

    def finished(self, result):
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def test_an_unknown_key_suggests_the_nearest(self):
        self.refused(self.launch("--set", "inner.step=3"), 2, "inner.step", "inner.steps")
        self.write_config(CONFIG + "[outer2]\n")
        self.refused(self.launch(), 2, "outer2", "outer")

    def test_a_wrong_type_says_what_was_expected_and_found(self):
        self.refused(self.launch("--set", 'inner.steps="many"'), 2, "inner.steps", "many")

    def test_more_fragments_than_layers_are_refused(self):
        self.refused(self.launch("--set", "outer.fragments=3"), 2, "outer.fragments", "3")

    def test_an_overlap_longer_than_the_period_is_refused(self):
        self.refused(self.launch("--set", "outer.overlap=7"), 2, "outer.overlap", "outer.sync_every")

    def test_a_missing_and_an_empty_corpus_are_named(self):
        missing = os.path.join(self.folder, "nowhere.txt")
        result = self.launch("--set", f'data.path="{missing}"')
        self.assertIn(result.returncode, (1, 2))
        self.assertIn(missing, result.stdout + result.stderr)
        empty = os.path.join(self.folder, "empty.txt")
        open(empty, "w").close()
        result = self.launch("--set", f'data.path="{empty}"')
        self.assertIn(result.returncode, (1, 2))
        self.assertIn(empty, result.stdout + result.stderr)
        self.finished(self.launch())  # the refused ones left no run in the folder

    def test_a_folder_that_holds_a_run_is_not_launched_into(self):
        self.finished(self.launch())
        self.refused(self.launch(), 2, self.run_dir, "thinwire resume")

    def test_another_world_size_than_the_checkpoints_is_refused(self):
        self.finished(self.launch())
        self.refused(self.thinwire("resume", self.run_dir, "-n", "3", "--set", "inner.steps=30"), 2, "2 workers", "-n 2")

    def test_only_some_keys_may_change_on_resume(self):
        self.finished(self.launch())
        self.refused(self.thinwire("resume", self.run_dir, "--set", "inner.batch=4"), 2, "inner.batch")

    def test_a_worker_that_fails_by_itself_ends_the_others_at_once(self):
        begin = time.monotonic()
        result = self.thinwire("launch", self.config, "-n", "2", "--backend", "mpi", "--set", "run.dir=" + self.run_dir,
                               "--set", "data.path=" + self.path("nothing"))
        self.assertLess(time.monotonic() - begin, TIMEOUT)
        self.refused(result, 1, "data.path", self.path("nothing"))

    def test_a_killed_worker_is_named_before_the_deadline_and_resume_works(self):
        begin = time.monotonic()
        result = self.launch(backend="mpi", environment={"THINWIRE_FAULT": "step:16:1"})
        self.assertLess(time.monotonic() - begin, 20 + 5)
        self.refused(result, 1, "worker 1", "signal 9", "thinwire resume " + self.run_dir)
        self.finished(self.thinwire("resume", self.run_dir))
        with open(os.path.join(self.run_dir, "summary.json")) as file:
            self.assertEqual(json.load(file)["resumed_from"], 14)

    def test_workers_with_different_configs_are_told_the_key(self):
        script = 'exec "$0" train "$1" --set comm.backend=mpi --set run.dir="$2" --set inner.lr=1e-$((3 + OMPI_COMM_WORLD_RANK))'
        result = self.thinwire("launch", "-n", "2", "--", "sh", "-c", script, PROGRAM, self.config, self.run_dir)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("different configs", result.stdout + result.stderr)
        self.assertIn("lr = ", result.stdout + result.stderr)

    def test_a_full_disk_is_a_warning_and_the_run_goes_on(self):
        said = self.finished(self.launch(environment={"THINWIRE_FAULT": "checkpoint_full:14"}))
        self.assertIn("no checkpoint at step 14", said)
        said = self.finished(self.thinwire("verify", self.run_dir))
        self.assertIn("step 7 worker 0: whole", said)
        self.assertIn("step 20 worker 1: whole", said)

    def test_a_corrupted_checkpoint_is_named_and_an_older_one_is_used(self):
        self.finished(self.launch())
        state = os.path.join(self.run_dir, "checkpoints", "step-20", "worker-1", "state.safetensors")
        with open(state, "r+b") as file:
            file.seek(os.path.getsize(state) // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        result = self.thinwire("verify", self.run_dir)
        self.refused(result, 1, "step-20/worker-1/state.safetensors")
        self.finished(self.thinwire("resume", self.run_dir, "--set", "inner.steps=22"))
        with open(os.path.join(self.run_dir, "summary.json")) as file:
            self.assertEqual(json.load(file)["resumed_from"], 14)

    def test_a_corrupted_model_file_is_refused_by_name(self):
        self.finished(self.launch())
        model = os.path.join(self.folder, "model.safetensors")
        self.finished(self.thinwire("export", self.run_dir, "--to", "safetensors", "-o", model))
        os.truncate(model, os.path.getsize(model) - 1)
        result = self.thinwire("eval", model)
        self.assertIn(result.returncode, (1, 2))
        self.assertIn(model, result.stdout + result.stderr)

    def test_a_run_folder_in_use_is_refused(self):
        words = ["launch", self.config, "-n", "1", "--set", "run.dir=" + self.run_dir, "--set", "inner.steps=100000"]
        first = subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not os.path.exists(os.path.join(self.run_dir, "metrics.jsonl")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            result = self.thinwire("resume", self.run_dir)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(str(first.pid), result.stdout + result.stderr)
        finally:
            first.kill()
            first.wait()

    def test_a_signal_ends_the_run_with_a_checkpoint_and_how_to_resume(self):
        words = ["launch", self.config, "-n", "2", "--backend", "mpi", "--set", "run.dir=" + self.run_dir, "--set",
                 "inner.steps=100000"]
        job = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 60
        while not os.path.exists(os.path.join(self.run_dir, "metrics.jsonl")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        job.terminate()
        said, _ = job.communicate(timeout=60)
        self.assertEqual(job.returncode, 143, said)
        self.assertIn("thinwire resume " + self.run_dir, said)
        self.finished(self.thinwire("verify", self.run_dir))


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
