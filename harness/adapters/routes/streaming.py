"""Whether a whole model can be run in chunks, its states handed over: found out by running the source so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from lockstep.harness.adapters.routes.whole import InputSpec, Observed, RunArrays
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Arrays

_CLOSE = 1e-3  # of the largest number: a wrong axis or state is off by far more


class Stream(Struct, frozen=True):
    """How a model is run in two chunks of equal length."""

    axes: dict[str, int]  # by input the axis of time
    joined: dict[str, int]  # by output the axis of time
    states: dict[str, str]  # by input of a state the output that is handed over
    length: int  # of a chunk

    def chunks(self, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """The inputs of both chunks; states of the second are those of the first."""
        first, second = dict(inputs), dict(inputs)
        for name, axis in self.axes.items():
            first[name], second[name] = (
                np.ascontiguousarray(np.take(inputs[name], range(start, start + self.length), axis))
                for start in (0, self.length)
            )
        return first, second


def streamed(stream: Stream, chunks: tuple[Arrays, Arrays], run: RunArrays) -> Arrays:
    """The outputs of both chunks, joined along time; what has no time is that of the second."""
    first = run(chunks[0])
    handed = {name: first[output].astype(chunks[1][name].dtype) for name, output in stream.states.items()}
    second = run({**chunks[1], **handed})
    return {
        name: np.concatenate([first[name], array], stream.joined[name]) if name in stream.joined else array
        for name, array in second.items()
    }


def stream_of(
    specs: list[InputSpec], inputs: Arrays, whole: Observed, run: Callable[[Arrays], Observed]
) -> tuple[Stream | None, str]:
    """How a model with states among its inputs is run in chunks such that the whole comes out; else why it is not."""
    states = _handed_over(specs, inputs, whole)
    timed = [spec.name for spec in specs if spec.role == "data"]
    if not states or not timed or any(spec.role == "lengths" for spec in specs):
        return None, ""
    why = "it has no axis of an even number of timesteps"
    for axis in (1, 0):
        stream = _along(axis, timed, states, inputs, whole)
        if stream is None:
            continue
        try:
            chunks = stream.chunks(inputs)
            result = streamed(stream, chunks, lambda arrays: _outputs(run(arrays)))
        except Exception as error:  # noqa: BLE001 (along an axis that is not time it may fail in any way)
            why = f"half as many timesteps it does not take ({first_line(error)})"
            continue
        if all(_close(array, whole.tensors[name]) for name, array in result.items()):
            return stream, ""
        why = "it gives other numbers so, as where something goes back in time"
    return None, f"it has states, and is not run in chunks: {why}"


def _handed_over(specs: list[InputSpec], inputs: Arrays, whole: Observed) -> dict[str, str]:
    """The last outputs, where they are as many as the states that go in and of the same shapes."""
    states = [spec.name for spec in specs if spec.role == "state"]
    outputs = whole.outputs[-len(states) :] if states else []
    alike = len(outputs) == len(states) < len(whole.outputs) and all(
        inputs[name].shape == whole.tensors[output].shape for name, output in zip(states, outputs, strict=True)
    )
    return dict(zip(states, outputs, strict=True)) if alike else {}


def _along(axis: int, timed: list[str], states: dict[str, str], inputs: Arrays, whole: Observed) -> Stream | None:
    sizes = {inputs[name].shape[axis] if inputs[name].ndim > axis else 0 for name in timed}
    if len(sizes) > 1 or (size := sizes.pop()) < 2 or size % 2:  # noqa: PLR2004 (two chunks)
        return None
    outputs = [name for name in whole.outputs if name not in states.values()]
    joined = {
        name: axis for name in outputs if whole.tensors[name].ndim > axis and whole.tensors[name].shape[axis] == size
    }
    return Stream(dict.fromkeys(timed, axis), joined, states, size // 2)


def _outputs(observed: Observed) -> Arrays:
    return {name: observed.tensors[name] for name in observed.outputs}


def _close(array: object, expected: object) -> bool:
    a, b = np.asarray(array, np.float64), np.asarray(expected, np.float64)
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= _CLOSE * np.abs(b).max(initial=1e-9))
