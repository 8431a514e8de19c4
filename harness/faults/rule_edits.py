"""Edits of rules within a lane: curves, clips, peepholes, lengths, resets; and those of a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.edits import Edits
from lockstep.harness.faults.deviation import (
    Deviation,
    Scope,
    put_rules,
    spread_over,
)
from lockstep.harness.faults.network_edits import network_deviations
from lockstep.harness.reference.curves import CURVES

# What may be taken for the lengths n of T timesteps.
LENGTHS: dict[str, Callable[[Array, int], Array | None]] = {
    "ignored": np.full_like,
    "one less": lambda n, T: np.maximum(n - 1, 0),
    "one more": lambda n, T: np.minimum(n + 1, T),
    "the longest": lambda n, T: np.full_like(n, n.max()),
    "the shortest": lambda n, T: np.full_like(n, n.min()),
    "the first": lambda n, T: np.full_like(n, n[0]),
    "the last": lambda n, T: np.full_like(n, n[-1]),
    "sorted, longest first": lambda n, T: np.sort(n)[::-1],
    "sorted, shortest first": lambda n, T: np.sort(n),
    "reversed": lambda n, T: n[::-1],
    "rolled": lambda n, T: np.roll(n, 1),
    "counted from the end": lambda n, T: T - n,
}
# What may be taken for the resets (T, B): where sequences start anew.
RESET_MASKS: dict[str, Callable[[Array], Array]] = {
    "ignored": np.zeros_like,
    "one timestep late": lambda anew: np.concatenate([np.zeros_like(anew[:1]), anew[:-1]]),
    "one timestep early": lambda anew: np.concatenate([anew[1:], np.zeros_like(anew[:1])]),
    "inverted": np.logical_not,
    "of any sequence, for all": lambda anew: np.broadcast_to(anew.any(axis=1, keepdims=True), anew.shape),
    "of the first sequence, for all": lambda anew: np.broadcast_to(anew[:, :1], anew.shape),
}
# All that may become of a state where a sequence starts anew, by the rules that are set otherwise.
RESET_RULES: dict[str, dict[str, Any]] = {
    **{edit: {"resets": change} for edit, change in RESET_MASKS.items()},
    "h only": {"resets of": "h"},
    "c only": {"resets of": "c"},
    "to the initial state": {"resets to": "initial"},
    "after the step": {"resets when": "after"},
    "after the step, in what is returned too": {"resets when": "after, returned too"},
}
# Past a sequence's end: what h is there, what c is there, and what of the state goes on being computed.
PAST_THE_END: dict[str, tuple[str, str, str]] = {
    "h kept": ("kept", "kept", ""),
    "h 0, c runs on": ("zero", "computed", "hc"),
    "h kept, c runs on": ("kept", "computed", "c"),
    "both 0": ("zero", "zero", ""),
    "h runs on, c kept": ("computed", "kept", "h"),
    "both run on, c returned kept": ("computed", "kept", "hc"),
    "both run on, h returned kept": ("kept", "computed", "hc"),
    "h kept, c 0": ("kept", "zero", ""),
    "both run on, c returned 0": ("computed", "zero", "hc"),
    "both initial": ("initial", "initial", ""),
    "h 0, c initial": ("zero", "initial", ""),
}


# What stands for the sigmoid, and then for tanh, where a library's approximations stand for both.
_EVERY_CURVE = {
    "hard_sigmoid_0.2": "hard_tanh", "pade_sigmoid": "pade_tanh", "softsign_sigmoid": "softsign", "linear": "linear",
    "relu": "relu", "sigmoid": "tanh",
}  # fmt: skip


def rule_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that is done by a rule."""
    lstm = problem.case.lstm
    sites = (*(((k,), k) for k in "ifgou"), (("g", "u"), "g and u"), (("i", "f", "g", "o"), "all gates"))
    for kinds, site in ((("i", "f", "o"), "gates"), *sites):
        for name in CURVES:
            if all(lstm.activations[kind] != name for kind in kinds):
                rules = {f"curve {kind}": name for kind in kinds}
                yield from spread_over(problem, f"curve of {site}", name, put_rules(rules))
    for sigmoid, tanh in _EVERY_CURVE.items():
        if sigmoid == "sigmoid" and lstm.recurrent_activation == "sigmoid":
            continue  # then g and u alone are others
        rules = {f"curve {k}": sigmoid for k in "ifo"} | {f"curve {k}": tanh for k in "gu"}
        yield from spread_over(problem, "every curve", tanh, put_rules(rules))
    yield from _clips_and_peepholes(problem)
    words = "not coupled" if lstm.input_forget else "1 - i"
    yield from spread_over(problem, "coupling of f", words, put_rules({"coupled": not lstm.input_forget}))
    yield from spread_over(problem, "coupling of i", "1 - f", put_rules({"coupled": False, "coupled by f": True}))
    if isinstance(problem, DecoderProblem):
        yield from _decoder(problem)
    else:
        yield from network_deviations(problem)
    if problem.lengths is not None:
        yield from _lengths(problem)
    if problem.case.run.resets is not None:
        for edit, settings in RESET_RULES.items():
            yield from spread_over(problem, "resets", edit, put_rules(settings))


def _clips_and_peepholes(problem: AnyProblem) -> Iterator[Deviation]:
    lstm = problem.case.lstm
    if lstm.cell_clip is not None:
        yield from spread_over(problem, "clip", "none", put_rules({"clip": None}))
        for edit, sides in (
            ("from above only", "above"),
            ("from below only", "below"),
            ("bounds exchanged", "neither"),
        ):
            yield from spread_over(problem, "clip", edit, put_rules({"clip sides": sides}))
        for name, factor in (("times 2", 2.0), ("times 1/2", 0.5)):
            yield from spread_over(problem, "clip", name, partial(_put_clip, factor=factor))
    if lstm.peephole:
        yield from spread_over(problem, "p", "left out", put_rules({"peepholes of": ""}))
    for letters in permutations("ifgo", 3) if lstm.peephole else ():
        if "g" in letters:  # those of i, f and o are another order of the rows
            put = put_rules({"peepholes of": "".join(letters)})
            yield from spread_over(problem, "p", f"added to {', '.join(letters)}", put)


def _put_clip(edits: Edits, problem: AnyProblem, scope: Scope, factor: float) -> None:
    bound = problem.case.lstm.cell_clip
    put_rules({"clip": None if bound is None else factor * bound})(edits, problem, scope)


def _lengths(problem: AnyProblem) -> Iterator[Deviation]:
    turns = problem.case.lstm.direction != "forward"
    decoder = isinstance(problem, DecoderProblem)
    uses = ("mask", "shown") if decoder else (*(("turn",) if turns else ()), "hold", "cut")
    for name, change in LENGTHS.items():
        # An implementation may take other lengths for all of them, or for one use alone.
        for kinds in (uses, *((use,) for use in uses if not decoder)):
            site = "lengths" if kinds == uses else f"lengths that {kinds[0]}"
            rules = {f"lengths {kind}": change for kind in kinds}
            yield from spread_over(problem, site, name, put_rules(rules))
        if turns and not decoder:
            # A mask that is laid over the outputs, in the order of time, leaves a reverse lane's own way as it is.
            rules = {f"lengths {kind}": change for kind in uses} | {"cut in the end": True}
            yield from spread_over(problem, "lengths of the run", name, put_rules(rules))
    if not decoder:
        for name, (of_h, of_c, runs) in PAST_THE_END.items():
            rules = {"past the end h": of_h, "past the end c": of_c, "runs past the end": runs}
            yield from spread_over(problem, "past the end", name, put_rules(rules))
            if runs:
                on_zeros = rules | {"padding is zero": True}
                yield from spread_over(problem, "past the end", f"{name}, on zeros", put_rules(on_zeros))
        if not turns:
            yield from spread_over(problem, "lengths", "from the end", put_rules({"lengths in front": True}))
        rules = {f"lengths {kind}": np.full_like for kind in uses} | {"padding is zero": True}
        yield from spread_over(problem, "lengths", "ignored, and padding zero", put_rules(rules))


def _decoder(problem: DecoderProblem) -> Iterator[Deviation]:
    rules: dict[tuple[str, str], dict[str, Any]] = {
        ("softmax", "over the batch"): {"softmax": "sequences"},
        ("softmax", "over all sequences at once"): {"softmax": "all"},
        ("softmax", "left out"): {"softmax": "nothing"},
        ("softmax", "over one place"): {"softmax": "one", "lengths mask": np.full_like},
        ("joined", "exchanged"): {"joined": "exchanged"},
    }
    rules |= {("softmax", f"{name} in its place"): {"softmax": name} for name in CURVES if name != "linear"}
    rules["mask", "inverted"] = {"mask": "inverted"}
    if problem.lengths is not None:
        rules |= {("mask", how): {"mask": how} for how in ("not", "zero score", "after", "zero vectors", "added")}
        rules["mask", "from the end"] = {"lengths in front": True}
    for kind in tanh_of(problem):
        rules |= {(f"curve of {kind}", name): {f"curve {kind}": name} for name in CURVES if name != "tanh"}
    if problem.decoder.context == "input":
        rules["cell input", "exchanged"] = {"cell input": "exchanged"}
        rules["attends", "after the cell"] = {"attends": "after the cell"}
    for (site, edit), settings in rules.items():
        yield Deviation(site, edit, Scope("", ("decoder",)), put_rules(settings))


def tanh_of(problem: DecoderProblem) -> list[str]:
    """What a decoder takes a tanh of, beside its cell."""
    return ["y", "scores"] if problem.weights.v_a is not None else ["y"]
