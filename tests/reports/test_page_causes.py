import numpy as np
import pytest
from big_results import big_results
from msgspec.structs import replace
from report_results import every_status, make_results, make_run

from lockstep.harness.cases.tensors import BACKWARD, kind_of
from lockstep.harness.comparison.details import packed, unpacked
from lockstep.harness.comparison.results import First, Source
from lockstep.reports.page_causes import AFTER, APART, BEFORE, where_text
from lockstep.reports.page_data import page_data
from lockstep.reports.page_tables import checked_by, tables_of

WRONG = [1.0, 50.0]


def example(data, cause):
    case = data["cases"][cause["case"]]
    return case, next(run for run in case["runs"] if run["b"] == cause["b"])


def test_every_wrong_run_belongs_to_one_cause_and_causes_count_their_runs():
    data = page_data(big_results(12, 6, 20))
    runs = [run for case in data["cases"] for run in case["runs"]]
    for k, cause in enumerate(data["causes"]):
        of_cause = [run for run in runs if run.get("cause") == k]
        assert cause["runs"] == len(of_cause)
        assert cause["kind"] in {"known", *(run["status"] for run in of_cause)}
        assert example(data, cause)[1]["cause"] == k
    for run in runs:
        assert ("cause" in run) == (run["status"] not in {"agree", "unsupported"})


def test_what_gave_no_numbers_has_the_reason_as_its_cause():
    data = page_data(every_status())
    assert {(cause["kind"], cause["name"]) for cause in data["causes"]} == {
        ("diverge", "not diagnosed"), ("failed", "ValueError: bad kernel"), ("crashed", "killed by SIGSEGV"),
        ("timeout", "no answer for 60 s"),
    }  # fmt: skip
    assert all("values" not in cause and "plot" not in cause for cause in data["causes"][1:])


@pytest.mark.parametrize(
    ("tensor", "told"),
    [("c", "timestep 1, cell state c"), ("h_l1_reverse", "timestep 1, hidden state h_l1_reverse"),
     ("c_n", "final cell state c_n"), ("dW", "gradient dW"), ("dx", "timestep 1, gradient dx"),
     ("scores", "timestep 1, scores")],
)  # fmt: skip
def test_where_it_shows_is_told_in_words(tensor, told):
    assert where_text(replace(make_run(sigma={"h": WRONG}), first_divergence=First(tensor, 1))) == told


def test_a_plot_shows_what_was_observed_up_to_the_first_divergence():
    results = big_results(8, 6, 50)
    data = page_data(results)
    plots = 0
    for cause in data["causes"]:
        if "plot" not in cause:
            continue
        case, told = example(data, cause)
        run = next(
            run
            for run in results.runs
            if run.case == case["name"] and run.backend == data["backends"][told["b"]]["name"]
        )
        name = run.first_divergence.tensor
        first, detail, plot = run.tensors[name].first_divergence, run.details[name], cause["plot"]
        row = detail.at.index(tuple(first.at[1:]))
        expected, noise, error = (
            unpacked(text, len(detail.at))[row].astype(float) for text in (detail.expected, detail.noise, detail.error)
        )
        columns = [detail.t.index(t) for t in plot["t"]]
        np.testing.assert_allclose(plot["expected"], expected[columns], rtol=1e-6)
        np.testing.assert_allclose(plot["observed"], (expected + error * noise)[columns], rtol=1e-6)
        at = plot["t"].index(first.timestep)
        assert plot["first"] == first.timestep
        assert plot["observed"][at] == pytest.approx(first.observed, rel=1e-5)
        back = run.tensors[name].reverse != (kind_of(name) in BACKWARD)
        before, after = (AFTER, BEFORE) if back else (BEFORE, AFTER)
        assert at == min(before, first.timestep)
        assert len(plot["t"]) == min(at + after + 1, run.timesteps - plot["t"][0])
        difference = np.abs(np.subtract(plot["observed"], plot["expected"]))
        height = np.ptp([*plot["observed"], *plot["expected"]])
        assert ("difference" in plot) == (difference.max() < APART * height)
        plots += 1
    assert plots >= 2


def test_details_that_are_damaged_have_no_plot():
    results = big_results(8, 6, 20)
    runs = [
        replace(run, details={name: replace(detail, error=packed(np.zeros(3))) for name, detail in run.details.items()})
        for run in results.runs
    ]
    assert all("plot" not in cause for cause in page_data(replace(results, runs=runs))["causes"])


def test_each_source_is_there_once_and_causes_name_it():
    source, other = Source("a.py", 3, "def port(x):\n    return x"), Source("b.py", 1, "port = None")
    runs = [make_run(name, backend, sigma={"h": WRONG}, known=name) for name, backend in ("ap", "bp", "cq", "dr", "aq")]
    data = page_data(make_results(*runs, sources={"p": source, "q": other}))
    assert [entry["file"] for entry in data["sources"]] == ["a.py", "b.py"]
    assert [cause.get("also") for cause in data["causes"]] == [["b.py:1"], None, None, None]
    assert [cause.get("source") for cause in data["causes"]] == [0, 0, 1, None]


def test_tables_part_models_and_tests():
    results = big_results(3, 4, 5)
    infos = dict(results.cases)
    last = list(infos)[-1]
    infos[last] = replace(infos[last], model="attention_decoder")
    runs = [*results.runs, replace(results.runs[0], backend="port (tests/test_it.py::test_port[a b])")]
    cases, backends = ({name: k for k, name in enumerate(dict.fromkeys(names))} for names in zip(
        *((run.case, run.backend) for run in runs), strict=True
    ))  # fmt: skip
    tables = tables_of(replace(results, runs=runs, cases=infos), cases, backends)
    assert [(table["title"], table["form"], len(table["cases"]), len(table["backends"])) for table in tables] == [
        ("Tests", "tests", 1, 1), ("Layers", "matrix", 2, 4), ("Decoders", "matrix", 1, 4),
    ]  # fmt: skip


def test_names_of_tests_are_told_from_other_names():
    assert checked_by("port (tests/test_it.py::test_port[a b])") == {
        "port": "port",
        "test": "tests/test_it.py::test_port[a b]",
    }
    for name in ("torch_lstm", "torch 2.0", "model (a.onnx)", "port (x.py)"):
        assert checked_by(name) is None
