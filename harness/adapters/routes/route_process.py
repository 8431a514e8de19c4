"""What runs inside the processes of a whole model and its routes: it is opened, observed, converted and run there."""

from __future__ import annotations

import importlib
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from lockstep.harness.adapters.backend_process import versions_of
from lockstep.harness.adapters.model_process import seed, value_of
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.routes.find import Route, find_sources
from lockstep.harness.adapters.routes.reasons import reason_of
from lockstep.harness.adapters.routes.streaming import Stream, stream_of, streamed
from lockstep.harness.adapters.routes.whole import InputSpec, LayerLSTM, Observed, RunArrays, WholeModel
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.adapters.user_process import outcome_of, serve_once
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.weights.model_file import ModelError, ModelFile

# Which source opens files of a kind; what a function returns is opened by that of its framework.
SOURCES_OF_FILES = {"onnx": "onnx", "keras": "keras", "hdf5": "hdf5", "torch": "torch_file"}
SHAKEN_COPIES = 6  # of a model with shaken weights and inputs, by which its noise is measured


class Question(Struct, frozen=True):
    """A whole model, and the data for which it is run."""

    file: ModelFile
    timesteps: int
    batch: int
    seed: int
    lengths: tuple[int, ...] | None = None
    given: Arrays | None = None  # the user's own inputs


class Reference(Struct, frozen=True):
    """What a whole model gives, and how exactly that is known."""

    what: str
    form: str
    dtype: str
    specs: list[InputSpec]
    inputs: Arrays
    expected: Arrays  # by tensor, in order of computation; float64, or the model's own dtype where it has no other
    narrow: Arrays  # the same in the model's own dtype
    spread: Arrays  # mean squares of what rounding errors change
    parts: dict[str, str]
    lstms: dict[str, LayerLSTM]
    outputs: list[str]
    stream: Stream | None
    notes: list[str]
    without: dict[str, Arrays] = {}  # as of ``Observed``

    @property
    def is_lstm(self) -> bool:
        """Whether it is an LSTM and nothing else."""
        return len(set(self.parts.values())) <= 1 and len(self.lstms) == 1


class Exported(Struct, frozen=True):
    """What a route gave."""

    outputs: Arrays
    size: int | None = None  # bytes of its file
    again: Arrays | None = None  # what a second call gave, where its bits are others
    chunked: Arrays | None = None  # in two chunks, joined
    unchunked: str = ""  # why it could not be run so
    layers: Arrays | None = None  # what its layers gave, where that was asked for
    without_layers: str = ""  # why it gave none


def serve_reference(question: Question, timeout: float, replies: Path, log: Path) -> None:
    """Observe a whole model; the rest as of ``user_process.serve_questions``."""
    file = Path(question.file.path) if question.file.function else None
    serve_once(
        lambda: None, lambda _: outcome_of(lambda: reference_of(question), ModelError, file), timeout, replies, log
    )


def serve_route(
    question: Question, reference: Reference, route: Route, folder: Path, layers: bool,  # noqa: FBT001
    timeout: float, replies: Path, log: Path,
) -> None:  # fmt: skip
    """Convert a whole model and run it; the rest as of ``user_process.serve_questions``."""
    serve_once(
        lambda: [importlib.import_module(part.module) for part in route.parts],
        lambda _: export(question, reference, route, folder, layers=layers), timeout, replies, log,
    )  # fmt: skip


def serve_file(question: Question, reference: Reference, timeout: float, replies: Path, log: Path) -> None:
    """Run a further file on the inputs of the first; the rest as of ``user_process.serve_questions``."""
    file = Path(question.file.path) if question.file.function else None
    serve_once(
        lambda: None,
        lambda _: outcome_of(lambda: _file_run(question, reference), ModelError, file),
        timeout,
        replies,
        log,
    )


def _file_run(question: Question, reference: Reference) -> Exported:
    """What a file gives, its inputs and outputs named as those of the first."""
    model = opened(question.file)
    specs = model.specs(question.timesteps, question.batch)
    if len(specs) != len(reference.inputs):
        raise ModelError(f"it takes {len(specs)} inputs, and the first model {len(reference.inputs)}.")
    by_name = {spec.name for spec in specs} == set(reference.inputs)
    given = [reference.inputs[spec.name] for spec in specs] if by_name else list(reference.inputs.values())
    fed = {spec.name: _laid_out(array, spec) for spec, array in zip(specs, given, strict=True)}
    observed = model.observe(fed)
    outputs = observed.outputs
    names = outputs if set(outputs) == set(reference.outputs) else reference.outputs
    if len(outputs) < len(reference.outputs):
        raise ModelError(f"it gives {len(outputs)} outputs, and the first model {len(reference.outputs)}.")
    arrays = {name: observed.tensors[output] for name, output in zip(names, outputs, strict=False)}
    return Exported(arrays, layers=dict(observed.tensors))


def _laid_out(array: Array, spec: InputSpec) -> Array:
    """An input in a file's dtype, batch and time exchanged where it has them the other way round."""
    exchanged = array.ndim > 1 and array.shape != spec.shape and array.swapaxes(0, 1).shape == spec.shape
    return np.ascontiguousarray(array.swapaxes(0, 1) if exchanged else array).astype(spec.dtype)


def opened(file: ModelFile) -> WholeModel:
    """A user's model, opened by the source of its framework.

    Raises:
        ModelError: If there is no source for it.
    """
    value = value_of(file)
    sources = find_sources()
    framework = _framework_of(value) if file.function else SOURCES_OF_FILES[file.kind]
    if framework not in sources:
        raise ModelError(f"it gives a {type(value).__name__}: whole models are taken of torch, keras and tf_keras.")
    missing = sources[framework].missing()
    if missing is not None:
        raise ModelError(f"{missing}.")
    return importlib.import_module(sources[framework].module).open_model(value, Path(file.path))


def _framework_of(value: Any) -> str:
    model = value[0] if isinstance(value, tuple) and value else value
    modules = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    return next((module for module in modules if module in find_sources()), "")


def reference_of(question: Question) -> Reference:
    """Observe a model: what it gives in float64 and in its own precision, and what rounding changes."""
    model = opened(question.file)
    specs = model.specs(question.timesteps, question.batch)
    inputs = question.given if question.given is not None else drawn(specs, question)
    narrow, notes = model.observe(inputs), []
    wide, doubled = model.dtype != "float64", 1.0
    try:
        exact = model.observe(inputs, wide=wide)
    except Exception as error:  # noqa: BLE001 (whatever a model does that knows one precision only)
        notes.append(f"it cannot be run in float64 ({first_line(error)}): expected is its own {model.dtype} run")
        exact, wide, doubled = narrow, False, 4.0
    generator = np.random.default_rng(question.seed)
    spread = {name: np.zeros(array.shape) for name, array in exact.tensors.items()}
    for _ in range(SHAKEN_COPIES):
        shaken = model.observe(inputs, wide=wide, shaken=generator)
        for name, array in shaken.tensors.items():
            # Where what is expected is rounded itself, two numbers that are both off stand against each other.
            spread[name] += doubled * _squared(array, exact.tensors[name]) / SHAKEN_COPIES
    stream, unstreamed = stream_of(specs, inputs, exact, lambda arrays: model.observe(arrays, wide=wide))
    notes += [unstreamed] if unstreamed else []
    return Reference(
        what=model.what, form=model.form, dtype=model.dtype, specs=specs, inputs=inputs, expected=dict(exact.tensors),
        narrow=dict(narrow.tensors), spread=spread, parts=exact.parts, lstms=narrow.lstms, outputs=exact.outputs,
        stream=stream, notes=notes, without=narrow.without,
    )  # fmt: skip


def _squared(array: Array, expected: Array) -> Array:
    if array.dtype.kind not in "fV":
        return (array != expected).astype(np.float64)
    return (array.astype(np.float64) - expected.astype(np.float64)) ** 2


def drawn(specs: list[InputSpec], question: Question) -> Arrays:
    """Inputs of the sizes asked for: standard normal numbers, states half as large, integers below what is allowed."""
    generator, arrays = np.random.default_rng(question.seed), {}
    for spec in specs:
        if spec.role == "lengths":
            lengths = question.lengths or (question.timesteps,) * spec.shape[0]
            arrays[spec.name] = np.resize(np.asarray(lengths, spec.dtype), spec.shape)
        elif np.dtype(spec.dtype).kind in "iu" or spec.below is not None:
            arrays[spec.name] = generator.integers(0, spec.below or 2, spec.shape).astype(spec.dtype)
        elif np.dtype(spec.dtype).kind == "b":
            arrays[spec.name] = np.ones(spec.shape, bool)
        else:
            scale = 0.5 if spec.role == "state" else 1.0
            arrays[spec.name] = (scale * generator.standard_normal(spec.shape)).astype(spec.dtype)
    return arrays


def export(question: Question, reference: Reference, route: Route, folder: Path, *, layers: bool) -> Outcome:
    """Convert a model and run it, as a whole and in chunks; every way to fail is an outcome."""
    file = Path(question.file.path) if question.file.function else None
    opening = outcome_of(lambda: _same_model(question, reference), ModelError, file)
    if opening.value is None:
        return opening
    model: WholeModel
    model, observed = opening.value
    try:
        with _quiet():
            made, run = _converted(model, observed, reference.inputs, route, folder)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a converter raises is why it does not convert)
        return Outcome("unsupported", message=f"it does not convert: {reason_of(error)}")
    try:
        with _quiet():
            outputs = run(reference.inputs)
            run({name: np.zeros_like(array) for name, array in reference.inputs.items()})
            again = run(reference.inputs)
            chunked, unchunked = _in_chunks(model, observed, reference, route, folder)
            of_layers, without = _with_layers(model, observed, reference, route, folder) if layers else (None, "")
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a runtime raises costs only its own result)
        return Outcome("failed", message=f"running it raised {reason_of(error)}")
    same = all(array.tobytes() == again[name].tobytes() for name, array in outputs.items())
    exported = Exported(outputs, _size(made), None if same else again, chunked, unchunked, of_layers, without)
    requires = tuple(dict.fromkeys(name for part in route.parts for name in part.requires))
    return Outcome("ran", exported, versions=versions_of(requires))


def _same_model(question: Question, reference: Reference) -> tuple[WholeModel, Observed]:
    model = opened(question.file)
    model.specs(question.timesteps, question.batch)  # it learns how its inputs are nested
    observed = model.observe(reference.inputs)
    for name in reference.outputs:
        if not np.array_equal(observed.tensors[name], reference.narrow[name], equal_nan=True):
            raise ModelError(
                "it gave other numbers when it was read again: let it load its weights, or draw them from a seed of "
                "its own."
            )
    return model, observed


def _converted(
    model: WholeModel, observed: Observed, inputs: Arrays, route: Route, folder: Path, *, layers: bool = False
) -> tuple[Path | None, RunArrays]:
    subject = model.subject(inputs, observed, layers=layers)
    seed()
    folder.mkdir(parents=True, exist_ok=True)
    made: Any = (
        _file(subject.value, folder)
        if route.converter is None
        else _module(route.converter.module).convert(subject, folder)
    )
    if not isinstance(made, Path):
        return None, made
    return made, _module(route.runtime.module).load(made, subject)


def _file(value: Any, folder: Path) -> Path:
    """A file as it is, or its bytes where it was changed."""
    if not isinstance(value, bytes):
        return Path(value)
    path = folder / "model"
    path.write_bytes(value)
    return path


def _in_chunks(
    model: WholeModel, observed: Observed, reference: Reference, route: Route, folder: Path
) -> tuple[Arrays | None, str]:
    stream = reference.stream
    if stream is None:
        return None, ""
    chunks = stream.chunks(reference.inputs)
    try:
        _, run = _converted(model, observed, chunks[0], route, folder / "chunk")
        return streamed(stream, chunks, run), ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 (likewise)
        return None, f"in chunks of {stream.length} timesteps: {reason_of(error)}"


def _with_layers(
    model: WholeModel, observed: Observed, reference: Reference, route: Route, folder: Path
) -> tuple[Arrays | None, str]:
    try:
        _, run = _converted(model, observed, reference.inputs, route, folder / "layers", layers=True)
        return run(reference.inputs), ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 (likewise)
        return None, reason_of(error)


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _size(made: Path | None) -> int | None:
    if made is None:
        return None
    files = [made] if made.is_file() else [file for file in made.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


@contextmanager
def _quiet() -> Any:
    """Leave out what converters warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    sys.stdout.flush()
