"""A Dask cluster on loopback, as processes of their own that a test may kill."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from campaign_processes import PATIENCE


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Processes:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder, workers=2):
        self.folder = folder
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.all = []
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        self.workers = [self.worker() for _ in range(workers)]
        end = time.monotonic() + PATIENCE
        while not is_open(port) and time.monotonic() < end:
            time.sleep(0.2)

    def worker(self, **environment):
        """Start a worker, with further environment variables."""
        local = ["--no-nanny", "--local-directory", str(self.folder)]
        return self.start("worker", self.address, "--nthreads", "1", *local, **environment)

    def wait(self, workers):
        """Wait until so many workers are there."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)

    def start(self, what, *arguments, **environment):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.all.append(subprocess.Popen(command, env={**os.environ, **environment}, **quiet))
        return self.all[-1]

    def close(self):
        for process in self.all:
            process.kill()
            process.wait()
