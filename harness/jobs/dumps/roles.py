"""What each array of a run is: by the names that people give, by those that the user tells."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lockstep.harness.arrays import Arrays
from lockstep.harness.errors import DumpError, meant, unknown
from lockstep.harness.text import names_text
from lockstep.harness.weights.dialects import DIALECTS

# What the docs call it, and what people do: without marks between words, in small letters.
_NAMES = {
    "x": "x xs xseq xin xt input inputs inputseq inputsequence inp sequence sequences data features",
    "h0": "h0 hinit inith initialh hinitial hx hprev hin hidden0 h0s initialhidden initialhiddenstate inithidden "
    "hiddeninit initialstateh stateh0",
    "c0": "c0 cinit initc initialc cinitial cx cprev cin cell0 c0s initialcell initialcellstate initcell cellinit "
    "initialstatec statec0",
    "lengths": "lengths length lens seqlen seqlens seqlengths sequencelength sequencelengths sequencelens xlengths",
    "h_seq": "hseq h hs out outs output outputs y ys hout hiddens hiddenstates hidden allh hall hstates seqout result "
    "outputseq lstmout",
    "c_seq": "cseq c cs cells cellstates allc call cstates cout",
    "h_n": "hn ht hlast lasth hfinal finalh yh stateh finalstateh finalhidden finalhiddenstate lasthidden hnext "
    "newh h1",
    "c_n": "cn ct clast lastc cfinal finalc yc statec finalstatec finalcell finalcellstate lastcell cnext newc c1",
    "dh": "dh dhseq dout douts doutput doutputs dy dys gradout gradoutput gradoutputs gradh cotangent cotangents",
    "dc": "dc dcn gradc gradcn",
    "dx": "dx dinput dinputs gradx gradinput gradinputs xgrad inputgrad",
    "dh0": "dh0 gradh0 h0grad",
    "dc0": "dc0 gradc0 c0grad",
    "initial_state": "initialstate initstate state0",
    "final_state": "finalstate state states laststate finalstates",
}
_ROLE_OF = {name: role for role, names in _NAMES.items() for name in names.split()}
_GATES = ("i", "f", "g", "o")  # after their activations, at every timestep
PREFIX_ROLE = "weights"  # in --names: what the names of all weights begin with
ROLES = (*_NAMES, *_GATES)
_OF_LANE = re.compile(r"(?P<role>[a-z]+[0n]?(?:_n|_seq)?)_l(?P<layer>\d+)(?P<reverse>_reverse)?")
_MOST_NAMES = 12  # in a message


def role_of(name: str) -> str | None:
    """What an array is by its name, whatever prefix that has; None where it says nothing."""
    last = re.split(r"[/.:]", name.removesuffix(":0"))[-1]
    for text in (name, last):
        role = _ROLE_OF.get(re.sub(r"[\W_]", "", text).lower())
        if role is not None:
            return role
    return None


def given_names(text: str | None) -> dict[str, str]:
    """What the user tells by --names, ``x=inputs,h_seq=out``: the file's names by role or by a dialect's name.

    Raises:
        DumpError: If it is written otherwise, or a role is none.
    """
    given: dict[str, str] = {}
    of_weights = {name for dialect in DIALECTS.values() for name in (*dialect.names, *dialect.peepholes)}
    for part in filter(None, (text or "").split(",")):
        role, mark, name = (word.strip() for word in part.partition("="))
        if not (role and mark and name):
            raise DumpError(f"--names {part}: write ROLE=NAME, such as x=inputs,h_seq=out.")
        if role not in {*ROLES, PREFIX_ROLE, *of_weights} and not re.search(r"_l\d+(_reverse)?$", role):
            raise DumpError(
                f"--names {part}: {unknown('role', role, (*ROLES, PREFIX_ROLE))} Or a weight's name in a layout."
            )
        given[role] = name
    return given


def roles_of(arrays: Arrays, given: Mapping[str, str]) -> dict[str, str]:
    """The names of arrays by what they are; weights and what has no known name are not among them.

    Raises:
        DumpError: If the user names an array that is not there, or two arrays may be the same thing.
    """
    roles = {}
    for role, name in given.items():
        if role != PREFIX_ROLE and name not in arrays:
            raise DumpError(
                f"--names {role}={name}: no array is called so.{meant(name, arrays)} There are: "
                f"{names_text([*arrays], _MOST_NAMES)}."
            )
        if role in ROLES:
            roles[role] = name
    if {*_GATES} <= arrays.keys() and all(arrays[gate].ndim > 1 for gate in _GATES):
        roles = {gate: gate for gate in _GATES} | roles
    candidates: dict[str, list[str]] = {}
    for name in arrays:
        role = role_of(name)
        if role is not None and name not in given.values():
            candidates.setdefault(role, []).append(name)
    for role, names in candidates.items():
        if role not in roles:
            roles |= _told_apart(role, names, arrays, {*roles, *candidates})
    return roles


def _told_apart(role: str, names: list[str], arrays: Arrays, taken: set[str]) -> dict[str, str]:
    """Of arrays that may be one thing, which is: of states by timestep and final ones those with an axis more."""
    final = {"h_seq": "h_n", "c_seq": "c_n"}.get(role)
    if len(names) == 1:
        return {role: names[0]}
    longest = max(arrays[name].ndim for name in names)
    long = [name for name in names if arrays[name].ndim == longest]
    short = [name for name in names if name not in long]
    if len(long) == 1 and final is not None and final not in taken and len(short) == 1:
        return {role: long[0], final: short[0]}
    raise DumpError(f"{' and '.join(names)} may each be {role}: tell which is, --names {role}={names[0]}.")


def lanes_of(arrays: Arrays) -> dict[str, tuple[str, str]]:
    """Arrays of one layer and direction, such as h_n_l0 or c_l1_reverse: what they are, and the lane, by name."""
    found = {}
    for name in arrays:
        match = _OF_LANE.fullmatch(name)
        role = _ROLE_OF.get(re.sub("_", "", match["role"])) if match else None
        if match and role in {"h0", "c0", "h_seq", "c_seq", "h_n", "c_n"}:
            found[name] = role, name[len(match["role"]) :]
    return found
