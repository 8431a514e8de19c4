"""What is said of a command's arguments, kept until somebody asks: the library that shows help takes long to import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints


class Argument:
    """An argument's name, help and the rest, in the words of ``cyclopts.Parameter``."""

    def __init__(self, **words: Any) -> None:
        """Keep the words."""
        self.words = words


def said_of(hint: Any) -> tuple[Any, dict[str, Any]]:
    """The type of an argument, and the words that are said of it."""
    if get_origin(hint) is not Annotated:
        return hint, {}
    plain, *said = get_args(hint)
    return plain, next((part.words for part in said if isinstance(part, Argument)), {})


def for_cyclopts(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command, with annotations that cyclopts reads beside ours."""
    function.__annotations__ = _read(function)
    return function


def _read(annotated: Any) -> dict[str, Any]:
    from cyclopts import Parameter as Said

    hints = get_type_hints(annotated, include_extras=True)
    for name, hint in hints.items():
        plain, words = said_of(hint)
        if is_dataclass(plain) and isinstance(plain, type):
            plain.__annotations__ = _read(plain)
            hints[name] = Annotated[plain, Said(name="*")]  # each field is an option
        elif words and not any(isinstance(part, Said) for part in hint.__metadata__):
            hints[name] = Annotated[hint, Said(**words)]
    return hints
