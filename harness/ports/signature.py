"""What a port is: the form in which a case calls it, and whether a function's parameters fit that form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.case import Case

ARGUMENTS = ("x", "weights", "h0", "c0")
DECODER_ARGUMENTS = ("enc", "weights", "h0", "c0", "y0", "steps")
COTANGENTS = ("dh", "dc")
# What only some cases have, by name and in words.
_OPTIONAL = {"lengths": "sequence lengths", "resets": "resets, at which a sequence's state starts anew"}
_KNOWN = {*COTANGENTS, *_OPTIONAL}
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

Parameters = Mapping[str, Parameter]


def arguments_for(case: Case) -> tuple[str, ...]:
    """Name the arguments that every call for a case has, in order."""
    return ARGUMENTS if case.attention_decoder is None else DECODER_ARGUMENTS


def is_written_as_port(parameters: Collection[str] | None) -> bool:
    """Whether a function is called as a port, by the names of its parameters: no object takes these."""
    return not {"weights", "enc"}.isdisjoint(parameters or ())


def is_decoder(parameters: Collection[str] | None) -> bool:
    """Whether a function is written as the port of an attention decoder."""
    names = set(parameters or ())
    return {"enc", "y0"} <= names or {"enc", "steps"} <= names


def forward_only(parameters: Parameters | None) -> bool:
    """Whether a function is not to be asked for gradients: one of dh and dc has no place in its parameters."""
    if parameters is None or _has(parameters, Parameter.VAR_POSITIONAL):
        return False
    return not all(_takes(parameters, name) for name in COTANGENTS)


def call_of(case: Case) -> str:
    """Write how a case calls a port."""
    cotangents, resets = (
        "dh, dc, " if case.run.gradients else "",
        ", resets=None" if case.run.resets is not None else "",
    )
    return f"port({', '.join(arguments_for(case))}, {cotangents}lengths=None{resets})"


def results_of(case: Case, layout: str = "canonical") -> str:
    """Write what a case expects a port to return."""
    if case.attention_decoder is not None:
        return "(logits, h_tilde)"
    if case.run.gradients:
        return f"a dict of {', '.join(name for name, needed in results_by_name(case, layout).items() if needed)}"
    return "(h_seq, c_seq), or (h_seq, None)" if case.lstm.single else "(h_seq, h_n, c_n)"


def results_by_name(case: Case, layout: str = "canonical") -> dict[str, bool]:
    """What a port may return by name, and whether the case's form has it.

    Gradients of weights are in ``weights``, in the form of the weights, where a layout names the arrays otherwise.
    """
    lstm, gradients = case.lstm, case.run.gradients
    if case.attention_decoder is not None:
        return {"logits": True, "h_tilde": True}
    forward = {"h_seq": True} | ({"c_seq": not gradients} if lstm.single else {})
    forward |= dict.fromkeys(("h_n", "c_n"), not gradients and not lstm.single)
    if not gradients:
        return forward
    more = [name for name, there in (("P", lstm.proj_size), ("p", lstm.peephole)) if there]
    weights = {"W": True, "R": True, "b": lstm.bias, **dict.fromkeys(more, True)}
    if layout != "canonical":
        weights = {"weights": True}
    return {**forward, "x": True, **weights, "h0": True, "c0": True}


def check_fit(parameters: Parameters | None, case: Case, layout: str = "canonical") -> None:
    """Check that a case can call a function of these parameters.

    Raises:
        UserCodeError: If it cannot; with the status ``unsupported`` where a case of another form can.
    """
    if parameters is None:  # not known: what it does with its arguments, it will say itself
        return
    said = f"its parameters are ({', '.join(str(p) for p in parameters.values())})"
    called = f"{said}, and it is called as {call_of(case)}"
    arguments = arguments_for(case)
    # Only where it is plainly a port of the other model: of wrong names the messages below say more.
    if is_decoder(parameters) != (case.attention_decoder is not None) and (
        is_decoder(parameters) or {"x", "weights"} <= parameters.keys()
    ):
        raise UserCodeError(f"{called}: it is a port of another model", "unsupported")
    first = _positional(parameters)[: len(arguments)]
    if len(first) < len(arguments) and not _has(parameters, Parameter.VAR_POSITIONAL):
        number = {4: "four", 6: "six"}[len(arguments)]
        raise UserCodeError(f"{called}: it takes {len(first)} of the {number} arguments {', '.join(arguments)}")
    # They are passed by position: in another order x would be taken for the weights.
    if set(first) == set(arguments) and first != list(arguments):
        raise UserCodeError(f"{called}: put them in that order")
    # What it has a default for may bear any name.
    unmet = [name for name in parameters if name not in {*first, *_KNOWN} and _insists_on(parameters, name)]
    if unmet:
        raise UserCodeError(f"{called}: nothing is known of {', '.join(unmet)}; give it a default")
    form = f"{call_of(case)} -> {results_of(case, layout)}"
    if case.run.gradients:
        if forward_only(parameters):
            missing = ", ".join(name for name in COTANGENTS if not _takes(parameters, name))
            raise UserCodeError(
                f"it takes no {missing}, the cotangents of h_seq and of the final cell states: "
                f"where gradients are asked for, a port is {form}",
                "unsupported",
            )
    else:
        unmet = [name for name in COTANGENTS if _insists_on(parameters, name)]
        if unmet:
            raise UserCodeError(
                f"it needs {', '.join(unmet)}, and no gradients are asked for: here a port is {form}", "unsupported"
            )
    _check_optional(parameters, case)


def _check_optional(parameters: Parameters, case: Case) -> None:
    """Check that a function takes what only some cases have, where this one has it."""
    for name, what in _OPTIONAL.items():
        if getattr(case.run, name) is not None and not _takes(parameters, name):
            raise UserCodeError(f"it takes no {what}: add `{name}=None` to its parameters", "unsupported")


def arguments_of(
    parameters: Parameters | None, values: Mapping[str, Any], case: Case
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the keyword arguments with which a case calls a function; ``values`` are those by name.

    ``parameters`` are None where they are not known, as of a function compiled from another language.
    """
    positional, by_name = [values[name] for name in arguments_for(case)], {}
    if case.run.gradients:
        cotangents = {name: values[name] for name in COTANGENTS}
        if parameters is None or _by_position(parameters):  # a compiled function may know no names
            positional += cotangents.values()
        else:
            by_name |= cotangents
    # Not for every case: a port without lengths is a port as well.
    for name in _OPTIONAL:
        if getattr(case.run, name) is not None or (parameters is not None and _insists_on(parameters, name)):
            by_name[name] = values.get(name)
    return positional, by_name


def _positional(parameters: Parameters) -> list[str]:
    return [name for name, p in parameters.items() if p.kind in _POSITIONAL]


def _has(parameters: Parameters, kind: Any) -> bool:
    return any(p.kind is kind for p in parameters.values())


def _takes(parameters: Parameters, name: str) -> bool:
    return name in parameters or _has(parameters, Parameter.VAR_KEYWORD)


def _insists_on(parameters: Parameters, name: str) -> bool:
    parameter = parameters.get(name)
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter is not None and parameter.default is parameter.empty and parameter.kind not in variable


def _by_position(parameters: Parameters) -> bool:
    """Whether dh and dc go behind the four arguments, and not by their names."""
    behind = _positional(parameters)[len(ARGUMENTS) : len(ARGUMENTS) + len(COTANGENTS)]
    named = set(COTANGENTS) & parameters.keys()
    return behind == list(COTANGENTS) or (not named and _has(parameters, Parameter.VAR_POSITIONAL))


def parameters_of(function: Callable[..., Any]) -> Parameters | None:
    """A function's parameters; None where they are not known."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of a function compiled from another language
        return None
