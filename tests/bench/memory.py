"""How much memory the command itself needs: over all shipped cases, and over one that is long.

Files that it has mapped count as far as they are in memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure

ALL_BOUND = 300.0  # megabytes
TRACES = 3.0  # of the long case, its gradients included
LONG = """
[lstm]
input_size = 64
hidden_size = 128
[run]
timesteps = 10000
batch = 8
initial_state = "probe"
gradients = true
"""
PER_TIMESTEP = 6  # i, f, g, o, c, h
# What it had most of, when all is done.
TOLD = """
import sys
from pathlib import Path
from lockstep.harness.cli.main import main
try:
    main(sys.argv[1:])
finally:
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
"""


def memory() -> list[Figure]:
    """Measure the most that the command has had, its workers left out; nothing where the system does not tell."""
    if not Path("/proc/self/status").exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.toml"
        long.write_text(LONG)
        at_rest = _megabytes("run", "ones", "--backend", "numpy_loop")
        everything = _megabytes("run", "--backend", "numpy_loop", "--backend", "numpy_attention")
        # The farthest of ten million roundings lies some ten sigma off, by which variances leave open whether it is
        # healthy: it takes copies to tell, which are part of this figure.
        of_long = _megabytes("run", str(long), "--backend", "numpy_loop")
    trace = PER_TIMESTEP * 10_000 * 8 * 128 * 4 / 1e6
    note = f"{of_long - at_rest:.0f} MB beyond the {at_rest:.0f} of a small run, a trace is {trace:.0f} MB"
    return [
        Figure("megabytes of the command over all shipped cases", everything, ALL_BOUND),
        Figure("the command at T 10,000, gradients / one trace", (of_long - at_rest) / trace, TRACES, note=note),
    ]


def _megabytes(*words: str) -> float:
    told = subprocess.run([sys.executable, "-c", TOLD, *words], capture_output=True, text=True, check=False)
    return int(told.stdout.split()[-1]) * 1024 / 1e6
