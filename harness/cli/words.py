"""The words of a command that are plain to read, before cyclopts is there: importing it takes longer than small runs.

What is not plainly right, as of an unknown option or ``--help``, is left to cyclopts, which tells what is wrong.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from lockstep.harness.cli.argument import said_of
from lockstep.harness.cli.commands import COMMANDS

# How a value is written that is plain to read; nothing begins with a hyphen.
WRITTEN = {str: r"[^-].*", Path: r"[^-].*", int: r"0|[1-9][0-9]{0,8}", float: r"[0-9]{1,9}(\.[0-9]{1,9})?"}


class _Option(NamedTuple):
    """Where the value of an option goes."""

    keys: tuple[str, ...]  # the argument's name, and that of its field where an argument is several options
    kind: type
    many: bool = False


class _NotPlainError(Exception):
    """Something is not plain to read."""


def loaded(name: str) -> Any:
    """A command, a function or several, by its name."""
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(import_module(f"lockstep.harness.cli.{module}"), attribute)


def plain_call(words: Sequence[str]) -> Callable[[], object] | None:
    """The call that words ask for; None where they are not plain to read."""
    command = loaded(words[0]) if words and words[0] in COMMANDS else None
    if not inspect.isfunction(command):
        return None
    try:
        return _call(command, words[1:])
    except _NotPlainError:
        return None


def _call(command: Callable[..., object], words: Sequence[str]) -> Callable[[], object]:
    parameters = list(inspect.signature(command).parameters.values())
    hints = get_type_hints(command, include_extras=True)
    by_name = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL}
    named, positional = _sorted(words, dict(_options({name: hints[name] for name in by_name})))
    given: dict[str, Any] = {}
    for (name, *field), value in named.items():
        if field:
            given.setdefault(name, {})[field[0]] = value
        else:
            given[name] = value
    kinds = {name: said_of(hint)[0] for name, hint in hints.items()}
    given = {name: kinds[name](**value) if is_dataclass(kinds[name]) else value for name, value in given.items()}
    places = [parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    rest = [kinds[parameter.name] for parameter in parameters if parameter.kind is parameter.VAR_POSITIONAL]
    # An argument that is given by its name takes no place.
    if any(place.name in given for place in places) or (len(positional) > len(places) and not rest):
        raise _NotPlainError
    types = [kinds[place.name] for place in places] + rest * len(positional)
    values = [_value(word, _one(kind)[0]) for word, kind in zip(positional, types, strict=False)]
    call = partial(command, *values, **given)
    try:
        inspect.signature(command).bind(*values, **given)
    except TypeError as error:
        raise _NotPlainError from error
    return call


def _options(hints: Mapping[str, Any], *within: str) -> Iterator[tuple[str, _Option]]:
    """The options of a command by the words that name them."""
    for name, hint in hints.items():
        kind, said = said_of(hint)
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _options(get_type_hints(kind, include_extras=True), name)
        else:
            names = said.get("name", f"--{name.replace('_', '-')}")
            for word in (names,) if isinstance(names, str) else names:  # one without hyphens names a place in the help
                yield word, _Option((*within, name), *_one(kind))


def _one(kind: Any) -> tuple[type, bool]:
    """The type of one value, and whether there may be many."""
    kinds = [part for part in get_args(kind) if part is not NoneType] or [kind]
    if len(kinds) > 1:
        return object, False
    return (get_args(kinds[0])[0], True) if getattr(kinds[0], "__origin__", None) is list else (kinds[0], False)


def _sorted(words: Sequence[str], options: Mapping[str, _Option]) -> tuple[dict[tuple[str, ...], Any], list[str]]:
    """The values of options, and the words that stand for themselves."""
    values: dict[tuple[str, ...], Any] = {}
    positional: list[str] = []
    left = iter(words)
    for word in left:
        option = options.get(word)
        if option is None:
            positional.append(_value(word, str))
        elif option.many:
            values.setdefault(option.keys, []).append(_value(next(left, "-"), option.kind))
        elif option.keys in values:
            raise _NotPlainError
        else:
            values[option.keys] = option.kind is bool or _value(next(left, "-"), option.kind)
    return values, positional


def _value(word: str, kind: type) -> Any:
    if kind not in WRITTEN or not re.fullmatch(WRITTEN[kind], word):
        raise _NotPlainError
    return kind(word)
