"""The backends and cases that are measured."""

from __future__ import annotations

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.cases.case import LSTM, Case, Run

# All but the plain loop in NumPy, which has no framework to wait for.
FRAMEWORKS = ("tf_loop", "tf_static_rnn", "tf_dynamic_rnn", "torch_lstm", "jax_scan")


def framework_backends() -> list[BackendInfo]:
    """Find the five framework backends."""
    return find_backends(FRAMEWORKS)


def make_case(T: int, B: int, I: int, H: int, seed: int = 0) -> Case:
    """Make a case of probe values, float32."""
    return Case(
        name=f"bench-{T}-{B}-{I}-{H}",
        lstm=LSTM(input_size=I, hidden_size=H),
        run=Run(timesteps=T, batch=B, initial_state="probe", seed=seed),
    )


def usual_case(seed: int = 0) -> Case:
    """Make the case most figures are about: T 100, B 8, I 64, H 128."""
    return make_case(100, 8, 64, 128, seed)
