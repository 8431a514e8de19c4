"""Write what PyTorch exports of the planted nn.LSTM into a folder, argument 1; then perhaps "onnx", "programs"."""

import logging
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch_modules import Net, make_torch_lstm

folder = Path(sys.argv[1])
lstm = make_torch_lstm().eval()
save_file(lstm.state_dict(), folder / "my.safetensors")
save_file(Net().state_dict(), folder / "net.safetensors")
save_file(torch.nn.GRU(3, 4).state_dict(), folder / "gru.safetensors")
save_file(torch.nn.LSTMCell(3, 4).state_dict(), folder / "cell.safetensors")
save_file(torch.nn.LSTM(3, 4, proj_size=2).to(torch.bfloat16).state_dict(), folder / "projected.safetensors")
save_file({"weight_ih_l0": torch.zeros(16, 3, dtype=torch.int8), "weight_hh_l0": torch.zeros(16, 4, dtype=torch.int8)},
          folder / "quantised.safetensors")  # fmt: skip
save_file({"weight_ih_l0": torch.zeros(16, 3), "weight_hh_l0": torch.zeros(12, 4), "bias_ih_l0": torch.zeros(16),
           "bias_hh_l0": torch.zeros(16)}, folder / "misfit.safetensors")  # fmt: skip
save_file({"dense.weight": torch.zeros(3, 4)}, folder / "dense.safetensors")
save_file({"W": torch.zeros(1, 16, 3), "R": torch.zeros(1, 16, 4)}, folder / "other.safetensors", {"dialect": "onnx"})


class Tagger(torch.nn.Module):
    """An LSTM between other layers."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(5, 3)
        self.memory = make_torch_lstm()
        self.head = torch.nn.Linear(8, 2)

    def forward(self, words):
        return self.head(self.memory(self.words(words))[0])


if "programs" in sys.argv:
    warnings.simplefilter("ignore")
    tagger, words = Tagger().eval(), torch.zeros(2, 5, dtype=torch.long)
    torch.jit.trace(tagger, words).save(folder / "traced.pt")
    torch.jit.script(tagger).save(folder / "scripted.pt")
    torch.jit.freeze(torch.jit.script(tagger)).save(folder / "frozen.pt")
    torch.jit.script(lstm).save(folder / "alone.ts")
    program = torch.export.export(tagger, (words,))
    torch.export.save(program, folder / "program.pt2")
    torch.export.save(program.run_decompositions(), folder / "decomposed.pt2")
    weights = tagger.state_dict()
    torch.save({"epoch": 3, "state_dict": weights, "lr": [0.1]}, folder / "lightning.ckpt")
    torch.save(weights, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(tagger, folder / "whole.pt")
    stale = {name: 2 * array if name == "memory.weight_hh_l0" else array for name, array in weights.items()}
    torch.save(stale | {"memory.weight_hh_l0_raw": weights["memory.weight_hh_l0"]}, folder / "dropped.pt")
    inside = {f"rnns.0.module.{name}": array for name, array in lstm.state_dict().items()}
    inside["rnns.0.weight_hh_l0_raw"] = inside.pop("rnns.0.module.weight_hh_l0")
    torch.save(inside, folder / "wrapped.pth")

if "onnx" in sys.argv:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    x, state = torch.zeros(5, 2, 3), torch.zeros(4, 2, 4)
    torch.onnx.export(
        lstm, (x, (state, state.clone())), folder / "my.onnx", dynamo=False, input_names=["x", "h0", "c0"],
        dynamic_axes={"x": {0: "time", 1: "batch"}, "h0": {1: "batch"}, "c0": {1: "batch"}},
    )  # fmt: skip
    torch.onnx.export(lstm, (x,), folder / "static.onnx", dynamo=True, verbose=False)
