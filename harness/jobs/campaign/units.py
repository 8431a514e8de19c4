"""The units of a campaign: which networks there are, and which backends each goes through.

Networks come in rounds without end. Each round meets every pair of features in every backend that supports both, with
other shapes and numbers than the last: first networks that have many features, so that backends that support much meet
many pairs at once; then every pair by itself, for all that did not meet it yet. A dtype is a feature as others are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.cases.case import Case, Model
from lockstep.harness.cases.random_cases import (
    DTYPES,
    EXCLUSIVE,
    MOST_SEED,
    RANDOM_DECODER_FEATURES,
    RANDOM_FEATURES,
    choose_by,
    draw_case,
    draw_decoder,
    features_of,
    other_problem,
)
from lockstep.harness.errors import LockstepError, unknown
from lockstep.harness.jobs.campaign.unit import PROBLEMS, Campaign, Unit
from lockstep.harness.jobs.findings import expected_of

FEATURES_OF_MODEL: dict[Model, tuple[str, ...]] = {
    "lstm": tuple(RANDOM_FEATURES),
    "attention_decoder": RANDOM_DECODER_FEATURES,
}
# What most frameworks have: networks of these alone meet many pairs in nearly every backend.
_COMMON = {
    "layers", "reverse", "bidirectional", "lengths", "no bias", "initial state", "gradients", "general", *DTYPES
}  # fmt: skip
_MOST_DRAWS = 1000
_WIDE = 4  # features, a dtype among them, that networks of many have at least where there are so many
_LONG = 12  # timesteps: unrolled and compiled, more of them take minutes, so only plain networks have them

# Two features, a dtype among them perhaps; or one dtype alone, of a plain network.
FeaturePair = frozenset[str]
# Asks a backend about cases: None for each that it supports, or the reason why not.
Asking = Callable[[BackendInfo, list[Case]], Sequence[str | None]]


class Networks(Struct, frozen=True):
    """The networks of a campaign: network n and its problems are a function of this and n alone."""

    seed: int
    features: tuple[str, ...] = ()  # those that are searched; all of them if none is named
    problems: int = PROBLEMS

    def __len__(self) -> int:
        """How many there are in a round."""
        return len(_round(self))

    def cases(self, n: int) -> tuple[Case, ...]:
        """Network n with its problems."""
        return _cases(self, n)


@lru_cache(maxsize=1024)
def _cases(networks: Networks, n: int) -> tuple[Case, ...]:
    number, position = divmod(n, len(networks))
    model, wanted = _round(networks)[position]
    rng = np.random.default_rng([networks.seed, n])
    if number and len(wanted) > _WIDE:
        # Of many features another part each time: who runs the whole runs its parts.
        wanted = frozenset(name for name in sorted(wanted) if name in DTYPES or rng.random() < 3 / 4)
    cases = [_network(rng, model, wanted)]
    for j in range(1, networks.problems):
        rng = np.random.default_rng([networks.seed, n, j])
        cases.append(other_problem(choose_by(rng), int(rng.integers(MOST_SEED)), cases[0]))
    return tuple(replace(case, name=f"random-{n}-{j}") for j, case in enumerate(cases))


class Plan:
    """The units of a campaign, without end: each a pure function of the campaign and k."""

    def __init__(self, campaign: Campaign) -> None:
        """Draw nothing yet."""
        self._networks = Networks(campaign.seed, campaign.features, campaign.problems)
        runs = {backend: frozenset(campaign.networks[backend]) for backend in campaign.backends}
        self._round = [
            (position, backend)
            for position in range(len(self._networks))
            for backend in campaign.backends
            if position in runs[backend]
        ]
        if not self._round:
            raise LockstepError("there is nothing to search: none of these backends supports any of these features.")

    def __len__(self) -> int:
        """How many units meet every pair of features once."""
        return len(self._round)

    def unit(self, k: int) -> Unit:
        """Draw the k-th unit."""
        number, place = divmod(k, len(self._round))
        position, backend = self._round[place]
        problems = self._networks.cases(number * len(self._networks) + position)
        return Unit(k=k, backend=backend, features=tuple(sorted(met_by(problems[0]))), problems=problems)


def check_features(names: Iterable[str]) -> tuple[str, ...]:
    """The names of features that were asked for.

    Raises:
        LockstepError: If there is no such feature.
    """
    known = dict.fromkeys([*DTYPES, *RANDOM_FEATURES, *RANDOM_DECODER_FEATURES])
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in known:
            raise LockstepError(unknown("feature", name, known))
    return names


def met_by(case: Case) -> frozenset[str]:
    """The features of a case, its dtype among them."""
    return frozenset((*features_of(case), case.run.dtype))


@cache
def pairs_among(features: frozenset[str]) -> frozenset[FeaturePair]:
    """The pairs that a network of these features, a dtype among them, meets; of a plain one that is its dtype alone."""
    if len(features) == 1:
        return frozenset((features,))
    return frozenset(frozenset(two) for two in combinations(features, 2))


@lru_cache(maxsize=8)
def _round(networks: Networks) -> tuple[tuple[Model, frozenset[str]], ...]:
    """Of each network of a round its model and features."""
    rng = np.random.default_rng(networks.seed)
    wide, exact = [], []
    for model in FEATURES_OF_MODEL:
        pool = _pool(networks.features, model)
        if pool:
            for names in ([name for name in pool if name in _COMMON], pool):
                wide += [(model, row) for row in _rows(names, rng)]
            exact += [(model, pair) for pair in _pairs(pool)]
    return (*wide, *(exact[n] for n in rng.permutation(len(exact))))


def _pool(asked: Sequence[str], model: Model) -> list[str]:
    """The dtypes and features of a model that are searched; none if it has none of those that were asked for."""
    wanted, known = set(asked), FEATURES_OF_MODEL[model]
    features = [name for name in known if name in wanted] if wanted - set(DTYPES) else known
    dtypes = [name for name in DTYPES if name in wanted] or DTYPES
    return [*dtypes, *features] if features else []


def _compatible(names: Iterable[str]) -> bool:
    names = set(names)
    return all(len(names & group) <= 1 for group in EXCLUSIVE)


def _pairs(pool: Sequence[str]) -> list[frozenset[str]]:
    """Networks of a pair each: of the first dtype, which all support, where no dtype is one of the two."""
    first = next(iter(pool))
    pairs = [frozenset(pair) for pair in combinations(pool, 2) if _compatible(pair)]
    plain = [frozenset((name,)) for name in pool if name in DTYPES]
    return [*plain, *(pair if pair & set(DTYPES) else pair | {first} for pair in pairs)]


def _rows(names: list[str], rng: np.random.Generator) -> list[frozenset[str]]:
    """Networks of many features, as many as there are names; each meets as many further pairs as it can."""
    left = {frozenset(pair) for pair in combinations(names, 2) if _compatible(pair)}
    rows = []
    for _ in names:
        order: list[str] = [names[n] for n in rng.permutation(len(names))]
        row: set[str] = {next(name for name in order if name in DTYPES)}
        while fitting := [name for name in order if name not in row and _compatible({*row, name})]:
            news = [sum(frozenset((name, there)) in left for there in row) for name in fitting]
            if not max(news) and len(row) >= _WIDE:
                break
            row.add(fitting[int(np.argmax(news))])
        left -= pairs_among(frozenset(row))
        rows.append(frozenset(row))
    return rows


def _network(rng: np.random.Generator, model: Model, wanted: frozenset[str]) -> Case:
    """Draw a network of exactly these features; its lengths are no 0, which some backends refuse that take lengths."""
    draw, by_chance = (draw_case if model == "lstm" else draw_decoder), choose_by(rng)
    features = [name for name in FEATURES_OF_MODEL[model] if name in wanted]

    def choose(name: str, options: Sequence[Any]) -> Any:
        if tuple(options) == (False, True):
            return True
        if name == "shape" and model == "lstm" and features:
            options = [shape for shape in options if shape[0] <= _LONG]
        return by_chance(name, options[1:] if name == "length" and options[0] == 0 else options)

    dtype = next(name for name in DTYPES if name in wanted)
    for _ in range(_MOST_DRAWS):
        case = draw(choose, int(rng.integers(MOST_SEED)), {"dtype": dtype}, features)
        if met_by(case) == wanted:
            return case
    raise AssertionError(f"no {model} has {', '.join(sorted(wanted))}")


def choose_networks(networks: Networks, backends: Sequence[BackendInfo], ask: Asking) -> dict[str, tuple[int, ...]]:
    """By backend, the networks of a round that it runs: those that meet a pair of features that it did not meet yet.

    ``ask`` is asked once for each backend.
    """
    drawn = [networks.cases(n)[0] for n in range(len(networks))]
    return {backend.name: tuple(_chosen(backend, drawn, ask)) for backend in backends}


def _chosen(backend: BackendInfo, drawn: list[Case], ask: Asking) -> list[int]:
    able = [n for n, case in enumerate(drawn) if case.model == backend.model]
    reasons = ask(backend, [drawn[n] for n in able])
    met: set[FeaturePair] = set()
    chosen = []
    for n, reason in zip(able, reasons, strict=True):
        features = met_by(drawn[n])
        # What is known of one of many features would hide what is not known of the others.
        hides = len(features) >= _WIDE and expected_of(backend.name, drawn[n]) is not None
        if reason is None and not hides and pairs_among(features) - met:
            chosen.append(n)
            met |= pairs_among(features)
    return chosen
