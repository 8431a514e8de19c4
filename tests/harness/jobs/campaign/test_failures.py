"""Failures: their signatures, and the steps that make their cases small."""

from __future__ import annotations

import numpy as np
import pytest
from lstm_cases import make_case
from msgspec.structs import replace

from lockstep.harness.cases.case_file import case_text, load_case
from lockstep.harness.cases.random_cases import choose_by, draw_case, draw_decoder
from lockstep.harness.comparison.results import Difference, First, PerTimestep, RunResult, TensorResult
from lockstep.harness.jobs.campaign.failures.reductions import smaller
from lockstep.harness.jobs.campaign.failures.signature import signature_of


def drawn(seed):
    rng = np.random.default_rng(seed)
    return (draw_decoder if seed % 3 == 0 else draw_case)(choose_by(rng), seed, {})


@pytest.mark.parametrize("seed", range(30))
def test_every_way_down_ends_at_the_smallest_case(seed):
    case, steps = drawn(seed), 0
    while (step := next(smaller(case), None)) is not None:
        assert step[1] != case
        case, steps = step[1], steps + 1
        assert steps < 100
    run, lstm = case.run, case.lstm
    assert (run.timesteps, run.batch, lstm.hidden_size, lstm.input_size, lstm.num_layers) == (1, 1, 1, 1, 1)
    assert (lstm.direction, run.lengths, run.resets, run.gradients, run.seed, run.weights) == (
        "forward", None, None, False, 0, "ones",
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_a_case_is_read_from_its_text_as_it_was(tmp_path, seed):
    case = replace(drawn(seed), name=f"drawn-{seed}", description='a "quoted" \\ line')
    path = tmp_path / "case.toml"
    path.write_text(case_text(case), encoding="utf-8")
    assert load_case(path) == case


def diverged(tensor, at, case, **changes):
    worst = Difference(at=at, observed=1.0, expected=2.0, sigma=99.0, ulp=1.0, abs=1.0, rel=1.0, timestep=at[0])
    rows = PerTimestep(*([[]] * 7), beyond=None)
    result = TensorResult(verdict="diverge", worst=worst, first_divergence=worst, per_timestep=rows, size=9, **changes)
    run = RunResult(case="tiny", backend="one", status="diverge", tensors={tensor: result},
                    first_divergence=First(tensor, at[0]))  # fmt: skip
    return signature_of(run, case).place


def test_the_kind_of_a_place_is_told():
    case = make_case(timesteps=5, batch=2, lengths=(5, 3))
    assert diverged("h", (0, 1, 0), case) == "first step"
    assert diverged("h", (2, 1, 0), case) == "later step"
    assert diverged("h", (3, 1, 0), case) == "past a sequence's end"
    assert diverged("c_l1_reverse", (2, 1, 0), case, layer=1, reverse=True) == "upper layer, reverse, first step"
    assert diverged("h_n", (1, 0), case) == "final"
    assert diverged("dW", (1, 0), case) == "gradient"


def test_messages_that_differ_in_numbers_are_alike():
    def place(message):
        return signature_of(RunResult(case="a", backend="b", status="failed", message=message), make_case()).place

    assert place("it raised ValueError: shape (3, 4) at 0x7f00\nmore") == place(
        "it raised ValueError: shape (5, 4) at 0xab"
    )
    assert place("it raised ValueError: shape (3, 4)") != place("it raised TypeError: shape (3, 4)")
