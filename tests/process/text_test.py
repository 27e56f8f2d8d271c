#!/usr/bin/env python3
"""Texts and tokenizers of whole jobs by real processes: what is compared, what is refused, what is said.

usage: text_test.py THINWIRE"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import unittest

from small_job import REPOSITORY, JobCase

PROGRAM = ""
WORDS = ["the", "farmer", "paints", "a", "blue", "door", "every", "child", "weighs", "one", "green", "apple"]


def some_text(lines, seed=1):
    rng = random.Random(seed)
    return "".join(" ".join(rng.choices(WORDS, k=rng.randint(3, 9))) + ".\n" for _ in range(lines))


class Texts(JobCase):
    def thinwire(self, *words, cwd=None):
        return subprocess.run([PROGRAM, *words], capture_output=True, text=True, errors="replace", timeout=120,
                              cwd=cwd)

    def launch(self, *words, workers=1):
        return self.thinwire("launch", self.config, "-n", str(workers), "--set", "run.dir=" + self.run_dir, *words)

    def on_hosts(self, *words):
        """Two workers over MPI, each in a folder of its own: as if on hosts that share no files."""
        script = 'cd "$0/host$OMPI_COMM_WORLD_RANK" && exec "$1" train "$2" --set run.dir=run --set comm.backend=mpi'
        script += "".join(" --set '" + word + "'" for word in words)
        return self.thinwire("launch", "-n", "2", "--", "sh", "-c", script, self.folder, PROGRAM, self.config)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return self.path(name)

    def finished(self, result):
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def refused(self, result, *parts):
        said = result.stdout + result.stderr
        self.assertIn(result.returncode, (1, 2), said)
        for part in parts:
            self.assertIn(part, said)
        self.assertNotIn("json.exception", said)
        self.assertNotIn(".cc(", said)

    def summary(self, run=None):
        with open(os.path.join(run or self.run_dir, "summary.json")) as file:
            return json.load(file)

    def test_texts_that_differ_between_hosts_are_named_before_the_first_step(self):
        self.write("host0/text.txt", some_text(300))
        for other in (some_text(300).replace("a", "b"), some_text(299)):
            self.write("host1/text.txt", other)
            self.refused(self.on_hosts("data.path=text.txt"), "workers have different text", "worker 0 has", "host0/text.txt",
                         "worker 1 has", "host1/text.txt", "copy data.path to all hosts")
            self.assertFalse(os.path.exists(self.path("host0/run/metrics.jsonl")))
        self.write("host1/elsewhere.txt", some_text(300))
        os.replace(self.path("host1/elsewhere.txt"), self.path("host1/text.txt"))
        self.finished(self.on_hosts("data.path=text.txt"))

    def test_a_resume_needs_the_same_text_at_whatever_path(self):
        text = self.write("text.txt", some_text(300))
        self.finished(self.launch("--set", "data.path=" + text))
        moved = self.write("moved/text.txt", some_text(300))
        self.write("text.txt", some_text(300).replace("blue", "grey"))
        self.refused(self.thinwire("resume", self.run_dir, "--set", "inner.steps=22"), "other data", text, "same text")
        self.refused(self.thinwire("eval", self.run_dir), "text has changed")
        self.finished(self.thinwire("resume", self.run_dir, "--set", "inner.steps=22", "--set", "data.path=" + moved))
        self.assertEqual(self.summary()["resumed_from"], 20)

    def test_by_source_a_worker_needs_its_own_source_alone(self):
        self.write("host0/a.txt", some_text(300, 1))
        self.write("host1/b.txt", some_text(500, 2).upper())
        paths = 'data.path=["a.txt", "b.txt"]'
        self.finished(self.on_hosts(paths, 'data.shards="by_source"', "data.held_out=0.2"))
        said = self.summary(self.path("host0/run"))
        # Where all sources are there, the run's own figure can be checked.
        shutil.copy(self.path("host1/b.txt"), self.path("host0/b.txt"))
        found = json.loads(self.finished_eval(self.path("host0/run")))
        self.assertAlmostEqual(found["loss"], said["eval_loss"], delta=1e-5 * said["eval_loss"])
        self.assertAlmostEqual(found["bits_per_byte"], said["eval_bits_per_byte"], delta=1e-5 * said["eval_bits_per_byte"])
        self.assertGreater(found["tokens"], 0.18 * (300 + 500) * 30)
        with open(self.path("host0/run/metrics.jsonl")) as file:
            self.assertTrue(any("eval_loss" in line for line in file))
        os.remove(self.path("host0/a.txt"))
        self.refused(self.on_hosts(paths, 'data.shards="by_source"', 'run.dir="other"'), "host0/a.txt", "found nothing")

    def finished_eval(self, run):
        result = self.thinwire("eval", run, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_by_source_a_bpe_needs_all_sources_at_worker_0(self):
        self.write("host0/a.txt", some_text(300, 1))
        self.write("host1/b.txt", some_text(300, 2))
        self.refused(self.on_hosts('data.path=["a.txt", "b.txt"]', 'data.shards="by_source"', "data.tokenizer=bpe"),
                     "host0/b.txt", "give data.tokenizer")

    def test_a_vocabulary_of_another_size_than_the_tokenizers(self):
        self.refused(self.launch("--set", "model.vocab=100"), "model.vocab", "256", "100")
        self.finished(self.launch("--set", "model.vocab=512"))
        result = self.thinwire("generate", self.run_dir, "--max-tokens", "200", "--temperature", "3", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        # From a padded model another one can start, and go on.
        other = self.path("other")
        self.finished(self.launch("--set", "model.from=" + self.run_dir, "--set", "run.dir=" + other))
        self.finished(self.thinwire("resume", other, "--set", "inner.steps=22"))

    def test_files_that_are_no_utf8_text_are_named_with_the_byte(self):
        text = some_text(200)
        odd = {"utf16.txt": (text.encode("utf-16"), "UTF-16"), "nul.bin": (text.encode() + b"\0", f"byte {len(text)}"),
               "picture.png": (b"\x89PNG\r\n\x1a\n" + bytes(5000), "PNG")}
        for name, (content, what) in odd.items():
            for tokenizer in ("bytes", "bpe"):
                path = self.write("folder/" + name, content)
                self.write("folder/text.txt", text)
                self.refused(self.launch("--set", "data.path=" + self.path("folder"), "--set", "data.tokenizer=" + tokenizer),
                             path, what)
                os.remove(path)
        latin = self.write("folder/latin.txt", text.encode() + b"caf\xe9\n")
        self.refused(self.launch("--set", "data.path=" + latin, "--set", "data.tokenizer=bpe"), latin, f"byte {len(text) + 3}", "iconv")
        self.assertIn(f"not UTF-8 from byte {len(text) + 3}", self.finished(self.launch("--set", "data.path=" + latin)))

    def test_text_of_more_characters_than_the_vocabulary_is_learned(self):
        rng = random.Random(5)
        characters = [chr(0x4E00 + i) for i in range(1200)]
        weights = [1 / (i + 3) for i in range(1200)]
        lines = ("".join(rng.choices(characters, weights, k=rng.randint(10, 40))) for _ in range(600))
        path = self.write("zh.txt", "".join(line + "。\n" for line in lines))
        said = self.finished(self.launch("--set", "data.path=" + path, "--set", "data.tokenizer=bpe"))
        self.assertIn("data.vocab_size = 1024 has no room for all", said)
        newlines = self.write("newlines.txt", "\n" * 5000)
        self.refused(self.launch("--set", "data.path=" + newlines, "--set", "data.tokenizer=bpe", "--set",
                                 "run.dir=" + self.path("other")), "data.path has no line")

    def test_the_tokenizer_of_a_run_can_be_given_to_another(self):
        text = self.write("text.txt", some_text(300))
        self.finished(self.launch("--set", "data.path=" + text, "--set", "data.tokenizer=bpe", "--set", "data.vocab_size=300"))
        with open(os.path.join(self.run_dir, "tokenizer"), "rb") as file:
            stored = file.read()
        model = self.write("spm.model", stored.split(b"\n", 1)[1])
        for name, given in {"a": self.run_dir, "b": self.run_dir + "/tokenizer", "c": model}.items():
            other = self.path(name)
            self.finished(self.launch("--set", "run.dir=" + other, "--set", "data.tokenizer=" + given))
            with open(os.path.join(other, "tokenizer"), "rb") as file:
                self.assertEqual(file.read(), stored)
        # A model knows the tokens that it was trained with alone.
        self.finished(self.launch("--set", "run.dir=" + self.path("bytes"), "--set", "data.held_out=0"))
        self.refused(self.thinwire("eval", self.path("bytes")), "data.held_out = 0", "give --data")
        self.refused(self.launch("--set", "run.dir=" + self.path("d"), "--set", "model.from=" + self.path("bytes"), "--set",
                                 "data.tokenizer=" + model), "data.tokenizer", "starts from a model", "leave it out")

    def test_what_is_said_of_a_model_is_of_a_step(self):
        self.finished(self.launch())
        result = self.thinwire("eval", self.run_dir)
        self.finished(result)
        self.assertIn("step 20", result.stderr)
        self.assertEqual(json.loads(self.finished_eval(self.run_dir))["step"], 20)
        older = self.run_dir + "/checkpoints/step-14"
        result = self.thinwire("generate", older, "--max-tokens", "3", "--prompt", "Apache")
        self.finished(result)
        self.assertIn("step 14", result.stderr)
        self.assertTrue(result.stdout.startswith("Apache"), result.stdout)
        result = self.thinwire("generate", older, "--max-tokens", "3", "--json")
        self.assertEqual([text["step"] for text in json.loads(result.stdout)], [14])
        exported = self.path("model.safetensors")
        self.finished(self.thinwire("export", older, "--to", "safetensors", "-o", exported))
        result = self.thinwire("eval", exported, "--data", REPOSITORY + "/LICENSE", "--json")
        self.assertEqual(json.loads(result.stdout)["step"], 14)

    def test_a_pipe_is_refused_at_once(self):
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        self.refused(self.launch("--set", "data.path=" + pipe), pipe, "not a plain file")
        self.refused(self.launch("--set", "data.tokenizer=" + pipe), pipe, "not a plain file")
        self.finished(self.launch())
        (cache,) = os.listdir(os.path.join(self.run_dir, "cache"))
        cache = os.path.join(self.run_dir, "cache", cache)
        os.remove(cache)
        os.mkfifo(cache)
        self.refused(self.thinwire("resume", self.run_dir, "--set", "inner.steps=22"), cache, "not a plain file")
        os.remove(cache)
        self.refused(self.thinwire("eval", self.run_dir, "--data", pipe), pipe, "not a plain file")

    def test_what_a_killed_worker_left_of_its_cache_goes_with_the_next_start(self):
        text = self.write("text.txt", some_text(150000))
        words = [PROGRAM, "launch", self.config, "-n", "1", "--set", "run.dir=" + self.run_dir, "--set", "data.path=" + text,
                 "--set", "data.tokenizer=" + self.tokenizer_file()]
        cache = os.path.join(self.run_dir, "cache")
        job = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            while job.poll() is None and not (os.path.isdir(cache) and os.listdir(cache)):
                pass
        finally:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        self.assertEqual(len(os.listdir(cache)), 1)
        self.assertRegex(os.listdir(cache)[0], r"\.bin\.\w{6}$")
        self.finished(subprocess.run(words, capture_output=True, text=True, timeout=120))
        self.assertEqual(len(os.listdir(cache)), 1)
        self.assertTrue(os.listdir(cache)[0].endswith(".bin"))

    def tokenizer_file(self):
        text = self.write("small.txt", some_text(300))
        other = self.path("tokenizer-run")
        self.finished(self.launch("--set", "run.dir=" + other, "--set", "data.path=" + text, "--set", "data.tokenizer=bpe",
                                  "--set", "data.vocab_size=300"))
        return other


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
