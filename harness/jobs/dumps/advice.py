"""What to dump, and how, for those whose file lacks what is needed."""

from __future__ import annotations

# Three lines of code each; the first makes what the others save.
_TORCH = """\
out, (hn, cn) = lstm(x)
arrays = {"x": x, "out": out, "hn": hn, "cn": cn, **lstm.state_dict()}
np.savez("dump.npz", **{name: array.detach().cpu().numpy() for name, array in arrays.items()})"""
_KERAS = """\
out = layer(x)                      # an LSTM with return_sequences=True
kernel, recurrent_kernel, bias = layer.get_weights()
np.savez("dump.npz", x=x, out=out, kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias)"""
_TF1 = """\
out, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
arrays = session.run({"x": x, "out": out, "kernel": cell.variables[0], "bias": cell.variables[1]}, feed)
np.savez("dump.npz", **arrays)"""
CODE = {"PyTorch": _TORCH, "Keras": _KERAS, "TF1": _TF1}


def advice_text() -> str:
    """What to dump, with code for three frameworks."""
    lines = ["Dump the inputs, the outputs and the weights of one call, each by its name:"]
    for framework, code in CODE.items():
        lines += ["", f"  {framework}:", *(f"    {line}" for line in code.splitlines())]
    return "\n".join([*lines, "", "What is called otherwise is told by --names x=inputs,h_seq=result."])
