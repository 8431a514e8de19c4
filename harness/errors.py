"""Errors a user can cause. Each one is one clear message and an exit status, never a traceback."""

import difflib
from collections.abc import Iterable


class LockstepError(Exception):
    """A request that cannot be carried out: its text says what was found and what to do."""


class CaseError(LockstepError):
    """A case file, or a file it names, is not what a case needs."""


class TraceError(LockstepError):
    """A trace is damaged, incomplete, or belongs to another case."""


class BackendError(LockstepError):
    """No such backend, or two of one name."""


class ResultsError(LockstepError):
    """A file of results cannot be read."""


class ConvertError(LockstepError):
    """Weights are not what a dialect stores, or cannot be written as another stores them."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message that there is no such thing: what was perhaps meant, and what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    guess = f' Did you mean "{close[0]}"?' if close else ""
    return f'no {kind} is called "{name}".{guess} There are: {", ".join(known) or "none"}.'
