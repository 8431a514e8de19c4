"""An ONNX file: the weights of its ``LSTM`` nodes, and those nodes run by onnxruntime as they stand in the file.

Taken are one node, or several of which each takes the output of the one below; also inside If, Loop, Scan and functions
(``backends.onnx_scopes``). The graph is fed at its own input where nothing but transpositions and the like lie between
that and the first node, else at the node; what comes after the last node is left out. Initial states
(``backends.onnx_states``) and lengths are fed where the graph takes them. Weights are initialisers, in the file or
beside it, or computed from some. Sources: ONNX operators, ``LSTM-22``; onnxruntime documentation, ``InferenceSession``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper, shape_inference

from lockstep.backends import refusals
from lockstep.backends.given_model import from_first_up, given_model, read_lanes
from lockstep.backends.onnx_model import ACTIVATIONS
from lockstep.backends.onnx_scopes import FIRST_OPSET, TURNED, Scope, attribute_of, scopes_of
from lockstep.backends.onnx_states import StateFeeds, at_the_nodes
from lockstep.backends.onnxruntime_session import narrow_dtypes, session_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    ModelFile,
    StoredModel,
    check_alike,
    gru_refusal,
    halves_of,
    listed,
    names_under,
    network,
    too_many,
    unfit_reason,
)

REQUIRES = ("onnx", "onnxruntime")
INSTALL = "lockstep-rnn[onnx]"
DIALECT = "onnx"

GATE_ORDER = DIALECTS["onnx"].gates
# The node's inputs, in their order.
X, W, R, B, LENGTHS, H0, C0, P = range(8)
# What may lie between two layers, or between the graph's input and the first one, and changes no number.
LAYOUT = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
# Likewise between an input of initial states or lengths and a node.
PARTS = LAYOUT | {"Slice", "Gather", "Split", "Cast"}
QUANTISED_OPERATORS = frozenset({"DynamicQuantizeLSTM", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class Graph:
    """A file's graph, and how its network is fed."""

    model: onnx.ModelProto  # cut to what the nodes need, its outputs theirs
    entry: str  # the input that takes x
    turned: bool  # whether that is batch-major
    feeds: StateFeeds | None  # how it is given initial states, where it takes any
    lengths: str  # the input that takes lengths, if any
    own_states: tuple[str, ...]  # outputs that hold the states it starts from, where it takes none


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the LSTM of a file.

    Raises:
        ModelError: If there is none, there are several, or they ask for what a case has no setting for.
    """
    try:
        model = onnx.load(file.path)
    except Exception as error:  # protobuf's own exceptions have no common home
        lost = " Its weights are in a file of their own: put that beside it." * ("should be stored in" in str(error))
        raise ModelError(f"it cannot be read as an ONNX model: {first_line(error).rstrip('.')}.{lost}") from error
    if not model.graph.node:
        raise ModelError("it has no nodes: it is no ONNX model, or an empty one.")
    opset = next((imported.version for imported in model.opset_import if imported.domain in {"", "ai.onnx"}), 0)
    if opset < FIRST_OPSET:
        raise ModelError(
            f"it is of opset {opset}, and runtimes run LSTM as it is since opset {FIRST_OPSET}: export it anew, or "
            "convert it by onnx.version_converter."
        )
    scope, stack = _stack(model, file.prefix)
    model, nodes = scope.model, list(scope.model.graph.node)
    settings = [_settings(node) for node in stack]
    check_alike([node.name for node in stack], settings)
    arrays = _constants(model, [name for node in stack for name in (*node.input[W : B + 1], *node.input[P : P + 1])])
    directions = range(len(DIRECTIONS[settings[0]["direction"]]))
    rows, biases = read_lanes([[_lane(node, arrays, k) for k in directions] for node in stack], GATE_ORDER)
    has_bias = any(_input(node, B) for node in stack)
    lstm, weights = network(rows, bias=has_bias, names=[node.name for node in stack], **settings[0])
    outer = {graph_input.name for graph_input in model.graph.input}
    graph = _graph(model, stack, weights[0][0])
    timesteps, batch = _fixed(graph)
    count = f"{len(stack)} LSTM nodes" if len(stack) > 1 else "one LSTM node"
    return StoredModel(
        lstm, weights, f"{count} of ONNX opset {opset}, run by onnxruntime {onnxruntime.__version__}", gates=GATE_ORDER,
        halves=halves_of(lstm, biases) if has_bias else {},
        notes=_notes(graph, nodes, scope, stack, inside=graph.entry not in outer),
        timesteps=timesteps, batch=batch, from_zeros=not graph.feeds, whole=not graph.lengths, more=graph,
        unrunnable=_unrunnable(model, graph), beside=bool(_beside(graph, nodes, scope)),
    )  # fmt: skip


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run by the model as it is; None if it can."""
    reasons = {"an inference runtime computes no gradients": case.run.gradients, **narrow_dtypes(case)}
    return refusals.of(reasons, first=unfit_reason(given_model(read), case))


def run(problem: Problem) -> Trace:
    """Run the nodes of the file on the data of ``problem``, with their own weights.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    stopwatch, model = Stopwatch(), given_model(read)
    graph: Graph = model.more
    with stopwatch("build"):
        session = _session()
        fed = _fed(graph, problem)
    with stopwatch("run"):
        wanted = [output.name for output in graph.model.graph.output]
        arrays: Arrays = dict(zip(wanted, session.run(None, fed), strict=True))
    for name in graph.own_states:
        if np.any(arrays[name]):
            raise RuntimeError(f"it starts from a state of its own, {name}, which is not zero, and takes no other")
    L, D = model.lstm.num_layers, len(model.lstm.directions)
    Y, states = (
        arrays[f"Y_{L - 1}"],
        [np.concatenate([arrays[f"{name}_{k}"] for k in range(L)]) for name in ("Y_h", "Y_c")],
    )
    T, _, size, H = Y.shape
    h = np.ascontiguousarray(Y.transpose(0, 2, 1, 3)).reshape(T, size, D * H)
    h_n, c_n = (state[0] if model.lstm.single else state for state in states)
    return Trace(h=h, h_n=h_n, c_n=c_n, seconds=stopwatch.seconds)


@cache
def _session() -> onnxruntime.InferenceSession:
    return session_of(given_model(read).more.model.SerializeToString(), silent=True)


def _fed(graph: Graph, problem: Problem) -> Arrays:
    """What the graph is fed."""
    fed = {graph.entry: np.ascontiguousarray(problem.x.swapaxes(0, 1)) if graph.turned else problem.x}
    fed |= graph.feeds.arrays(problem) if graph.feeds else {}
    if graph.lengths:
        T, size = problem.case.run.timesteps, problem.case.run.batch
        fed[graph.lengths] = problem.lengths if problem.lengths is not None else np.full(size, T)
        fed[graph.lengths] = fed[graph.lengths].astype(_type_of(graph.model, graph.lengths))
    return fed


def _stack(model: onnx.ModelProto, prefix: str) -> tuple[Scope, list[onnx.NodeProto]]:
    """The nodes of the one network, from its first layer up, and the graph in which they stand."""
    held = {f"{scope.path}{node.name}": (scope, node) for scope in scopes_of(model) for node in scope.lstms}
    names = names_under(list(held), prefix)
    if not names:
        raise ModelError(_no_lstm(model))
    chosen = {scope.path: scope for scope, _ in map(held.get, names)}  # type: ignore[misc]
    if len(chosen) > 1:
        raise too_many(names)
    (scope,) = chosen.values()
    made = _makers(scope.model)
    by_output = {held[name][1].output[0]: name for name in names if held[name][1].output[0]}
    below = {name: _below(held[name][1], made, by_output) for name in names}
    return scope, [held[name][1] for name in from_first_up(names, below)]


def _below(node: onnx.NodeProto, made: dict[str, onnx.NodeProto], by_output: dict[str, str]) -> str:
    """The name of the LSTM whose Y a node takes; nothing if it takes none."""
    name = node.input[X]
    while name in made and made[name].op_type in LAYOUT:
        name = made[name].input[0]
    return by_output.get(name, "")


def _makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output if name}


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    """What a node asks for, as fields of a case's network."""
    if attribute_of(node, "clip", None) is not None:
        raise ModelError(
            f"{node.name} has clip = {attribute_of(node, 'clip', None):g}, which holds the inputs of the activations: "
            "a case has no setting for that (its cell_clip holds the cell state)."
        )
    direction = attribute_of(node, "direction", b"forward").decode()
    count = len(DIRECTIONS[direction])
    names = _activations(node, count)
    if names[3:] not in ([], names[:3]):
        raise ModelError(f"{node.name} has other activations backward than forward, and a case has one for both.")
    return {
        "direction": direction,
        "recurrent_activation": names[0],
        "activation": names[1],
        "cell_activation": names[2],
        "input_forget": bool(attribute_of(node, "input_forget", 0)),
    }


# What an operator's alpha and beta are where the node does not say, as ONNX's operators of those names have it.
_DEFAULTS: dict[str, tuple[float, ...]] = {"hardsigmoid": (0.2, 0.5), "affine": (1.0, 0.0)}
_SETTINGS_TAKEN = {"affine": 2, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2, "hardsigmoid": 2, "elu": 1}


def _activations(node: onnx.NodeProto, directions: int) -> list[str]:
    """The case's names of a node's activations: gates, candidate, cell state, of each direction."""
    operators = [word.decode() for word in attribute_of(node, "activations", [])] or [
        "Sigmoid",
        "Tanh",
        "Tanh",
    ] * directions
    alpha, beta = (list(attribute_of(node, f"activation_{name}", [])) for name in ("alpha", "beta"))
    known = {
        (operator.lower(), tuple(round(v, 6) for v in settings_of_known)): name
        for name, (operator, settings_of_known) in ACTIVATIONS.items()
    }
    names = []
    for activation in operators:
        kind = activation.lower()
        defaults = _DEFAULTS.get(kind, ())
        settings: list[float] = []
        if _SETTINGS_TAKEN.get(kind, 0) >= 1:
            settings.append(alpha.pop(0) if alpha else (defaults or (1.0,))[0])
        if _SETTINGS_TAKEN.get(kind, 0) > 1:
            settings.append(beta.pop(0) if beta else (defaults or (1.0, 1.0))[1])
        name = known.get((kind, tuple(round(v, 6) for v in settings)))
        if name is None:
            with_ = f" with {', '.join(f'{v:g}' for v in settings)}" if settings else ""
            raise ModelError(
                f"{node.name} asks for the activation {activation}{with_}, for which a case has no setting. It has: "
                f"{', '.join(ACTIVATIONS)}."
            )
        names.append(name)
    return names


def _input(node: onnx.NodeProto, k: int) -> str:
    return node.input[k] if len(node.input) > k else ""


def _lane(node: onnx.NodeProto, arrays: Arrays, k: int) -> LaneArrays:
    """The weights of one direction."""
    by_input = {key: arrays[_input(node, key)] for key in (W, R, B, P) if _input(node, key)}
    for key, array in by_input.items():
        wanted = 3 if key in {W, R} else 2
        count = len(DIRECTIONS[attribute_of(node, "direction", b"forward").decode()])
        if array.ndim != wanted or len(array) != count:
            raise ModelError(
                f"{node.name}: shapes do not fit together: {'WRB...P'[key - 1]} has shape {array.shape}, and with "
                f"{count} direction{'s' * (count > 1)} it has {wanted} axes, the first of length {count}."
            )
    biases = tuple(np.split(by_input[B][k], 2)) if B in by_input and by_input[B].shape[1] % 2 == 0 else ()
    peepholes = None
    if P in by_input and by_input[P].shape[1] % 3 == 0:
        i, o, f = by_input[P][k].reshape(3, -1)  # the order of the operator's text: P[iof]
        peepholes = np.stack([i, f, o])
    where = f"{node.name}: "
    return LaneArrays(by_input[W][k], by_input[R][k], biases, p=peepholes, names=("W", "R", "B"), where=where)


def _constants(model: onnx.ModelProto, names: Iterable[str]) -> Arrays:
    """The values of tensors that do not hang on the graph's inputs."""
    names = [name for name in dict.fromkeys(names) if name]
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(held[name]) for name in names if name in held}
    computed = [name for name in names if name not in held]
    if not computed:
        return arrays
    part = cut_to(model, computed)
    for node in part.graph.node:
        if node.op_type in QUANTISED_OPERATORS:
            raise ModelError(
                f"its weights are quantised ({node.op_type} {node.name}), which is not taken: export it in "
                "floating point."
            )
    if part.graph.input:
        raise ModelError(
            f"its weights are no constants: {listed(computed)} {'is' if len(computed) == 1 else 'are'} computed from "
            f"the graph's input {part.graph.input[0].name}."
        )
    values = session_of(part.SerializeToString(), silent=True).run(None, {})
    return arrays | dict(zip(computed, values, strict=True))


def cut_to(model: onnx.ModelProto, outputs: list[str], entries: Sequence[onnx.ValueInfoProto] = ()) -> onnx.ModelProto:
    """A model of the nodes alone that given tensors need.

    Args:
        model: The whole.
        outputs: What it gives.
        entries: What is fed though nodes make it.
    """
    fed = {entry.name for entry in entries}
    made, wanted, needed = _makers(model), list(outputs), set()
    while wanted:
        name = wanted.pop()
        if name in needed or not name:
            continue
        needed.add(name)
        if name in made and name not in fed:
            wanted += made[name].input
    nodes = [node for node in model.graph.node if any(name in needed and name not in fed for name in node.output)]
    held = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    names = {tensor.name for tensor in held}
    inputs = [given for given in model.graph.input if given.name in needed - names - fed]
    inputs += [entry for entry in entries if entry.name in needed]
    wanted_outputs = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "lstm", inputs, wanted_outputs, held)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _graph(model: onnx.ModelProto, stack: list[onnx.NodeProto], weights: Weights) -> Graph:
    """Find how the network is fed, and cut the graph to it."""
    made = _makers(model)
    outer = {given.name for given in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    entry, turned = _entry(stack[0].input[X], made, outer)
    given, own_states = [], dict[str, None]()
    for key in (H0, C0):
        names = [_input(node, key) for node in stack]
        if all(_root(name, made) in outer for name in names):
            given.append(names)
        else:
            own_states |= dict.fromkeys(filter(None, names))
    if len(given) == 1:
        raise ModelError("it takes one of the two initial states, h0 and c0, and a case gives both.")
    lengths = {_root(_input(node, LENGTHS), made) for node in stack} - {""}
    if lengths - outer or len(lengths) > 1:
        raise ModelError("its sequence_lens are no input of the graph's own, and cannot be those of a case.")
    outputs = [name for k, node in enumerate(stack) for name in _name_outputs(model, node, k)]
    entries = [_info(model, entry, weights.W.dtype, outer)]
    feeds = None
    if given:
        D = len(DIRECTIONS[attribute_of(stack[0], "direction", b"forward").decode()])
        feeds = _feeds(
            model, [*given[0], *given[1]], (D, weights.R.shape[1]), weights.W.dtype, entries[0], turned=turned
        )
        entries += feeds.inputs
    cut = cut_to(model, [*outputs, *own_states], entries)
    return Graph(cut, entry, turned, feeds, next(iter(lengths), ""), tuple(own_states))


def _feeds(
    model: onnx.ModelProto, at_nodes: list[str], lane_shape: tuple[int, int], dtype: Any, entry: onnx.ValueInfoProto, *,
    turned: bool,
) -> StateFeeds:  # fmt: skip
    """Find how initial states are given: at inputs of the graph, else where the nodes take them."""
    made = _makers(model)
    roots = [_root(name, made) for name in at_nodes]
    inputs = tuple(_info(model, name, dtype, set(roots)) for name in dict.fromkeys(roots))
    part = None
    if roots != at_nodes:
        probed = onnx.ModelProto.FromString(model.SerializeToString())
        outputs = [f"lockstep_state_{k}" for k in range(len(at_nodes))]
        probed.graph.node.extend(
            helper.make_node("Identity", [name], [output]) for name, output in zip(at_nodes, outputs, strict=True)
        )
        part = cut_to(probed, outputs, inputs)
    feeds = StateFeeds(inputs, tuple(at_nodes), tuple(roots), part, lane_shape)
    sizes = [dim.dim_value for dim in entry.type.tensor_type.shape.dim][:2]
    try:
        feeds.places((sizes[0] if turned else sizes[-1]) or 2)
    except Exception:  # noqa: BLE001 (of onnxruntime, whatever the nodes between make of a guess)
        return at_the_nodes(feeds)
    return feeds


def _info(model: onnx.ModelProto, name: str, dtype: Any, outer: Container[str]) -> onnx.ValueInfoProto:
    """Describe a tensor as an input: that of the graph if it is one, else (T, B, I), sizes as far as they are inferred.

    What a Loop hands its body may have no type.
    """
    declared = [info for info in model.graph.input if info.name == name and name in outer]
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    if declared and declared[0].type.tensor_type.elem_type:
        return declared[0]
    inferred = [*declared, *shape_inference.infer_shapes(model).graph.value_info]
    described = next((info for info in inferred if info.name == name), None)
    sizes = [dim.dim_value or None for dim in described.type.tensor_type.shape.dim] if described is not None else []
    sizes = sizes if len(sizes) == 3 else [None] * 3  # noqa: PLR2004 (T, B, I)
    return helper.make_tensor_value_info(name, kind, sizes)


def _entry(name: str, made: dict[str, onnx.NodeProto], outer: set[str]) -> tuple[str, bool]:
    """Where x is fed: the graph's input behind exchanges of batch and time, or else the node's."""
    fed, turned = name, False
    while name in made:
        node = made[name]
        if node.op_type == "Transpose" and list(attribute_of(node, "perm", [])) == [1, 0, 2]:
            turned = not turned
        elif node.op_type not in {"Identity", "Dropout"}:
            break
        name = node.input[0]
    return (name, turned) if name in outer else (fed, False)


def _root(name: str, made: dict[str, onnx.NodeProto]) -> str:
    while name in made and made[name].op_type in PARTS:
        name = made[name].input[0]
    return name


def _name_outputs(model: onnx.ModelProto, node: onnx.NodeProto, layer: int) -> list[str]:
    """A node's three outputs names of ours, through Identity nodes where the graph uses them."""
    names = []
    while len(node.output) < 3:  # noqa: PLR2004 (Y, Y_h, Y_c)
        node.output.append("")
    for k, name in enumerate(("Y", "Y_h", "Y_c")):
        our_name = f"{name}_{layer}"
        if not node.output[k]:
            node.output[k] = our_name
        elif node.output[k] != our_name:
            model.graph.node.append(
                helper.make_node("Identity", [node.output[k]], [our_name], name=f"lockstep_{our_name}")
            )
        names.append(our_name)
    return names


def _fixed(graph: Graph) -> tuple[int | None, int | None]:
    """The numbers of timesteps and sequences that the graph's input is written for, None where any will do."""
    info = next(graph_input for graph_input in graph.model.graph.input if graph_input.name == graph.entry)
    sizes = [dim.dim_value or None for dim in info.type.tensor_type.shape.dim][:2]
    timesteps, batch = (sizes if len(sizes) == 2 else [None, None])[:: -1 if graph.turned else 1]  # noqa: PLR2004
    return timesteps, batch


def _type_of(model: onnx.ModelProto, name: str) -> Any:
    info = next(graph_input for graph_input in model.graph.input if graph_input.name == name)
    return helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)


def _beside(graph: Graph, nodes: list[onnx.NodeProto], scope: Scope) -> list[str]:
    """What computes something, and is no part of the LSTM."""
    kept = {node.name for node in graph.model.graph.node}
    around = {"Constant", "Concat", "Shape", *(("If", "Loop", "Scan") if scope.path else ())}
    return sorted({node.op_type for node in nodes if node.name not in kept} - LAYOUT - around)


def _notes(
    graph: Graph, nodes: list[onnx.NodeProto], scope: Scope, stack: list[onnx.NodeProto], *, inside: bool
) -> tuple[str, ...]:
    left = _beside(graph, nodes, scope)
    notes = [f"it is fed at {graph.entry}, inside its graph"] if inside else []
    if scope.path:
        notes.append(f"it stands inside {scope.path.removesuffix('.')}, and is run without what is around it")
    if any(node.doc_string == TURNED for node in stack):
        notes.append(
            "layout = 1 (batch first) is run by our own transposition, as layout = 0: onnxruntime's CPU provider does "
            "not take it"
        )
    if graph.feeds is not None and len(graph.feeds.inputs) == 1:
        notes.append(f"h and c are cut out of one input, {graph.feeds.inputs[0].name}, by its own nodes")
    return (*notes, *([f"run with it as a whole, since no part of the LSTM: its {listed(left)}"] if left else []))


def _unrunnable(model: onnx.ModelProto, graph: Graph) -> str:
    """Why the nodes cannot be run as they stand; nothing if they can."""
    if graph.feeds is not None and graph.feeds.shared(_fixed(graph)[1] or 2):
        return "several of its states are the same numbers of one input, and a case has each apart"
    for name in graph.own_states:
        try:
            state = _constants(model, [name])[name]
        except ModelError:  # its size is that of the batch: it is looked at when it is there
            continue
        if np.any(state):
            return f"it starts from a state of its own, {name}, which is not zero, and takes no other"
    return ""


def _no_lstm(model: onnx.ModelProto) -> str:
    kinds = {node.op_type: node for node in _all_nodes(model.graph)}
    if "GRU" in kinds:
        node = kinds["GRU"]
        return gru_refusal(
            node.name, f"this one has linear_before_reset = {attribute_of(node, 'linear_before_reset', 0)}"
        )
    if "RNN" in kinds:
        return f"{kinds['RNN'].name} is a plain RNN: it cannot be compared with an LSTM."
    if "DynamicQuantizeLSTM" in kinds:
        return (
            f"{kinds['DynamicQuantizeLSTM'].name} is a DynamicQuantizeLSTM: quantised weights are not taken, export "
            "it in floating point."
        )
    return f"there is no LSTM node in it. Its nodes are of: {listed(sorted(kinds)) or 'no kind'}."


def _all_nodes(graph: onnx.GraphProto) -> Iterable[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)
