"""Why an LSTM within a whole model differs: the reference with its observed inputs, and the search for causes.

The layer's inputs are those that the source was seen to hand it: the route's own equal them to rounding, where the
layers before agree.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.routes.route_process import Reference
from lockstep.harness.adapters.routes.whole import LayerLSTM
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.case import Case, Run, Values
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.comparison.whole import WholeTensor, compare_whole
from lockstep.harness.jobs.exports.observe import SourceRun
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems


def cause_of(reference: Reference, case: Case, result: RunResult, layers: Arrays) -> list[Diagnosis]:
    """What explains the first layer that differs, where it is an LSTM; of others no causes are known."""
    first = result.first_divergence
    name = "" if first is None else first.tensor.removesuffix(".h_n").removesuffix(".c_n")
    lstm = reference.lstms.get(name)
    if lstm is None or name not in layers or layers[name].shape != reference.narrow[name].shape:
        return []
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        alone = _case_of(case, lstm, Path(folder))
        problems = Problems()
        problems.put(_with_halves(problems.problem(alone), lstm))
        judge = Judge(problems, result.limit)
        run = judge.judge(alone, result.backend, Outcome("ran", _trace(lstm, name, layers)))
        return judge.explain([run])[0].diagnosis


def left_out(source: SourceRun, outputs: Arrays, limit: Limit) -> list[Diagnosis]:
    """The feature of a file that explains its outputs, where what leaves it out gives the same."""
    for feature, arrays in source.reference.without.items():
        expected = {name: _like(array, source.expected[name]) for name, array in arrays.items() if name in outputs}
        tensors = compare_whole(outputs, expected, limit)
        if tensors and all(tensor.verdict == "agree" for tensor in tensors.values()):
            return [
                Diagnosis(
                    fault=f"ignores-{feature.partition(' ')[0]}", family="file", left_out=feature,
                    message=f"It ignores {feature}, without a message.",
                    fix="Export the file without it, or run it by a runtime that has it.",
                    sigma=max(tensor.worst.sigma for tensor in tensors.values()),
                    evidence=f"It computes as if {feature} had not been asked for: without it these numbers come out.",
                )
            ]  # fmt: skip
    return []


def _like(array: Array, tensor: WholeTensor) -> WholeTensor:
    """Another value of a tensor, as noisy as its own on the whole."""
    noise = np.sqrt(np.mean(np.square(tensor.noise)))
    return WholeTensor(array.astype(np.float64), np.full(array.shape, noise), None)


def _case_of(case: Case, lstm: LayerLSTM, folder: Path) -> Case:
    """The layer by itself: its weights, and its inputs as they were observed."""
    x = _time_first(lstm.inputs["x"], lstm)
    data: Arrays = {"x": x} | {key: _state(lstm, lstm.inputs[key]) for key in ("h0", "c0") if key in lstm.inputs}
    save_safetensors(folder / "data.safetensors", data, {})
    weights = {key: array.astype(x.dtype) for key, array in lstm.model.arrays().items()}
    save_safetensors(folder / "weights.safetensors", weights, {"dialect": "canonical"})
    observed = Values(file=str(folder / "data.safetensors"))
    run = Run(
        timesteps=x.shape[0], batch=x.shape[1], dtype=x.dtype.name,  # type: ignore[arg-type]
        weights=Values(file=str(folder / "weights.safetensors")), inputs=observed,
        initial_state=observed if "h0" in data else Values(kind="zeros"),
    )  # fmt: skip
    return Case(name=case.name, lstm=lstm.model.lstm, run=run)


def _with_halves(problem: AnyProblem, lstm: LayerLSTM) -> AnyProblem:
    """The problem with the two biases of which each is the sum, where the layer has two: one may be lost."""
    halves = lstm.model.halves
    names = [name_of("b", lane, lstm.model.lstm) for lane in lanes(lstm.model.lstm)]
    if not isinstance(problem, Problem) or any(name not in halves for name in names):
        return problem
    dtype = problem.x.dtype
    pairs = [tuple(half.astype(dtype) for half in halves[name]) for name in names]
    return dataclasses.replace(problem, halves=tuple((first, second) for first, second in pairs))


def _trace(lstm: LayerLSTM, name: str, layers: Arrays) -> Trace:
    finals = {key: _state(lstm, layers[f"{name}.{key}"]) for key in ("h_n", "c_n") if f"{name}.{key}" in layers}
    h = layers[name]
    if lstm.directions is not None:
        h = np.moveaxis(h, lstm.directions, -2)
        h = h.reshape(*h.shape[:2], -1)
    arrays = {"h": _time_first(h, lstm), **finals}
    dtype = lstm.inputs["x"].dtype
    return Trace().replaced(**{key: np.ascontiguousarray(array).astype(dtype) for key, array in arrays.items()})


def _time_first(array: Array, lstm: LayerLSTM) -> Array:
    return np.ascontiguousarray(array.swapaxes(0, 1)) if lstm.batch_major else array


def _state(lstm: LayerLSTM, array: Array) -> Array:
    return np.ascontiguousarray(array[0] if lstm.model.lstm.single else array)
