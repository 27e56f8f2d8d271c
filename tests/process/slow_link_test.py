#!/usr/bin/env python3
"""Exchanges over a real slow link: two network namespaces, a veth pair, `tc tbf` on both ends, MPI and gRPC over it.

  slow_link_test.py PROGRAM THINWIRE           one rate, a few sizes: the bytes crossed the interface, no faster than it
                                               allows, and both backends give the same bits
  slow_link_test.py PROGRAM THINWIRE --table   10, 100 and 1000 Mbit/s beside iperf3 --bidir and our shaper, as Markdown

PROGRAM is tests/comm/exchange_program, which also checks every mean against its definition; THINWIRE makes the
certificates of gRPC's workers and is their coordinator. Needs root and iproute2, the table iperf3 too; without them, or
where the kernel has no namespaces, exits 77 and says what is missing. The namespaces go when the script does; those of
one that was killed go with the next.
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

SKIPPED = 77
DEVICE = "tw0"  # of both ends, each in its namespace
ADDRESSES = ["10.77.0.1", "10.77.0.2"]
BURST_BYTES = 16384
QUEUE_BYTES = 4 << 20  # more than TCP puts in flight: the link delays and loses nothing
# What Debian has. Where the machine has another it is no property of the link: BBR, which paces itself, leaves 5 % idle.
CONGESTION_CONTROL = "cubic"
PEER_CONTROLS = ["cubic", "bbr"]  # iperf3 gets the better one
BACKENDS = ["mpi", "grpc"]
REPETITIONS = 3
SECONDS = {10: 8.0, 100: 2.0, 1000: 2.0}  # by Mbit/s, of one measurement: an exchange of 1 MiB takes one at 10 Mbit/s
MIB = 1 << 20
# The largest payload of a packet, and the packet: what a link carries beside it.
PAYLOAD_SHARE = 1448 / 1514


class Skip(Exception):
    pass


def call(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def namespace_names(owner):
    return [f"thinwire-{owner}-{side}" for side in "ab"]


def remove_leftovers():
    for owner in set(re.findall(r"^thinwire-(\d+)-[ab]\b", call("ip", "netns", "list"), re.MULTILINE)):
        if not os.path.exists(f"/proc/{owner}"):
            for name in namespace_names(owner):
                subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Job(contextlib.AbstractContextManager):
    """A child that does not outlive its block."""

    def __init__(self, words):
        self.words = words
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def output(self):
        output, errors = self.child.communicate(timeout=900)
        if self.child.returncode != 0:
            raise SystemExit(f"failed ({self.child.returncode}): {' '.join(self.words)}\n{output}\n{errors}")
        return output

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()


class SlowLink(contextlib.AbstractContextManager):
    """Two hosts with one wire between them; rate in Mbit/s each way, None: as fast as the kernel goes."""

    def __init__(self, programs, mbit):
        self.program, self.thinwire = programs
        self.names = namespace_names(os.getpid())
        self.folder = tempfile.mkdtemp(prefix="thinwire-link-")
        try:
            self.make(mbit)
        except subprocess.CalledProcessError as error:
            self.close()
            raise Skip(f"{' '.join(error.cmd)}: {error.stderr.strip()}") from error

    def make(self, mbit):
        for name in self.names:
            call("ip", "netns", "add", name)
        call("ip", "link", "add", DEVICE, "netns", self.names[0], "type", "veth", "peer", "name", DEVICE, "netns",
             self.names[1])
        for name, address in zip(self.names, ADDRESSES):
            call("ip", "netns", "exec", name, "sysctl", "-w", f"net.ipv4.tcp_congestion_control={CONGESTION_CONTROL}")
            call("ip", "-n", name, "addr", "add", address + "/24", "dev", DEVICE)
            for device in ("lo", DEVICE):
                call("ip", "-n", name, "link", "set", device, "up")
            if mbit:
                call("tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "tbf", "rate", f"{mbit}mbit", "burst",
                     str(BURST_BYTES), "limit", str(QUEUE_BYTES))
        # What Open MPI calls in place of ssh. Another hostname, or it takes the two for one host.
        self.agent = os.path.join(self.folder, "agent")
        with open(self.agent, "w") as file:
            file.write(f'#!/bin/sh\nshift\nexec ip netns exec {self.names[1]} unshare --uts sh -c '
                       f'"hostname {self.names[1]}; $*"\n')
        os.chmod(self.agent, 0o755)

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *_):
        self.close()

    def sent_bytes(self):
        """Bytes that each end has put on the wire, by the interface's own count."""
        shown = [json.loads(call("ip", "-n", name, "-s", "-j", "link", "show", "dev", DEVICE)) for name in self.names]
        return [links[0]["stats64"]["tx"]["bytes"] for links in shown]

    def exchange(self, backend, requests, seconds, shaper="unlimited"):
        """Rows of the program's, one for each CODEC:VALUES."""
        words = [shaper, str(seconds), *requests]
        output = self.over_mpi(words) if backend == "mpi" else self.over_grpc(words)
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]

    def over_mpi(self, words):
        command = ["mpirun", "--allow-run-as-root", "-n", "2", "--host", ",".join(address + ":1" for address in ADDRESSES),
                   "--bind-to", "none"]
        for name, value in {"pml": "ob1", "btl": "tcp,self", "btl_tcp_if_include": DEVICE,
                            "oob_tcp_if_include": DEVICE, "plm_rsh_agent": self.agent, "plm_rsh_no_tree_spawn": "1",
                            "mpi_yield_when_idle": "1"}.items():
            command += ["--mca", name, value]
        with self.start(0, *command, self.program, *words) as job:
            return job.output()

    def over_grpc(self, words):
        """Both ends meet at a coordinator on the first. With TLS, for the link is no loopback."""
        certificates = os.path.join(self.folder, "certificates")
        if not os.path.exists(certificates):
            call(self.thinwire, "certs", "-o", certificates, "-n", "2", "--host", *ADDRESSES)
        with self.start(0, self.thinwire, "coordinator", "-n", "2", "--listen", ADDRESSES[0] + ":0", "--tls",
                        os.path.join(certificates, "coordinator")) as coordinator, contextlib.ExitStack() as workers:
            place = coordinator.child.stdout.readline().split()[2]  # listening at HOST:PORT for ...
            jobs = [workers.enter_context(
                self.start(end, self.program, "--coordinator", place, "--listen", ADDRESSES[end] + ":0", "--tls",
                           os.path.join(certificates, f"worker-{end}"), "--rank", str(end), *words)) for end in (0, 1)]
            return jobs[0].output() + jobs[1].output()

    def start(self, end, *words):
        return Job(["ip", "netns", "exec", self.names[end], *words])

    def iperf(self):
        """Mbit/s of TCP payload that arrive in each direction while both run: the mean of the two, with the congestion
        control that gives iperf3 the most."""
        known = call("sysctl", "-n", "net.ipv4.tcp_available_congestion_control").split()
        return max(self.iperf_with(control) for control in PEER_CONTROLS if control in known)

    def iperf_with(self, control, seconds=10):
        with self.start(1, "iperf3", "-s", "-1", "--forceflush") as server:
            for line in server.child.stdout:
                if "listening" in line:
                    break
            report = json.loads(call("ip", "netns", "exec", self.names[0], "iperf3", "-c", ADDRESSES[1], "--bidir", "-C",
                                     control, "-t", str(seconds), "-O", "1", "-J", timeout=seconds + 60))["end"]
        rates = [report[name]["bits_per_second"] for name in ("sum_received", "sum_received_bidir_reverse")]
        return statistics.mean(rates) / 1e6


def float_request(num_bytes):
    return f"fp32:{num_bytes // 4}"


def check(programs):
    """The short form. What it asserts does not depend on how busy the machine is."""
    requests = [float_request(64 * 1024), float_request(MIB), "int4:1000000", "sign:1000003"]
    digests = [[row["digest"] for row in check_backend(programs, backend, requests)] for backend in BACKENDS]
    if any(other != digests[0] for other in digests):
        raise SystemExit(f"expected the same means of {requests} over {BACKENDS}, found {digests}")


def check_backend(programs, backend, requests):
    mbit = 100
    with SlowLink(programs, mbit) as link:
        before = link.sent_bytes()
        rows = link.exchange(backend, requests, seconds=0.5)
        crossed = [after - first for after, first in zip(link.sent_bytes(), before)]
    if len(rows) != len(requests):
        raise SystemExit(f"expected a row for each of {requests}, found {rows}")
    sent = sum(row["bytes"] * (row["exchanges"] + 3) for row in rows)  # one is checked, two are for warming up
    for end, count in enumerate(crossed):
        if not sent <= count <= 1.3 * sent + MIB:
            raise SystemExit(f"end {end}: expected {sent} bytes and TCP's own on {DEVICE}, it counted {count}")
    for row in rows:
        least = 8 * row["bytes"] / (mbit * 1e6)
        if row["exchanges"] * row["bytes"] > 40 * BURST_BYTES and row["seconds"] < 0.95 * least:
            raise SystemExit(f"expected at least {least:.4f} s at {mbit} Mbit/s, found {row}")
        print(f"ok  {backend:4}  {row['codec']:5} {row['values']:8} values  {1e3 * row['seconds']:8.2f} ms, the rate alone "
              f"takes {1e3 * least:.2f}")
    return rows


def median_rows(link, backend, requests, **options):
    """For each request the median of seconds over repetitions, taken in turns."""
    rounds = [link.exchange(backend, requests, **options) for _ in range(REPETITIONS)]
    return [dict(rows[0], seconds=statistics.median(row["seconds"] for row in rows),
                 spread=(max(row["seconds"] for row in rows) - min(row["seconds"] for row in rows)) /
                 statistics.median(row["seconds"] for row in rows)) for rows in zip(*rounds)]


def beside_iperf(programs):
    print("| link | backend | bytes | ms an exchange | spread | Mbit/s each way | iperf3 --bidir | share |\n"
          "|---|---|---|---|---|---|---|---|")
    for mbit, sizes in {10: [MIB // 4, MIB, 4 * MIB], 100: [MIB // 4, MIB, 4 * MIB, 16 * MIB],
                        1000: [MIB, 4 * MIB, 16 * MIB, 64 * MIB]}.items():
        with SlowLink(programs, mbit) as link:
            peer = [link.iperf()]
            by_backend = {}
            for backend in BACKENDS:
                by_backend[backend] = median_rows(link, backend, [float_request(size) for size in sizes],
                                                  seconds=SECONDS[mbit])
                peer.append(link.iperf())
        limit = statistics.mean(peer)
        for backend, rows in by_backend.items():
            for row in rows:
                rate = 8 * row["bytes"] / row["seconds"] / 1e6
                print(f"| {mbit} Mbit/s | {backend} | {row['bytes']} | {1e3 * row['seconds']:.2f} | "
                      f"{100 * row['spread']:.1f} % | {rate:.2f} | {limit:.2f} | {rate / limit:.3f} |", flush=True)


def codecs_and_shaper(programs):
    values = 8 * MIB // 4
    codecs = ["fp32", "int8", "int4", "int2", "sign"]
    print("\n| 8 MiB of values at 100 Mbit/s, MPI | bytes | ms an exchange | spread | times float32 | by the bytes |\n"
          "|---|---|---|---|---|---|")
    with SlowLink(programs, 100) as link:
        rows = median_rows(link, "mpi", [f"{codec}:{values}" for codec in codecs], seconds=SECONDS[100])
    for row in rows:
        print(f"| {row['codec']} | {row['bytes']} | {1e3 * row['seconds']:.2f} | {100 * row['spread']:.1f} % | "
              f"{rows[0]['seconds'] / row['seconds']:.2f} | {rows[0]['bytes'] / row['bytes']:.2f} |", flush=True)
    print("\n| link, MPI | codec | bytes | kernel's link, ms | our shaper, ms | shaper / kernel |\n|---|---|---|---|---|---|")
    for mbit, requests in {10: [float_request(MIB), "int4:2097152"], 100: [float_request(8 * MIB), "int4:2097152"]}.items():
        with SlowLink(programs, mbit) as link:
            real = median_rows(link, "mpi", requests, seconds=SECONDS[mbit])
        with SlowLink(programs, None) as link:
            shaped = median_rows(link, "mpi", requests, shaper=f"{mbit}mbit/0ms", seconds=SECONDS[mbit])
        for one, other in zip(real, shaped):
            print(f"| {mbit} Mbit/s | {one['codec']} | {one['bytes']} | {1e3 * one['seconds']:.2f} | "
                  f"{1e3 * other['seconds']:.2f} | {other['seconds'] / one['seconds']:.3f} |", flush=True)


def require(*programs):
    if os.geteuid() != 0:
        raise Skip("network namespaces need root")
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f"{program} is not here")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("thinwire")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the namespaces go
    try:
        require("ip", "tc", "sysctl", "mpirun", "unshare", *(["iperf3"] if arguments.table else []))
        remove_leftovers()
        programs = os.path.abspath(arguments.program), os.path.abspath(arguments.thinwire)
        if arguments.table:
            beside_iperf(programs)
            codecs_and_shaper(programs)
        else:
            check(programs)
    except Skip as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
