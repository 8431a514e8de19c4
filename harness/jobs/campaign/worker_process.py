"""A worker of a campaign on this machine: it reads tasks from its standard input, and answers on its standard output.

Run as ``python -m lockstep.harness.jobs.campaign.worker_process``. It ends with its standard input: whatever becomes
of the process that started it, and so do the processes of frameworks that it has started.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from queue import SimpleQueue
from typing import Any, BinaryIO

import msgspec
from threadpoolctl import threadpool_limits

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.jobs.campaign.hands import Hands
from lockstep.harness.jobs.campaign.tasks import Answer, Batch, Choosing, Shrinking, Task
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.work import perform

_LENGTH = struct.Struct("<Q")  # in front of each message


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The first message: what the worker works for, and with how many threads."""

    campaign: Campaign
    threads: int


TO_WORKER = msgspec.msgpack.Decoder(Hello | Batch | Choosing | Shrinking)
FROM_WORKER = msgspec.msgpack.Decoder(Answer)


def send(stream: BinaryIO, message: Hello | Task | Answer) -> None:
    """Write a message as a whole."""
    encoded = msgspec.msgpack.encode(message)
    stream.write(_LENGTH.pack(len(encoded)) + encoded)
    stream.flush()


def receive(stream: BinaryIO, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    """Read a message; None at the end, also in the middle of one: whoever wrote it is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    encoded = stream.read(size)
    return None if len(encoded) < size else decoder.decode(encoded)


def main() -> None:
    """Work until there is nothing more to read."""
    # What anything prints goes where errors go: standard output is for answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal
    questions = sys.stdin.buffer
    hello = receive(questions, TO_WORKER)
    if hello is None:
        return
    tasks: SimpleQueue[Task] = SimpleQueue()
    telling = threading.Lock()

    def tell(answer: Answer) -> None:
        with telling:
            try:
                send(answers, answer)
            except OSError:  # nobody listens any more
                os._exit(1)

    def work() -> None:
        while True:
            perform(tasks.get(), hands, tell)

    with Hands(hello.campaign) as hands, threadpool_limits(THREADS):
        for _ in range(hello.threads):
            threading.Thread(target=work, daemon=True).start()
        while (task := receive(questions, TO_WORKER)) is not None:
            tasks.put(task)
    os._exit(0)  # a thread may still be at a unit that nobody waits for


if __name__ == "__main__":
    main()
