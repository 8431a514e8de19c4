"""What runs inside a port's process: it imports the user's file once, and calls its function again and again.

Whatever the function does is the answer of one call. What ends the process ends it between two answers:
those before it are in a file by then.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lockstep.harness.adapters.outcome import Outcome, run_in_pieces
from lockstep.harness.adapters.processes.parcel import Parcel
from lockstep.harness.adapters.trace import Trace, close
from lockstep.harness.adapters.user_code import Target, UserCodeError, import_file, mistake_of, raised
from lockstep.harness.adapters.user_process import serve_once, serve_questions
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.errors import unknown
from lockstep.harness.ports.arguments import Form, Given
from lockstep.harness.ports.outputs import Returned, read_returned
from lockstep.harness.ports.signature import arguments_of, check_fit, forward_only, is_written_as_port, parameters_of

if TYPE_CHECKING:
    from lockstep.harness.ports.objects.object_port import ObjectPort
    from lockstep.harness.ports.objects.taken import Taken


class Calls:
    """Calls a user's function, each time with arguments of its own."""

    def __init__(
        self,
        function: Callable[..., Any],
        form: Form,
        file: Path | None = None,
        caught: tuple[type[BaseException], ...] = (Exception, SystemExit),
        taken: ObjectPort | None = None,
    ) -> None:
        """Look at what parameters a function has, or call ``taken``; ``file`` is where it stands, if that is known."""
        if taken is not None:
            function, form = taken, Form()
        self._function, self._form, self._file, self._caught = function, form, file, caught
        self._object = taken
        self._parameters = parameters_of(function)
        self._overwrites = False

    @property
    def forward_only(self) -> bool:
        """Whether the function is not to be asked for gradients."""
        return forward_only(self._parameters)

    def close(self) -> None:
        """Leave an object as it was found."""
        if self._object is not None:
            self._object.restore()

    @property
    def taken(self) -> Taken | None:
        """What an object was taken for; None of a function."""
        return None if self._object is None else self._object.taken

    def __call__(self, problem: AnyProblem) -> Outcome:
        """Call the function for one problem, or piece by piece; every way to fail is a reply, none an exception."""
        return run_in_pieces(problem, self._call)

    def _call(self, problem: AnyProblem) -> Outcome:
        started = perf_counter()
        notes: tuple[str, ...] = ()
        try:
            check_fit(self._parameters, problem.case, self._form.layout)
            arguments = Given(problem, self._form)
            positional, by_name = arguments_of(self._parameters, arguments.values, problem.case)
            # Once more: making the arguments is no part of the call.
            started = perf_counter()
            value = self._value(positional, by_name, problem)
            changed = arguments.changed()
            notes = (*self._notes(), *(f"it changed its argument {name} in place" for name in changed))
            returned = self._read(value, problem)
        except UserCodeError as error:
            return replace(error.outcome, notes=notes, seconds=_since(started))
        seconds = _since(started)
        # What was changed matters only where a second call with it gives something else.
        harmless = not changed or self._same_again(positional, by_name, problem, returned.trace)
        return Outcome(
            "ran", returned.trace, notes=(*notes, *returned.notes), conversions=tuple(returned.conversions),
            seconds=seconds, overwrites=() if harmless else tuple(changed),
        )  # fmt: skip

    def _same_again(self, positional: list[Any], by_name: dict[str, Any], problem: AnyProblem, expected: Trace) -> bool:
        """Whether another call with the changed arguments gives the same; after one that did not, none is made."""
        if self._overwrites:
            return True
        try:
            again = self._read(self._value(positional, by_name, problem), problem)
            same = close(expected.tensors(), again.trace.tensors())
        except UserCodeError:  # that it fails with what it wrote there is as bad
            same = False
        self._overwrites = not same
        return same

    def _notes(self) -> tuple[str, ...]:
        return () if self._object is None else self._object.notes

    def _value(self, positional: list[Any], by_name: dict[str, Any], problem: AnyProblem) -> Any:
        try:
            return self._function(*positional, **by_name)
        except UserCodeError:  # of an object that cannot be asked this
            raise
        except self._caught as error:
            raise raised("it", error, self._file, _hint(error, problem)) from error

    def _read(self, value: Any, problem: AnyProblem) -> Returned:
        try:
            return read_returned(value, problem.case, self._form.layout)
        except UserCodeError:
            raise
        except self._caught as error:  # results are objects of the user's own: looking at them may raise
            raise raised("reading what it returned", error, self._file) from error


def serve(target: Target, form: Form, problems: Parcel, timeout: float, replies: Path, log: Path) -> None:
    """Answer each of a list of problems, one after the other; the rest as of ``user_process.serve_questions``."""
    serve_questions(lambda: _loaded(target, form), _call, problems.unpack, timeout, replies, log)


def serve_forward_only(target: Target, form: Form, timeout: float, replies: Path, log: Path) -> None:
    """Answer whether the target goes forward only, without a call of it."""
    serve_once(
        lambda: _loaded(target, form), lambda calls: Outcome("ran", calls.forward_only), timeout, replies, log
    )  # fmt: skip


def _call(calls: Calls, problem: AnyProblem) -> Outcome:
    _match_jax(problem.case.run.dtype)
    return calls(problem)


_calls: dict[tuple[Target, Form], Calls | Outcome] = {}
_jax_x64_of_its_own = False


def _loaded(target: Target, form: Form) -> Calls | Outcome:
    """The calls of a target, or the reply that all of its calls get if it cannot be imported."""
    global _jax_x64_of_its_own  # noqa: PLW0603 (one process serves one target)
    if (target, form) not in _calls:
        try:
            function, taken = _function(target, form)
            # In a process of its own even what ends a process, such as sys.exit(), is only the answer of one call.
            _calls[target, form] = Calls(function, form, target.file, (BaseException,), taken)
        except UserCodeError as error:
            _calls[target, form] = error.outcome
        config = getattr(sys.modules.get("jax"), "config", None)
        environment = os.environ.get("JAX_ENABLE_X64", "").lower() in {"1", "true", "yes", "on", "y", "t"}
        _jax_x64_of_its_own = bool(getattr(config, "jax_enable_x64", environment))
    return _calls[target, form]


def serve_taken(target: Target, form: Form, timeout: float, replies: Path, log: Path) -> None:
    """Answer what an object was taken for (``Taken``), or None of a port; the rest as of ``serve_once``."""

    def taken(calls: Calls) -> Outcome:
        try:
            return Outcome("ran", calls.taken)
        except UserCodeError as error:
            return error.outcome

    serve_once(lambda: _loaded(target, form), taken, timeout, replies, log)


def _function(target: Target, form: Form) -> tuple[Callable[..., Any], ObjectPort | None]:
    """The function of a target; of an object also what sets and calls it."""
    module = import_file(target.file)
    if not hasattr(module, target.function):
        functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise UserCodeError(f"{target.file.name}: {unknown('function', target.function, functions)}")
    function = getattr(module, target.function)
    taken = object_of(function, target.function, form, vars(module))
    if taken is None and not callable(function):
        raise UserCodeError(f"{target.function} in {target.file.name} is a {type(function).__name__}, not a function")
    return function, taken


def object_of(target: Any, name: str, form: Form, variables: dict[str, Any]) -> ObjectPort | None:
    """What sets and calls an object with weights of its own, which a target is or makes; None of a port."""
    if form.init is None and is_written_as_port(parameters_of(target)):
        return None  # as most are: finding out what objects are takes long to import
    from lockstep.harness.ports.objects.build import Maker, is_object
    from lockstep.harness.ports.objects.object_port import ObjectPort

    return ObjectPort(Maker(target, name, form.init, variables), form.rule) if is_object(target, form.init) else None


def _hint(error: BaseException, problem: AnyProblem) -> str:
    """What weights are, where a port seems to have taken them for those of a case of another form."""
    mistake, single = mistake_of(error), problem.case.lstm.single
    if mistake == "list" and not single:
        return " (here weights is a list over layers of a list over directions of dicts)"
    return " (here weights is a dict)" if mistake == "string" and single else ""


def _match_jax(dtype: str) -> None:
    """Let JAX have 64 bits where the case has them, and elsewhere what the user's file set.

    With 64 bits everywhere, jnp.zeros and its like are float64, and a healthy float32 port is no more.
    """
    wide = _jax_x64_of_its_own or dtype == "float64"
    config = getattr(sys.modules.get("jax"), "config", None)
    if config is None:
        os.environ["JAX_ENABLE_X64"] = str(int(wide))
    elif config.jax_enable_x64 != wide:
        config.update("jax_enable_x64", wide)


def _since(started: float) -> dict[str, float]:
    return {"run": perf_counter() - started}
