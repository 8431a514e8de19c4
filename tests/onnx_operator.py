"""The ONNX operator LSTM by its own text, in float64, and probes of it: models of one node that ask for one thing each.

What a runtime makes of a probe is held against the text, and where it differs against what the text would give had the
thing not been asked for, or been taken otherwise. Source: ONNX operators, ``LSTM-22``; of activations, the operators
of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import dtype_of

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
FED = ("X", "sequence_lens", "initial_h", "initial_c")  # the others are weights, which models hold
USUAL = ("X", "W", "R", "B", "initial_h", "initial_c")
STATES = ("initial_h", "initial_c")
OUTPUTS = ("Y", "Y_h", "Y_c")
STANDARD = ("Sigmoid", "Tanh", "Tanh")
Curve = Callable[[Array], Array]

# Of an activation: z, alpha and beta; what they are by default; those that take none have none.
FUNCTIONS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "Sigmoid": (lambda z: 1 / (1 + np.exp(-z)), ()),
    "Tanh": (np.tanh, ()),
    "Relu": (lambda z: np.maximum(z, 0), ()),
    "Softsign": (lambda z: z / (1 + np.abs(z)), ()),
    "LeakyRelu": (lambda z, alpha: np.where(z < 0, alpha * z, z), (0.01,)),
    "HardSigmoid": (lambda z, alpha, beta: np.clip(alpha * z + beta, 0, 1), (0.2, 0.5)),
}


@dataclass(frozen=True)
class Probe:
    """A model of one node, and what it may be taken for."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)  # beside hidden_size
    inputs: tuple[str, ...] = USUAL
    outputs: tuple[str, ...] = OUTPUTS
    sizes: tuple[int, int, int, int] = (5, 2, 3, 4)  # T, B, I, H
    dtype: str = "float32"
    opset: int = 14
    named_axes: bool = False  # T and B are names, and the model is run in two sizes
    # Other readings, by the words that tell them; and what these take otherwise than the operator's text:
    instead: dict[str, Probe] = field(default_factory=dict)
    clips: tuple[str, ...] = ("gates", "cell")  # the inputs of which activations clip holds
    gates: str = "iofc"  # the order in which weights and biases are read
    peepholes: str = "iof"
    last: str = "computed"  # which timestep's states are final: that computed last, or that of the last "index"

    @property
    def directions(self) -> int:
        """How many directions it has."""
        return 2 if self.attributes.get("direction") == "bidirectional" else 1

    @property
    def batch_major(self) -> bool:
        """Whether batch comes first."""
        return bool(self.attributes.get("layout"))

    def shapes(self, sizes: tuple[int, int, int, int]) -> dict[str, tuple[int, ...]]:
        """The shapes of inputs and outputs."""
        (T, B, I, H), D = sizes, self.directions
        state = (B, D, H) if self.batch_major else (D, B, H)
        return {
            "X": (B, T, I) if self.batch_major else (T, B, I),
            "W": (D, 4 * H, I), "R": (D, 4 * H, H), "B": (D, 8 * H), "P": (D, 3 * H), "sequence_lens": (B,),
            "initial_h": state, "initial_c": state, "Y_h": state, "Y_c": state,
            "Y": (B, T, D, H) if self.batch_major else (T, D, B, H),
        }  # fmt: skip

    def drawn(self, seed: int, sizes: tuple[int, int, int, int] | None = None) -> Arrays:
        """Numbers for its inputs: weights are the same for all seeds."""
        shapes, arrays = self.shapes(sizes or self.sizes), {}
        for place, name in enumerate(INPUTS):
            if name in self.inputs:
                rng = np.random.default_rng([place, seed if name in FED else 0])
                arrays[name] = rng.uniform(-1, 1, shapes[name]).astype(dtype_of(self.dtype))
        if "sequence_lens" in arrays:
            T, B = (sizes or self.sizes)[:2]
            arrays["sequence_lens"] = np.array([T - 1, T - 3, *[T] * (B - 2)], np.int32)
        return arrays


def specified(probe: Probe, arrays: Arrays) -> Arrays:
    """Y, Y_h and Y_c as the operator's text gives them."""
    given = {name: array.astype(np.float64) for name, array in arrays.items() if name in probe.inputs}
    X, W, R = given["X"], given["W"], given["R"]
    X = X.swapaxes(0, 1) if probe.batch_major else X
    (T, B, I), D, H = X.shape, probe.directions, R.shape[2]
    lengths = arrays["sequence_lens"] if "sequence_lens" in probe.inputs else np.full(B, T)
    shapes = probe.shapes((T, B, I, H))
    bias, peepholes, h0, c0 = (given.get(name, np.zeros(shapes[name])) for name in ("B", "P", *STATES))
    h0, c0 = (state.swapaxes(0, 1) if probe.batch_major else state for state in (h0, c0))
    hs, cs, finals = np.zeros((T, D, B, H)), np.zeros((T, D, B, H)), np.zeros((2, D, B, H))
    for d, (functions, backward) in enumerate(zip(_functions(probe), _backward(probe), strict=True)):
        Wb, Rb = np.split(bias[d], 2)
        for b, length in enumerate(lengths):
            h, c = h0[d, b], c0[d, b]
            for t in range(length)[:: -1 if backward else 1]:
                z = dict(zip(probe.gates, np.split(W[d] @ X[t, b] + R[d] @ h + Wb + Rb, 4), strict=True))
                h, c = _step(probe, functions, z, dict(zip(probe.peepholes, np.split(peepholes[d], 3), strict=True)), c)
                hs[t, d, b], cs[t, d, b] = h, c
            finals[:, d, b] = (hs[T - 1, d, b], cs[T - 1, d, b]) if probe.last == "index" else (h, c)
    if probe.batch_major:
        hs, finals = hs.transpose(2, 0, 1, 3), finals.swapaxes(1, 2)
    return {"Y": hs, "Y_h": finals[0], "Y_c": finals[1]}


def _backward(probe: Probe) -> tuple[bool, ...]:
    return {"reverse": (True,), "bidirectional": (False, True)}.get(probe.attributes.get("direction", ""), (False,))


def _step(probe: Probe, functions: list[Curve], z: Arrays, p: Arrays, c: Array) -> tuple[Array, Array]:
    """h and c after one timestep; z and the peepholes p by their gates."""
    f, g, h = functions
    clip = probe.attributes.get("clip", np.inf)

    def held(z: Array, part: str) -> Array:
        return np.clip(z, -clip, clip) if part in probe.clips else z

    i = f(held(z["i"] + p["i"] * c, "gates"))
    forget = 1 - i if probe.attributes.get("input_forget") else f(held(z["f"] + p["f"] * c, "gates"))
    c = forget * c + i * g(held(z["c"], "gates"))
    o = f(held(z["o"] + p["o"] * c, "gates"))
    return o * h(held(c, "cell")), c


def _functions(probe: Probe) -> list[list[Curve]]:
    """f, g and h of each direction: alpha and beta are consumed in the order of those that take some."""
    names = list(probe.attributes.get("activations", STANDARD * probe.directions))
    taken = {kind: list(probe.attributes.get(f"activation_{kind}", ())) for kind in ("alpha", "beta")}
    functions = []
    for name in names:
        function, defaults = FUNCTIONS[name]
        kinds = list(taken)[: len(defaults)]
        settings = [taken[kind].pop(0) if taken[kind] else defaults[k] for k, kind in enumerate(kinds)]
        functions.append(lambda z, function=function, settings=tuple(settings): function(z, *settings))
    return [functions[3 * d : 3 * d + 3] for d in range(probe.directions)]


def probes() -> list[Probe]:
    """All of them, each with what it may be taken for."""
    return [*_directions(), *_inputs(), *_attributes(), *_activations(), *_outputs(), *_forms()]


FORWARD = Probe("forward, B and both initial states")
REVERSE = {"direction": "reverse"}
BOTH_WAYS = {"direction": "bidirectional"}
AT_INDEX = "gives the states at the last index of time as the final ones"


def _directions() -> Iterator[Probe]:
    yield replace(FORWARD, instead={"ignores the initial states": _without(FORWARD, *STATES)})
    reverse = Probe("direction = reverse", REVERSE)
    yield replace(reverse, instead={"ignores direction": FORWARD, AT_INDEX: replace(reverse, last="index")})
    yield Probe("direction = bidirectional", BOTH_WAYS)


def _inputs() -> Iterator[Probe]:
    for word, attributes in (("", {}), (", reverse", REVERSE), (", bidirectional", BOTH_WAYS)):
        plain = Probe(f"sequence_lens{word}", attributes)
        instead = {"ignores sequence_lens": plain}
        if attributes == REVERSE:
            instead["ignores direction and sequence_lens"] = FORWARD
            instead[f"ignores sequence_lens, {AT_INDEX}"] = replace(plain, last="index")
        yield replace(_with(plain, "sequence_lens"), instead=instead)
    neither = _without(FORWARD, *STATES)
    yield replace(neither, name="no initial state")
    for name, other in (STATES, STATES[::-1]):
        yield replace(_without(FORWARD, other), name=f"{name} alone", instead={f"ignores {name}": neither})
    peepholes = replace(_with(FORWARD, "P"), name="P")
    in_other_order = replace(peepholes, peepholes="ifo")
    yield replace(peepholes, instead={"ignores P": FORWARD, "takes P in the order i, f, o": in_other_order})
    yield replace(_without(FORWARD, "B"), name="no B")
    yield replace(_without(FORWARD, "B", *STATES), name="no B, no initial state")


def _attributes() -> Iterator[Probe]:
    clipped = Probe("clip", {"clip": 0.25})
    yield replace(
        clipped,
        instead={
            "ignores clip": FORWARD,
            "clips the inputs of f and g, not that of h": replace(clipped, clips=("gates",)),
        },
    )
    yield Probe("input_forget", {"input_forget": 1}, instead={"ignores input_forget": FORWARD})
    for word, direction in (("", {}), (", bidirectional", BOTH_WAYS)):
        yield Probe(f"layout = 1{word}", {"layout": 1, **direction})


def _activations() -> Iterator[Probe]:
    """Those that take no alpha and beta, those that do, and those of the second direction alone."""
    yield _with_readings(Probe("activations", {"activations": ["Sigmoid", "Relu", "Softsign"]}))
    hard = {"activations": ["HardSigmoid", "Tanh", "LeakyRelu"]}
    alpha, beta = {"activation_alpha": [0.3, 0.1]}, {"activation_beta": [0.4]}
    of_defaults = Probe("activations of default alpha and beta", hard)
    yield _with_readings(of_defaults)
    for word, settings in (("alpha alone", alpha), ("beta alone", beta), ("alpha and beta", alpha | beta)):
        instead = {f"ignores {word.removesuffix(' alone')}": of_defaults}
        yield _with_readings(Probe(f"activations, {word}", hard | settings, instead=instead))
    second = {"activations": [*STANDARD, *hard["activations"]]}
    for_both = {
        "activations": hard["activations"] * 2,
        "activation_alpha": [0.3, 0.1] * 2,
        "activation_beta": [0.4] * 2,
    }
    instead = {
        "ignores alpha and beta": Probe("", BOTH_WAYS | second),
        "takes the second direction's for both": Probe("", BOTH_WAYS | for_both),
    }
    name = "activations, alpha and beta of the second direction alone"
    yield _with_readings(Probe(name, BOTH_WAYS | second | alpha | beta, instead=instead))


def _with_readings(probe: Probe) -> Probe:
    """With what its activations may be taken for."""
    direction = {name: value for name, value in probe.attributes.items() if name == "direction"}
    known = [name if name in {*STANDARD, "Relu"} else "Relu" for name in probe.attributes["activations"]]
    relu = Probe("", {**direction, "activations": known})
    instead = {"ignores activations": Probe("", direction), "takes what it does not know for Relu": relu}
    return replace(probe, instead=instead | probe.instead)


def _outputs() -> Iterator[Probe]:
    for outputs in (("Y",), ("Y_h",), ("Y_c",), ("Y", "Y_h"), ("Y", "Y_c"), ("Y_h", "Y_c")):
        yield Probe(f"outputs: {' and '.join(outputs)}{' alone' if len(outputs) == 1 else ''}", outputs=outputs)


def _forms() -> Iterator[Probe]:
    yield Probe("hidden size 1", sizes=(5, 2, 3, 1))
    yield Probe("one sequence", sizes=(5, 1, 3, 4))
    yield Probe("one timestep", sizes=(1, 2, 3, 4))
    yield Probe("dynamic axes T and B", named_axes=True)
    yield Probe("opset 7", opset=7)
    yield Probe("opset 22", opset=22)
    for dtype in ("float16", "bfloat16", "float64"):
        probe = Probe(dtype, dtype=dtype, opset=22 if dtype == "bfloat16" else 14)
        yield replace(probe, instead={"exchanges the gates o and f": replace(probe, gates="ifoc")})


def _without(probe: Probe, *names: str) -> Probe:
    return replace(probe, inputs=tuple(name for name in probe.inputs if name not in names))


def _with(probe: Probe, name: str) -> Probe:
    return replace(probe, inputs=(*probe.inputs, name))
