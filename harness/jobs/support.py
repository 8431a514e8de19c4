"""What a case can ask of a backend, each feature as a small case that has it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from lockstep.harness.adapters.backend import BackendInfo, by_worker, find_backends
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run
from lockstep.harness.cases.random_cases import DTYPES
from lockstep.harness.jobs.settings import JOBS


def _case(attention_decoder: AttentionDecoder | None = None, **changes: Any) -> Case:
    lstm: dict[str, Any] = {"input_size": 2, "hidden_size": 3} | {
        k: v for k, v in changes.items() if k in LSTM.__struct_fields__
    }
    run: dict[str, Any] = {"timesteps": 4, "batch": 2} | {
        k: v for k, v in changes.items() if k in Run.__struct_fields__
    }
    return Case(lstm=LSTM(**lstm), run=Run(**run), attention_decoder=attention_decoder, name="feature")


def _decoder(**changes: Any) -> Case:
    decoder_changes = {k: changes.pop(k) for k in AttentionDecoder.__struct_fields__ if k in changes}
    return _case(AttentionDecoder(source_timesteps=5, **decoder_changes), **changes)


# What an attention decoder can be asked for.
DECODER_FEATURES: dict[str, Case] = {
    **{dtype: _decoder(dtype=dtype) for dtype in DTYPES},
    "no bias": _decoder(bias=False, forget_bias=0.0),  # a forget bias would be one
    "initial state": _decoder(initial_state="probe"),
    "general scores": _decoder(score="general", source_size=4),
    "additive scores": _decoder(score="additive", source_size=4, attention_size=5),
    "context into the cell": _decoder(context="input"),
    "lengths": _decoder(lengths=(5, 2)),
    "wide logits": _decoder(output_size=3),
    "encoder": _decoder(encoder=LSTM(input_size=2, hidden_size=3)),
    "encoder, lengths": _decoder(encoder=LSTM(input_size=2, hidden_size=3), lengths=(5, 2)),
    "gradients": _decoder(gradients=True),
    "gradients, general, lengths": _decoder(gradients=True, score="general", lengths=(5, 2)),
    "gradients, additive, context into the cell": _decoder(gradients=True, score="additive", context="input"),
    "gradients, encoder": _decoder(gradients=True, encoder=LSTM(input_size=2, hidden_size=3)),
    **{f"gradients, {dtype}": _decoder(gradients=True, dtype=dtype) for dtype in ("float16", "bfloat16")},
}

FEATURES: dict[str, Case] = {
    **{dtype: _case(dtype=dtype) for dtype in DTYPES},
    "no bias": _case(bias=False, forget_bias=0.0),
    "initial state": _case(initial_state="probe"),
    "lengths": _case(lengths=(4, 2)),
    "lengths with 0": _case(lengths=(4, 0)),
    "resets": _case(resets=((0, 2), (3,)), initial_state="probe"),
    "layers": _case(num_layers=2, initial_state="probe"),
    "reverse": _case(direction="reverse", initial_state="probe"),
    "bidirectional": _case(direction="bidirectional", initial_state="probe"),
    "merged directions": _case(direction="bidirectional", merge_mode="ave", initial_state="probe"),
    "bidirectional layers, lengths": _case(num_layers=2, direction="bidirectional", lengths=(4, 2)),
    "projection": _case(proj_size=2, initial_state="probe"),
    "peepholes": _case(peephole=True, initial_state="probe"),
    "cell clip": _case(cell_clip=0.3, initial_state="probe"),
    "coupled gates": _case(input_forget=True, forget_bias=0.0),  # the forget gate has no weights of its own
    "hard sigmoid 0.2 z": _case(recurrent_activation="hard_sigmoid_0.2"),
    "hard sigmoid z/6": _case(recurrent_activation="hard_sigmoid_1/6"),
    "one other activation": _case(activation="relu", cell_activation="relu"),
    "any activations": _case(activation="sigmoid", cell_activation="linear"),
    "gradients": _case(gradients=True),
    "gradients, lengths": _case(gradients=True, lengths=(4, 2)),
    "gradients, layers, resets": _case(gradients=True, num_layers=2, lengths=(4, 2), resets=((1, 3), (0,))),
    "gradients, bidirectional layers": _case(gradients=True, num_layers=2, direction="bidirectional"),
    **{f"gradients, {dtype}": _case(gradients=True, dtype=dtype) for dtype in ("float16", "bfloat16")},
}


@dataclass(frozen=True)
class Support:
    """What one backend supports: by feature, None or the reason why not; or why it could not be asked."""

    backend: BackendInfo
    versions: dict[str, str]
    reasons: dict[str, str | None]
    problem: str | None = None
    seconds: float | None = None  # to import what it requires
    megabytes: float | None = None  # that this adds to a process

    @property
    def supported(self) -> list[str]:
        """The features that it has."""
        return [feature for feature, reason in self.reasons.items() if reason is None]

    @property
    def refused(self) -> dict[str, str]:
        """The features that it has not, each with the reason."""
        return {feature: reason for feature, reason in self.reasons.items() if reason is not None}


def support(names: Sequence[str] | None = None, *, timeout: float = 60.0, jobs: int = JOBS) -> list[Support]:
    """Ask backends what they support, all that are found or those named.

    ``jobs``: how many frameworks at once; what importing costs is well measured with one.
    """
    backends = find_backends(names)
    with ThreadPoolExecutor(max_workers=jobs) as threads:
        groups = list(threads.map(lambda group: _ask(group, timeout), by_worker(backends)))
    by_backend = {support.backend.name: support for group in groups for support in group}
    return [by_backend[backend.name] for backend in backends]


def _ask(group: list[BackendInfo], timeout: float) -> list[Support]:
    with Worker(group[0].environment, timeout) as worker:
        # Those of one worker require the same: the first to be imported brings it.
        first = worker.load(group[0])
        seconds = (first.seconds or {}).get("import")
        return [replace(_support(worker, backend), seconds=seconds, megabytes=first.megabytes) for backend in group]


def _support(worker: Worker, backend: BackendInfo) -> Support:
    features = features_of(backend)
    answer = worker.ask(backend, list(features.values()))
    if not isinstance(answer, tuple):
        return Support(backend, {}, {}, answer.message)
    versions, reasons = answer
    return Support(backend, versions, dict(zip(features, reasons, strict=True)))


def features_of(backend: BackendInfo) -> dict[str, Case]:
    """The features that a backend's model can be asked for."""
    return DECODER_FEATURES if backend.model == "attention_decoder" else FEATURES
