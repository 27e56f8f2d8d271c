"""Another library's all-reduce between processes of this machine over TCP, for `thinwire bench collective`.

Prints {"name": NAME} once the world stands, then for every line "BYTES COUNT" on standard input the mean seconds of
COUNT all-reduces, in place, of BYTES of float32 values. Ends with its input.
Usage: all_reduce.py WORKERS
"""
import json
import os
import sys
import tempfile
import time

os.environ["GLOO_SOCKET_IFNAME"] = "lo"
os.environ["OMP_NUM_THREADS"] = "1"

workers = int(sys.argv[1])
folder = tempfile.mkdtemp()
# Before torch is there, whose threads a fork would lose.
rank = next((r for r in range(1, workers) if os.fork() == 0), 0)

import torch
import torch.distributed as dist

meeting = os.path.join(folder, "meeting")
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=workers)
if rank == 0:
    print(json.dumps({"name": f"Gloo of torch {torch.__version__}"}), flush=True)

# Rank 0 tells the others what comes next; a count of 0 ends them.
task = torch.zeros(2, dtype=torch.int64)
values = torch.zeros(0)
while True:
    if rank == 0:
        task = torch.tensor([int(word) for word in sys.stdin.readline().split()] or [0, 0])
    dist.broadcast(task, 0)
    size, count = task.tolist()
    if count == 0:
        break
    if values.numel() != size // 4:
        values = torch.full((size // 4,), 1e-3 * (rank + 1))
        dist.all_reduce(values)
    dist.barrier()
    start = time.perf_counter()
    for _ in range(count):
        dist.all_reduce(values)
    if rank == 0:
        print((time.perf_counter() - start) / count, flush=True)

dist.destroy_process_group()
if rank == 0:
    for _ in range(1, workers):
        os.wait()
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    os.rmdir(folder)
