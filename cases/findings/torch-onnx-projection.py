"""Exits 1 where it shows: what is exported cannot be loaded."""

import io
import sys

import onnxruntime
import torch

lstm, file = torch.nn.LSTM(1, 2, proj_size=1), io.BytesIO()
program = torch.onnx.export(lstm, (torch.ones(1, 1, 1),), dynamo=True)
program.save(file)
try:
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: torch.ones(1, 1, 1).numpy()})
except Exception as error:
    print("onnxruntime refuses it:", str(error).splitlines()[0])
    sys.exit(1)
print("shapes", [output.shape for output in outputs])
