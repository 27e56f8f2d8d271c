#!/usr/bin/env python3
"""Kills a short run at a chosen call on its folder, resumes it, kills the resume as well, resumes again, and compares.

  kill_calls.py THINWIRE LIBRARY --count 1000 --seed 1     draws 1,000 cases and runs them, two at a time
  kill_calls.py THINWIRE LIBRARY --case CASE               one case, as a failure prints it

A case is a backend, checkpoint.keep, and one or two kills: by SIGKILL just before or just after the k-th call of a
kind (fsync, rename, unlink, mkdir, write, open for writing, truncate) on the run's folder, or at a time. LIBRARY is
kill_at_call, which counts the calls. With the backend threads the kill ends both workers, with mpi and grpc the one of
a rank. The calls of a whole run but for the writes are drawn without repetition, so that a count of 1,000 has each k.

A case is good if the last resume exits with 0, the run has the outer_digest of a run never killed, and no resume began
at an earlier step than the newest that had been whole on all workers before. Only a folder that holds no run yet may be
refused; then `launch` must end with that digest. That a log lacks lines which the run never killed has is told in the
table, and is no failure.

Workers share the disk in an order that no seed fixes, so a case may need some tries to fail again.
Exit status 0 if every case is good.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from small_job import REPOSITORY

WORKERS = 2
STEPS = 22
CALL_TIMEOUT = 120
CONFIG = f"""
[model]
layers = 2
width = 16
heads = 2
context = 16
[data]
path = "{REPOSITORY}/LICENSE"
sequence = 16
[inner]
steps = {STEPS}
batch = 1
warmup = 2
lr = 3e-3
[outer]
method = "streaming_diloco"
codec = "e3m0"
error_feedback = true
sync_every = 4
fragments = 2
overlap = 2
block = 64
[checkpoint]
every = 5
[log]
every = 5
[comm]
timeout_s = 20
"""
BACKENDS = {"threads": 0.7, "mpi": 0.15, "grpc": 0.15}  # and their shares of the cases
SHARE_KILLED_TWICE = 0.6
WRITES_PER_CALL = 0.25  # cases with a write, for each with another call: there are many, and they are much alike
TIMES_PER_CALL = 0.125


@dataclasses.dataclass(frozen=True)
class Case:
    backend: str
    keep: int
    first: str  # as KILL_AT of kill_at_call
    second: str = ""  # empty: the run is killed once
    rank: str = ""  # empty: any, that is all

    def text(self):
        return ",".join(f"{key}={value}" for key, value in dataclasses.asdict(self).items() if value != "")

    @staticmethod
    def parse(text):
        fields = dict(field.split("=", 1) for field in text.split(","))
        return Case(**dict(fields, keep=int(fields["keep"])))

    def kind(self):
        return self.first.split(":")[0]


class Failure(Exception):
    pass


class Harness:
    def __init__(self, program, library, folder):
        self.program, self.library, self.folder = program, library, folder
        self.config = os.path.join(folder, "job.toml")
        with open(self.config, "w") as file:
            file.write(CONFIG)
        self.digest = self.log_entries = None
        self.decks = {}

    # What a whole run does, without a kill: its digest, and its calls by rank and kind.

    def prepare(self, backend):
        """False if this build or machine has no such backend."""
        run = os.path.join(self.folder, f"reference-{backend}")
        begin = time.monotonic()
        result, launched = self.count(self.launch(run, backend, 1), run)
        seconds = time.monotonic() - begin
        if result.returncode == 2:
            print(f"skipped: backend {backend}: {last_line(result)}", file=sys.stderr)
            return False
        if result.returncode != 0:
            raise SystemExit(f"the run without a kill failed: {last_line(result)}")
        digest = summary_of(run)["outer_digest"]
        if self.digest not in (None, digest):
            raise SystemExit(f"without a kill, backend {backend} ends with digest {digest}, another with {self.digest}")
        self.digest = digest
        self.log_entries = log_entries(run)

        shutil.rmtree(run)
        self.call(self.launch(run, backend, 1), {"THINWIRE_FAULT": f"step:{STEPS // 2}"})
        result, resumed = self.count([self.program, "resume", run], run)
        if result.returncode != 0:
            raise SystemExit(f"the resume without a kill failed: {last_line(result)}")
        shutil.rmtree(run)
        self.decks[backend] = Moments(launched, seconds), Moments(resumed, seconds / 2)
        return True

    def count(self, command, run):
        """The result of a command, and its calls as {rank: {kind: count}}."""
        path = run + ".counts"
        result = self.call(command, {"KILL_UNDER": run, "KILL_COUNTS": path})
        counts = collections.defaultdict(collections.Counter)
        if os.path.exists(path):
            with open(path) as lines:
                for line in lines:
                    rank, kind, number = line.split()
                    counts[rank][kind] += int(number)
            os.remove(path)
        return result, counts

    def launch(self, run, backend, keep):
        settings = ["--set", f"run.dir={run}", "--set", f"checkpoint.keep={keep}"]
        return [self.program, "launch", self.config, "-n", str(WORKERS), "--backend", backend] + settings

    def call(self, command, environment):
        environment = dict(os.environ, OMP_NUM_THREADS="1", **environment)
        if "KILL_UNDER" in environment:
            environment["LD_PRELOAD"] = self.library
        process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=CALL_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Failure(f"`thinwire {command[1]}` hangs: no end within {CALL_TIMEOUT} s")
        return subprocess.CompletedProcess(command, process.returncode, output)

    def try_case(self, case):
        """(whether the first kill struck, which entries the logs lack); raises Failure."""
        folder = tempfile.mkdtemp(prefix="case-", dir=self.folder)
        try:
            return Trial(self, case, folder).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Moments:
    """Where a command can be killed: (rank, KILL_AT) for each call and some times."""

    def __init__(self, counts, seconds):
        ranks = [rank for rank in counts if rank != "-"]
        self.counts = {rank: counts[rank] for rank in ranks} if ranks else {"": counts["-"]}
        self.milliseconds = int(seconds * 1000)

    def deck(self, rng):
        calls = [(rank, f"{kind}:{k}:{when}") for rank, counts in self.counts.items() for kind, count in counts.items()
                 if kind != "write" for k in range(1, count + 1) for when in ("before", "after")]
        writes = [self.draw_write(rng) for _ in range(int(len(calls) * WRITES_PER_CALL))]
        times = [self.draw_time(rng) for _ in range(int(len(calls) * TIMES_PER_CALL))]
        deck = calls + writes + times
        rng.shuffle(deck)
        return deck

    def draw_write(self, rng):
        rank = rng.choice(list(self.counts))
        k = rng.randint(1, self.counts[rank]["write"])
        return rank, f"write:{k}:{rng.choice(['before', 'after'])}"

    def draw_time(self, rng):
        return rng.choice(list(self.counts)), f"time:{rng.randint(1, self.milliseconds)}"


class Trial:
    """One case in its folder."""

    def __init__(self, harness, case, folder):
        self.harness, self.case = harness, case
        self.run_dir = os.path.join(folder, "run")
        self.log = os.path.join(folder, "log")

    def run(self):
        launch = self.harness.launch(self.run_dir, self.case.backend, self.case.keep)
        result = self.killed(launch, self.case.first)
        struck = result.returncode != 0
        if self.case.second and struck:
            whole = self.newest_whole_step()
            result = self.killed(self.resume(), self.case.second)
            self.check_progress(whole)
        if result.returncode != 0:
            self.go_on()
        digest = summary_of(self.run_dir).get("outer_digest")
        if digest != self.harness.digest:
            raise Failure(f"another digest: expected {self.harness.digest}, found {digest}")
        return struck, sorted(self.harness.log_entries - log_entries(self.run_dir))

    def resume(self):
        return [self.harness.program, "resume", self.run_dir]

    def killed(self, command, at):
        """The result of a command that is killed, or ends before the moment comes."""
        environment = {"KILL_UNDER": self.run_dir, "KILL_AT": at, "KILL_LOG": self.log}
        if self.case.rank:
            environment["KILL_RANK"] = self.case.rank
        kills = self.log_lines().count("kill")
        result = self.harness.call(command, environment)
        struck = self.log_lines().count("kill") > kills
        if struck and result.returncode == 0:
            raise Failure(f"a worker was killed and `thinwire {command[1]}` exits with 0")
        died = result.returncode == -signal.SIGKILL if self.case.backend == "threads" else result.returncode == 1
        if result.returncode != 0 and not died:
            self.accept_refusal(command, result)
        if result.returncode != 0 and not struck and not at.startswith("time:"):
            self.accept_refusal(command, result)
        return result

    def accept_refusal(self, command, result):
        """A resume may refuse by itself where no run has begun; any other failure is one."""
        if command[1] != "resume" or self.has_run():
            raise Failure(f"`thinwire {command[1]}` fails by itself ({result.returncode}): {last_line(result)}")

    def go_on(self):
        """The last resume, without a kill."""
        whole = self.newest_whole_step()
        result = self.unharmed(self.resume())
        if result.returncode != 0:
            if self.has_run():
                raise Failure(f"resume refuses, step {whole} was whole on all workers: {last_line(result)}")
            result = self.unharmed(self.harness.launch(self.run_dir, self.case.backend, self.case.keep))
            if result.returncode != 0:
                raise Failure(f"no way on: launch says: {last_line(result)}")
        resumed_from = summary_of(self.run_dir).get("resumed_from") or 0
        if resumed_from < whole:
            raise Failure(f"step {whole} was whole on all workers, and resume began at step {resumed_from}")
        self.check_progress(whole)

    def has_run(self):
        return all(os.path.exists(os.path.join(self.run_dir, name)) for name in ["config.toml", "launch.json"])

    def unharmed(self, command):
        return self.harness.call(command, {"KILL_UNDER": self.run_dir, "KILL_LOG": self.log})

    def log_lines(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log) as file:
            return file.read().splitlines()

    def finished_checkpoints(self):
        """(step, worker) in the order in which they became whole."""
        found = []
        for line in self.log_lines():
            if match := re.fullmatch(r"rename .*\.tmp .*/step-(\d+)/worker-(\d+)", line):
                found.append((int(match[1]), int(match[2])))
        return found

    def newest_whole_step(self):
        workers = collections.defaultdict(set)
        for step, worker in self.finished_checkpoints():
            workers[step].add(worker)
        self.seen = len(self.finished_checkpoints())
        return max([step for step, of in workers.items() if len(of) == WORKERS], default=0)

    def check_progress(self, whole):
        """No checkpoint of an earlier step since newest_whole_step() was asked: that would be another history."""
        earlier = [step for step, _ in self.finished_checkpoints()[self.seen:] if step < whole]
        if earlier:
            raise Failure(f"step {whole} was whole on all workers, and resume saved step {earlier[0]}")


def summary_of(run):
    try:
        with open(os.path.join(run, "summary.json")) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise Failure(f"no summary: {error}")


def log_entries(run):
    """What the lines of metrics.jsonl and commits.jsonl tell of, without the figures."""
    entries = set()
    for name in ["metrics.jsonl", "commits.jsonl"]:
        with open(os.path.join(run, name)) as lines:
            for record in map(json.loads, lines):
                what = next(key for key in ["eval_loss", "fragment", "loss"] if key in record)
                entries.add(f"{name}: {what} of step {record['step']}")
    return entries


def last_line(result):
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"(nothing, exit {result.returncode})"


def draw_cases(harness, count, seed):
    rng = random.Random(seed)
    backends = list(harness.decks)
    decks = collections.defaultdict(list)
    for _ in range(count):
        backend = rng.choices(backends, [BACKENDS[b] for b in backends])[0]
        at_launch, at_resume = harness.decks[backend]
        if not decks[backend]:
            decks[backend] = at_launch.deck(rng)
        rank, first = decks[backend].pop()
        second = ""
        if rng.random() < SHARE_KILLED_TWICE:
            second = rng.choice([moment for of, moment in at_resume.deck(rng) if of == rank])
        yield Case(backend, rng.choice([1, 2]), first, second, rank)


class Report:
    """Counts what comes in and says how far it is; called by several threads."""

    def __init__(self, total, repeat):
        self.total, self.repeat = total, repeat
        self.lock = threading.Lock()
        self.begin = self.said = time.monotonic()
        self.by_kind = collections.defaultdict(collections.Counter)
        self.done = self.failed = 0

    def add(self, case, struck, missing, failure):
        with self.lock:
            self.done += 1
            for row in [f"{case.kind()}, keep {case.keep}", "all"]:
                self.by_kind[row].update(cases=1, struck=int(struck), twice=int(bool(case.second)),
                                         short_logs=int(bool(missing)), failed=int(failure is not None))
            if failure is not None:
                self.failed += 1
                print(f"FAILED  {failure}\n        {self.repeat} --case {case.text()}", flush=True)
            elif missing:
                print(f"lines missing  {'; '.join(missing)}\n        --case {case.text()}", flush=True)
            now = time.monotonic()
            if now - self.said > 10:
                self.said = now
                left = (now - self.begin) / self.done * (self.total - self.done)
                print(f"{self.done} of {self.total} cases, {self.failed} failed, {left / 60:.1f} min left",
                      file=sys.stderr, flush=True)

    def table(self):
        print("| killed at | cases | struck | resume killed as well | lines missing in a log | failed |\n"
              "|---|---|---|---|---|---|")
        for row in sorted(set(self.by_kind) - {"all"}) + ["all"]:
            of = self.by_kind[row]
            print(f"| {row} | {of['cases']} | {of['struck']} | {of['twice']} | {of['short_logs']} | {of['failed']} |")
        print(f"{self.done - self.failed} of {self.done} cases good, in {time.monotonic() - self.begin:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("library")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no further case after so long")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--case", type=Case.parse, help="run this one")
    arguments = parser.parse_args()
    program, library = os.path.abspath(arguments.program), os.path.abspath(arguments.library)
    folder = os.path.realpath(tempfile.mkdtemp(prefix="thinwire-kills-"))
    try:
        harness = Harness(program, library, folder)
        for backend in [arguments.case.backend] if arguments.case else BACKENDS:
            harness.prepare(backend)
        cases = [arguments.case] if arguments.case else list(draw_cases(harness, arguments.count, arguments.seed))
        report = Report(len(cases), f"python3 {sys.argv[0]} {arguments.program} {arguments.library}")

        def try_one(case):
            if arguments.seconds and time.monotonic() - report.begin > arguments.seconds:
                return
            struck, missing, failure = True, [], None
            try:
                struck, missing = harness.try_case(case)
            except Failure as problem:
                failure = str(problem)
            report.add(case, struck, missing, failure)

        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(try_one, cases))  # raises what was no Failure
        report.table()
        if report.done < len(cases):
            print(f"the time was over after {report.done} of {len(cases)} cases")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.failed or not report.done else 0


if __name__ == "__main__":
    sys.exit(main())
