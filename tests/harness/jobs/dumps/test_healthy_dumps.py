"""Dumps as people write them, of LSTMs that are right: each is read for what it is, and agrees without an option."""

from __future__ import annotations

import dumped
import numpy as np
import pytest
from dumped import batch_first, blocks, keras_names, lstm, torch_names

from lockstep.harness.jobs.dumps.explain_dump import DumpRequest, explain_dump

W, R, B_IH, B_HH = dumped.weights()
B = B_IH + B_HH
X = dumped.inputs()
H_SEQ, C_SEQ = lstm(X, W, R, B)
HN, CN = H_SEQ[-1:], C_SEQ[-1:]
TORCH = torch_names(W, R, B_IH, B_HH)


def explained(tmp_path, arrays, **request):
    path = tmp_path / "dump.npz"
    np.savez(path, **arrays)
    return explain_dump(path, DumpRequest(**request))


def gate_by_gate(W, R, b, kernel="W_{}", state="U_{}", bias="b_{}", gates="ifgo"):
    arrays = {}
    for k, gate in enumerate(gates):
        for template, whole in ((kernel, W), (state, R), (bias, b)):
            arrays[template.format(gate)] = np.split(whole, 4)[k]
    return arrays


def linear_layers(names=("input_gate", "forget_gate", "cell_gate", "output_gate")):
    """The textbook's: one linear layer of [h, x] for each gate."""
    joined = np.split(np.hstack([R, W]), 4)
    return {f"{name}.weight": joined[k] for k, name in enumerate(names)} | {
        f"{name}.bias": np.split(B, 4)[k] for k, name in enumerate(names)
    }


def two_torch_layers():
    second = dumped.weights(I=4, seed=7)
    h2, c2 = lstm(H_SEQ, second[0], second[1], second[2] + second[3])
    states = {"hn": np.concatenate([HN, h2[-1:]]), "cn": np.concatenate([CN, c2[-1:]])}
    return {"x": X, "out": h2, **states, **TORCH, **torch_names(*second, suffix="_l1")}


def both_directions():
    back = dumped.weights(seed=5)
    out, h, c = dumped.bidirectional(X, (W, R, B), (back[0], back[1], back[2] + back[3]))
    return out, h, c, back


def torch_bidirectional():
    out, h, c, back = both_directions()
    return {"x": X, "out": out, "hn": np.stack(h), "cn": np.stack(c), **TORCH,
            **torch_names(*back, suffix="_l0_reverse")}  # fmt: skip


def keras_bidirectional():
    out, _, _, back = both_directions()
    return {
        "x": batch_first(X), "y": batch_first(out),
        **keras_names(W, R, B, "bidirectional/forward_lstm/lstm_cell/"),
        **keras_names(back[0], back[1], back[2] + back[3], "bidirectional/backward_lstm/lstm_cell/"),
    }  # fmt: skip


def two_keras_layers():
    second = dumped.weights(I=4, seed=7)
    b = second[2] + second[3]
    out, _ = lstm(H_SEQ, second[0], second[1], b)
    return {
        "x": batch_first(X), "y": batch_first(out), **keras_names(second[0], second[1], b, "lstm_10/lstm_cell/"),
        **keras_names(W, R, B, "lstm_9/lstm_cell/"), "dense/kernel": np.ones((4, 2)), "dense/bias": np.ones(2),
    }  # fmt: skip


def tf1_bidirectional():
    out, _, _, back = both_directions()
    arrays = {"x": batch_first(X), "outputs": batch_first(out)}
    for way, (W_, R_, b) in {"fw": (W, R, B), "bw": (back[0], back[1], back[2] + back[3])}.items():
        bias = b.copy()
        bias[4:8] -= 1
        arrays[f"bidirectional_rnn/{way}/lstm_cell/kernel:0"] = blocks(np.hstack([W_, R_]), "igfo").T
        arrays[f"bidirectional_rnn/{way}/lstm_cell/bias:0"] = blocks(bias, "igfo")
    return arrays


def tf1():
    # Read with gates i, g, f, o of [x; h]; 1 is added to f at run time.
    bias = B.copy()
    bias[4:8] -= 1
    kernel = blocks(np.hstack([W, R]), "igfo").T
    return {"inputs": batch_first(X), "outputs": batch_first(H_SEQ), "state": np.stack([CN[0], HN[0]]),
            "rnn/basic_lstm_cell/kernel:0": kernel, "rnn/basic_lstm_cell/bias:0": blocks(bias, "igfo")}  # fmt: skip


def onnx():
    stored = {name: blocks(array, "iofg")[None] for name, array in {"W": W, "R": R}.items()}
    both = np.concatenate([blocks(B_IH, "iofg"), blocks(B_HH, "iofg")])[None]
    return {"X": X, **stored, "B": both, "Y": H_SEQ[:, None], "Y_h": HN, "Y_c": CN}


def flax():
    arrays = {f"params/lstm/i{gate}/kernel": np.split(W, 4)[k].T for k, gate in enumerate("ifgo")}
    arrays |= {f"params/lstm/h{gate}/kernel": np.split(R, 4)[k].T for k, gate in enumerate("ifgo")}
    arrays |= {f"params/lstm/h{gate}/bias": np.split(B, 4)[k] for k, gate in enumerate("ifgo")}
    return {"x": batch_first(X), "y": batch_first(H_SEQ), **arrays}


def mlx_like():
    """Names of MLX by chance: kernels (in, 4H), gates i, f, o, g, as in a lecture."""
    return {"x": batch_first(X), "h": batch_first(H_SEQ), "Wx": blocks(W, "ifog").T, "Wh": blocks(R, "ifog").T,
            "b": blocks(B, "ifog")}  # fmt: skip


def torch_cell():
    arrays = {name.removesuffix("_l0"): array for name, array in TORCH.items()}
    return {"x": X[0], "h1": H_SEQ[0], "c1": C_SEQ[0], **{f"cell.{name}": array for name, array in arrays.items()}}


def with_states():
    h0, c0 = (dumped.inputs(1, 2, 4, seed=k)[0] / 2 for k in (8, 9))
    h, c = lstm(X, W, R, B, h=h0, c=c0)
    return {"x": X, "h0": h0[None], "c0": c0[None], "output": h, "h_n": h[-1:], "c_n": c[-1:], **TORCH}


# What is dumped, the words by which it is told, and a tensor that is compared.
DUMPS = {
    "torch": ({"x": X, "out": H_SEQ, "hn": HN, "cn": CN, **TORCH}, "weights as in PyTorch nn.LSTM", "c_n"),
    "torch below a prefix, batch first": (
        {"inputs": batch_first(X), "result": batch_first(H_SEQ), **{f"enc.rnn.{k}": v for k, v in TORCH.items()}},
        'under "enc.rnn."', "h"),
    "torch, initial states": (with_states(), "h0 (1, 2, 4)", "h_n"),
    "torch, two layers": (two_torch_layers(), "hidden_size 4, num_layers 2", "h_n_l0"),
    "torch, both directions": (torch_bidirectional(), "direction bidirectional", "h_l0_reverse"),
    "torch cell": (torch_cell(), "x (2, 3), one timestep", "c_n"),
    "torch, one sequence": ({"x": X[:, 0], "out": H_SEQ[:, 0], **TORCH}, "x (5, 3), one sequence", "h"),
    "torch, no bias": (
        {"x": X, "out": lstm(X, W, R, 0 * B)[0], "weight_ih_l0": W, "weight_hh_l0": R}, "bias false", "h"),
    "keras": (
        {"x": batch_first(X), "out": batch_first(H_SEQ), **keras_names(W, R, B)},
        "x (2, 5, 3), batch first", "h"),
    "keras, final h alone": ({"x": batch_first(X), "y": HN[0], **keras_names(W, R, B, "lstm/lstm_cell/")},
                             "y (2, 4) taken for h_n", "h_n"),
    "keras, both directions": (keras_bidirectional(), "direction bidirectional", "h_l0"),
    "tf1": (tf1(), "weights as in TensorFlow 1 BasicLSTMCell and LSTMCell", "c_n"),
    "keras, two layers": (two_keras_layers(), "num_layers 2", "h_l1"),
    "tf1, both directions": (
        tf1_bidirectional(), "direction bidirectional, 1 added to the forget gate at run time", "h_l0_reverse"),
    "onnx": (onnx(), "weights as in ONNX LSTM", "c_n"),
    "flax": (flax(), "weights as in Flax linen LSTMCell", "h"),
    "canonical": (
        {"x": X, "h_seq": H_SEQ, "c_seq": C_SEQ, "W": W, "R": R, "b": B}, "weights as in Lockstep", "c"),
    "gate by gate": (
        {"x": X, "h": H_SEQ, "c": C_SEQ, **gate_by_gate(W, R, B, gates="ifco")}, "weights by their names", "c"),
    "gate by gate, two biases": (
        {"x": X, "h": H_SEQ, **gate_by_gate(W, R, B_IH, "W_i{}", "W_h{}", "b_i{}"),
         **{f"b_h{g}": np.split(B_HH, 4)[k] for k, g in enumerate("ifgo")}}, "weights by their names", "h"),
    "gate by gate, transposed": (
        {"x": X, "h": H_SEQ,
         **{k: v.T for k, v in gate_by_gate(W, R, B, "Wx{}", "Wh{}", "b{}").items()}}, "for b, transposed", "h"),
    "linear layers of [h, x]": ({"x": X, "h": H_SEQ, **linear_layers()}, "W and R side by side, h first", "h"),
    "kernels (in, 4H) in another order": (mlx_like(), "transposed, gates in the order i, f, o, g", "h"),
    "get_weights without names": (
        {"x": batch_first(X), "y": batch_first(H_SEQ), "arr_0": W.T, "arr_1": R.T, "arr_2": B},
        "gates in the order i, f, g, o", "h"),
}  # fmt: skip


@pytest.mark.parametrize("name", DUMPS)
def test_a_healthy_dump_agrees_without_an_option(name, tmp_path):
    arrays, words, tensor = DUMPS[name]
    result = explained(tmp_path, arrays)
    (run,) = result.runs
    assert (run.status, run.notes) == ("agree", [])
    assert words in "\n".join(result.lines)
    assert tensor in run.tensors
