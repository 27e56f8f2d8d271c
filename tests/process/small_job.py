"""The small job of the tests by real processes, and a test case with a folder that holds its config."""
import os
import shutil
import tempfile
import unittest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT = 20
MODEL = """
[model]
layers = 2
width = 32
heads = 2
context = 32
"""
CONFIG = f"""{MODEL}[data]
path = "{REPOSITORY}/LICENSE"
sequence = 32
[inner]
steps = 20
batch = 2
[outer]
sync_every = 6
fragments = 2
[checkpoint]
every = 7
[log]
every = 5
tensorboard = false
[comm]
timeout_s = {TIMEOUT}
"""


class JobCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="thinwire-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.config = self.path("job.toml")
        self.run_dir = self.path("run")
        self.write_config(CONFIG)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write_config(self, text):
        with open(self.config, "w") as file:
            file.write(text)
