"""A user's own implementation, a port: a function in a file, called in a process of its own.

Whatever it does costs only the call at which it does it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.processes.parcel import Parcel
from lockstep.harness.adapters.user_calls import ask, ask_once
from lockstep.harness.adapters.user_code import FUNCTIONS, Target, defined_in, parsed_file
from lockstep.harness.adapters.worker import Closing, Process, quiet_environment
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.errors import LockstepError, UserFileError
from lockstep.harness.ports.arguments import Form
from lockstep.harness.ports.objects.rule import rule_of
from lockstep.harness.ports.port_process import Calls, object_of, serve, serve_forward_only, serve_taken
from lockstep.harness.ports.signature import is_decoder, parameters_of

if TYPE_CHECKING:
    from lockstep.harness.ports.objects.taken import Taken

MOST_DEATHS = 3  # in one list of problems: a port that dies of everything is not to be asked 500 times


# What a file may say of the ports in it: LOCKSTEP = {"layout": "torch", "arrays": "torch"}, as the options would.
DECLARATION = "LOCKSTEP"


def _declared_in(file: Path) -> Any:
    """What a file says of its ports; nothing where it is not to be read, as its process will tell."""
    try:
        tree = parsed_file(file)
    except LockstepError:
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == DECLARATION for target in node.targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return ast.unparse(node.value)
    return {}


def _form(declared: Any, layout: str | None, arrays: str | None, init: str | None = None) -> Form:
    """How a port gets its arguments: as it is asked for, else as its module declares, else as ever."""
    if not isinstance(declared, dict) or not declared.keys() <= {"layout", "arrays"}:
        raise LockstepError(
            f'{DECLARATION} = {declared!r}: must be a dict with "layout", "arrays" or both, for example '
            f'{DECLARATION} = {{"layout": "torch", "arrays": "torch"}}.'
        )
    asked = {name: value for name, value in (("layout", layout), ("arrays", arrays)) if value is not None}
    stated = {**declared, **asked}
    rule = rule_of(stated.get("layout"))
    if rule is not None and rule.file:
        del stated["layout"]
    return Form(**stated, init=init, rule=rule)


def is_decoder_port(port: Target | Callable[..., Any]) -> bool:
    """Whether a port is written for attention decoders, by the names of its parameters."""
    return is_decoder(_parameters_in(port) if isinstance(port, Target) else parameters_of(port))


class AnyPort(Closing):
    """What answers problems, each by one call: a function, a program."""

    name: str
    layout: str  # in which it gets its weights
    calls = 0  # how many problems it was asked

    @property
    def forward_only(self) -> bool:
        """Whether it is known that it is not to be asked for gradients."""
        return False

    def taken(self) -> Taken | None:
        """What an object with weights of its own was taken for; None of anything else."""
        return None

    def fitted(self, case: Case) -> Case:
        """A case with what can be given: an object may have sizes of its own, no bias, or no states to start from."""
        return case

    def call(self, problems: Sequence[AnyProblem]) -> list[Outcome]:
        """Call it for each of several problems, in order.

        A call that ends its process, or takes too long, is answered as such, and a fresh process goes on
        with the next; after the third such call the rest are answered alike.
        """
        self.calls += len(problems)
        replies: list[Outcome] = []
        deaths = 0
        while len(replies) < len(problems):
            unanswered = problems[len(replies) :]
            answered, lost = self._answers(unanswered)
            replies += answered[: len(unanswered)]
            if lost is None or len(replies) == len(problems):
                break
            deaths += 1
            # "failed" is about sending: it would fail for all the others too.
            given_up = deaths == MOST_DEATHS or lost.status == "failed"
            replies += [lost] * (len(problems) - len(replies) if given_up else 1)
        return replies

    def _answers(self, problems: Sequence[AnyProblem]) -> tuple[list[Outcome], Outcome | None]:
        """Have problems answered by one process: the outcomes, and that of the next call if it was lost."""
        raise NotImplementedError


class Port(AnyPort):
    """A function in a file, in a process of its own, which is started at the first call."""

    def __init__(
        self, target: Target, *, layout: str | None = None, arrays: str | None = None, init: str | None = None,
        timeout: float = 120.0,
    ) -> None:  # fmt: skip
        """Take a target, how it gets its arguments or is made, and how many seconds one call may take."""
        self._target, self._timeout = target, timeout
        self._form = _form(_declared_in(target.file), layout, arrays, init)
        self._forward_only: bool | None = None  # not asked yet
        self._taken: Taken | Literal["not asked"] | None = "not asked"
        self.name, self.layout = target.function, self._form.layout
        self._process = Process(quiet_environment(legacy_keras=self._form.arrays == "tensorflow"))

    @property
    def forward_only(self) -> bool:
        """Whether it is known that the function takes no cotangents; its file is imported for that."""
        if self._forward_only is None:
            arguments = (self._target, self._form)
            answer = ask_once(self._process, serve_forward_only, arguments, self._timeout, self._target.file)
            self._forward_only = answer.value is True
        return self._forward_only

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._process.close()

    def taken(self) -> Taken | None:
        """What an object with weights of its own was taken for; None of a function that is called as a port.

        Raises:
            LockstepError: If the object cannot be made, or be taken for an LSTM.
        """
        if self._taken == "not asked":
            self._taken = self._asked() if self._form.init is not None or _may_be_object(self._target) else None
            rule = self._form.rule
            if self._taken is not None:
                self.layout = self._taken.layout
            elif rule is not None and rule.file:
                raise LockstepError(f"--layout {rule.file}: a file is for objects with weights of their own; a port is "
                                    "given them in a layout that has a name.")  # fmt: skip
        return self._taken

    def _asked(self) -> Taken | None:
        file = self._target.file
        answer = ask_once(self._process, serve_taken, (self._target, self._form), self._timeout, file)
        if answer.status in {"wrong", "timeout", "crashed"}:
            raised = LockstepError if answer.status == "wrong" else UserFileError
            raise raised(f"{file.name}:{self._target.function}: {answer.message}.")
        return answer.value  # that it cannot be imported fails at the first call too, and is told there

    def fitted(self, case: Case) -> Case:
        """A case with what can be given: an object may have sizes of its own, no bias, or no states to start from."""
        taken = self.taken()
        return case if taken is None else taken.fitted(case)

    def _answers(self, problems: Sequence[AnyProblem]) -> tuple[list[Outcome], Outcome | None]:
        """Have problems answered by one process: the outcomes, and that of the next call if it was lost."""
        try:
            parcel = Parcel.pack(list(problems), str(self._process.folder / "problems"))
        except OSError as error:  # the disk is full, for example
            return [], Outcome("failed", message=f"the problems could not be sent: {error}")
        return ask(self._process, serve, (self._target, self._form, parcel), self._timeout, self._target.file)


class LocalPort(AnyPort):
    """A function that is called here, in this process: one that no other can import, such as a closure."""

    def __init__(self, function: Callable[..., Any], *, layout: str | None = None, arrays: str | None = None) -> None:
        """Take a function, and how it gets its arguments."""
        unwrapped = inspect.unwrap(function)
        form = _form(getattr(unwrapped, "__globals__", {}).get(DECLARATION, {}), layout, arrays)
        self.name, self.layout = getattr(function, "__name__", type(function).__name__), form.layout
        code = getattr(unwrapped, "__code__", None)
        taken = object_of(function, self.name, form, {})
        self._calls = Calls(function, form, Path(code.co_filename) if code else None, taken=taken)
        if self._calls.taken is not None:
            self.layout = self._calls.taken.layout

    def close(self) -> None:
        """Leave an object as it was found: here it is the caller's own."""
        self._calls.close()

    def taken(self) -> Taken | None:
        """What an object with weights of its own was taken for; None of a function that is called as a port."""
        return self._calls.taken

    def fitted(self, case: Case) -> Case:
        """A case with what can be given: an object may have sizes of its own, no bias, or no states to start from."""
        return case if self._calls.taken is None else self._calls.taken.fitted(case)

    @property
    def forward_only(self) -> bool:
        """Whether it is known that the function takes no cotangents."""
        return self._calls.forward_only

    def call(self, problems: Sequence[AnyProblem]) -> list[Outcome]:
        """Call the function for each of several problems, in order."""
        self.calls += len(problems)
        return [self._calls(problem) for problem in problems]


def port_of(function: Callable[..., Any], **options: Any) -> Port | LocalPort:
    """A port of a function: in a process of its own if another process can import it, else called here.

    ``options``: as of ``Port``; there is no time-out for what runs here.

    Raises:
        LockstepError: If there is no such layout, or no such kind of arrays.
    """
    target = _target_of(function)
    if target is not None:
        return Port(target, **options)
    return LocalPort(function, **{name: value for name, value in options.items() if name != "timeout"})


def _target_of(function: Callable[..., Any]) -> Target | None:
    """Where another process finds a function; None if it does not."""
    name, home = getattr(function, "__name__", ""), getattr(function, "__module__", None)
    module = sys.modules.get(home or "")
    file = getattr(module, "__file__", None)
    # Importing the script that is running would run it again.
    if file is None or home == "__main__" or getattr(module, name, None) is not function:
        return None
    path = Path(file).absolute()
    return Target(path, name) if path.suffix == ".py" and path.is_file() else None


def _parameters_in(target: Target) -> dict[str, Any]:
    """The parameters of a function as its file writes them; none where it is made otherwise, or not to be read."""
    try:
        tree = parsed_file(target.file)
    except LockstepError:
        return {}
    definitions = [
        node for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS) and node.name == target.function
    ]  # fmt: skip
    if not definitions:
        return {}
    signature = definitions[-1].args
    return dict.fromkeys(argument.arg for argument in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs))


def _may_be_object(target: Target) -> bool:
    """Whether a target may be, or make, an object: whatever is no function, and one of sizes."""
    try:
        defined = dict(defined_in(parsed_file(target.file)))
    except LockstepError:
        return False
    return not isinstance(defined.get(target.function), FUNCTIONS) or not (
        {"x", "weights", "enc", "h0"} & _parameters_in(target).keys()
    )
