"""Run a campaign's tasks in worker processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from lockstep.harness.adapters.outcome import end_of
from lockstep.harness.adapters.worker import Closing, death_of
from lockstep.harness.jobs.campaign import worker_process
from lockstep.harness.jobs.campaign.hands import framework_of
from lockstep.harness.jobs.campaign.tasks import Answer, Task
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.worker_process import FROM_WORKER, Hello, receive, send

THREADS_OF_WORKER = 4  # each is mostly waiting for a framework; problems and expected values are shared among them
MOST_DEATHS_AT_ONCE = 3  # of workers that had answered nothing
ENDING_SECONDS = 10.0  # that a worker has to end its frameworks' processes


class LocalWorker:
    """One worker process, and what it has in hand."""

    def __init__(self, hello: Hello, folder: Path, answers: SimpleQueue[tuple[LocalWorker, Answer | None]]) -> None:
        """Start the process."""
        self.tasks: dict[int, Task] = {}
        self.answered = False
        self.log = folder / f"log-{id(self)}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", worker_process.__name__],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
        self._answers = answers
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self.send(hello)

    def send(self, message: Hello | Task) -> None:
        """Have it read a message; one that is gone is heard of where its answers are read."""
        assert self.process.stdin is not None
        with suppress(OSError):
            send(self.process.stdin, message)  # type: ignore[arg-type]

    def end(self) -> None:
        """End it, and with it its frameworks' processes."""
        with suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listening.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            answer: Answer | None = Answer(number=-1)
            while answer is not None:
                try:
                    answer = receive(stream, FROM_WORKER)  # type: ignore[arg-type]
                except msgspec.DecodeError as error:  # a fault of ours: nobody is to wait for ever
                    answer = Answer(number=-1, fatal=f"a worker's answer cannot be read: {error}")
                self._answers.put((self, answer))


class LocalExecutor(Closing):
    """Worker processes of this machine; one that dies is replaced, and what it had in hand is told as lost."""

    def __init__(self, campaign: Campaign, jobs: int) -> None:
        """Start as many workers as so many tasks at once need."""
        self.capacity = jobs
        self._campaign = campaign
        self._temporary = tempfile.TemporaryDirectory(prefix="lockstep-", ignore_cleanup_errors=True)
        self._arrived: SimpleQueue[tuple[LocalWorker, Answer | None]] = SimpleQueue()
        count = -(-jobs // THREADS_OF_WORKER)
        threads = [jobs // count + (n < jobs % count) for n in range(count)]
        self._hellos = {n: Hello(campaign, number) for n, number in enumerate(threads)}
        self._workers = {n: self._new(n) for n in self._hellos}
        self._homes: dict[object, int] = {}  # the worker that has a framework warm
        self._deaths: defaultdict[int, int] = defaultdict(int)

    def submit(self, task: Task) -> None:
        """Have a task run by the worker that has its framework warm, else by the one with most room."""
        framework = framework_of(self._campaign, task.backend)
        room = {n: self._hellos[n].threads - len(worker.tasks) for n, worker in self._workers.items()}
        home = self._homes.get(framework)
        if home is None or room[home] <= 0:
            home = max(room, key=lambda n: room[n])
            self._homes.setdefault(framework, home)
        worker = self._workers[home]
        worker.tasks[task.number] = task
        worker.send(task)

    def answers(self, timeout: float) -> list[Answer]:
        """What has come since the last call; waits for a first one, at most so many seconds."""
        arrived: list[Answer] = []
        try:
            self._take(*self._arrived.get(timeout=timeout), arrived)
            while True:
                self._take(*self._arrived.get_nowait(), arrived)
        except Empty:
            return arrived

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.end()
        self._temporary.cleanup()

    def _new(self, n: int) -> LocalWorker:
        return LocalWorker(self._hellos[n], Path(self._temporary.name), self._arrived)

    def _take(self, worker: LocalWorker, answer: Answer | None, arrived: list[Answer]) -> None:
        if answer is not None:
            worker.answered = True
            if answer.done or answer.fatal:
                worker.tasks.pop(answer.number, None)
            arrived.append(answer)
            return
        n = next((n for n, there in self._workers.items() if there is worker), None)
        if n is None:
            return
        worker.end()
        code = worker.process.returncode
        self._deaths[n] = 0 if worker.answered else self._deaths[n] + 1
        if self._deaths[n] >= MOST_DEATHS_AT_ONCE:
            text = f"a worker does not start: {death_of(code)}\n{end_of(worker.log)}"
            arrived.append(Answer(number=-1, fatal=text))
            return
        lost = death_of(code).replace("its process", "its worker")
        arrived += [Answer(number=number, done=True, lost=lost) for number in worker.tasks]
        self._workers[n] = self._new(n)
