"""``lockstep variables``: the variables of what a user's file builds, found in a process of its own."""

from __future__ import annotations

import importlib.util
import os

from msgspec.structs import replace

from lockstep.harness.adapters.backend_process import TAIL, Answer
from lockstep.harness.adapters.inventory import Inventory, Made, Material, inventory_of
from lockstep.harness.adapters.inventory_process import serve
from lockstep.harness.adapters.user_code import Target, own_stack, parse_target
from lockstep.harness.adapters.user_process import Found, read_header, read_replies, stack_of
from lockstep.harness.adapters.worker import IMPORT_TIMEOUT, Process, Watch
from lockstep.harness.errors import LockstepError


class BuildError(Exception):
    """The user's code failed, hung, or ended its process: one message, without a traceback."""


def variables_of(text: str, timeout: float) -> Inventory:
    """List the variables of ``FILE.py:BUILD``, ``build`` if only a file is named, and judge who shares which.

    Raises:
        LockstepError: If there is no such name, or it is nothing that is taken.
        BuildError: If the code there fails, or takes more than ``timeout`` seconds.
    """
    target = parse_target(f"{text}:build" if text.endswith(".py") else text)
    process = Process(_environment())
    try:
        found = _found(process, target, timeout)
    finally:
        process.close()
    if found.status == "wrong":
        raise LockstepError(f"{target.file.name}:{target.function}: {found.message}")
    if found.value is None:
        raise BuildError(f"{target.file.name}:{target.function}: {found.message.strip().removesuffix(':')}")
    return inventory_of(_near(found.value, target), f"{target.file.name}:{target.function}")


def _found(process: Process, target: Target, timeout: float) -> Found:
    replies = process.folder / "replies"
    replies.write_bytes(b"")
    watch = Watch(replies, process.log, timeout)
    answer = process.call(serve, (target, timeout, replies, process.log), timeout, watch=watch)
    replied = [one for one in read_replies(replies) if isinstance(one, Found)]
    return replied[0] if replied else _lost(answer, process, target, timeout)


def _lost(answer: Answer | None, process: Process, target: Target, timeout: float) -> Found:
    """Say what became of a process that gave no answer."""
    _, imported = read_header(process.folder / "replies")
    if answer is None:
        return Found("failed", None, "it ended its process before it was done")
    stack = stack_of(process.log)
    hung = stack.read_text(errors="replace") if answer.status == "timeout" and stack.exists() else ""
    stderr, place = own_stack(f"{answer.stderr or ''}{hung}", target.file)
    message = answer.message or ""
    if answer.status == "timeout":
        message = f"not done after {timeout if imported else IMPORT_TIMEOUT:g} s"
    if answer.status == "crashed" and "exit status" in message:
        message += " (does it call os._exit?)"
    return Found(
        "failed", None, f"{'' if imported else 'while importing it: '}{message}{place}", stderr[-TAIL:] or None
    )


def _environment() -> tuple[tuple[str, str], ...]:
    """Give what the process has in its environment, where the user's own does not say otherwise."""
    wanted = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    # TF 2.16 and later offer the rnn cells through tf-keras only.
    if importlib.util.find_spec("tf_keras") is not None:
        wanted["TF_USE_LEGACY_KERAS"] = "1"
    return tuple((name, value) for name, value in wanted.items() if name not in os.environ)


def _near(material: Material, target: Target) -> Material:
    """Name places by their files as seen from the target's folder: shorter, and the same wherever that is."""
    folder = f"{target.file.parent}{os.sep}"

    def near(one: Made) -> Made:
        return replace(one, place=one.place and one.place.removeprefix(folder))

    return replace(material, made=tuple(map(near, material.made)))
