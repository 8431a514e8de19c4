"""Runs the blocks of a page as a reader would, in a folder that holds the ports of the checkout."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from blocks import Block, agree

from lockstep.harness.cli.main import main

ROOT = Path(__file__).parents[2]


class Page:
    """A page whose blocks are run one after the other."""

    def __init__(self, name: str, folder: Path) -> None:
        """Take the page's name, for messages, and an empty folder, the current one, to run in."""
        self.name, self.folder = name, folder
        self.status = 0
        self.namespace: dict[str, object] = {"__name__": "page"}
        shutil.copytree(ROOT / "cases" / "ports", folder / "cases" / "ports")

    def run(self, blocks: Sequence[Block]) -> None:
        """Run blocks; fail with the page and line of the first that does not come out as shown."""
        for block in blocks:
            place = f"{self.name}:{block.line}"
            if block.title is not None:
                path = self.folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                for command, expected in block.commands():
                    actual = self.command(command, place)
                    if not agree(expected, actual):
                        pytest.fail(f"{place}: $ {command}\nshown:\n{expected}\nprinted:\n{actual}", pytrace=False)
            elif block.language == "python":
                code = compile("\n" * block.line + block.text, self.name, "exec")
                exec(code, self.namespace)

    def command(self, command: str, place: str) -> str:
        """Run a command, and give all that it printed."""
        program, *arguments = shlex.split(command)
        if program == "lockstep":
            self.status, text = run_lockstep(arguments)
            return text
        if command == "echo $?":
            return f"{self.status}\n"
        if program == "gcc":
            if shutil.which(program) is None:
                pytest.skip(f"gcc is not installed, and builds a program that {self.name} shows")
            done = subprocess.run([program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
            self.status = done.returncode
            return done.stdout + done.stderr
        if program == "cat":
            return "".join((self.folder / name).read_text(encoding="utf-8") for name in arguments)
        if program in {"pytest", "python"}:
            words = [
                sys.executable,
                *(["-m", "pytest", "-p", "no:cacheprovider"] if program == "pytest" else []),
                *arguments,
            ]
            own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
            done = subprocess.run(words, cwd=self.folder, env=own, capture_output=True, text=True, check=False)
            self.status = done.returncode
            return done.stdout + done.stderr
        pytest.fail(f"{place}: $ {command}: nothing here runs {program}; a fence with `sh` is not run", pytrace=False)


def run_lockstep(arguments: list[str]) -> tuple[int, str]:
    """Run the command in this process; give its exit status, and stdout and stderr as they came."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown), pytest.raises(SystemExit) as left:
        main(arguments)
    shown.flush()
    assert isinstance(shown.buffer, io.BytesIO)
    return int(left.value.code or 0), shown.buffer.getvalue().decode()
