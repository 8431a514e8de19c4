"""A whole model as its source runs it: what the others are held against."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.adapters.routes.route_process import Question, Reference, serve_reference
from lockstep.harness.adapters.user_calls import ask_once
from lockstep.harness.adapters.worker import Process, quiet_environment
from lockstep.harness.cases.array_file import load_arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.info import CaseInfo
from lockstep.harness.comparison.whole import WholeTensor
from lockstep.harness.errors import LockstepError
from lockstep.harness.text import shape_text
from lockstep.harness.weights.model_file import ModelFile


class SourceRun(Struct, frozen=True):
    """A whole model as its source runs it, for one case."""

    case: Case
    question: Question
    reference: Reference
    expected: dict[str, WholeTensor]

    @property
    def shapes(self) -> str:
        """Its inputs and outputs, in words."""
        inputs = ", ".join(f"{name} {shape_text(array.shape)}" for name, array in self.reference.inputs.items())
        outputs = ", ".join(f"{name} {shape_text(self.expected[name].value.shape)}" for name in self.reference.outputs)
        return f"{inputs} -> {outputs}, {self.reference.dtype}"


def observe(file: ModelFile, case: Case, timeout: float, given: Path | None = None) -> SourceRun:
    """Run a model by its source, in a process of its own.

    Raises:
        LockstepError: If it is none that can be run whole, or there are no inputs for it.
        UserFileError: If reading or running it fails.
    """
    weights = weights_alone(file)
    if weights:
        raise LockstepError(
            f"{file.name}: {weights}, of which only its LSTM's weights are read. Write a function that builds the "
            "model and loads the weights into it, and name that: FILE.py:FUNCTION."
        )
    arrays = None if given is None else load_arrays(given)
    question = Question(file, case.run.timesteps, case.run.batch, case.run.seed, case.run.lengths, arrays)
    with Process(quiet_environment()) as process:
        outcome = ask_once(process, serve_reference, (question,), timeout, Path(file.path))
    return source_run(case, question, outcome.value_read_of(file.name))


def weights_alone(file: ModelFile) -> str:
    """What a file is that holds no model which could be run whole; nothing of one that does."""
    if file.kind == "tf1":
        saved = Path(file.path).parts[-2:] == ("variables", "variables")
        return (
            "a SavedModel, whose layers TensorFlow has dissolved" if saved else "a checkpoint, weights without a model"
        )
    if file.kind == "safetensors":
        return "a file of weights without a model"
    if file.kind != "torch":
        return ""
    names = zipfile.ZipFile(file.path).namelist() if zipfile.is_zipfile(file.path) else []
    # TorchScript, and both formats of exported programs: the source tells what it does not read.
    programs = ("constants.pkl", "serialized_exported_program.json")
    program = any(name.endswith(programs) or "models" in PurePosixPath(name).parts for name in names)
    return "" if program else "a checkpoint, weights without a model"


def source_run(case: Case, question: Question, reference: Reference) -> SourceRun:
    """What a source gave, with the noise of each tensor."""
    T = _timesteps(reference, case)
    expected = {
        name: WholeTensor.of(
            array, reference.narrow[name], reference.spread[name], str(reference.narrow[name].dtype),
            _axis(name, array.shape, T, reference), reference.parts.get(name, ""),
        )
        for name, array in reference.expected.items()
    }  # fmt: skip
    return SourceRun(replace(case, run=replace(case.run, timesteps=T), expect=None), question, reference, expected)


def _timesteps(reference: Reference, case: Case) -> int:
    """How many timesteps the inputs have: those of the case, unless they are the user's own."""
    for layer in reference.lstms.values():
        return layer.inputs["x"].shape[1 if layer.batch_major else 0]
    return case.run.timesteps


def _axis(name: str, shape: tuple[int, ...], T: int, reference: Reference) -> int | None:
    """The axis of time: of the model's LSTM, or the first that is as long."""
    if name.endswith((".h_n", ".c_n")):
        return None
    preferred = next((1 if layer.batch_major else 0 for layer in reference.lstms.values()), 1)
    axes = [axis for axis, size in enumerate(shape) if size == T]
    return preferred if preferred in axes else next(iter(axes), None)


def info_of(source: SourceRun) -> CaseInfo:
    """What a report says of the case."""
    first = next(iter(source.reference.inputs.values()))
    run = source.case.run
    return CaseInfo(
        description=f"Whole model: {source.reference.what}", features=[], timesteps=run.timesteps, batch=run.batch,
        input_size=first.shape[-1] if first.dtype.kind == "f" else 1, hidden_size=0, dtype=source.reference.dtype,
        model="lstm",
    )  # fmt: skip
