"""Ends the process where it shows: a batch of no sequence."""

import tempfile

import torch

x = torch.ones(2, 0, 1)
exported = torch.export.export(torch.nn.LSTM(1, 1), (x,))
package = torch._inductor.aoti_compile_and_package(exported, package_path=f"{tempfile.mkdtemp()}/lstm.pt2")
print("h has shape", torch._inductor.aoti_load_package(package)(x)[0].shape)
