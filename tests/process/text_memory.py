#!/usr/bin/env python3
"""Peak resident memory of a job on a long text against the same job on a short one.

usage: text_memory.py THINWIRE [--megabytes N] [--limit MB] [--sequence T] [--tokenizers bytes bpe file]

The text is made up, N MB of it in a temporary folder. Measured are a worker of a first start, of a second one (a resume,
whose tokens are in the cache), and `thinwire eval` of the run. Beyond the same on the short text each may hold what is
counted in allowed(), and no more than --limit at any length.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

SETTINGS = {"model.layers": 2, "model.width": 64, "model.heads": 2, "data.held_out": 0.00001, "inner.steps": 4,
            "inner.warmup": 1, "inner.batch": 4, "log.tensorboard": "false", "checkpoint.every": 0, "outer.sync_every": 2,
            "outer.fragments": 2, "outer.overlap": 1, "comm.timeout_s": 60}
WORDS = ["".join(random.Random(n).choices("abcdefghijklmnop", k=2 + n % 8)) for n in range(5000)]


def write_text(path, megabytes):
    rng = random.Random(1)
    block = "".join(" ".join(rng.choices(WORDS, k=rng.randint(3, 20))) + ".\n" for _ in range(20000)).encode()
    with open(path, "wb") as file:
        while file.tell() < megabytes * 10**6:
            shift = rng.randrange(len(block))
            file.write(block[shift:] + block[:shift])


def peak(*words):
    """Of one process, in MB."""
    job = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = job.stderr.read().decode()
    _, status, usage = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    if job.returncode != 0:
        raise SystemExit(" ".join(words) + "\n" + said[-2000:])
    return usage.ru_maxrss * 1024 / 1e6


def peaks(program, folder, text, tokenizer, sequence):
    """Of a first start, a second one and an evaluation."""
    config, run = os.path.join(folder, "job.toml"), os.path.join(folder, "run")
    open(config, "w").close()
    settings = {**SETTINGS, "data.path": json.dumps(text), "data.tokenizer": json.dumps(tokenizer), "run.dir": json.dumps(run),
                "data.sequence": sequence, "model.context": sequence}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    found = [peak(program, "launch", config, "-n", "1", *words), peak(program, "resume", run, "--set", "inner.steps=8"),
             peak(program, "eval", run)]
    left = os.listdir(os.path.join(run, "cache"))
    if len(left) != 1:
        raise SystemExit(f"expected one file in the cache, found {left}")
    if tokenizer == "bpe":  # for the next one: a model file
        with open(os.path.join(run, "tokenizer"), "rb") as stored, open(os.path.join(folder, "spm.model"), "wb") as model:
            model.write(stored.read().split(b"\n", 1)[1])
    subprocess.run(["rm", "-r", run], check=True)
    return found


def allowed(megabytes, tokenizer, sequence):
    """MB: buffers of a few MB; four bytes a training sequence, of a token a byte at worst; and what SentencePiece needs
    to learn from a sample of at most 32 MB with few different words."""
    return 16 + megabytes * 4 / sequence + (60 if tokenizer == "bpe" else 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=200)
    parser.add_argument("--sequence", type=int, default=32)
    parser.add_argument("--tokenizers", nargs="+", default=["bytes", "bpe", "file"])
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.program)
    failed = False
    with tempfile.TemporaryDirectory(prefix="thinwire-text-memory-") as folder:
        short, long = os.path.join(folder, "short.txt"), os.path.join(folder, "long.txt")
        write_text(short, 1)
        write_text(long, arguments.megabytes)
        print("| tokenizer | | 1 MB of text, peak MB | long text, peak MB | difference | allowed | all, s |")
        print("|---|---|---|---|---|---|---|")
        for name in arguments.tokenizers:
            tokenizer = os.path.join(folder, "spm.model") if name == "file" else name
            few = peaks(program, folder, short, tokenizer, arguments.sequence)
            begin = time.monotonic()
            many = peaks(program, folder, long, tokenizer, arguments.sequence)
            seconds = time.monotonic() - begin
            limit = min(arguments.limit, allowed(arguments.megabytes, name, arguments.sequence))
            for what, a, b in zip(("first start", "second start", "eval"), few, many):
                failed |= b - a > limit
                print(f"| {name} | {what} | {a:.0f} | {b:.0f} | {b - a:.0f} | {limit:.0f} | {seconds:.0f} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
