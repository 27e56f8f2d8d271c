#!/usr/bin/env python3
"""Requests to stop, and readers that pause or go, by real processes.
usage: stop_test.py THINWIRE [--all]      --all: 60 requests, over backends, signals and whom they reach"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

from small_job import JobCase

PROGRAM = ""
PATIENCE = 180
# Slow steps, so that a step is longer than what lies between a signal and whoever reads of it.
SLOW = ["--set", "inner.batch=32", "--set", "model.width=128", "--set", "model.layers=4", "--set", "log.every=1",
        "--set", "inner.steps=100000", "--set", "checkpoint.every=100000"]
FAST = ["--set", "log.every=1", "--set", "inner.steps=1000000", "--set", "checkpoint.every=1000000", "--set",
        "inner.batch=1", "--set", "comm.timeout_s=5"]
BACKENDS = ("threads", "mpi", "grpc")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A step is shown when the next one has posted its record, and both travel to the launcher.
MOST_STEPS = 5


def session_of(pid):
    """Processes of the session that `pid` leads and that have not ended, with their command lines."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                state, _, _, session = file.read().rpartition(")")[2].split()[:4]
            with open(f"/proc/{name}/cmdline") as file:
                words = file.read().split("\0")
        except (OSError, ValueError, IndexError):
            continue
        if int(session) == pid and state != "Z":
            found[int(name)] = words
    return found


class Job:
    """A process in a session of its own, with its output in a file."""

    def __init__(self, path, *words, **settings):
        self.path = path
        self.words = words
        with open(path, "w") as output:
            self.child = subprocess.Popen([*words], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                          start_new_session=True, **settings)

    def said(self):
        with open(self.path, errors="replace") as file:
            return file.read()

    def wait_for(self, pattern, text=None):
        deadline = time.monotonic() + PATIENCE
        while True:
            match = re.search(pattern, (text or self.said)())
            if match:
                return match
            if time.monotonic() > deadline or self.child.poll() is not None:
                raise AssertionError(f"{self.words}: no {pattern!r} in:\n{self.said()}")
            time.sleep(0.02)

    def shown_step(self):
        return max([int(step) for step in re.findall(r"^step (\d+)/", self.said(), re.M)], default=0)

    def send(self, number, whom):
        for pid, words in session_of(self.child.pid).items():
            is_worker = "--worker" in words and words[0] == PROGRAM
            if whom == "all" or (whom == "workers") == is_worker and (whom != "launcher" or pid == self.child.pid):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def end(self):
        return self.child.wait(timeout=PATIENCE)

    def close(self):
        for pid in session_of(self.child.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()


class Case(JobCase):
    def start(self, *words, **settings):
        job = Job(self.path(f"output-{time.monotonic_ns()}"), PROGRAM, *words, **settings)
        self.addCleanup(job.close)
        return job

    def launch(self, backend, *words, **settings):
        return self.start("launch", self.config, "-n", "2", "--backend", backend, "--set", "run.dir=" + self.run_dir,
                          *words, **settings)

    def metrics(self):
        try:
            with open(os.path.join(self.run_dir, "metrics.jsonl")) as file:
                return file.read()
        except OSError:
            return ""

    def newest_step(self):
        return max([int(step) for step in re.findall(r'"step":(\d+)', self.metrics())], default=0)

    def wait_for_step(self, job, step):
        deadline = time.monotonic() + PATIENCE
        while self.newest_step() < step:
            self.assertIsNone(job.child.poll(), job.said())
            self.assertLess(time.monotonic(), deadline, job.said())
            time.sleep(0.05)

    def thinwire(self, *words):
        result = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def check_checkpoint(self, step):
        self.thinwire("verify", self.run_dir)
        self.assertEqual(os.listdir(os.path.join(self.run_dir, "checkpoints")), [f"step-{step}"])
        self.assertEqual(sorted(os.listdir(os.path.join(self.run_dir, "checkpoints", f"step-{step}"))),
                         ["worker-0", "worker-1"])

    def check_stop(self, job, number, shown):
        """The run ended well by that signal, soon after the step `shown`; returns the step."""
        name = signal.Signals(number).name
        self.assertEqual(job.end(), 128 + number, job.said())
        match = re.search(rf"stopped by {name} at step (\d+), checkpoint written; go on with: thinwire resume", job.said())
        self.assertTrue(match, job.said())
        step = int(match.group(1))
        self.assertLessEqual(step, shown + MOST_STEPS, job.said())
        self.check_checkpoint(step)
        return step

    def stop(self, backend, number, whom, first=2):
        job = self.launch(backend, *SLOW)
        job.wait_for(rf"(?m)^step {first}/")
        job.send(number, whom)
        shown = job.shown_step()
        step = self.check_stop(job, number, shown)
        self.assertIn("the run stops within two steps, with a checkpoint; another signal ends it at once", job.said())
        self.thinwire("resume", self.run_dir, "--set", f"inner.steps={step + 1}")
        with open(os.path.join(self.run_dir, "summary.json")) as file:
            self.assertEqual(json.load(file)["resumed_from"], step)


class Stop(Case):
    def test_sigterm_to_the_launcher_of_threads(self):
        self.stop("threads", signal.SIGTERM, "launcher")

    def test_sigterm_to_every_process_under_mpi(self):
        self.stop("mpi", signal.SIGTERM, "all")

    def test_sighup_to_every_process_over_grpc(self):
        self.stop("grpc", signal.SIGHUP, "all")

    def test_sigint_to_the_launcher_of_mpi(self):
        self.stop("mpi", signal.SIGINT, "launcher")

    def test_sigterm_to_the_workers_alone(self):
        self.stop("grpc", signal.SIGTERM, "workers")

    def test_several_signals_within_two_seconds_are_one_request(self):
        job = self.launch("mpi", *SLOW)
        job.wait_for(r"(?m)^step 2/")
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            job.send(number, "all")
        self.check_stop(job, signal.SIGTERM, job.shown_step())

    def test_a_later_signal_ends_at_once(self):
        for backend in BACKENDS:
            with self.subTest(backend):
                self.run_dir = self.path("run-" + backend)
                # Steps that outlast the two seconds.
                job = self.launch(backend, *SLOW, "--set", "inner.batch=2048", "--set", "inner.accumulate=64")
                job.wait_for(r"launch|config", lambda: " ".join(os.listdir(self.run_dir)) if os.path.isdir(self.run_dir) else "")
                self.wait_for_training(job)
                job.send(signal.SIGTERM, "launcher")
                job.wait_for("SIGTERM: the run stops")
                time.sleep(2.2)
                job.send(signal.SIGINT, "launcher")
                begin = time.monotonic()
                self.assertEqual(job.end(), 130, job.said())
                self.assertLess(time.monotonic() - begin, 15)
                self.assertIn("ended at once by a second signal", job.said())
                self.assertEqual(session_of(job.child.pid), {})

    def wait_for_training(self, job):
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(os.path.join(self.run_dir, "metrics.jsonl")):
            self.assertLess(time.monotonic(), deadline, job.said())
            self.assertIsNone(job.child.poll(), job.said())
            time.sleep(0.05)
        time.sleep(0.5)  # for the launcher to hear of it

    def test_json_says_where_and_by_what_the_run_was_stopped(self):
        with open(self.path("json"), "w") as output:
            job = subprocess.Popen([PROGRAM, "launch", self.config, "-n", "2", "--json", "--set", "run.dir=" + self.run_dir,
                                    *SLOW], stdout=output, stderr=subprocess.DEVNULL)
        self.addCleanup(job.kill)
        deadline = time.monotonic() + PATIENCE
        while self.newest_step() < 2:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        job.terminate()
        self.assertEqual(job.wait(timeout=PATIENCE), 143)
        with open(self.path("json")) as file:
            said = json.load(file)
        self.assertEqual((said["signal"], said["dir"]), (15, self.run_dir))
        self.check_checkpoint(said["stopped_at"])

    def test_a_hangup_that_is_ignored_stops_nothing(self):
        job = self.launch("grpc", *FAST, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.wait_for_step(job, 3)
        job.send(signal.SIGHUP, "all")
        self.wait_for_step(job, self.newest_step() + 20)
        job.send(signal.SIGTERM, "all")
        self.assertEqual(job.end(), 143, job.said())

    def test_before_the_workers_train_there_is_nothing_to_wait_for(self):
        for backend in BACKENDS:
            with self.subTest(backend):
                self.run_dir = self.path("run-" + backend)
                job = self.launch(backend, *SLOW)
                job.wait_for("starting 2 workers")
                job.send(signal.SIGTERM, "launcher")
                self.assertEqual(job.end(), 143, job.said())
                self.assertRegex(job.said(), "stopped by SIGTERM (before it trained|at step)")
                self.assertEqual(session_of(job.child.pid), {})

    def test_train_alone_stops_too(self):
        job = self.start("train", self.config, "--set", "run.dir=" + self.run_dir, *SLOW)
        job.wait_for(r"(?m)^step 2/")
        job.send(signal.SIGHUP, "launcher")
        self.assertEqual(job.end(), 129, job.said())
        self.assertIn("stopped by SIGHUP at step", job.said())

    def test_workers_of_a_plain_mpirun_stop_by_what_it_passes_on(self):
        job = Job(self.path("output"), "mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", PROGRAM, "train",
                  self.config, "--set", "run.dir=" + self.run_dir, *SLOW)
        self.addCleanup(job.close)
        job.wait_for(r"(?m)^step 2/")
        job.send(signal.SIGUSR1, "launcher")
        self.assertEqual(job.end(), 128 + signal.SIGUSR1, job.said())
        step = int(re.search(r"stopped by SIGUSR1 at step (\d+)", job.said()).group(1))
        self.check_checkpoint(step)
        self.thinwire("resume", self.run_dir, "--set", f"inner.steps={step + 1}")

    def test_a_worker_that_waits_at_its_coordinator_hears_a_signal(self):
        coordinator = self.start("coordinator", "-n", "2", "--join-timeout", "120")
        address = coordinator.wait_for(r"listening at (\S+)").group(1)
        worker = self.start("train", self.config, "--coordinator", address, "--set", "run.dir=" + self.run_dir)
        coordinator.wait_for("1 of 2 workers came")
        worker.send(signal.SIGTERM, "launcher")
        begin = time.monotonic()
        self.assertEqual(worker.end(), 143, worker.said())
        self.assertLess(time.monotonic() - begin, 15)
        self.assertIn("stopped by SIGTERM before it trained", worker.said())
        nobody = self.start("train", self.config, "--coordinator", "127.0.0.1:1", "--set", "run.dir=" + self.run_dir)
        nobody.wait_for("waiting for the others at 127.0.0.1:1")
        time.sleep(0.3)
        nobody.send(signal.SIGINT, "launcher")
        self.assertEqual(nobody.end(), 130, nobody.said())
        coordinator.child.terminate()
        self.assertEqual(coordinator.end(), 0, coordinator.said())


class Reader(Case):
    def piped(self, backend):
        job = subprocess.Popen([PROGRAM, "launch", self.config, "-n", "2", "--backend", backend, "--set",
                                "run.dir=" + self.run_dir, *FAST], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)
        self.addCleanup(self.close, job)
        return job

    def close(self, job):
        for pid in session_of(job.pid):
            os.kill(pid, signal.SIGKILL)
        job.wait()
        job.stdout.close()

    def grows(self, job, seconds):
        """The run goes on for so long, and a little more than the bytes that a pipe holds."""
        until, step = time.monotonic() + seconds, self.newest_step() + 20
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < until or self.newest_step() < step:
            self.assertIsNone(job.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_one_that_pauses_holds_up_nothing(self):
        for backend in ("threads", "grpc"):
            with self.subTest(backend):
                self.run_dir = self.path("run-" + backend)
                job = self.piped(backend)
                while self.newest_step() < 1200:  # more lines than the pipe holds
                    self.assertIsNone(job.poll())
                    time.sleep(0.1)
                self.grows(job, 7)
                job.terminate()
                self.assertEqual(job.wait(timeout=PATIENCE), 143)
                said = job.stdout.read().decode()
                self.assertRegex(said.splitlines()[-1], "stopped by SIGTERM at step")

    def test_a_launcher_that_is_stopped_holds_up_nothing(self):
        job = self.piped("grpc")
        while self.newest_step() < 5:
            self.assertIsNone(job.poll())
            time.sleep(0.1)
        os.kill(job.pid, signal.SIGSTOP)
        step = self.newest_step()
        time.sleep(7)  # beyond comm.timeout_s
        self.assertGreater(self.newest_step(), step + 20)
        os.kill(job.pid, signal.SIGCONT)
        self.grows(job, 2)
        job.terminate()
        said, _ = job.communicate(timeout=PATIENCE)
        self.assertEqual(job.returncode, 143, said.decode())

    def test_one_that_goes_ends_nothing(self):
        for backend in ("threads", "grpc", "mpi"):
            with self.subTest(backend):
                self.run_dir = self.path("run-" + backend)
                job = self.piped(backend)
                self.assertIn(b"starting 2 workers", job.stdout.readline())
                job.stdout.close()
                while self.newest_step() < 3:
                    self.assertIsNone(job.poll())
                    time.sleep(0.1)
                self.grows(job, 1)
                job.terminate()
                self.assertEqual(job.wait(timeout=PATIENCE), 143)
                self.thinwire("verify", self.run_dir)


def stop_all():
    """60 requests; prints each and the sum."""
    cases = [(backend, number, whom) for backend in BACKENDS for number in SIGNALS for whom in ("launcher", "all")] * 3
    cases += [(backend, number, "workers") for backend in ("mpi", "grpc") for number in SIGNALS]
    good = 0
    for i, (backend, number, whom) in enumerate(cases):
        case = Stop("test_train_alone_stops_too")
        case.setUp()
        try:
            case.stop(backend, number, whom, first=2 + i % 5)
            good += 1
            outcome = "ok"
        except Exception as error:  # counted and shown, like any other outcome
            outcome = str(error)
        finally:
            case.doCleanups()
        print(f"{i + 1:2} {backend} {signal.Signals(number).name} to {whom}: {outcome}", flush=True)
    print(f"{good} of {len(cases)} left a whole checkpoint within {MOST_STEPS} shown steps, and were resumed")
    return 0 if good == len(cases) else 1


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    if "--all" in sys.argv:
        sys.exit(stop_all())
    unittest.main(verbosity=2)
