#!/usr/bin/env python3
"""Damages every file of a run's folder in every way, one at a time, and sees what verify, eval and resume make of it.

  damage_test.py THINWIRE                 a seeded sample of the cases
  damage_test.py THINWIRE --all           every case
  damage_test.py THINWIRE --only PART     the cases whose name has this part

Two folders are damaged: of a run of two workers that was killed at step 23 of 30, and of the same run finished. After
each damage a command must either refuse and name the file, or be unharmed by it: a resume ends with the digest of the
run that nothing happened to, with the same lines in its logs (or says which are missing), and with no step twice in
TensorBoard; eval prints the same figures. None may hang, and verify must name what is damaged. Exit status 0 if all hold.
"""
import argparse
import collections
import concurrent.futures
import glob
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from small_job import MODEL, REPOSITORY

DEADLINE = 120  # seconds for one command, on a machine that may be busy
STEPS, KILLED_AT = 30, 23
CONFIG = f"""{MODEL}[data]
path = "{REPOSITORY}/LICENSE"
tokenizer = "bpe"
vocab_size = 320
sequence = 32
[inner]
steps = {STEPS}
batch = 2
warmup = 5
[outer]
sync_every = 6
fragments = 2
block = 64
[checkpoint]
every = 5
keep = 2
[log]
every = 5
eval_every = 10
[comm]
timeout_s = 30
"""
FLIPS = {"first byte": 0.0, "byte at a quarter": 0.25, "byte in the middle": 0.5, "byte at three quarters": 0.75,
         "last byte": 1.0}
# What is made again where it is missing or damaged, and hangs no result on it: verify does not read it.
UNREAD = (".lock", "cache/", "tensorboard/")
# Runs come without these as well: train writes no launch.json, a run under way has no summary.
OPTIONAL = ("launch.json", "summary.json", "history.jsonl")


def flip(path, place, generator):
    size = os.path.getsize(path)
    at = generator.randrange(size) if place is None else min(size - 1, int(place * size))
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << generator.randrange(8)]))
    return at


def replace_by_pipe(path):
    os.remove(path)
    os.mkfifo(path)


def replace_by_folder(path):
    os.remove(path)
    os.mkdir(path)


def replace_by_link_to_nothing(path):
    os.remove(path)
    os.symlink("nothing", path)


def replace_by_file(path):
    shutil.rmtree(path)
    open(path, "w").close()


FILE_DAMAGES = {f"flip the {name}": (lambda path, generator, place=place: flip(path, place, generator))
                for name, place in FLIPS.items()}
FILE_DAMAGES |= {f"flip a byte ({i})": (lambda path, generator: flip(path, None, generator)) for i in range(3)}
FILE_DAMAGES |= {
    "cut at half": lambda path, _: os.truncate(path, os.path.getsize(path) // 2),
    "cut by a byte": lambda path, _: os.truncate(path, os.path.getsize(path) - 1),
    "empty": lambda path, _: os.truncate(path, 0),
    "remove": lambda path, _: os.remove(path),
    "a pipe": lambda path, _: replace_by_pipe(path),
    "a folder": lambda path, _: replace_by_folder(path),
    "a link to nothing": lambda path, _: replace_by_link_to_nothing(path),
}
FOLDER_DAMAGES = {"remove": lambda path, _: shutil.rmtree(path), "a file": lambda path, _: replace_by_file(path)}


class Violation(Exception):
    pass


def run_command(program, *words, environment=None):
    try:
        return subprocess.run([program, *words], capture_output=True, text=True, errors="replace", timeout=DEADLINE,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, **(environment or {})))
    except subprocess.TimeoutExpired:
        raise Violation(f"{words[0]} hangs") from None


def said(result):
    return result.stdout + result.stderr


def log_lines(run, name):
    """(step, which record of it) of every line."""
    lines = []
    with open(os.path.join(run, name)) as file:
        for text in file:
            record = json.loads(text)
            lines.append((record["step"], record.get("fragment", "eval_loss" in record)))
    return lines


def event_points(run):
    """(file, tag, step) of every scalar, by the framing alone: 8 bytes of length, 4, the event, 4."""
    points = []
    for path in sorted(glob.glob(run + "/tensorboard/events.*")):
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        at = 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = content[at + 12:at + 12 + size]
            if len(event) != size:
                raise Violation(f"{path} ends in a torn record")
            at += 16 + size
            fields = dict(protobuf_fields(event))
            if 5 in fields:
                value = dict(protobuf_fields(dict(protobuf_fields(fields[5]))[1]))
                points.append((path, value[1].decode(), fields[2]))
    return points


def protobuf_fields(message):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[at:at + size]
        at += size


class Lab:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.config = os.path.join(folder, "job.toml")
        with open(self.config, "w") as file:
            file.write(CONFIG)
        self.bases = {"finished": self.launch("finished"), "killed": self.launch("killed", f"step:{KILLED_AT}:0")}
        whole = os.path.join(folder, "resumed")
        shutil.copytree(self.bases["killed"], whole)
        self.digest = self.digest_of(self.bases["finished"])
        self.logs = {name: log_lines(self.bases["finished"], name) for name in ["metrics.jsonl", "commits.jsonl"]}
        self.figures = {base: self.eval_of(run) for base, run in self.bases.items()}
        self.check_resume(whole, "", run_command(program, "resume", whole))
        for run in self.bases.values():
            result = run_command(program, "verify", run)
            if result.returncode != 0:
                raise Violation("verify of an undamaged run: " + said(result))

    def launch(self, name, fault=None):
        run = os.path.join(self.folder, name)
        result = run_command(self.program, "launch", self.config, "-n", "2", "--set", "run.dir=" + run,
                             environment={"THINWIRE_FAULT": fault} if fault else None)
        if (result.returncode == 0) != (fault is None):
            raise Violation(f"the {name} run: " + said(result))
        return run

    def digest_of(self, run):
        with open(os.path.join(run, "summary.json")) as file:
            return json.load(file)["outer_digest"]

    def eval_of(self, run):
        result = run_command(self.program, "eval", run, "--json")
        if result.returncode != 0:
            raise Violation("eval of an undamaged run: " + said(result))
        return json.loads(result.stdout)

    def cases(self):
        """(base, entry, damage); an entry is a path in the run's folder, a folder's ends with a slash."""
        for base, run in self.bases.items():
            for parent, folders, files in sorted(os.walk(run)):
                inside = os.path.relpath(parent, run)
                names = [os.path.normpath(os.path.join(inside, name)) for name in sorted(files)]
                for name in names:
                    empty = os.path.getsize(os.path.join(run, name)) == 0
                    for damage in FILE_DAMAGES:
                        if not (empty and ("flip" in damage or "cut" in damage)):
                            yield base, name, damage
                for name in sorted(folders):
                    for damage in FOLDER_DAMAGES:
                        yield base, os.path.normpath(os.path.join(inside, name)) + "/", damage

    def judge(self, case, generator):
        """The outcomes, {command: "refused" or "unharmed"}; raises Violation."""
        base, entry, damage = case
        run = tempfile.mkdtemp(prefix="case-", dir=self.folder)
        try:
            shutil.copytree(self.bases[base], run, dirs_exist_ok=True)
            path = os.path.join(run, entry.rstrip("/"))
            (FOLDER_DAMAGES if entry.endswith("/") else FILE_DAMAGES)[damage](path, generator)
            return {"verify": self.judge_verify(base, run, entry, damage), "eval": self.judge_eval(base, run, entry),
                    "resume": self.check_resume(run, entry, run_command(self.program, "resume", run))}
        finally:
            shutil.rmtree(run, ignore_errors=True)

    def judge_verify(self, base, run, entry, damage):
        result = run_command(self.program, "verify", run)
        if result.returncode != 0:
            return self.named("verify", result, entry)
        lost = damage in ("remove", "a link to nothing")
        is_unread = entry.startswith(UNREAD) or entry.endswith("/on_all_workers") or entry in ("launch.json",
                                                                                               "history.jsonl")
        may_be_missing = entry in OPTIONAL or self.is_whole_step(entry)
        if is_unread or (lost and may_be_missing) or self.is_past_checkpoint(base, run, entry):
            return "unharmed"
        raise Violation("verify finds nothing")

    def is_whole_step(self, entry):
        """A step that is gone on all workers is as if it had been removed for its age."""
        return entry.startswith("checkpoints/") and entry.count("/") == 2 and entry.endswith("/")

    def is_past_checkpoint(self, base, run, name):
        """Whether a log has all lines that the newest checkpoint knows of."""
        if name not in self.logs or not os.path.isfile(os.path.join(run, name)):
            return False
        newest = STEPS if base == "finished" else KILLED_AT - KILLED_AT % 5
        with open(os.path.join(run, f"checkpoints/step-{newest}/worker-0/manifest.json")) as file:
            known = json.load(file)["meta"]["logs"][name]
        with open(os.path.join(self.bases[base], name), "rb") as file:
            lines = b"".join(file.readlines()[:known])
        with open(os.path.join(run, name), "rb") as file:
            return file.read().startswith(lines)

    def judge_eval(self, base, run, entry):
        result = run_command(self.program, "eval", run, "--json")
        if result.returncode != 0:
            return self.named("eval", result, entry)
        figures = json.loads(result.stdout)
        # Of a run that was killed nothing says that there was a later step; eval says which one it took.
        if base == "killed" and self.is_whole_step(entry) and figures["step"] < self.figures[base]["step"]:
            return "unharmed"
        if figures != self.figures[base]:
            raise Violation(f"eval gives {figures}, not {self.figures[base]}")
        return "unharmed"

    def check_resume(self, run, entry, result):
        if result.returncode != 0:
            return self.named("resume", result, entry)
        if self.digest_of(run) != self.digest:
            raise Violation("resume ends with another digest, without a word")
        for name, lines in self.logs.items():
            if log_lines(run, name) != lines and f"{name} lacks" not in said(result):
                raise Violation(f"{name} has other lines after the resume, without a word")
        points = event_points(run)
        twice = [p for p, n in collections.Counter((tag, step) for _, tag, step in points).items() if n > 1]
        if twice:
            raise Violation(f"twice in TensorBoard: {twice[:3]}")
        return "unharmed"

    def named(self, command, result, entry):
        name = entry.rstrip("/")
        wanted = name if name.startswith("checkpoints/") else os.path.basename(name)
        # A file of a checkpoint may be missed by the folder that lacks it.
        if wanted in said(result) or (name.startswith("checkpoints/") and os.path.dirname(name) in said(result)):
            return "refused"
        raise Violation(f"{command} fails without a name (exit code {result.returncode}): " + said(result)[-400:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thinwire")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--sample", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    folder = tempfile.mkdtemp(prefix="thinwire-damage-")
    counts, violations = collections.Counter(), []
    try:
        lab = Lab(os.path.abspath(arguments.thinwire), folder)
        cases = list(lab.cases())
        if arguments.only:
            cases = [case for case in cases if arguments.only in " ".join(case)]
        elif not arguments.all:
            cases = random.Random(arguments.seed).sample(cases, min(arguments.sample, len(cases)))

        def judge(case):
            try:
                return case, lab.judge(case, random.Random(f"{arguments.seed} {case}")), None
            except Violation as violation:
                return case, {}, str(violation)

        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for case, outcomes, violation in pool.map(judge, cases):
                for command, outcome in outcomes.items():
                    counts[command, outcome] += 1
                if violation:
                    violations.append((case, violation))
                    print(f"VIOLATION {' | '.join(case)}: {violation}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    print(f"seed {arguments.seed}, {len(cases)} damages")
    print("| command | refused by name | unharmed |\n|---|---|---|")
    for command in ["verify", "eval", "resume"]:
        print(f"| {command} | {counts[command, 'refused']} | {counts[command, 'unharmed']} |")
    print(f"{len(violations)} violations")
    return 1 if violations or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
