"""What a campaign runs: configuration k, and which backends it goes through.

Configurations come in rounds without end. Each round meets every pair of features anew, with other shapes and numbers:
first networks that have many features, so that backends that support much meet many pairs at once; then every
pair by itself, for all backends that did not meet it yet. A dtype is a feature as others are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from lockstep.harness.jobs.findings import expected_of

PROBLEMS = 40  # of a network: what compiles it does so once
SAME_WEIGHTS = 8  # of these, one after the other: what compiles weights too does so once for them
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


class Configuration(Struct, frozen=True):
    """A network with the problems it is run on."""

    k: int
    problems: tuple[Case, ...]

    @property
    def model(self) -> Model:
        """What its network is."""
        return self.problems[0].model

    @property
    def features(self) -> frozenset[str]:
        """What the network has, its dtype too."""
        return met_by(self.problems[0])

    @property
    def pairs(self) -> frozenset[FeaturePair]:
        """The pairs of features that it meets."""
        return pairs_among(self.features)


class Design(Struct, frozen=True):
    """Which configurations a campaign has: configuration k is a function of this and k alone."""

    seed: int
    features: tuple[str, ...] = ()  # those that are searched; all of them if none is named
    models: tuple[Model, ...] = ("lstm", "attention_decoder")
    problems: int = PROBLEMS

    def configuration(self, k: int) -> Configuration:
        """Configuration k."""
        model, wanted = self._drawn(k)
        network = _network(np.random.default_rng([self.seed, k]), model, wanted)
        cases = [network]
        for j in range(1, self.problems):
            rng, same = np.random.default_rng([self.seed, k, j]), j % SAME_WEIGHTS
            drawn_by, seed = choose_by(rng), int(rng.integers(MOST_SEED))
            cases.append(other_problem(drawn_by, seed, cases[j - same] if same else network, same_weights=same > 0))
        named = (replace(case, name=f"random-{k}-{j}") for j, case in enumerate(cases))
        return Configuration(k, tuple(named))

    def features_of(self, k: int) -> frozenset[str]:
        """The features of configuration k, which is not drawn for that."""
        return self._drawn(k)[1]

    def _drawn(self, k: int) -> tuple[Model, frozenset[str]]:
        number, position = divmod(k, self.round_size)
        return self.round(number)[position]

    @property
    def round_size(self) -> int:
        """How many configurations a round has."""
        return len(self.round(0))

    def round(self, number: int) -> Sequence[tuple[Model, frozenset[str]]]:
        """The networks of a round: of each its model and features."""
        return _round(self, number)


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
def _round(design: Design, number: int) -> tuple[tuple[Model, frozenset[str]], ...]:
    rng = np.random.default_rng([design.seed, number])
    wide, exact = [], []
    for model in design.models:
        pool = _pool(design, model)
        if not pool:
            continue
        for names in ([name for name in pool if name in _COMMON], pool):
            wide += [(model, row) for row in _rows(names, rng)]
        exact += [(model, pair) for pair in _pairs(pool)]
    return (*wide, *(exact[n] for n in rng.permutation(len(exact))))


def _pool(design: Design, model: Model) -> list[str]:
    """The dtypes and features of a model that are searched; none if it has none of those that were asked for."""
    wanted, known = set(design.features), FEATURES_OF_MODEL[model]
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
        if options == (False, True):  # not a range, whose 0 and 1 equal these too
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


class Choice:
    """Which of the configurations each backend runs: those that meet a pair that it did not meet in this round."""

    def __init__(self, design: Design, backends: Sequence[BackendInfo], ask: Asking) -> None:
        """Choose for these backends, which are asked what they support, round by round."""
        # What a backend supports is told by a network's first problem: hundreds of others are not drawn for it.
        self._design, self._backends, self._ask = replace(design, problems=1), backends, ask

    def rounds(self) -> Iterator[list[tuple[Configuration, list[BackendInfo]]]]:
        """Round after round, its configurations, of a problem each, with the backends that each goes through."""
        number = 0
        while True:
            yield self.round(number)
            number += 1

    def round(self, number: int) -> list[tuple[Configuration, list[BackendInfo]]]:
        """The configurations of a round that some backend runs, each with these backends."""
        size = self._design.round_size
        drawn = [self._design.configuration(k) for k in range(number * size, (number + 1) * size)]
        chosen = {backend.name: self._chosen(backend, drawn) for backend in self._backends}
        runs = [(one, [backend for backend in self._backends if one.k in chosen[backend.name]]) for one in drawn]
        return [(configuration, backends) for configuration, backends in runs if backends]

    def _chosen(self, backend: BackendInfo, drawn: list[Configuration]) -> dict[int, frozenset[FeaturePair]]:
        """By configuration that a backend runs: the pairs that it meets there first."""
        able = [configuration for configuration in drawn if configuration.model == backend.model]
        reasons = self._ask(backend, [configuration.problems[0] for configuration in able])
        met: set[FeaturePair] = set()
        chosen = {}
        for configuration, reason in zip(able, reasons, strict=True):
            news = configuration.pairs - met
            # What is known of one of many features would hide what is not known of the others.
            many = len(configuration.features) >= _WIDE
            if reason is None and news and not (many and expected_of(backend.name, configuration.problems[0])):
                chosen[configuration.k] = news
                met |= news
        return chosen
