"""Smaller cases: all that is one step plainer or shorter than a case, the largest steps first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run
from lockstep.harness.errors import LockstepError

# What is plainer than any other value of a setting; of numbers the plainest stand first.
PLAIN_LSTM: dict[str, tuple[Any, ...]] = {
    "num_layers": (1,), "direction": ("forward", "reverse"), "merge_mode": ("concat",), "proj_size": (0, 1),
    "peephole": (False,), "cell_clip": (None,), "activation": ("tanh",), "recurrent_activation": ("sigmoid",),
    "cell_activation": ("tanh",), "input_forget": (False,), "bias": (True,), "forget_bias": (1.0, 0.0),
}  # fmt: skip
PLAIN_RUN: dict[str, tuple[Any, ...]] = {
    "gradients": (False,), "chunks": (None,), "resets": (None,), "lengths": (None,), "dtype": ("float32",),
    "initial_state": ("zeros",),
}  # fmt: skip
PLAIN_NUMBERS: dict[str, tuple[Any, ...]] = {
    "weights": ("ones", "probe"), "inputs": ("ones", "probe"), "cotangents": (None,), "seed": (0,),
}  # fmt: skip
PLAIN_DECODER: dict[str, tuple[Any, ...]] = {"encoder": (None,), "score": ("dot", "general"), "context": ("output",)}


# What is changed, and to what: that which failed once mostly fails again.
Step = tuple[Any, ...]


def smaller(case: Case) -> Iterator[tuple[Step, Case]]:
    """What is one step smaller than a case: without a feature, then of smaller sizes, then with plainer numbers."""
    seen = {case}
    for step, candidate in _candidates(case):
        if candidate is not None and candidate not in seen:
            seen.add(candidate)
            yield step, candidate


def _candidates(case: Case) -> Iterator[tuple[Step, Case | None]]:
    decoder = case.attention_decoder
    if decoder is not None:
        for key, value in _plainer(decoder, PLAIN_DECODER):
            yield (key, value), _with_decoder(case, **{key: value})
    for key, value in _plainer(case.lstm, PLAIN_LSTM):
        yield (key, value), _with_lstm(case, key, value)
    for key, value in _plainer(case.run, PLAIN_RUN):
        yield (key, value), _with_run(case, **{key: value})
    yield from _of_fewer_marks(case)
    yield from _of_smaller_sizes(case)
    for key, value in _plainer(case.run, PLAIN_NUMBERS):
        yield (key, value), _with_run(case, **{key: value})


def _plainer(table: LSTM | Run | AttentionDecoder, plain: dict[str, tuple[Any, ...]]) -> Iterator[tuple[str, Any]]:
    """The settings of a table with the values that are plainer than the one it has."""
    for key, values in plain.items():
        now = getattr(table, key)
        yield from ((key, value) for value in (values[: values.index(now)] if now in values else values))


def _of_smaller_sizes(case: Case) -> Iterator[tuple[Step, Case | None]]:
    run, lstm, decoder = case.run, case.lstm, case.attention_decoder
    for timesteps in _below(run.timesteps):
        yield ("timesteps", timesteps), _cut(case, timesteps, run.batch)
    for batch in _below(run.batch):
        yield ("batch", batch), _cut(case, run.timesteps, batch)
        yield ("last of batch", batch), _cut(case, run.timesteps, batch, last=True)
    for key in ("num_layers", "hidden_size", "input_size", "proj_size"):
        for size in _below(getattr(lstm, key)):
            yield (key, size), _with_lstm(case, key, size)
    for key in ("source_timesteps", "source_size", "output_size", "attention_size") if decoder is not None else ():
        for size in _below(getattr(decoder, key) or 1):
            yield (key, size), _with_decoder(case, **{key: size})


def _below(size: int) -> list[int]:
    """Sizes below one: the smallest, half of it, one less."""
    return sorted({1, 2, size // 2, size - 1} & set(range(1, size)))


def _of_fewer_marks(case: Case) -> Iterator[tuple[Step, Case | None]]:
    """Cases whose lengths are whole, or whose sequences start anew less often, one after the other."""
    run = case.run
    longest = run.timesteps if case.attention_decoder is None else case.attention_decoder.source_timesteps
    for b, length in enumerate(run.lengths or ()):
        if length != longest and run.resets is None:
            yield ("length", b), _with_run(case, lengths=_with_item(run.lengths or (), b, longest))
    for b, resets in enumerate(run.resets or ()):
        for kept in ((), resets[:1], resets[:-1]):
            if len(kept) < len(resets):
                yield ("resets", b, kept), _with_run(case, resets=_with_item(run.resets or (), b, kept))


def _with_item(items: tuple[Any, ...], place: int, item: Any) -> tuple[Any, ...]:
    return (*items[:place], item, *items[place + 1 :])


def _cut(case: Case, timesteps: int, batch: int, *, last: bool = False) -> Case | None:
    """The case with the first timesteps of its first, or last, sequences."""
    run = case.run
    kept = slice(-batch, None) if last else slice(batch)
    lengths, resets = run.lengths and run.lengths[kept], run.resets and run.resets[kept]
    if case.attention_decoder is None:
        lengths = lengths and tuple(min(length, timesteps) for length in lengths)
        resets = resets and tuple(tuple(t for t in of if t < timesteps) for of in resets)
    return _with_run(case, timesteps=timesteps, batch=batch, lengths=lengths, resets=resets, chunks=None)


def _with_lstm(case: Case, key: str, value: Any) -> Case | None:
    changes = {key: value}
    if key == "direction" and value != "bidirectional":
        changes |= {"merge_mode": "concat"}
    if key == "forget_bias" and value and (case.lstm.input_forget or not case.lstm.bias):
        return None
    decoder = case.attention_decoder
    if key == "hidden_size":
        if case.lstm.proj_size >= int(value):
            changes |= {"proj_size": int(value) - 1}
        if decoder is not None and decoder.score == "dot" and decoder.encoder is None:
            decoder = replace(decoder, source_size=value)
    return _valid(lambda: replace(case, lstm=replace(case.lstm, **changes), attention_decoder=decoder))


def _with_run(case: Case, **changes: Any) -> Case | None:
    if changes.get("gradients") is False:
        changes["cotangents"] = None
    return _valid(lambda: replace(case, run=replace(case.run, **changes)))


def _with_decoder(case: Case, **changes: Any) -> Case | None:
    decoder, size = case.attention_decoder, case.lstm.hidden_size
    assert decoder is not None
    if "encoder" in changes and decoder.encoder is not None:
        changes["source_size"] = decoder.encoder.hidden_size
    if changes.get("score", "additive") != "additive":
        changes["attention_size"] = None
    if changes.get("score") == "dot":
        changes["source_size"] = size
        if decoder.encoder is not None:
            changes |= {"encoder": replace(decoder.encoder, hidden_size=size)}
    if "source_timesteps" in changes and case.run.lengths is not None:
        longest = changes["source_timesteps"]
        shortened = tuple(min(length, longest) for length in case.run.lengths)
        case = replace(case, run=replace(case.run, lengths=shortened))
    return _valid(lambda: replace(case, attention_decoder=replace(decoder, **changes)))


def _valid(make: Any) -> Case | None:
    """A case, or None where its settings contradict each other."""
    try:
        return make()
    except (ValueError, LockstepError):
        return None
