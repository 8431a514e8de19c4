"""The variables of a TF1 graph, and the operations that read each.

A variable is an operation here (``VarHandleOp``, or ``VariableV2`` with reference variables), and what takes its value
is found by following the graph: through the operations that only hand it on, into the bodies of loops, the branches of
conditions and other functions. TensorFlow keeps with every operation the lines that made it: they tell what a
loop made anew from what was written twice. Source: TensorFlow 2.21, ``tf.Operation``, ``tf.compat.v1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

import lockstep.harness
from lockstep.harness.adapters import inventory
from lockstep.harness.adapters.inventory import Around, InventoryError, Made, Material, Read

_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
# They hand a value on as it is.
_THROUGH = {"Identity", "ReadVariableOp", "Enter", "RefEnter", "Switch", "RefSwitch", "Merge", "Placeholder"}
# They take a variable, and use its value for nothing that is computed.
_NO_READERS = {
    "Assert", "IsVariableInitialized", "NoOp", "Print", "PrintV2", "Save", "SaveSlices", "SaveV2", "VarIsInitializedOp",
    "HistogramSummary", "ScalarSummary", "VariableShape", "Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike",
    "ShardedFilename", "DestroyResourceOp",
}  # fmt: skip
_WRITES = ("Assign", "Scatter", "ResourceScatter", "Apply", "SparseApply", "ResourceApply", "ResourceSparseApply")
# The functions that an operation calls: under which attributes, from which of its inputs on they take them, and when.
_CALLS = {
    "While": (("body", "cond"), 0, "while loop"),
    "If": (("then_branch", "else_branch"), 1, "condition"),
    "Case": (("branches",), 1, "condition"),
    "PartitionedCall": (("f",), 0, None),
    "StatefulPartitionedCall": (("f",), 0, None),
}
_CALLS |= {f"Stateless{name}": _CALLS[name] for name in ("While", "If", "Case")}

_HARNESS = str(Path(lockstep.harness.__file__).parent)
_LIBRARIES = tuple(str(Path(tf.__file__).parent.parent / name) + "/" for name in ("tensorflow", "tf_keras", "keras"))
_TENSORFLOW = _LIBRARIES[0]
_GRADIENTS = ("/ops/gradients_util.py", "/eager/backprop.py")
_SLOTS = ("/optimizer", "slot_creator.py", "moving_averages.py")  # in the paths of what keeps variables beside others
_IMPORTS = ("/framework/importer.py", "/training/saver.py")


@contextmanager
def building() -> Iterator[Any]:
    """A fresh graph, into which the user's function builds."""
    with tf.Graph().as_default() as graph:
        yield graph


def material(value: Any, built: Any) -> Material | None:
    """Read the graph that ``value`` is, or belongs to, or else the one that was built; None if there is nothing of one.

    Raises:
        InventoryError: If variables are eager ones, or a graph holds operations and no variable.
    """
    parts = tf.nest.flatten(value)
    graph = next((graph for graph in map(_graph_of, parts) if graph is not None), built)
    if graph is None or not graph.get_operations():
        _check_not_eager(parts)
        return None
    made = tuple(_made(operation, turns) for turns in [_Turns()] for operation in _variables(graph))
    if not made:
        _check_not_eager(parts)
        count = len(graph.get_operations())
        raise InventoryError(
            f"the graph that it built holds {count} operation{'' if count == 1 else 's'} and no variable: weights that "
            "are constants or placeholders are nobody's to share. Make them by `tf.get_variable` or a layer."
        )
    return Material("TF1 graph", made)


def _graph_of(part: Any) -> Any:
    if isinstance(part, tf.Graph):
        return part
    if isinstance(part, tf.Variable):
        return None if _is_eager(part) else part.graph
    symbolic = isinstance(part, tf.Operation) or (tf.is_tensor(part) and tf.is_symbolic_tensor(part))
    return getattr(part, "graph", None) if symbolic else None


def _is_eager(variable: Any) -> bool:
    return not getattr(variable, "_in_graph_mode", True)


def _check_not_eager(parts: list[Any]) -> None:
    eager = [part.name.partition(":")[0] for part in parts if isinstance(part, tf.Variable) and _is_eager(part)]
    if eager or any(tf.is_tensor(part) and not tf.is_symbolic_tensor(part) for part in parts):
        what = f"its variables are eager ones (`{eager[0]}`)" if eager else "it computes in eager mode"
        raise InventoryError(
            f"{what}, and eager code leaves no graph to read. Make variables inside the function, by tf.compat.v1: it "
            "is called in a fresh tf.Graph. For a Keras model or layer, return the object itself."
        )


def _variables(graph: Any) -> list[Any]:
    return [operation for operation in graph.get_operations() if operation.type in _VARIABLES]


def _made(operation: Any, turns: _Turns) -> Made:
    lines = _lines(operation)
    known = not any(line.file.endswith(_IMPORTS) for line in lines)
    last_of_user = _last_own(lines)
    shape = tf.TensorShape(operation.get_attr("shape"))
    trainable = {v.op.name for v in operation.graph.get_collection("trainable_variables") if hasattr(v, "op")}
    return Made(
        operation.name,
        tuple(shape.as_list()) if shape.rank is not None else (),
        tf.as_dtype(operation.get_attr("dtype")).base_dtype.name,
        stack=tuple(f"{line.file}:{line.number}" for line in lines if _counts(line)) if known else (),
        place=f"{lines[last_of_user].file}:{lines[last_of_user].number}"
        if known and last_of_user is not None
        else None,
        made_by=_made_by(lines[(last_of_user or 0) + 1 :]) if known else None,
        trainable=operation.name in trainable,
        reads=tuple(_reads(operation, turns)),
    )


# What made an operation.


class _Line(NamedTuple):
    file: str
    number: int
    function: str


def _lines(operation: Any) -> list[_Line]:
    """The lines that made an operation, outermost first, from the user's own on."""
    lines = [_Line(frame.filename, frame.lineno, frame.name) for frame in operation.traceback or ()]
    ours = [k for k, line in enumerate(lines) if line.file.startswith(_HARNESS)]
    lines = lines[ours[-1] + 1 :] if ours else lines
    while lines and lines[0].file.startswith("<frozen importlib"):
        del lines[0]
    return lines


def _last_own(lines: list[_Line]) -> int | None:
    """Find the last line of the user's code, if possible in none of the packages that are installed."""
    of_user = [k for k, line in enumerate(lines) if not line.file.startswith((*_LIBRARIES, "<"))]
    nearest = [k for k in of_user if "site-packages" not in lines[k].file] or of_user
    return nearest[-1] if nearest else None


def _made_by(below: list[_Line]) -> str | None:
    """What the user called to make a variable, from the libraries' lines below that call."""
    files = [line.file for line in below]
    if any(slot in file for slot in _SLOTS for file in files):
        return inventory.OPTIMIZER
    if any(file.endswith(("legacy_cells.py", "rnn_cell_impl.py", "rnn_cell.py")) for file in files):
        return inventory.CELL
    for line in below:
        if line.file.startswith(_LIBRARIES[1:]):
            function = "legacy_tf_layers" in line.file and "__" not in line.function
            return f"tf.layers.{line.function}" if function else inventory.LAYER
    if any(line.function == "get_variable" for line in below):
        return inventory.GET_VARIABLE
    return inventory.TF_VARIABLE if any(file.endswith("/ops/variables.py") for file in files) else None


# What reads it.


def _counts(line: _Line) -> bool:
    """Whether a line tells two places apart: TensorFlow's own do not, but for those that run cells over time."""
    return not line.file.startswith(_TENSORFLOW) or "rnn" in line.file


class _Turn(NamedTuple):
    position: int  # of the operation in its graph
    turn: int


class _Turns:
    """Numbers the operations of a graph, and the runs of them in which one line of the user's alone had its turn."""

    def __init__(self) -> None:
        self._of_graph: dict[Any, dict[str, _Turn]] = {}

    def __call__(self, operation: Any) -> _Turn:
        graph = operation.graph
        if graph not in self._of_graph:
            self._of_graph[graph] = dict(self._numbered(graph))
        return self._of_graph[graph][operation.name]

    def _numbered(self, graph: Any) -> Iterator[tuple[str, _Turn]]:
        last, turn = None, 0
        for index, operation in enumerate(graph.get_operations()):
            key = [
                line[:2] for line in _lines(operation) if not line.file.startswith(_TENSORFLOW) or "rnn" in line.file
            ]
            turn += key != last
            last = key
            yield operation.name, _Turn(index, turn)


class _Call(NamedTuple):
    """Where a function's graph is called from: the operations around it, outermost first."""

    operations: tuple[Any, ...] = ()
    around: tuple[Around, ...] = ()

    def name(self, operation: Any) -> str:
        return "/".join([*(around.name for around in self.operations), operation.name])


def _reads(variable: Any, turns: _Turns) -> list[Read]:
    """What takes a variable's value, each operation once, in the order in which they were made."""
    by_operation: dict[str, tuple[tuple[int, ...], Read]] = {}
    for operation, call in _takers(variable.outputs[0], _Call(), set()):
        if operation.type in _NO_READERS or _writes(operation) or _initialises(operation):
            continue
        lines = _lines(operation)
        path = (*call.operations, operation)
        read = Read(
            call.name(operation),
            operation.type,
            site=tuple(f"{line.file}:{line.number}" for line in lines if _counts(line)),
            turn=tuple(turns(step).turn for step in path),
            around=tuple(dict.fromkeys([*call.around, *_old_contexts(operation)])),
            backward=any(line.file.endswith(_GRADIENTS) for line in lines),
        )
        by_operation.setdefault(read.operation, (tuple(turns(step).position for step in path), read))
    return [read for _, read in sorted(by_operation.values(), key=lambda pair: pair[0])]


def _takers(tensor: Any, call: _Call, visited: set[tuple[Any, ...]]) -> Iterator[tuple[Any, _Call]]:
    for operation in tensor.consumers():
        key = (*call.operations, operation, *(k for k, operand in enumerate(operation.inputs) if operand is tensor))
        if key in visited:
            continue
        visited.add(key)
        if operation.type in _THROUGH:
            yield from chain.from_iterable(_takers(output, call, visited) for output in operation.outputs)
        elif operation.type in _CALLS:
            yield from _takers_inside(operation, tensor, call, visited)
        else:
            yield operation, call


def _takers_inside(
    operation: Any, tensor: Any, call: _Call, visited: set[tuple[Any, ...]]
) -> Iterator[tuple[Any, _Call]]:
    """Follow a tensor into the functions that an operation calls."""
    attributes, first, kind = _CALLS[operation.type]
    around = [Around(kind, call.name(operation))] if kind else []
    inner = _Call((*call.operations, operation), (*call.around, *around))
    for function in chain.from_iterable(_functions(operation, attribute) for attribute in attributes):
        graph = operation.graph._get_function(function.name).graph  # noqa: SLF001 (nothing public gives it)
        for k, operand in enumerate(operation.inputs):
            if operand is tensor and k >= first:
                yield from _takers(graph.inputs[k - first], inner, visited)
                # A loop gives back what it was given where its body does, and gradients take it from there.
                if "body" in attributes and len(graph.outputs) > k and _source(graph.outputs[k]) is graph.inputs[k]:
                    yield from _takers(operation.outputs[k], call, visited)


def _source(tensor: Any) -> Any:
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def _functions(operation: Any, attribute: str) -> list[Any]:
    functions = operation.get_attr(attribute)
    return list(functions) if isinstance(functions, (list, tuple)) else [functions]


def _writes(operation: Any) -> bool:
    return operation.type.startswith(_WRITES)


def _initialises(operation: Any) -> bool:
    """Whether an operation only makes another variable's first value."""
    return any(part in {"Initializer", "initial_value"} for part in operation.name.split("/"))


def _old_contexts(operation: Any) -> Iterator[Around]:
    """In which loops and conditions an operation is that were made without control flow v2, outermost first."""
    contexts, context = [], operation._get_control_flow_context()  # noqa: SLF001 (nothing public gives it)
    while context is not None:
        name = (context.name or "").rpartition("/")[0]
        if context.IsWhileContext():
            contexts.append(Around("while loop", name))
        elif context.IsCondContext():
            contexts.append(Around("condition", name))
        context = context.outer_context
    return reversed(contexts)
