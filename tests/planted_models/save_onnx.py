"""Write ONNX files whose LSTM stands or starts elsewhere than usual, into the folder that is the argument."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = Path(sys.argv[1])
rng = np.random.default_rng(1)


def held(width=3, directions=1, names="WRB"):
    shapes = ((directions, 16, width), (directions, 16, 4), (directions, 32))
    return [
        constant(name, rng.uniform(-1, 1, shape).astype("float32")) for name, shape in zip(names, shapes, strict=True)
    ]


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def info(name, shape=None, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def lstm(inputs=("x", "W", "R", "B"), outputs=("Y", "Y_h", "Y_c"), name="memory", **attributes):
    return helper.make_node("LSTM", list(inputs), list(outputs), name=name, hidden_size=4, **attributes)


def save(name, nodes, inputs, outputs, arrays, *, opset=21, ir=10, functions=(), **external):
    graph = helper.make_graph(nodes, "graph", inputs, [info(output) for output in outputs], arrays)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(each.domain, 1) for each in functions)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))
    onnx.save(model, folder / f"{name}.onnx", **external)


X, BATCH_FIRST, STATES = info("x", ["T", "B", 3]), info("x", ["B", "T", 3]), ("h0", "c0")
WITH_STATES = ("x", "W", "R", "B", "", "h", "c")


def branch(letter):
    names = [letter + name for name in "WRB"]
    return helper.make_graph([lstm(["x", *names], ["Y"])], letter, [], [info("Y")], held(names=names))


save(
    "if", [helper.make_node("If", ["flag"], ["out"], name="choice", then_branch=branch("a"), else_branch=branch("b"))],
    [X, info("flag", [], TensorProto.BOOL)], ["out"], [],
)  # fmt: skip
carried = [info(name, [1, "B", 4]) for name in ("h_in", "c_in")]
step = lstm(["x", "W", "R", "B", "", "h_in", "c_in"], ["Y", "h_out", "c_out"])
body = helper.make_graph(
    [step, helper.make_node("Identity", ["go"], ["on"])], "body",
    [info("k", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), *carried],
    [info("on", [], TensorProto.BOOL), info("h_out"), info("c_out")],
)  # fmt: skip
save(
    "loop", [helper.make_node("Loop", ["n", "", *STATES], ["h", "c"], name="times", body=body)],
    [X, info("n", [], TensorProto.INT64), *(info(name, [1, "B", 4]) for name in STATES)], ["h", "c"], held(),
)  # fmt: skip
encoder = helper.make_function(
    "my", "Encoder", ["x", "W", "R", "B"], ["Y"], [lstm(outputs=["Y"], name="inner")], [helper.make_opsetid("", 21)]
)
calls = [helper.make_node("Encoder", ["x", *names], [f"Y{names}"], domain="my") for names in ("WRB", "VSD")]
save("function", calls, [X], ["YWRB", "YVSD"], held() + held(names="VSD"), functions=[encoder])

ends = [constant(f"at_{k}", [k]) for k in range(3)]
cuts = [helper.make_node("Slice", ["state", f"at_{k}", f"at_{k + 1}", "at_0"], [name]) for k, name in enumerate("hc")]
save("sliced", [*cuts, lstm(WITH_STATES)], [X, info("state", [2, "B", 4])], ["Y"], held() + ends)
wide = [helper.make_node("Unsqueeze", [f"{name}_wide", "at_0"], [name]) for name in "hc"]
split = helper.make_node("Split", ["state"], ["c_wide", "h_wide"], axis=1, num_outputs=2)
save("split", [split, *wide, lstm(WITH_STATES)], [X, info("state", ["B", 8])], ["Y"], held() + ends)
split = helper.make_node("Split", ["state"], ["h", "c"], axis=0, num_outputs=2)
save("split_open", [split, lstm(WITH_STATES)], [X, info("state", [None] * 3)], ["Y"], held())
save("shared", [lstm(["x", "W", "R", "B", "", "s", "s"])], [X, info("s", [1, "B", 4])], ["Y"], held())

given = [BATCH_FIRST, *(info(name, ["B", 2, 4]) for name in STATES)]
node = lstm(["x", "W", "R", "B", "", *STATES], layout=1, direction="bidirectional")
save("layout", [node], given, ["Y", "Y_h"], held(directions=2))
second = lstm(["between", "V", "S", "D"], ["Z", "Z_h"], name="second", layout=1)
squeeze = helper.make_node("Squeeze", ["Y", "at_2"], ["between"])
save("layout_stack", [lstm(layout=1), squeeze, second], [BATCH_FIRST], ["Z"], held() + held(4, names="VSD") + ends)

for name in ("external", "lost"):
    location = {"save_as_external_data": True, "location": f"{name}.bin", "size_threshold": 0}
    save(name, [lstm()], [X], ["Y"], held(), **location)
(folder / "lost.bin").unlink()
# Before IR version 4 initialisers are inputs too.
arrays = held()
for name, opset in (("old", 7), ("older", 6)):
    save(name, [lstm()], [X, *(info(each.name, list(each.dims)) for each in arrays)], ["Y"], arrays, opset=opset, ir=3)
