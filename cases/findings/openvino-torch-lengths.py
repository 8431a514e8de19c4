"""Exits 1 where it shows: lengths of sequences change nothing."""

import sys

import openvino
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Packed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, 1)

    def forward(self, x, lengths):
        packed, (h_n, c_n) = self.lstm(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(packed, total_length=3)[0], h_n


torch.manual_seed(0)
module, x, lengths = Packed().eval(), torch.ones(3, 2, 1), torch.tensor([3, 1])
model = openvino.convert_model(module, example_input=(x, lengths))
got = openvino.compile_model(model, "CPU")((x.numpy(), lengths.numpy()))
wanted = module(x, lengths)
error = max(abs(got[k] - tensor.detach().numpy()).max() for k, tensor in enumerate(wanted))
print(
    "of the sequence of length 1 the output is", got[0][:, 1, 0], "and should be", wanted[0][:, 1, 0].detach().numpy()
)
sys.exit(bool(error > 1e-3))
