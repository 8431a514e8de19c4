"""``lockstep run --model``: users' model files read in processes of their own, and the cases that take their networks.

The first file's weights are everybody's: each case gets its [lstm] table and, through a file in canonical form, its
weights. A file that can be run is one more backend, with its own weights; a further file that holds nothing but weights
is run by a backend of its framework. How weights differ from those of the first file is told.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.model_reader import distinct_names, find_readers, parse_model, read_model
from lockstep.harness.adapters.worker import Closing
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.case import LSTM, Case, Values
from lockstep.harness.cases.find import FoundCase
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.run import run_cases
from lockstep.harness.text import number
from lockstep.harness.weights.differences import (
    SettingDifference,
    WeightDifference,
    difference_lines,
    difference_table,
    misfit,
    setting_differences,
    weight_differences,
)
from lockstep.harness.weights.model_file import ModelFile, StoredModel, environment_of, fitted_case

DEFAULT_CASE = "probe"  # no two of its numbers are alike
OTHER_WEIGHTS = "other-weights"  # the fault of a file whose weights are not those of the first


class Loaded(NamedTuple):
    """A file, what was read of it, and its reader."""

    file: ModelFile
    text: str  # as the user names it
    model: StoredModel
    reader: BackendInfo


class Models(Closing):
    """Users' models for one run; the files in which cases find their weights last as long as this."""

    def __init__(self, texts: Sequence[str], prefixes: Sequence[str] = ()) -> None:
        """Find out which files are meant: ``texts`` as the user names them, ``prefixes`` of which LSTM in each.

        Raises:
            LockstepError: If one is not there, or of a kind that is not taken, or there are more prefixes than models.
        """
        if len(prefixes) > len(texts):
            raise LockstepError(f"--model-prefix is given {len(prefixes)} times, and --model {len(texts)}.")
        prefix_of_each = [*prefixes, *[""] * (len(texts) - len(prefixes))]
        files = [parse_model(text, prefix) for text, prefix in zip(texts, prefix_of_each, strict=True)]
        self._asked = list(zip(distinct_names(files, texts), texts, strict=True))
        self.names = [file.name for file, _ in self._asked]
        self._folder = tempfile.TemporaryDirectory(prefix="lockstep-")
        self.loaded: list[Loaded] = []
        self._taken: list[str] = []  # what each case takes of them

    def command(self, *words: str) -> str:
        """The command that runs the files again."""
        models = [word for _, text in self._asked for word in ("--model", text)]
        return shlex.join(["lockstep", "run", *words, *models])

    @property
    def files(self) -> list[ModelFile]:
        """The files, as they are called in results."""
        return [file for file, _ in self._asked]

    def close(self) -> None:
        """Remove the files of weights."""
        self._folder.cleanup()

    def read(self, cases: Sequence[FoundCase], timeout: float, *, named: bool) -> list[FoundCase]:
        """Read the files, each in a process of its own, and give cases the network and the weights of the first one.

        Where the user named no cases, they are changed such that every file can be run with their data.

        Raises:
            LockstepError: If one is none that is taken, its framework is not installed, two do not go together, or a
                case has no room for the network.
            UserFileError: If reading one fails.
        """
        readers, forget_bias = find_readers(), _forget_bias([found_case.case for found_case in cases])
        for file, text in self._asked:
            reader = readers[file.kind]
            missing = reader.missing()
            if missing is not None:
                raise LockstepError(f"{file.name}: {missing}.")
            # Only the cases know it: a TF1 cell adds it at run time, and a checkpoint holds no constants.
            file = replace(file, forget_bias=forget_bias)  # noqa: PLW2901
            model = read_model(file, reader, timeout)
            # By its digest the worker that runs the file sees that it is still what was read here.
            self.loaded.append(Loaded(replace(file, digest=model.digest), text, model, reader))
        first = self.loaded[0]
        for loaded in self.loaded[1:]:
            contradiction = misfit(loaded.model, first.model)
            if contradiction is not None:
                raise LockstepError(
                    f"{loaded.file.name} and {first.file.name} do not go together: {contradiction}. "
                    "Run them one after the other."
                )
        return [replace(found_case, case=self._case(found_case.case, named=named)) for found_case in cases]

    def backends(self) -> list[BackendInfo]:
        """The files that are run as backends."""
        backends = []
        for k, loaded in enumerate(self.loaded):
            if loaded.model.runner and k == 0:
                continue  # everybody runs its weights, its framework's backends too
            # A worker imports a backend by its name alone: which file it is to run stands in its environment.
            environment = dict([*loaded.reader.environment, environment_of(loaded.file)])
            runs = find_backends([loaded.model.runner])[0] if loaded.model.runner else loaded.reader
            backends.append(
                replace(
                    loaded.reader,
                    name=loaded.file.name,
                    summary=loaded.model.what,
                    requires=runs.requires,
                    install=runs.install,
                    environment=tuple(sorted(environment.items())),
                    listed=False,
                )
            )
        return backends

    def _case(self, case: Case, *, named: bool) -> Case:
        model, name = self.loaded[0].model, self.loaded[0].file.name
        if case.model != "lstm":
            raise LockstepError(f"case {case.name} is an {case.model.replace('_', ' ')}: --model is of LSTM networks.")
        before = case
        try:
            if not named:
                for loaded in reversed(self.loaded):  # the first file has the last word
                    case = fitted_case(case, loaded.model)
            path = Path(self._folder.name) / f"{case.name}.safetensors"
            run = replace(case.run, weights=Values(file=str(path)))
            case = replace(case, lstm=model.lstm, run=run, expect=None)
        except ValueError as error:
            raise LockstepError(f"case {case.name} with the network of {name}: {error}.") from error
        rounded = _save(self.loaded[0], path, case)
        changes = [*_changes(before, case), *rounded]
        self._taken += [f"Case {case.name}, as the model asks: {', '.join(changes)}."] if changes else []
        return case

    def differences(self, loaded: Loaded) -> list[str]:
        """How a further file's weights differ from those of the first."""
        return difference_lines(*self._compared(loaded))

    def _compared(self, loaded: Loaded) -> tuple[list[WeightDifference], list[SettingDifference], int, str, str]:
        first = self.loaded[0]
        by_tensor = weight_differences(loaded.model, first.model)
        settings = setting_differences(loaded.model, first.model)
        return by_tensor, settings, len(loaded.model.arrays()), loaded.file.name, first.file.name

    def texts(self) -> list[str]:
        """What was read, what is run, and what cases took of it."""
        lines = []
        for k, loaded in enumerate(self.loaded):
            lines.append(
                f"{loaded.file.name}: {loaded.model.what}: {network_text(loaded.model.lstm)}, {loaded.model.dtype}."
            )
            lines += [f"  {note[0].upper()}{note[1:]}." for note in loaded.model.notes]
            if loaded.model.runner:
                where = ", in a column of its own" if k else ""
                lines.append(f"  Its weights are run by {loaded.model.runner}{where}.")
            if k:
                lines += [f"  {line}" for line in difference_table(*self._compared(loaded))]
        return [*lines, *self._taken]

    def facts(self) -> list[dict[str, Any]]:
        """The same for JSON."""
        first = self.loaded[0].model
        return [
            {
                "name": loaded.file.name,
                "file": loaded.text,
                "prefix": loaded.file.prefix,
                "what": loaded.model.what,
                "lstm": msgspec.to_builtins(loaded.model.lstm),
                "dtype": loaded.model.dtype,
                "weights": loaded.model.digest,
                "notes": list(loaded.model.notes),
                "weights_only": bool(loaded.model.runner),
                "weights_differ": msgspec.to_builtins(weight_differences(loaded.model, first)),
                "settings_differ": msgspec.to_builtins(setting_differences(loaded.model, first)),
                "explained": self.differences(loaded) if k else [],
            }
            for k, loaded in enumerate(self.loaded)
        ]

    def explain(self, run: RunResult, found_case: FoundCase, timeout: float, *, named: bool) -> RunResult:
        """A result with what is known of its file's weights, and the command that runs it again.

        Where no known mistake explains it, and the file is right by its own weights, these are the cause. ``named``:
        whether the user named the case.
        """
        words = ["lockstep", "run", *([found_case.argument] if named else [])]
        for loaded in self.loaded:
            words += ["--model", loaded.text]
        if any(loaded.file.prefix for loaded in self.loaded):
            words += [word for loaded in self.loaded for word in ("--model-prefix", loaded.file.prefix)]
        run = replace(run, rerun=shlex.join([*words, "--backend", run.backend]))
        further = next((loaded for loaded in self.loaded[1:] if loaded.file.name == run.backend), None)
        if further is None:
            return run
        cause = self._other_weights(run, further, found_case.case, timeout)
        if cause is not None:
            return replace(run, diagnosis=[cause])
        return replace(run, notes=[*run.notes, *(f"weights: {line}" for line in self.differences(further))])

    def _other_weights(self, run: RunResult, further: Loaded, case: Case, timeout: float) -> Diagnosis | None:
        """The cause of a further file that is right by the weights that it holds itself; None where that is not so."""
        first = self.loaded[0]
        unexplained = bool(run.diagnosis) and run.diagnosis[0].fault == UNEXPLAINED
        if not unexplained or not weight_differences(further.model, first.model):
            return None
        again = self._by_own_weights(further, case, timeout)
        if again.status != "agree":
            return None
        sigma = max(tensor.worst.sigma for tensor in again.tensors.values())
        return Diagnosis(
            fault=OTHER_WEIGHTS,
            message=f"Its weights differ from those of {first.file.name}: {'; '.join(self.differences(further))}.",
            fix="Export the weights anew, or mend how they are written.",
            sigma=sigma,
            evidence=f"Expected from its own weights, it agrees to {number(sigma)} sigma: nothing else is wrong.",
            family="weights",
        )

    def _by_own_weights(self, further: Loaded, case: Case, timeout: float) -> RunResult:
        """Run a further file, judged by the weights that it holds itself."""
        path = Path(self._folder.name) / "own" / f"{case.name}.safetensors"
        run = replace(case.run, weights=Values(file=str(path)))
        case = replace(case, lstm=further.model.lstm, run=run)
        _save(further, path, case)
        backends = [backend for backend in self.backends() if backend.name == further.file.name]
        return run_cases([case], backends, timeout=timeout)[0]


def _save(loaded: Loaded, path: Path, case: Case) -> list[str]:
    """Write a file's weights in a case's dtype; say if they were rounded."""
    dtype, arrays, exact = dtype_of(case.run.dtype), {}, True
    for name, array in loaded.model.arrays().items():
        with np.errstate(over="ignore", invalid="ignore"):
            arrays[name] = array.astype(dtype)
        # A file may hold infinities of its own; here are counted those that the narrower dtype makes.
        if np.isinf(arrays[name]).sum() > np.isinf(array).sum():
            raise LockstepError(
                f"case {case.name}: {name} of {loaded.file.name} holds numbers beyond the range of {case.run.dtype}."
            )
        exact &= np.array_equal(array.astype(np.float64), arrays[name].astype(np.float64), equal_nan=True)
    save_safetensors(path, arrays, {"dialect": "canonical"})
    return [] if exact else [f"weights rounded from {loaded.model.dtype} to {case.run.dtype}"]


def _forget_bias(cases: Sequence[Case]) -> float:
    """The forget bias that named cases ask for, 1 where they do not agree."""
    biases = {case.lstm.forget_bias for case in cases if case.lstm.bias and not case.lstm.input_forget}
    return biases.pop() if len(biases) == 1 else 1.0


def network_text(lstm: LSTM) -> str:
    """What a network is: its sizes, and what is not as usual."""
    # The forget bias is left out: it is part of the weights.
    usual = LSTM(input_size=0, hidden_size=0, forget_bias=lstm.forget_bias)
    settings = {key: getattr(lstm, key) for key in LSTM.__struct_fields__}
    return ", ".join(f"{key} {_word(value)}" for key, value in settings.items() if value != getattr(usual, key))


def _changes(before: Case, after: Case) -> list[str]:
    """What a case took: settings of its network, of its data, and whether golden values were left out."""
    changes = []
    for old, new in ((before.lstm, after.lstm), (before.run, after.run)):
        for key in new.__struct_fields__:
            a, b = getattr(old, key), getattr(new, key)
            # That the weights are the model's is the point; its forget bias is part of them.
            if a != b and key not in {"weights", "forget_bias"}:
                changes.append(f"{key} {_word(a)} -> {_word(b)}")
    if before.expect is not None:
        changes.append("its golden values, which are of other weights, left out")
    return changes


def _word(value: Any) -> str:
    if isinstance(value, Values) and value.kind:
        return value.kind
    return str(value).lower() if isinstance(value, bool) else str(value)
