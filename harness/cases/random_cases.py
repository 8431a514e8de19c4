"""The space of cases: what a random configuration may be made of. Few shapes, many seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

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
# that it draws from; every second network has a given one of them.
RANDOM_FEATURES: dict[str, dict[str, Sequence[Any]]] = {
    "layers": {"num_layers": (2, 3)},
    "direction": {"direction": ("reverse", "bidirectional")},
    "lengths": {"lengths": ("ragged",)},
    "projection": {"proj_size": (1, 2)},
    "peephole": {"peephole": (True,)},
    "clip": {"cell_clip": (0.2, 1.0)},
    "activations": {
        "activation": ACTIVATION_NAMES,
        "recurrent_activation": ("sigmoid", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "tanh"),
        "cell_activation": ACTIVATION_NAMES,
    },
    "coupling": {"input_forget": (True,)},
    "no bias": {"bias": (False,)},
    "gradients": {"gradients": (True,)},
    "resets": {"resets": ("some",)},
    "merged directions": {"direction": ("bidirectional",), "merge_mode": ("sum", "mul", "ave")},
}


# What every network draws.
ALWAYS: dict[str, Sequence[Any]] = {
    "dtype": DTYPES,
    "weights": WEIGHT_VALUES,
    "inputs": ("probe", "uniform", "ones"),
    "initial_state": ("probe", "zeros"),
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
RANDOM_DECODER_FEATURES = ("general", "lengths", "encoder", "no bias", "gradients", "additive", "into the cell")


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
