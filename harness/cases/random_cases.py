"""The space of cases: what a random configuration may be made of. Few shapes, many seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
from msgspec.structs import replace

from lockstep.harness.cases.case import LSTM, ActivationName, AttentionDecoder, Case, Run, Values

# Picks one of several options; the name tells what for.
Choose = Callable[[str, Sequence[Any]], Any]

# T, B, I, H: compiled frameworks compile anew for every shape.
SHAPES = ((3, 2, 4, 5), (7, 1, 3, 3), (2, 4, 6, 4), (12, 3, 5, 8), (1, 2, 3, 2), (40, 2, 5, 16))
DTYPES = ("float32", "float64", "float16", "bfloat16")
ACTIVATION_NAMES = get_args(ActivationName)
# Scaled too: at small weights all curves are lines, at large ones they are flat.
WEIGHT_VALUES = ("probe", "uniform", Values(kind="probe", scale=0.2), Values(kind="probe", scale=3.0))
MOST_SEED = 2**63 - 1

# What a network may have beyond one forward layer of the standard cell, each with the settings of [lstm] or [run]
# that it draws from. What backends support apart from each other is a feature each.
RANDOM_FEATURES: dict[str, dict[str, Sequence[Any]]] = {
    "layers": {"num_layers": (2, 3)},
    "reverse": {"direction": ("reverse",)},
    "bidirectional": {"direction": ("bidirectional",)},
    "merged directions": {"direction": ("bidirectional",), "merge_mode": ("sum", "mul", "ave")},
    "initial state": {"initial_state": ("probe",)},
    "lengths": {"lengths": ("ragged",)},
    "projection": {"proj_size": (1, 2)},
    "peephole": {"peephole": (True,)},
    "clip": {"cell_clip": (0.2, 1.0)},
    "hard sigmoid 0.2 z": {"recurrent_activation": ("hard_sigmoid_0.2",)},
    "hard sigmoid z/6": {"recurrent_activation": ("hard_sigmoid_1/6",)},
    "one other activation": {"activation": ("relu", "sigmoid", "linear"), "cell_activation": ("alike",)},
    "activations": {
        "activation": ACTIVATION_NAMES,
        "recurrent_activation": ("sigmoid", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "tanh"),
        "cell_activation": ACTIVATION_NAMES,
    },
    "coupling": {"input_forget": (True,)},
    "no bias": {"bias": (False,)},
    "gradients": {"gradients": (True,)},
    "resets": {"resets": ("some",)},
}
# Of these a network has one at most.
EXCLUSIVE: tuple[frozenset[str], ...] = (
    frozenset(("reverse", "bidirectional", "merged directions", "resets")),
    frozenset(("hard sigmoid 0.2 z", "hard sigmoid z/6")),
    frozenset(("one other activation", "activations")),
    frozenset(("general", "additive")),
    frozenset(DTYPES),
)

# What every network draws.
ALWAYS: dict[str, Sequence[Any]] = {
    "dtype": DTYPES,
    "weights": WEIGHT_VALUES,
    "inputs": ("probe", "uniform", "ones"),
    "forget_bias": (1.0, 0.0, 0.5),
}


def draw_case(
    choose: Choose, seed: int, fixed: dict[str, Any], features: Sequence[str] = tuple(RANDOM_FEATURES)
) -> Case:
    """Make a case of choices, beside the settings of [lstm] and [run] that are ``fixed``.

    ``features`` are names of ``RANDOM_FEATURES``: what the case may have.
    """
    settings: dict[str, Any] = {"seed": seed, **fixed}
    sizes = choose("shape", SHAPES)
    for name, size in zip(("timesteps", "batch", "input_size", "hidden_size"), sizes, strict=True):
        settings.setdefault(name, size)
    for group in [ALWAYS, *(RANDOM_FEATURES[feature] for feature in features if choose(feature, (False, True)))]:
        _choose_rest(settings, group, choose)
    # They were drawn apart, and may contradict each other.
    if settings.get("cell_activation") == "alike":
        settings["cell_activation"] = settings["activation"]
    if settings.get("lengths") == "ragged":
        T = settings["timesteps"]
        settings["lengths"] = tuple(choose("length", range(T + 1)) for _ in range(settings["batch"]))
    if settings.get("resets") == "some":
        settings["resets"] = _draw_resets(choose, settings)
    if "merge_mode" in settings and "direction" not in fixed:
        settings["direction"] = "bidirectional"
    if settings.get("direction") != "bidirectional":
        settings.pop("merge_mode", None)
    if settings.get("input_forget") or not settings.get("bias", True):
        settings["forget_bias"] = 0.0
    if settings.get("proj_size", 0) >= settings["hidden_size"]:
        settings["proj_size"] = settings["hidden_size"] - 1
    return Case(lstm=LSTM(**_fields(LSTM, settings)), run=Run(**_fields(Run, settings)), name="random")


def _draw_resets(choose: Choose, settings: dict[str, Any]) -> tuple[tuple[int, ...], ...] | None:
    """Where sequences start anew; none where one direction goes backward."""
    if settings.get("direction", "forward") != "forward":
        return None
    lengths = settings.get("lengths") or (settings["timesteps"],) * settings["batch"]
    return tuple(tuple(t for t in range(length) if choose("reset", (False, False, True))) for length in lengths)


def _choose_rest(settings: dict[str, Any], group: dict[str, Sequence[Any]], choose: Choose) -> None:
    for name in [name for name in group if name not in settings]:
        settings[name] = choose(name, group[name])


def _fields(table: type[LSTM | Run], settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name in table.__struct_fields__}


# S, E, A, H, O of attention decoders; with dot scores E is H.
DECODER_SHAPES = ((3, 4, 5, 3, 1), (1, 3, 3, 3, 2), (9, 5, 4, 7, 3), (24, 12, 8, 16, 1))
RANDOM_DECODER_FEATURES = (
    "general", "lengths", "encoder", "no bias", "gradients", "additive", "into the cell", "initial state"
)  # fmt: skip


def draw_decoder(
    choose: Choose, seed: int, fixed: dict[str, Any], features: Sequence[str] = RANDOM_DECODER_FEATURES
) -> Case:  # fmt: skip
    """Make a case of an attention decoder of choices; ``fixed`` and ``features`` as of ``draw_case``."""
    settings: dict[str, Any] = {"seed": seed, **fixed}
    S, E, A, H, O = choose("shape", DECODER_SHAPES)
    settings |= {"timesteps": choose("timesteps", (1, 2, 5, 16)), "batch": choose("batch", (1, 3)), **fixed}
    _choose_rest(settings, ALWAYS, choose)
    has = {feature: choose(feature, (False, True)) for feature in features}
    if has.get("lengths"):
        settings["lengths"] = tuple(choose("length", range(1, S + 1)) for _ in range(settings["batch"]))
    if has.get("initial state"):
        settings.setdefault("initial_state", "probe")
    if has.get("no bias"):
        settings |= {"bias": False, "forget_bias": 0.0}
    score = "additive" if has.get("additive") else "general" if has.get("general") else "dot"
    E = H if score == "dot" else E
    decoder = AttentionDecoder(
        source_timesteps=S,
        source_size=E,
        output_size=O,
        score=score,
        attention_size=A if score == "additive" else None,
        context="input" if has.get("into the cell") else "output",
        encoder=LSTM(input_size=A, hidden_size=E) if has.get("encoder") else None,
    )
    settings.setdefault("gradients", bool(has.get("gradients")))
    cell = LSTM(input_size=A, hidden_size=H, **_fields(LSTM, settings))
    return Case(lstm=cell, attention_decoder=decoder, run=Run(**_fields(Run, settings)), name="random")


def other_problem(choose: Choose, seed: int, case: Case, *, same_weights: bool = False) -> Case:
    """Draw what a compiled network is run on anew: its seed, weights, inputs, states, lengths and resets.

    What compiles it stays: layers, sizes, dtype, activations, the forget bias, whether there are lengths; where weights
    are compiled in these too, if they are to be the same.
    """
    run, changes = case.run, {name: choose(name, ALWAYS[name]) for name in ("weights", "inputs")}
    if same_weights:
        weights = run.values("weights")
        changes["weights"] = replace(weights, seed=run.seed if weights.seed is None else weights.seed)
    if run.initial_state != "zeros":
        changes["initial_state"] = choose("initial_state", ("probe", "uniform", "zeros"))
    if run.lengths is not None:
        decoder = case.attention_decoder
        lengths = range(run.timesteps + 1) if decoder is None else range(1, decoder.source_timesteps + 1)
        changes["lengths"] = tuple(choose("length", lengths) for _ in range(run.batch))
    if run.resets is not None:
        drawn = {"timesteps": run.timesteps, "batch": run.batch, "lengths": changes.get("lengths")}
        changes["resets"] = _draw_resets(choose, drawn)
    return replace(case, run=replace(run, seed=seed, **changes))


def choose_by(rng: np.random.Generator) -> Choose:
    """Choose by a generator of NumPy's; each feature is there in every third case, so that most have few of them."""

    def choose(_: str, options: Sequence[Any]) -> Any:
        if options == (False, True):  # not a range, whose 0 and 1 equal these too
            return bool(rng.integers(3) == 0)
        return options[int(rng.integers(len(options)))]

    return choose


_ONE_ACTIVATION = {"sigmoid", "hard_sigmoid_0.2", "hard_sigmoid_1/6"}
_HAS: dict[str, Callable[[LSTM, Run], bool]] = {
    "layers": lambda lstm, run: lstm.num_layers > 1,
    "reverse": lambda lstm, run: lstm.direction == "reverse",
    "bidirectional": lambda lstm, run: lstm.direction == "bidirectional" and not lstm.merged,
    "merged directions": lambda lstm, run: lstm.merged,
    "initial state": lambda lstm, run: run.initial_state != "zeros",
    "lengths": lambda lstm, run: run.lengths is not None,
    "projection": lambda lstm, run: bool(lstm.proj_size),
    "peephole": lambda lstm, run: lstm.peephole,
    "clip": lambda lstm, run: lstm.cell_clip is not None,
    "hard sigmoid 0.2 z": lambda lstm, run: lstm.recurrent_activation == "hard_sigmoid_0.2",
    "hard sigmoid z/6": lambda lstm, run: lstm.recurrent_activation == "hard_sigmoid_1/6",
    "one other activation": lambda lstm, run: (
        lstm.activation == lstm.cell_activation != "tanh" and lstm.recurrent_activation in _ONE_ACTIVATION
    ),
    "activations": lambda lstm, run: (
        lstm.activation != lstm.cell_activation or lstm.recurrent_activation not in _ONE_ACTIVATION
    ),
    "coupling": lambda lstm, run: lstm.input_forget,
    "no bias": lambda lstm, run: not lstm.bias,
    "gradients": lambda lstm, run: run.gradients,
    "resets": lambda lstm, run: any(run.resets or ()),
}
_DECODER_HAS: dict[str, Callable[[AttentionDecoder], bool]] = {
    "general": lambda decoder: decoder.score == "general",
    "encoder": lambda decoder: decoder.encoder is not None,
    "additive": lambda decoder: decoder.score == "additive",
    "into the cell": lambda decoder: decoder.context == "input",
}


def features_of(case: Case) -> tuple[str, ...]:
    """The random features that a case has, in the order of their table."""
    decoder = case.attention_decoder
    if decoder is None:
        return tuple(name for name in RANDOM_FEATURES if _HAS[name](case.lstm, case.run))
    return tuple(
        name
        for name in RANDOM_DECODER_FEATURES
        if (_DECODER_HAS[name](decoder) if name in _DECODER_HAS else _HAS[name](case.lstm, case.run))
    )
