"""What the names of an object's parameters claim: which gate an array is of, and in which order gates are stacked."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from lockstep.harness.cases.gates import GATES
from lockstep.harness.text import grouped
from lockstep.harness.weights.dialects import DIALECTS

_WORDS = {
    "i": {"i", "in", "inp", "input", "ingate", "inputgate", "update", "write"},
    "f": {"f", "forget", "fgt", "forgetgate", "remember", "reset"},
    "g": {"g", "c", "j", "z", "a", "cell", "cand", "candidate", "ctilde", "chat", "gate", "tilde", "new", "modulation",
          "cellgate", "memory", "block"},
    "o": {"o", "out", "output", "outgate", "outputgate", "read"},
}  # fmt: skip
_LETTERS = {"i": "i", "f": "f", "g": "g", "c": "g", "j": "g", "z": "g", "a": "g", "o": "o"}
_X_SIDE = {"x", "ih", "xh", "x2h", "i2h", "w", "wx", "kernel", "wih", "input"}
_H_SIDE = {"h", "hh", "h2h", "u", "r", "wh", "recurrent", "rec", "whh", "hidden"}
# Names that are kept from call to call, or belong to training: no weights.
_STATE = {
    "h", "c", "hx", "cx", "h0", "c0", "h_0", "c_0", "state", "states", "hidden", "hidden_state", "cell_state",
    "h_prev", "c_prev", "prev_h", "prev_c", "h_t", "c_t", "ht", "ct", "carry", "cache", "x", "last_h", "last_c",
}  # fmt: skip
_TRAINING = ("d", "grad_", "grad", "m_", "v_", "m", "v", "delta_", "momentum_")
# Layouts whose names say something of the order: those of one letter, as ONNX has them, are anybody's.
_TELLING = ("torch", "torch_cell", "equinox", "keras", "nnx_optimized", "tf1", "mlx")


def words_of(path: str) -> list[str]:
    """The words of a name, small: at dots, underscores, digits and capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", path)]


def is_state(path: str, paths: Sequence[str]) -> bool:
    """Whether a name is that of a state that is kept, or of a gradient of another array."""
    head, _, name = path.rpartition(".")
    prefix = f"{head}." if head else ""
    return name.lower() in _STATE or any(
        name.startswith(mark) and prefix + name.removeprefix(mark) in paths for mark in _TRAINING
    )


class Claim(NamedTuple):
    """What the names of stacked arrays claim."""

    layout: str  # the dialect that they are named as
    gates: str
    forget_bias: float
    prefix: str


def claimed_layout(roles: Mapping[str, Collection[str]]) -> Claim | None:
    """The dialect that arrays of all gates are named as, also below a prefix; None where their names say nothing.

    ``roles``: of each of these arrays what it may be by its shape.
    """
    for name in _TELLING:
        dialect = DIALECTS[name]
        first = dialect.required[0]
        needed = dialect.names if name in {"equinox", "mlx"} else dialect.required
        kernels = {dialect.input_kernel[0]: "WR" if dialect.fused else "W"}
        kernels |= {} if dialect.fused else {dialect.recurrent_kernel[0]: "R"}
        for path in roles:
            prefix = path.removesuffix(first)
            if path.endswith(first) and prefix[-1:] in {"", "."} and all(prefix + part in roles for part in needed):  # noqa: SIM102
                if all(role in roles[prefix + part] for part, role in kernels.items()):
                    return Claim(name, dialect.gates, dialect.forget_bias, prefix)
    return None


def stacked_order(path: str) -> str | None:
    """The order of gates that a name spells, such as W_ifgo; None where it spells none."""
    for word in words_of(path):
        gates = "".join(_LETTERS.get(letter, "?") for letter in word)
        if len(word) == len(GATES) and sorted(gates) == sorted(GATES):
            return gates
    return None


def side_of(path: str) -> str | None:
    """Whether a name says that an array is multiplied with x or with h."""
    words = [word for word in words_of(path) if word not in {"weight", "bias", "gate", "forget", "output", "cell"}]
    for word in reversed(words):
        if word in _H_SIDE or word.startswith(("hh", "h2", "rec")) or re.fullmatch(r"[wb]?h[ifgco]", word):
            return "h"
        if word in _X_SIDE or word.startswith(("ih", "x2", "xh")) or re.fullmatch(r"[wb]?[xi][ifgco]", word):
            return "x"
        if re.fullmatch(r"[ur][ifgco]", word):
            return "h"
        if re.fullmatch(r"[w][ifgco]", word):
            return "x"
    return None


def gates_by_name(paths: Sequence[str]) -> dict[str, str] | None:
    """The gate of each of several arrays of one shape, by what differs in their names; None where that tells nothing.

    Each gate comes equally often, as of four kernels or of eight biases; arrays that name no gate are left out.
    """
    words = {path: words_of(path) for path in paths}
    if len(paths) < len(GATES):
        return None
    common = set.intersection(*(set(of_path) for of_path in words.values()))
    rests = {path: [word for word in of_path if word not in common] for path, of_path in words.items()}
    longest = max(len(rest) for rest in rests.values())
    for read in (_whole, _last, _first):
        for place in (*range(longest), -1):
            gates = {path: _at(rest, place, read) for path, rest in rests.items()}
            named = {path: gate for path, gate in gates.items() if gate is not None}
            if _complete(named):
                return named
    return None


def _complete(named: Mapping[str, str]) -> bool:
    counts = {len(group) for group in grouped(named, named.__getitem__).values()}
    return set(named.values()) == set(GATES) and len(counts) == 1


def _at(words: Sequence[str], place: int, read: Callable[[str], str | None]) -> str | None:
    return read(words[place]) if -len(words) <= place < len(words) else None


def _whole(word: str) -> str | None:
    return next((gate for gate in GATES if word in _WORDS[gate]), None)


def _last(word: str) -> str | None:
    return _LETTERS.get(word[-1])


def _first(word: str) -> str | None:
    return _LETTERS.get(word[0])
