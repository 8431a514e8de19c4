"""``torch.nn.LSTM`` by ``torch.export`` into ExecuTorch, on its portable kernels.

``to_edge_transform_and_lower(...).to_executorch()``, and the program is run by ``executorch.runtime``. Source:
ExecuTorch documentation, "Model Export and Lowering", ``executorch.runtime``.
"""

from __future__ import annotations

from lockstep.backends import executorch_program, torch_runtime
from lockstep.backends.kept import kept
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("executorch", "torch")
INSTALL = "lockstep-rnn[executorch]"
DIALECT = "torch"

MOST_STEPS = 240  # a quarter of a second each


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return executorch_program.unsupported(case, MOST_STEPS)


_converted = kept(lambda problem: executorch_program.converted(problem, None))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _converted)
