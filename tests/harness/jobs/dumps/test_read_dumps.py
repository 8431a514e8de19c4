"""How dumps are read: formats, several runs, what is told by --names and --layout, what shapes leave open."""

from __future__ import annotations

import json

import dumped
import numpy as np
import pytest
from dumped import batch_first, blocks, keras_names, lstm, torch_names
from safetensors.numpy import save_file

from lockstep.harness.errors import DumpError
from lockstep.harness.jobs.dumps.explain_dump import DumpRequest, explain_dump

W, R, B_IH, B_HH = dumped.weights()
B = B_IH + B_HH
X = dumped.inputs()
H_SEQ, C_SEQ = lstm(X, W, R, B)
TORCH = torch_names(W, R, B_IH, B_HH)
DUMP = {"x": X, "out": H_SEQ, **TORCH}


def explained(path, arrays, **request):
    np.savez(path / "dump.npz", **arrays)
    return explain_dump(path / "dump.npz", DumpRequest(**request))


def agreed(result, count=1):
    assert [run.status for run in result.runs] == ["agree"] * count
    return "\n".join(result.lines)


# -- formats --------------------------------------------------------------------------------------------------------


def test_safetensors_and_json_are_read_as_npz_is(tmp_path):
    save_file({name: np.ascontiguousarray(array) for name, array in DUMP.items()}, tmp_path / "dump.safetensors")
    (tmp_path / "dump.json").write_text(json.dumps({name: array.tolist() for name, array in DUMP.items()}))
    for name in ("dump.safetensors", "dump.json"):
        result = explain_dump(tmp_path / name, DumpRequest())
        agreed(result)
        assert result.cases[0].run.dtype == "float32"


def test_numbers_that_are_printed_with_nine_digits_are_those_of_float32(tmp_path):
    text = json.dumps({name: np.vectorize(lambda v: float(f"{v:.9g}"))(array).tolist() for name, array in DUMP.items()})
    (tmp_path / "dump.json").write_text(text)
    result = explain_dump(tmp_path / "dump.json", DumpRequest())
    agreed(result)
    assert result.cases[0].run.dtype == "float32"


def test_few_digits_are_told(tmp_path):
    rounded = {**DUMP, "out": np.round(H_SEQ.astype(float), 4)}
    (tmp_path / "dump.json").write_text(json.dumps({name: array.tolist() for name, array in rounded.items()}))
    (run,) = explain_dump(tmp_path / "dump.json", DumpRequest()).runs
    assert run.status == "agree"
    assert run.notes == ["the outputs are written to 0.0001: held to that. Write nine digits, %.9g"]


def test_what_javascript_makes_of_typed_arrays_and_of_runs_is_read(tmp_path):
    flat = {"x": X.tolist(), "out": H_SEQ.tolist(), **{name: a.tolist() for name, a in TORCH.items()}}
    flat["bias_ih_l0"] = {str(k): float(value) for k, value in enumerate(B_IH)}
    second = {"x": X[:3].tolist(), "out": H_SEQ[:3].tolist()}
    weights = {name: flat.pop(name) for name in [*TORCH]}
    (tmp_path / "dump.json").write_text(json.dumps({"runs": [flat, second], "state_dict": weights}))
    result = explain_dump(tmp_path / "dump.json", DumpRequest())
    agreed(result, 2)
    assert [case.run.timesteps for case in result.cases] == [5, 3]


def test_float64_is_judged_as_float64_unless_its_numbers_are_those_of_float32(tmp_path):
    wide = [array.astype(float) for array in (W, R, B)]
    h, _ = lstm(X.astype(float), *wide)
    arrays = {"x": X.astype(float), "W": wide[0], "R": wide[1], "b": wide[2]}
    result = explained(tmp_path, {**arrays, "h": h})
    agreed(result)
    assert result.cases[0].run.dtype == "float64"
    narrow = explained(tmp_path, {**arrays, "h": h.astype(np.float32).astype(float)})
    agreed(narrow)
    assert narrow.cases[0].run.dtype == "float32"
    assert any("one of float32" in note for note in narrow.runs[0].notes)


def test_wider_inputs_are_rounded_to_the_precision_of_the_outputs_and_told(tmp_path):
    (run,) = explained(tmp_path, {**DUMP, "x": X.astype(float) + 1e-12}).runs
    assert run.status == "agree"
    assert "x rounded from float64 to float32, in which the outputs came" in run.notes


def test_the_other_order_of_bytes_is_read_as_what_it_is(tmp_path):
    foreign = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in DUMP.items()}
    assert "came in the other order of bytes: read as what they are" in agreed(explained(tmp_path, foreign))


def test_objects_that_are_not_needed_are_left_out_and_never_unpickled(tmp_path):
    told = agreed(explained(tmp_path, {**DUMP, "config": np.array({"units": Trap(tmp_path / "hit")}, dtype=object)}))
    assert "config: Python objects, a pickle, which is never loaded" in told
    assert not (tmp_path / "hit").exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


# -- several runs ---------------------------------------------------------------------------------------------------


def test_runs_stand_below_prefixes(tmp_path):
    second = dumped.inputs(T=3, seed=2)
    arrays = {"run0/x": X, "run0/out": H_SEQ, "run1/x": second, "run1/out": lstm(second, W, R, B)[0], **TORCH}
    result = explained(tmp_path, arrays)
    agreed(result, 2)
    assert [run.case for run in result.runs] == ["run0", "run1"]


def test_runs_have_numbers(tmp_path):
    h0 = dumped.inputs(1, 2, 4, seed=4)
    out = lstm(X, W, R, B, h=h0[0])[0]
    arrays = {"x_0": X, "y_0": H_SEQ, "x_1": X, "y_1": out, "h0_1": h0, "h0_0": 0 * h0, **TORCH}
    result = explained(tmp_path, arrays)
    agreed(result, 2)
    assert [run.case for run in result.runs] == ["run0", "run1"]


def test_runs_are_along_one_more_axis(tmp_path):
    arrays = {"x": np.stack([X, 2 * X]), "out": np.stack([H_SEQ, lstm(2 * X, W, R, B)[0]]), **TORCH}
    agreed(explained(tmp_path, arrays), 2)


def test_one_mistake_in_several_runs_is_one_cause(tmp_path):
    wrong = [lstm(x, W, R, B, order="igfo")[0] for x in (X, 2 * X)]
    result = explained(tmp_path, {"x": np.stack([X, 2 * X]), "out": np.stack(wrong), **TORCH})
    assert [run.diagnosis[0].fault for run in result.runs] == ["WRb:read-as-igfo"] * 2


@pytest.mark.slow  # that a mistake is in one run only is looked for last
def test_a_run_that_is_wrong_is_read_as_those_that_are_right(tmp_path):
    right = {"Wx": blocks(W, "ifog").T, "Wh": blocks(R, "ifog").T, "b": blocks(B, "ifog")}
    arrays = {"run0/x": 2 * X, "run0/y": lstm(2 * X, W, R, B, carry=False)[0], "run1/x": X, "run1/y": H_SEQ}
    result = explained(tmp_path, arrays | right)
    assert [run.status for run in result.runs] == ["diverge", "agree"]
    (diagnosis,) = [diagnosis for diagnosis in result.runs[0].diagnosis if diagnosis.fault == "h_in-and-c_in:initial"]
    assert "In run0 only: run1 agrees." in diagnosis.message
    assert "gates in the order i, f, o, g" in "\n".join(result.lines)


# -- what names and shapes leave open -------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_of_as_many_sequences_as_timesteps_the_way_that_fits_is_taken(turned, tmp_path):
    x = dumped.inputs(T=4, B=4)
    h, _ = lstm(x, W, R, B)
    arrays = {"x": x, "out": h}
    told = agreed(explained(tmp_path, {name: batch_first(a) if turned else a for name, a in arrays.items()} | TORCH))
    assert f"x (4, 4, 3), {'batch' if turned else 'time'} first" in told
    assert "Which axis is time is told by the outputs" in told


def test_of_as_many_sequences_as_timesteps_the_way_that_is_explained_is_taken(tmp_path):
    x = dumped.inputs(T=4, B=4)
    wrong = lstm(x, W, R, B, order="igfo")[0]
    result = explained(tmp_path, {"x": batch_first(x), "out": batch_first(wrong), **TORCH})
    assert result.runs[0].diagnosis[0].fault == "WRb:read-as-igfo"
    assert "x (4, 4, 3), batch first" in "\n".join(result.lines)


def test_outputs_may_lie_the_other_way(tmp_path):
    told = agreed(explained(tmp_path, {**DUMP, "out": batch_first(H_SEQ)}))
    assert "x (5, 2, 3), time first" in told


def test_arrays_whose_names_say_nothing_are_told_by_their_widths(tmp_path):
    told = agreed(explained(tmp_path, {"tensor_a": batch_first(X), "tensor_b": batch_first(H_SEQ), **TORCH}))
    assert "tensor_a (2, 5, 3) taken for x, batch first" in told
    assert "tensor_b (2, 5, 4) taken for h_seq" in told


def test_the_user_says_what_arrays_are(tmp_path):
    arrays = {"feed": X, "x": 0 * X, "res": H_SEQ, "K": W, "L": R, "m": B}
    told = agreed(explained(tmp_path, arrays, names="x=feed,h_seq=res"))
    assert "feed (5, 2, 3) taken for x" in told
    arrays = {"x": X, "out": H_SEQ, **keras_names(W, R, B, "good/"), **keras_names(W, R, 0 * B, "lstm/")}
    agreed(explained(tmp_path, arrays, names="weights=good/"))
    arrays = {"x": X, "out": H_SEQ, "k": W.T, "rk": R.T, "bb": B}
    told = agreed(explained(tmp_path, arrays, names="kernel=k,recurrent_kernel=rk,bias=bb"))
    assert "weights as in Keras 3 and tf_keras LSTM" in told


def test_the_user_says_which_layout_it_is(tmp_path):
    arrays = {"x": X, "out": H_SEQ, **{f"arr_{k}": array for k, array in enumerate((W.T, R.T, B))}}
    agreed(explained(tmp_path, arrays, layout="keras"))
    # Then another order of the gates is a mistake, and no way to read them.
    other = {**arrays, "out": lstm(X, W, R, B, order="igfo")[0]}
    (run,) = explained(tmp_path, other, layout="keras").runs
    assert run.diagnosis[0].fault == "WRb:read-as-igfo"


def test_lengths_end_sequences_and_what_keras_repeats_past_them_is_not_compared(tmp_path):
    h = H_SEQ.copy()
    h[3:, 1] = h[2, 1]
    lengths = np.array([5, 3])
    arrays = {"x": batch_first(X), "y": batch_first(h), "lengths": lengths, **keras_names(W, R, B)}
    (run,) = explained(tmp_path, arrays).runs
    assert run.status == "agree"
    assert any("repeat the last valid one" in note for note in run.notes)
    zeros = {**arrays, "y": batch_first(np.where(np.arange(5)[:, None, None] < lengths[:, None], H_SEQ, 0))}
    assert explained(tmp_path, zeros).runs[0].notes == []
    (masked,) = explained(tmp_path, {**arrays, "y": batch_first(H_SEQ)}).runs
    assert masked.status == "diverge"


def test_lengths_may_be_written_as_any_numbers_are(tmp_path):
    h = np.where(np.arange(5)[:, None, None] < np.array([5, 3])[:, None], H_SEQ, 0)
    arrays = {"x": X, "out": h, "lens": np.array([5.0, 3.0]), **TORCH}
    (tmp_path / "dump.json").write_text(json.dumps({name: array.tolist() for name, array in arrays.items()}))
    result = explain_dump(tmp_path / "dump.json", DumpRequest())
    assert "lens (2,) taken for lengths" in agreed(result)
    assert result.cases[0].run.lengths == (5, 3)


def test_states_in_one_array_stand_in_the_frameworks_order(tmp_path):
    kernel, bias = blocks(np.hstack([W, R]), "igfo").T, B.copy()
    bias[4:8] -= 1
    arrays = {"x": batch_first(X), "state": np.stack([C_SEQ[-1], H_SEQ[-1]]), "kernel": kernel,
              "bias": blocks(bias, "igfo")}  # fmt: skip
    told = agreed(explained(tmp_path, arrays))
    assert "state[0] (2, 4) taken for c_n" in told


# -- what cannot be read --------------------------------------------------------------------------------------------

WITHOUT_BOTH = {"x": X, "out": H_SEQ}
NAN = X.copy()
NAN[2, 1, 0] = np.nan
OBJECTS = np.empty(1, dtype=object)
OBJECTS[0] = [W, R, B]
BAD = {
    "no weights": (WITHOUT_BOTH, {}, "no weights, and without them nothing can be said of the outputs"),
    "code": (WITHOUT_BOTH, {}, "arr.*TF1:\n    out, state = tf.nn.dynamic_rnn"),
    "a weight is missing": ({**WITHOUT_BOTH, "weight_ih_l0": W}, {},
                            "no whole weights: PyTorch nn.LSTM.* there is no weight_hh_l0"),
    "one bias is missing": (
        {**WITHOUT_BOTH, **{k: v for k, v in TORCH.items() if k != "bias_hh_l0"}}, {},
        "bias_hh_l0"),
    "a layer is missing": ({**DUMP, **torch_names(W, R, B_IH, B_HH, suffix="_l2")}, {},
                           "weights are missing: there are those of _l0, _l2, and none of _l1"),
    "a layer is not whole": ({**DUMP, "weight_ih_l1": R}, {}, "weight_ih_l1 came without weight_hh_l1"),
    "two LSTMs": ({**WITHOUT_BOTH, **torch_names(W, R, B_IH, B_HH, "a."), **torch_names(W, R, B_IH, B_HH, "b.")}, {},
                  r"weights of 2 LSTMs: a\., b\.\. Choose one .* --names weights=a\."),
    "a kernel is transposed": (
        {**DUMP, "weight_ih_l0": W.T}, {},
        r"weight_ih_l0 has shape \(3, 16\).* looks transposed"),
    "a gate is cut off": (
        {**WITHOUT_BOTH, **{f"{k}_{g}": np.split(a, 4)[n][: 4 - (g == "o")] for k, a in (("W", W), ("U", R), ("b", B))
                            for n, g in enumerate("ifco")}},
        {}, r"Wo has shape \(3, 3\)"),
    "no inputs": ({"out": H_SEQ, **TORCH}, {}, "no inputs: nothing is called x, or has three axes, the last of 3"),
    "no outputs": ({"x": X, **TORCH}, {}, "no outputs"),
    "x is too narrow": ({**DUMP, "x": X[..., :2]}, {}, r"x has shape \(5, 2, 2\), expected"),
    "x has too many axes": ({**DUMP, "x": X[None, None]}, {}, r"x has shape \(1, 1, 5, 2, 3\)"),
    "outputs lie otherwise": ({**DUMP, "out": H_SEQ.T}, {}, r"out, taken for h_seq, has shape \(4, 2, 5\), expected"),
    "h0 of another batch": (
        {**DUMP, "h0": H_SEQ[0, :1]}, {},
        r"h0 has shape \(1, 4\), expected \(2, 4\)"),
    "NaN in x": ({**DUMP, "x": NAN}, {}, r"x holds nan, first at x\[2, 1, 0\]: of such inputs nothing can be expected"),
    "infinity in a weight": (
        {**DUMP, "bias_ih_l0": B_IH + np.float32(np.inf)}, {},
        r"bias_ih_l0 holds inf, first at .*\[0\]"),
    "weights are objects": ({**WITHOUT_BOTH, "weights": OBJECTS}, {},
                            r"weights \(Python objects, a pickle, which is never loaded\)"),
    "quantised weights": (
        {**DUMP, "weight_ih_l0": np.ones((16, 3), np.int8)}, {},
        "weight_ih_l0 is int8: quantised weights"),
    "whole numbers come out": ({**DUMP, "out": np.ones((5, 2, 4), int)}, {}, "out is int64, which holds no fractions"),
    "complex numbers": (
        {**TORCH, "out": H_SEQ, "x": X + 1j}, {},
        r"It holds .* x \(complex64, which are no real numbers\)"),
    "two inputs": ({**DUMP, "inputs": X}, {}, "x and inputs may each be x: tell which is, --names x=x"),
    "two inputs by shape": ({"a": X, "b": X, "out": H_SEQ, **TORCH}, {}, "a and b may each be x by their shapes"),
    "a role that there is not": (DUMP, {"names": "input=x"}, 'no role is called "input"'),
    "no role": (DUMP, {"names": "x"}, "--names x: write ROLE=NAME"),
    "a name that there is not": (DUMP, {"names": "x=inptus"}, "--names x=inptus: no array is called so"),
    "a prefix that there is not": (DUMP, {"names": "weights=rnn."}, 'no name begins with "rnn."'),
    "a layout that there is not": (DUMP, {"layout": "pytorch"}, 'no layout is called "pytorch". Did you mean "torch"'),
    "another layout": (
        DUMP, {"layout": "keras"},
        "no weights as in Keras .*: they look like those of PyTorch nn.LSTM .* Leave out --layout"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_message(name, tmp_path):
    arrays, request, message = BAD[name]
    with pytest.raises(DumpError, match=rf"(?s)dump\.npz: .*{message}") as raised:
        explained(tmp_path, arrays, **request)
    assert raised.value.exit_status == 2


def test_nan_in_the_outputs_is_a_divergence(tmp_path):
    out = H_SEQ.copy()
    out[3, 0, 1] = np.nan
    (run,) = explained(tmp_path, {**DUMP, "out": out}).runs
    assert run.status == "diverge"
    assert (run.first_divergence.tensor, run.first_divergence.timestep) == ("h", 3)
    assert "h holds nan, first at h[3, 0, 1]" in run.notes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dump.npz", b"PK\x03\x04 cut off", "not a readable .npz file"),
        ("dump.npz", b"", "not a readable .npz file"),
        ("dump.safetensors", b"\x00" * 4, "not a readable .safetensors file"),
        ("dump.json", b'{"x": [1,', "not readable as JSON"),
        ("dump.json", b"[1, 2]", "no names in it"),
        ("dump.json", b'{"x": [[1], [1, 2]], "out": "none"}', r"x \(lists of different lengths, or no numbers\)"),
        ("dump.pt", b"", r"not a \.npz, \.safetensors or \.json file.*Of a \.pt file: it is a pickle, which is never"),
        ("dump.npy", b"", "it holds one array without a name"),
        ("dump", b"", "not a .npz, .safetensors or .json file by its name"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_one_message(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DumpError, match=message):
        explain_dump(tmp_path / name, DumpRequest())


def test_a_file_that_is_not_there_is_one_message(tmp_path):
    with pytest.raises(DumpError, match=r"dump\.npz: cannot be read: No such file"):
        explain_dump(tmp_path / "dump.npz", DumpRequest())
