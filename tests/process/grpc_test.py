#!/usr/bin/env python3
"""Worlds over gRPC by real processes: `thinwire launch --backend grpc`, and workers that meet at a `thinwire
coordinator` with TLS and a token.  usage: grpc_test.py THINWIRE"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from small_job import TIMEOUT, JobCase

PROGRAM = ""
PATIENCE = 120


class Process:
    """A child with its output in a file, so that nobody waits for a pipe."""

    def __init__(self, *words, environment=None):
        self.words = words
        self.output = tempfile.TemporaryFile(mode="w+")
        self.child = subprocess.Popen([PROGRAM, *words], stdout=self.output, stderr=subprocess.STDOUT,
                                      env=dict(os.environ, **(environment or {})))

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def wait_for(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while True:
            match = re.search(pattern, self.said())
            if match:
                return match
            if time.monotonic() > deadline or self.child.poll() is not None:
                raise AssertionError(f"{self.words}: no {pattern!r} in:\n{self.said()}")
            time.sleep(0.05)

    def end(self):
        return self.child.wait(timeout=PATIENCE)

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.output.close()


class Grpc(JobCase):
    def start(self, *words, environment=None):
        process = Process(*words, environment=environment)
        self.addCleanup(process.close)
        return process

    def run_to_end(self, *words, code=0, environment=None):
        process = self.start(*words, environment=environment)
        self.assertEqual(process.end(), code, process.said())
        return process.said()

    def digest(self, run_dir):
        with open(os.path.join(run_dir, "summary.json")) as file:
            return json.load(file)["outer_digest"]

    def reference(self):
        self.run_to_end("launch", self.config, "-n", "2", "--backend", "threads", "--set",
                        "run.dir=" + self.path("reference"))
        return self.digest(self.path("reference"))

    def make_secrets(self):
        self.run_to_end("certs", "-o", self.path("certs"), "-n", "2")
        for name, text in (("token", "open sesame\n"), ("wrong", "close sesame\n")):
            with open(self.path(name), "w") as file:
                file.write(text)

    def coordinator(self, *words):
        process = self.start("coordinator", "-n", "2", "--timeout", str(TIMEOUT), *words)
        return process, process.wait_for(r"listening at (\S+)").group(1)

    def secure_coordinator(self, *words):
        return self.coordinator("--tls", self.path("certs", "coordinator"), "--token-file", self.path("token"), *words)

    def secure(self, worker, address):
        return ["--coordinator", address, "--tls", self.path("certs", f"worker-{worker}"), "--token-file",
                self.path("token"), "--rank", str(worker)]

    def train(self, *words, run_dir=None, environment=None):
        return self.start("train", self.config, "--set", "run.dir=" + (run_dir or self.run_dir), *words,
                          environment=environment)

    def test_workers_at_a_coordinator_reach_the_digest_of_threads(self):
        reference = self.reference()
        self.make_secrets()
        coordinator, address = self.secure_coordinator()
        dirs = [self.path("run-0"), self.path("run-1")]
        workers = [self.train(*self.secure(w, address), run_dir=dirs[w]) for w in (0, 1)]
        for worker in workers:
            self.assertEqual(worker.end(), 0, worker.said())
        self.assertEqual(coordinator.end(), 0, coordinator.said())
        self.assertIn("every worker has finished", coordinator.said())
        self.assertEqual(self.digest(dirs[0]), reference)

    def test_a_killed_worker_ends_the_others_and_resume_reaches_the_same_digest(self):
        reference = self.reference()
        self.make_secrets()
        dirs = [self.path("run-0"), self.path("run-1")]
        coordinator, address = self.secure_coordinator()
        survivor = self.train(*self.secure(0, address), run_dir=dirs[0])
        victim = self.train(*self.secure(1, address), run_dir=dirs[1], environment={"THINWIRE_FAULT": "step:16:1"})
        self.assertEqual(victim.end(), -signal.SIGKILL, victim.said())
        begin = time.monotonic()
        self.assertEqual(survivor.end(), 1, survivor.said())
        self.assertLess(time.monotonic() - begin, TIMEOUT + 5)
        self.assertIn("rank 1", survivor.said())
        self.assertIn("thinwire resume " + dirs[0], survivor.said())
        self.assertEqual(coordinator.end(), 1, coordinator.said())
        self.assertIn("worker 1", coordinator.said())

        coordinator, address = self.secure_coordinator()
        workers = [self.start("resume", dirs[w], *self.secure(w, address)) for w in (0, 1)]
        for worker in workers:
            self.assertEqual(worker.end(), 0, worker.said())
        self.assertEqual(self.digest(dirs[0]), reference)

    def test_launch_starts_its_own_coordinator_and_reaches_the_digest_of_threads(self):
        reference = self.reference()
        self.run_to_end("launch", self.config, "-n", "2", "--backend", "grpc", "--set", "run.dir=" + self.run_dir)
        self.assertEqual(self.digest(self.run_dir), reference)

    def test_launch_names_a_killed_worker_and_resume_reaches_the_same_digest(self):
        reference = self.reference()
        begin = time.monotonic()
        said = self.run_to_end("launch", self.config, "-n", "2", "--backend", "grpc", "--set",
                               "run.dir=" + self.run_dir, code=1, environment={"THINWIRE_FAULT": "step:16:1"})
        self.assertLess(time.monotonic() - begin, TIMEOUT + 5)
        self.assertIn("worker 1 on host", said)
        self.assertIn("signal 9", said)
        self.assertIn("thinwire resume " + self.run_dir, said)
        self.run_to_end("resume", self.run_dir)
        self.assertEqual(self.digest(self.run_dir), reference)

    def test_a_signal_ends_a_launch_with_a_checkpoint(self):
        job = self.start("launch", self.config, "-n", "2", "--backend", "grpc", "--set", "run.dir=" + self.run_dir,
                         "--set", "inner.steps=100000")
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(os.path.join(self.run_dir, "metrics.jsonl")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        job.child.terminate()
        self.assertEqual(job.end(), 128 + signal.SIGTERM, job.said())
        self.assertIn("thinwire resume " + self.run_dir, job.said())

    def test_a_wrong_token_and_missing_certificates_are_named(self):
        self.make_secrets()
        coordinator, address = self.secure_coordinator("--join-timeout", "60")
        wrong = self.secure(0, address)
        wrong[wrong.index(self.path("token"))] = self.path("wrong")
        worker = self.train(*wrong)
        self.assertEqual(worker.end(), 2, worker.said())
        self.assertIn("join token", worker.said())
        bare = self.train("--coordinator", address, "--token-file", self.path("token"), "--set", "comm.timeout_s=3")
        self.assertIn(bare.end(), (1, 2), bare.said())
        self.assertIn("--tls", bare.said())
        coordinator.child.terminate()
        self.assertEqual(coordinator.end(), 0, coordinator.said())

    def test_certificates_are_asked_for_beyond_loopback(self):
        said = self.run_to_end("coordinator", "-n", "2", "--listen", "0.0.0.0:0", code=2)
        self.assertIn("thinwire certs", said)

    def test_a_config_that_differs_is_named_with_its_key(self):
        coordinator, address = self.coordinator("--join-timeout", "60")
        first = self.train("--coordinator", address)
        coordinator.wait_for("1 of 2 workers came")
        other = self.train("--coordinator", address, "--set", "inner.lr=0.125")
        self.assertEqual(other.end(), 2, other.said())
        self.assertIn("lr = 0.125", other.said())
        coordinator.wait_for("refused")
        first.child.terminate()

    def test_workers_that_stay_away_end_the_wait_with_their_number(self):
        coordinator, address = self.coordinator("--join-timeout", "4")
        worker = self.train("--coordinator", address)
        self.assertEqual(worker.end(), 1, worker.said())
        self.assertIn("1 of 2 workers came", worker.said())
        self.assertEqual(coordinator.end(), 1, coordinator.said())

    def test_certificates_are_for_their_owner_alone(self):
        self.make_secrets()
        for folder, _, files in os.walk(self.path("certs")):
            for name in files:
                self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600, name)
        said = self.run_to_end("certs", "-o", self.path("certs"), "-n", "2", code=1)
        self.assertIn("exists already", said)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
