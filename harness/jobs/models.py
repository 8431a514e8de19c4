"""``lockstep run --model``: users' model files read in processes of their own, and the cases that take their networks.

The first file's weights are everybody's: each case gets its [lstm] table and, through a file in canonical form, its
weights. A file that can be run is one more backend, with its own weights; a further file that holds nothing but weights
is run by a backend of its framework. How weights differ from those of the first file is told.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.model_reader import _read, _told_apart, find_readers, parse_model
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.case import LSTM, Case, Values
from lockstep.harness.cases.find import FoundCase
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.run import run_cases
from lockstep.harness.text import number
from lockstep.harness.weights.differences import difference_lines, misfit, setting_differences, weight_differences
from lockstep.harness.weights.model_file import Model, ModelFile, environment_of, fitted

DEFAULT_CASE = "probe"


class Loaded(NamedTuple):
    """A file, what was read of it, and its reader."""

    file: ModelFile
    text: str  # as the user names it
    model: Model
    reader: BackendInfo


@dataclass(frozen=True)
class Told:
    """What a case took from a model."""

    case: str
    changes: list[str]

    def __str__(self) -> str:
        return f"Case {self.case}, as the model asks: {', '.join(self.changes)}."


class Models:
    """Users' models for one run; the files in which cases find their weights last as long as this."""

    def __init__(self, texts: Sequence[str], prefixes: Sequence[str] = ()) -> None:
        """Find out which files are meant.

        Args:
            texts: As the user names them.
            prefixes: By model, of which LSTM in it is meant.

        Raises:
            LockstepError: If one is not there, or of a kind that is not taken, or there are more prefixes than models.
        """
        if len(prefixes) > len(texts):
            raise LockstepError(f"--model-prefix is given {len(prefixes)} times, and --model {len(texts)}.")
        own = [*prefixes, *[""] * (len(texts) - len(prefixes))]
        files = [parse_model(text, prefix) for text, prefix in zip(texts, own, strict=True)]
        self._asked = list(zip(_told_apart(files, texts), texts, strict=True))
        self._folder = tempfile.TemporaryDirectory(prefix="lockstep-")
        self.loaded: list[Loaded] = []
        self.told: list[Told] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def read(self, timeout: float, forget_bias: float = 1.0) -> None:
        """Read the files, each in a process of its own.

        Args:
            timeout: Seconds for one of them.
            forget_bias: Of cells that add one at run time, whose files do not say which.

        Raises:
            LockstepError: If one is none that is taken, its framework is not installed, or two do not go together.
            ReadError: If reading one fails.
        """
        readers = find_readers()
        for file, text in self._asked:
            reader = readers[file.kind]
            missing = reader.missing()
            if missing is not None:
                raise LockstepError(f"{file.name}: {missing}.")
            file = replace(file, forget_bias=forget_bias)  # noqa: PLW2901
            model = _read(file, reader, timeout)
            self.loaded.append(Loaded(replace(file, digest=model.digest), text, model, reader))
        first = self.loaded[0]
        for other in self.loaded[1:]:
            found = misfit(other.model, first.model)
            if found is not None:
                raise LockstepError(
                    f"{other.file.name} and {first.file.name} do not go together: {found}. "
                    "Run them one after the other."
                )

    def backends(self) -> list[BackendInfo]:
        """Give the files that are run as backends."""
        found = []
        for k, one in enumerate(self.loaded):
            if one.model.runner and k == 0:
                continue  # everybody runs its weights, its framework's backends too
            environment = dict([*one.reader.environment, environment_of(one.file)])
            runs = find_backends([one.model.runner])[0] if one.model.runner else one.reader
            found.append(
                replace(
                    one.reader,
                    name=one.file.name,
                    summary=one.model.what,
                    requires=runs.requires,
                    install=runs.install,
                    environment=tuple(sorted(environment.items())),
                )
            )
        return found

    def names(self) -> list[str]:
        """Give what the files are called."""
        return [file.name for file, _ in self._asked]

    def cases(self, found: Sequence[FoundCase], *, named: bool) -> list[FoundCase]:
        """Give cases of the first file's network, with its weights.

        Args:
            found: As they were found.
            named: Whether the user named them; else they are made such that every file can be run with their data.

        Raises:
            LockstepError: If one is no case of an LSTM network, or none that has room for the network.
        """
        return [replace(one, case=self._case(one.case, named=named)) for one in found]

    def _case(self, case: Case, *, named: bool) -> Case:
        model, name = self.loaded[0].model, self.loaded[0].file.name
        if case.model != "lstm":
            raise LockstepError(f"case {case.name} is an {case.model.replace('_', ' ')}: --model is of LSTM networks.")
        before = case
        try:
            if not named:
                for one in reversed(self.loaded):
                    case = fitted(case, one.model)
            path = Path(self._folder.name) / f"{case.name}.safetensors"
            run = replace(case.run, weights=Values(file=str(path)))
            case = replace(case, lstm=model.lstm, run=run, expect=None)
        except ValueError as error:
            raise LockstepError(f"case {case.name} with the network of {name}: {error}.") from error
        rounded = _save(self.loaded[0], path, case)
        self.told.append(Told(case.name, [*_changes(before, case), *rounded]))
        return case

    def differences(self, other: Loaded) -> list[str]:
        """Say how a further file's weights differ from those of the first."""
        first = self.loaded[0]
        found = weight_differences(other.model, first.model)
        settings = setting_differences(other.model, first.model)
        return difference_lines(found, settings, len(other.model.arrays()), other.file.name, first.file.name)

    def texts(self) -> list[str]:
        """Say what was read, what is run, and what cases took of it."""
        lines = []
        for k, one in enumerate(self.loaded):
            lines.append(f"{one.file.name}: {one.model.what}: {network_text(one.model.lstm)}, {one.model.dtype}.")
            lines += [f"  {note[0].upper()}{note[1:]}." for note in one.model.notes]
            if one.model.runner:
                who = (
                    f"{one.model.runner} is the backend of its framework" if k == 0 else f"{one.model.runner} runs them"
                )
                lines.append(f"  It holds weights only: {who}.")
            if k:
                lines += [f"  Weights: {line}." for line in self.differences(one)]
        return [*lines, *(str(one) for one in self.told if one.changes)]

    def facts(self) -> list[dict[str, Any]]:
        """Give the same for JSON."""
        first = self.loaded[0].model
        return [
            {
                "name": one.file.name,
                "file": one.text,
                "prefix": one.file.prefix,
                "what": one.model.what,
                "lstm": msgspec.to_builtins(one.model.lstm),
                "dtype": one.model.dtype,
                "weights": one.model.digest,
                "notes": list(one.model.notes),
                "weights_only": bool(one.model.runner),
                "weights_differ": [msgspec.to_builtins(own) for own in weight_differences(one.model, first)],
                "settings_differ": [msgspec.to_builtins(own) for own in setting_differences(one.model, first)],
                "explained": self.differences(one) if k else [],
            }
            for k, one in enumerate(self.loaded)
        ]

    def explained(self, runs: Sequence[RunResult], cases: Sequence[FoundCase], timeout: float) -> list[RunResult]:
        """Explain what nothing of the catalogue does, where a further file is right by its own weights."""
        return [self._explained(run, cases, timeout) for run in runs]

    def _explained(self, result: RunResult, cases: Sequence[FoundCase], timeout: float) -> RunResult:
        own = next((one for one in self.loaded[1:] if one.file.name == result.backend), None)
        unexplained = bool(result.diagnosis) and result.diagnosis[0].fault == UNEXPLAINED
        if own is None or not unexplained or not weight_differences(own.model, self.loaded[0].model):
            return result
        case = next(one.case for one in cases if one.case.name == result.case)
        path = Path(self._folder.name) / "own" / f"{case.name}.safetensors"
        run = replace(case.run, weights=Values(file=str(path)))
        case = replace(case, lstm=own.model.lstm, run=run)
        _save(own, path, case)
        backend = next(one for one in self.backends() if one.name == result.backend)
        (again,) = run_cases([case], [backend], timeout=timeout)
        if again.status != "agree":
            return result
        sigma = max(tensor.worst.sigma for tensor in again.tensors.values())
        found = Diagnosis(
            fault="other-weights",
            message=f"Its weights differ from those of {self.loaded[0].file.name}: {'; '.join(self.differences(own))}.",
            fix="Export the weights anew, or mend how they are written.",
            sigma=sigma,
            evidence=f"Expected from its own weights, it agrees to {number(sigma)} sigma: nothing else is wrong.",
            family="weights",
        )  # fmt: skip
        return replace(result, diagnosis=[found])

    def judged(self, result: RunResult, argument: str | None) -> RunResult:
        """Add to a result the command that runs it again, and to a file's what is known of its weights.

        ``argument``: the case as the user named it, if so.
        """
        words = ["lockstep", "run", *([argument] if argument else [])]
        for one in self.loaded:
            words += ["--model", one.text]
        if any(one.file.prefix for one in self.loaded):
            words += [word for one in self.loaded for word in ("--model-prefix", one.file.prefix)]
        result = replace(result, rerun=shlex.join([*words, "--backend", result.backend]))
        own = next((one for one in self.loaded[1:] if one.file.name == result.backend), None)
        if result.backend not in self.names():
            return result
        # A file is no backend that could be named to `lockstep anatomy`.
        diagnosis = [
            replace(one, facts=[fact for fact in one.facts if "lockstep anatomy" not in fact])
            for one in result.diagnosis
        ]
        known = bool(diagnosis) and diagnosis[0].fault == "other-weights"
        notes = [f"weights: {line}" for line in self.differences(own)] if own is not None and not known else []
        return replace(result, diagnosis=diagnosis, notes=[*result.notes, *notes])


def _save(one: Loaded, path: Path, case: Case) -> list[str]:
    """Write a file's weights in a case's dtype; say if they were rounded."""
    dtype, arrays, exact = dtype_of(case.run.dtype), {}, True
    for name, array in one.model.arrays().items():
        with np.errstate(over="ignore", invalid="ignore"):
            arrays[name] = array.astype(dtype)
        if np.isinf(arrays[name]).sum() > np.isinf(array).sum():
            raise LockstepError(
                f"case {case.name}: {name} of {one.file.name} holds numbers beyond the range of {case.run.dtype}."
            )
        exact &= np.array_equal(array.astype(np.float64), arrays[name].astype(np.float64), equal_nan=True)
    save_safetensors(path, arrays, {"dialect": "canonical"})
    return [] if exact else [f"weights rounded from {one.model.dtype} to {case.run.dtype}"]


def forget_bias_of(cases: Sequence[Case]) -> float:
    """Give the forget bias that named cases ask for, 1 where they do not agree."""
    found = {case.lstm.forget_bias for case in cases if case.lstm.bias and not case.lstm.input_forget}
    return found.pop() if len(found) == 1 else 1.0


def network_text(lstm: LSTM) -> str:
    """Say what a network is, in a few words."""
    words = [f"input_size {lstm.input_size}", f"hidden_size {lstm.hidden_size}"]
    words += [f"{lstm.num_layers} layers"] * (lstm.num_layers > 1)
    words += [lstm.direction] * (lstm.direction != "forward")
    words += [f"proj_size {lstm.proj_size}"] * bool(lstm.proj_size)
    words += ["no bias"] * (not lstm.bias) + ["peepholes"] * lstm.peephole + ["input_forget"] * lstm.input_forget
    words += [
        f"{key} {getattr(lstm, key)}"
        for key, usual in (("recurrent_activation", "sigmoid"), ("activation", "tanh"), ("cell_activation", "tanh"))
        if getattr(lstm, key) != usual
    ]
    return ", ".join(words)


def _changes(before: Case, after: Case) -> list[str]:
    """Say what a case took: settings of its network, of its data, and whether golden values were left out."""
    found = []
    for old, new in ((before.lstm, after.lstm), (before.run, after.run)):
        for key in new.__struct_fields__:
            a, b = getattr(old, key), getattr(new, key)
            if a != b and key not in {"weights", "forget_bias"}:
                found.append(f"{key} {_word(a)} -> {_word(b)}")
    if before.expect is not None:
        found.append("its golden values, which are of other weights, left out")
    return found


def _word(value: Any) -> str:
    value = value.kind if isinstance(value, Values) and value.kind else value
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
