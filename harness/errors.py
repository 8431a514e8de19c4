"""Errors a user can cause. Each one is one clear message and an exit status, never a traceback."""

import difflib
import math
from collections.abc import Iterable


class LockstepError(Exception):
    """A request that cannot be carried out: its text says what was found and what to do."""

    exit_status = 2


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


class DumpError(LockstepError):
    """A file of dumped arrays is damaged, or lacks what is needed to judge them."""


class UserFileError(LockstepError):
    """Reading a user's file failed, hung, or ended its process, of which the request is not to blame."""

    exit_status = 3


def check_positive(how: str, **numbers: object) -> None:
    """Check that numbers are finite and above 0, where they are given; ``how`` writes their names, such as "--{} ".

    Raises:
        LockstepError: If one is not.
    """
    for name, value in numbers.items():
        if value is None or (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
            continue
        shown = f"{value:g}" if isinstance(value, (int, float)) else repr(value)
        raise LockstepError(f"{how.format(name)}{shown}: must be a number above 0.")


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message that there is no such thing: what was perhaps meant, and what there is."""
    known = list(known)
    return f'no {kind} is called "{name}".{meant(name, known)} There are: {", ".join(known) or "none"}.'


def meant(name: str, known: Iterable[str], shown: str = '"{}"') -> str:
    """What was perhaps meant, to stand behind a message; nothing where no name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {shown}?".replace("{}", close[0]) if close else ""
