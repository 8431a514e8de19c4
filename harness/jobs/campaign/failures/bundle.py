"""The bundle of a finding: a folder that shows it anywhere, with the wheel and its framework alone."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from lockstep.harness.cases.case import VALUE_KEYS, Case, Values
from lockstep.harness.cases.case_file import case_text
from lockstep.harness.cases.info import case_info
from lockstep.harness.comparison.results import Results, RunResult, encode_results
from lockstep.harness.jobs.campaign.tasks import Shrunk
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.text import counted

FOLDER = "findings"  # in that of the campaign
CASE, NUMBERS, TRACE = "case.toml", "numbers.safetensors", "trace.safetensors"
RESULTS, README = "results.json", "README.md"


@dataclass(frozen=True)
class Bundle:
    """What is written of a finding."""

    name: str  # of its folder
    title: str
    campaign: Campaign
    case: Case
    result: RunResult
    shrunk: Shrunk
    told: str  # the result in words

    @property
    def command(self) -> str:
        """The command that shows it, from the folder of its bundle."""
        return command(self.campaign, self.result.backend)

    def write(self, folder: Path) -> Path:
        """Write it into a campaign's folder, as a whole, over an old one of its name: its folder."""
        return _write(folder / FOLDER / self.name, self._contents())

    def _contents(self) -> dict[str, bytes]:
        case, shrunk = replace(self.case, name=self.name, description=self.title), self.shrunk
        if shrunk.numbers:
            keys = [key for key in VALUE_KEYS if key != "cotangents" or case.run.gradients]
            case = replace(case, run=replace(case.run, seed=0, **dict.fromkeys(keys, Values(file=NUMBERS))))
        run = replace(self.result, case=self.name, rerun=self.command)
        results = Results(environment=shrunk.environment, runs=[run], cases={self.name: case_info(case)})
        files = {
            CASE: case_text(case).encode(), RESULTS: encode_results(results), NUMBERS: shrunk.numbers,
            TRACE: shrunk.trace,
        }  # fmt: skip
        files = {file: content for file, content in files.items() if content}
        return {**files, README: self._readme(files).encode()}

    def _readme(self, files: Iterable[str]) -> str:
        """What a reader needs, in words: the command, what it shows, what each file is."""
        what = {
            CASE: "the case", NUMBERS: "its numbers: weights, inputs, states",
            TRACE: f"what {self.result.backend} gave",
            RESULTS: "the result: every tensor, the cause, versions and machine",
        }  # fmt: skip
        lines = "\n".join(f"- `{file}`: {what[file]}" for file in files)
        versions = ", ".join(f"{name} {version}" for name, version in self.result.versions.items())
        seen = f", and was seen with {versions}" if versions else ""
        shown = f"Shown by, in this folder{seen}:\n\n    {self.command}\n\n```text\n{self.told}\n```"
        return f"# {self.title}\n\n{shown}\n\n{shrinking_text(self.shrunk)}\n\n{lines}\n"


def shrinking_text(shrunk: Shrunk) -> str:
    """How the case was made small, in words."""
    if shrunk.result is None:
        return "It did not show again when its case was run once more: it may depend on what ran before it, or on load."
    tried = f"{counted(shrunk.tried, 'smaller case')} tried in {shrunk.seconds:.0f} s"
    if shrunk.spent:
        return f"The time for shrinking was spent after {tried}: a smaller case may show it too."
    return f"No smaller case that was tried shows it: {tried}."


def _write(target: Path, contents: dict[str, bytes]) -> Path:
    beside = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    beside.mkdir(parents=True)
    try:
        for file, content in contents.items():
            with (beside / file).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())  # the journal will say that it is there
        if target.exists():
            shutil.rmtree(target)
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def command(campaign: Campaign, backend: str) -> str:
    """The command that shows a finding, from the folder of its bundle."""
    port = campaign.port
    if port is None:
        words, options = ["run", CASE, "--backend", backend], {}
    else:
        options = {name: value for name, value in msgspec.structs.asdict(port).items() if value is not None}
        target = options.pop("target", None)
        words = ["check", *([target] if target else []), "--case", CASE]
    options["limit"] = campaign.limit
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(["lockstep", *words])
