"""``torch.nn.LSTM`` by ``torch.export`` into ExecuTorch, what XNNPACK takes of it on XNNPACK.

Otherwise as ``backends.executorch_portable``. Source: ExecuTorch documentation, "XNNPACK Backend".
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

from lockstep.backends import executorch_program, torch_runtime
from lockstep.backends.kept import kept
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("executorch", "torch")
MAIN = False
INSTALL = "lockstep-rnn[executorch]"
DIALECT = "torch"

MOST_STEPS = 60  # a second each


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return executorch_program.unsupported(case, MOST_STEPS)


_converted = kept(lambda problem: executorch_program.converted(problem, [XnnpackPartitioner()]))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _converted)
