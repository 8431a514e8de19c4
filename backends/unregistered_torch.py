"""Parameters that a torch module uses and does not hold: made anew in forward, or kept in a plain list.

``nn.Module`` registers modules and parameters that are attributes, and no lists or dicts of them. What is not
registered is in no ``parameters()``: an optimizer does not train it, ``to()`` does not move it, ``state_dict()`` does
not save it.
Source: PyTorch documentation, ``torch.nn.Module``, ``torch.nn.ModuleList``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch

from lockstep.harness.adapters.inventory import Group, listed_names
from lockstep.harness.text import grouped

UNKNOWN = "Whether forward makes layers of its own is unknown without a run: return (module, inputs)."
_WRAPPERS = {list: "nn.ModuleList", tuple: "nn.ModuleList", dict: "nn.ModuleDict"}
_LEFT_OUT = "no optimizer trains them, to() does not move them, and state_dict() does not save them"


@dataclass(frozen=True, eq=False)
class Loose:
    """A parameter that was read, and that no module held when the run began."""

    tensor: torch.Tensor
    called: str  # Linear.weight, or the operation that read it
    place: str  # the line of the user's that made it, or else that read it
    rounds: set[int]  # the runs that read it
    born: bool  # whether it was made during a run


@dataclass(frozen=True, eq=False)
class Kept:
    """A parameter in a plain list, tuple or dict of a module."""

    tensor: torch.Tensor
    name: str  # steps[0].weight
    holder: str  # steps
    kind: type


def judged(module: torch.nn.Module, loose: Mapping[int, Loose], held: Collection[int]) -> Iterator[Group]:
    """What is not registered, and what is made anew; ``held``: the identities of what modules hold after the runs."""
    kept = {key: each for key, each in _kept(module).items() if key not in held}
    for holder, members in grouped(kept.values(), lambda each: each.holder).items():
        yield _in_a_list(holder, members)
    others = [each for key, each in loose.items() if key not in kept and key not in held]
    anew = [each for each in others if each.born or len(each.rounds) == 1]
    for place, members in grouped(anew, lambda each: each.place).items():
        yield _made_anew(place, members)
    elsewhere = [each for each in others if each not in anew]
    for place, members in grouped(elsewhere, lambda each: each.place).items():
        yield _elsewhere(place, members)


def _kept(module: torch.nn.Module) -> dict[int, Kept]:
    found: dict[int, Kept] = {}
    for path, submodule in module.named_modules():
        for attribute, value in vars(submodule).items():
            if type(value) in _WRAPPERS and not attribute.startswith("_"):
                holder = f"{path}.{attribute}" if path else attribute
                for each in _parameters(value, holder, holder, type(value)):
                    found.setdefault(id(each.tensor), each)
    return found


def _parameters(value: Any, name: str, holder: str, kind: type) -> Iterator[Kept]:
    """The parameters inside a plain container, those of its containers too."""
    if isinstance(value, torch.nn.Parameter):
        yield Kept(value, name, holder, kind)
    elif isinstance(value, torch.nn.Module):
        for below, parameter in value.named_parameters():
            yield Kept(parameter, f"{name}.{below}", holder, kind)
    elif type(value) in _WRAPPERS:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inside in items:
            yield from _parameters(inside, f"{name}[{key!r}]", holder, kind)


def _in_a_list(holder: str, members: list[Kept]) -> Group:
    names = tuple(each.name for each in members)
    kind = members[0].kind
    wrapper = _WRAPPERS[kind]
    if all(each.name.endswith("]") for each in members):  # the parameters themselves, not modules
        wrapper = wrapper.replace("Module", "Parameter")
    message = f"{listed_names(names)} stand in the plain {kind.__name__} `{holder}`: not registered, so {_LEFT_OUT}."
    return _group("not registered", names, members, message, f"Put them into {wrapper}.")


def _made_anew(place: str, members: list[Loose]) -> Group:
    names = tuple(dict.fromkeys(each.called for each in members))
    made = f"made at {_short(place)}" if members[0].born else f"read at {_short(place)}"
    first = min(each for member in members for each in member.rounds)
    often = sum(each.called == names[0] and first in each.rounds for each in members)
    times = f", {often} times in a call" if often > 1 else ""
    message = (
        f"{listed_names(names)}, {made}, {'is' if len(names) == 1 else 'are'} new at every call of forward{times}: not "
        "shared, and no optimizer trains what is gone after the call."
    )
    return _group(
        "not shared", names, members, message, "Make the layer once, in __init__, and call it in forward.", place
    )


def _elsewhere(place: str, members: list[Loose]) -> Group:
    names = tuple(dict.fromkeys(each.called for each in members))
    message = (
        f"{listed_names(names)}, read at {_short(place)}, is the same at every call, and no module holds it: not "
        f"registered, so {_LEFT_OUT}."
    )
    return _group("not registered", names, members, message, "Make it an attribute of the module that uses it.", place)


def _group(
    verdict: Any, names: tuple[str, ...], members: list[Any], message: str, fix: str, place: str | None = None
) -> Group:
    shape = tuple(members[0].tensor.shape)
    return Group(names[0], names, shape, verdict, place and _short(place), None, message, fix)


def _short(place: str) -> str:
    file, _, line = place.rpartition(":")
    return f"{PurePath(file).name}:{line}"
