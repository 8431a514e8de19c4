"""Results in a notebook: how they are got, and what is shown of them."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from made_results import EXPLAINED, HOSTILE, made, many, together

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.find import shipped
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Results
from lockstep.harness.errors import LockstepError
from lockstep.harness.notebook import check, compare, run


class Page(HTMLParser):
    """What a browser would make of a fragment: tags with attributes, and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def test_cases_run_through_backends_give_results_that_show_themselves():
    results = run(["ones", "tiny"], "numpy_loop")
    assert isinstance(results, Results)
    assert [(one.case, one.status) for one in results.runs] == [("ones", "agree"), ("tiny", "agree")]
    assert results.cases["ones"].timesteps == 3
    page = Page(results._repr_html_())
    assert {"case", "numpy_loop", "ones", "tiny"} <= set(page.words)
    assert (
        "2 runs: 2 agree. Largest error, in units of expected rounding (about 1 is healthy, above 10 is wrong):"
        in page.words
    )
    assert "1 run: 1 agree" in results.runs[0]._repr_html_()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"case": "onse"}, 'Did you mean "ones"'),
        ({"case": []}, "names no case"),
        ({"case": "ones", "backend": "numpy_lop"}, 'Did you mean "numpy_loop"'),
        ({"case": "ones", "backend": []}, "names no backend"),
        ({"case": "ones", "limit": 0}, "limit=0: must be a number above 0"),
        ({"case": "ones", "jobs": 0}, "jobs=0: must be 1 or above"),
        ({"case": "attention-dot", "backend": "numpy_loop"}, "attention decoder"),
    ],
)
def test_a_wrong_request_is_one_message(options, words):
    with pytest.raises(LockstepError, match=re.escape(words)):
        run(**options)


def test_a_port_that_does_not_agree_gives_results_all_the_same():
    def mine(*_):
        raise ValueError("no luck")

    results = check(mine, case="ones")
    assert results.exit_status == 3
    assert "no luck" in results._repr_html_()
    with pytest.raises(LockstepError, match="not a port"):
        check("mine")


@pytest.fixture
def problem():
    return Problem.from_case(load_case(shipped()["probe"]))


def test_a_trace_of_ones_own_is_compared_with_the_reference(problem):
    result = compare(numpy_loop.run(problem), problem)
    assert (result.case, result.backend, result.status) == ("probe", "trace", "agree")
    assert {"h", "c"} <= result.tensors.keys()


def test_a_trace_that_is_wrong_diverges_where_it_is_wrong(problem):
    trace = numpy_loop.run(problem)
    h = np.array(trace.h)
    h[2:] += 0.25
    result = compare(Trace(h=h, c=trace.c), problem)
    assert result.status == "diverge"
    assert (result.first_divergence.tensor, result.first_divergence.timestep) == ("h", 2)
    assert result.diagnosis == []


def test_a_limit_of_ones_own_holds(problem):
    trace = numpy_loop.run(problem)
    assert compare(trace, problem, limit=1e-6).status == "diverge"
    with pytest.raises(LockstepError, match="limit=0: must be a number above 0"):
        compare(trace, problem, limit=0)


def test_what_is_not_right_is_shown_with_its_text_and_everything_is_one_fragment():
    page = Page(
        together(
            made("ones", "a", sigma=0.5),
            made("ones", "b", "diverge", sigma=790.0, diagnosis=[EXPLAINED]),
            made("ones", "c", "unsupported", message="not for it"),
            made("ones", "flax_nnx", "diverge", sigma=1e9, known="flax-length-0"),
        )._repr_html_()
    )
    assert page.open == []
    assert {"diverge 790", "diverge 1e+09, known", "unsupported", "b: diverge in ones"} <= set(page.words)
    text = "\n".join(page.words)
    assert "Fix: Feed the state back." in text
    assert "c, unsupported: not for it (ones)" in text
    assert "lockstep findings flax-length-0" in text
    assert {tag for tag, _ in page.tags} <= {
        "div", "p", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre",
    }  # fmt: skip
    assert all(attributes.keys() <= {"style", "scope", "open"} for _, attributes in page.tags)


def test_text_is_read_against_a_light_and_a_dark_notebook():
    html = together(*many(2, 2, sigma=0.5), made("case-0", "x", "failed", message="no"))._repr_html_()
    for _, attributes in Page(html).tags:
        style = dict(part.split(":") for part in attributes.get("style", "").split(";") if part)
        ours = style.get("background", "transparent") != "transparent"
        assert (style.get("color", "inherit") != "inherit") == ours  # a color of ours stands on a background of ours


def test_hostile_text_is_shown_as_text():
    html = made(HOSTILE, HOSTILE, "failed", message=HOSTILE, stderr=HOSTILE)._repr_html_()
    assert "<script" not in html
    assert "\x1b" not in html
    html.encode()
    assert any("<script>alert(1)</script>" in word for word in Page(html).words)


def test_thousands_of_results_are_quick_and_small_and_what_is_wrong_is_among_what_is_shown():
    runs = [*many(2000, 20, sigma=0.5), *(made(f"wrong-{k}", "backend_1", "failed", message=str(k)) for k in range(30))]
    started = time.process_time()
    html = together(*runs)._repr_html_()
    assert time.process_time() - started < 2
    assert len(html) < 500_000
    page = Page(html)
    assert {"wrong-0", "wrong-29", "Not shown: 1970 more cases.", "Not shown: 10 more."} <= set(page.words)
