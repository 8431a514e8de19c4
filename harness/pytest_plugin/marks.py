"""The marks of case files in pytest: the backend's name, and the features that the case uses.

``-m torch_lstm`` selects a backend, ``-m "gradients and not float16"`` features. Only names: nothing heavy is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

BACKENDS = "lockstep.backends"  # the entry points of ``harness.adapters.backend``

# By the names of ``harness.cases.info``, whose marks are the same with an underscore for what no identifier has.
FEATURE_MARKS = {
    "lstm": "cases of an LSTM",
    "attention decoder": "cases of an attention decoder",
    **{dtype: f"cases in {dtype}" for dtype in ("float32", "float64", "float16", "bfloat16")},
    "gradients": "cases that compare gradients",
    "lengths": "cases whose sequences have lengths",
    "lengths with 0": "cases with a sequence of length 0",
    "resets": "cases whose sequences start anew within",
    "initial state": "cases that begin with states other than 0",
    "no bias": "cases without biases",
    "layers": "cases of several layers",
    "reverse": "cases of the reverse direction alone",
    "bidirectional": "cases of both directions",
    "merged directions": "cases whose directions are added or multiplied",
    "projection": "cases with a projection",
    "peepholes": "cases with peepholes",
    "cell clip": "cases that clip the cell state",
    "coupled gates": "cases whose forget gate is 1 - i",
    "hard sigmoid 0.2 z": "cases with the hard sigmoid of slope 0.2",
    "hard sigmoid z/6": "cases with the hard sigmoid of slope 1/6",
    "one other activation": "cases with another activation than tanh, the same for candidate and cell state",
    "any activations": "cases with other activations",
    "general scores": "cases of a decoder with general scores",
    "additive scores": "cases of a decoder with additive scores",
    "context into the cell": "cases of a decoder whose cell takes in the context",
    "wide logits": "cases of a decoder with several logits",
    "encoder": "cases of a decoder with an encoder",
}

# What means something to pytest itself, or to xdist: a backend of such a name has no mark.
_TAKEN = frozenset(
    "filterwarnings parametrize skip skipif trylast tryfirst usefixtures xdist_group xfail".split()  # noqa: SIM905
)
_USABLE = re.compile(r"[^\W_][\w.+-]*")


def mark_of_feature(name: str) -> str:
    """The mark of a feature: "hard sigmoid z/6" is ``hard_sigmoid_z_6``."""
    return re.sub(r"\W+", "_", name)


def usable(name: str) -> bool:
    """Whether a backend's name can be a mark."""
    return _USABLE.fullmatch(name) is not None and name not in _TAKEN


def marks_of(backend: str, model: str, features: Iterable[str]) -> list[str]:
    """The marks of a case and a backend."""
    marks = [mark_of_feature(name) for name in (model, *features)]
    return [*marks, backend] if usable(backend) else marks


def described() -> Iterator[str]:
    """Each mark with its meaning, as pytest lists them."""
    for name, meaning in FEATURE_MARKS.items():
        yield f"{mark_of_feature(name)}: {meaning} (lockstep)"
    for backend in sorted({entry.name for entry in entry_points(group=BACKENDS)}):
        if usable(backend):
            yield f"{backend}: cases through the backend {backend} (lockstep)"
