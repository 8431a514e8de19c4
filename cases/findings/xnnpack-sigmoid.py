"""Exits 1 where it shows: the sigmoid of a large number is none."""

import sys

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime


class Sigmoid(torch.nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


x = torch.tensor([1e20, 1e30, float("inf")])
exported = torch.export.export(Sigmoid(), (x,))
buffer = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer
program = Runtime.get().load_program(buffer)
y = program.load_method("forward").execute([x])[0].clone()
print("the sigmoid of", x.tolist(), "is", y.tolist())
sys.exit(bool(y.isnan().any()))
