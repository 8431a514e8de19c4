"""Errors a user can cause. Each one is one clear message and an exit status, never a traceback."""


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
