import json
import math

import pytest

from harness.results import Limit
from reports.charts import COLORS, DASHES, HIGHEST, LOWEST, MOST_POINTS, as_script_json, charts_script, sigma_chart


def rows_of(chart):
    return chart["layer"][0]["data"]["values"]


def scale_of(chart, channel):
    series = chart["layer"][0]
    encoding = series["encoding"] | series["layer"][0]["encoding"]
    return encoding[channel]["scale"]


def limits_of(chart):
    return [layer["data"]["values"][0]["limit"] for layer in chart["layer"][1:] if layer["mark"]["type"] == "rule"]


def test_runs_without_numbers_have_no_chart(make_run):
    assert sigma_chart([make_run(status="unsupported", message="no")], ["torch_lstm"]) is None
    assert sigma_chart([], []) is None


def test_final_states_alone_have_no_chart(make_run):
    assert sigma_chart([make_run(sigma={"h_n": [1.0], "c_n": [2.0]})], ["torch_lstm"]) is None


def test_a_timestep_shows_its_worst_tensor(make_run):
    run = make_run(sigma={"c": [1.0, 2.0], "h": [3.0, 0.5], "h_n": [9.0]})
    found = [(row["t"], row["sigma"], row["tensor"]) for row in rows_of(sigma_chart([run], ["torch_lstm"]))]
    assert found == [(0, 3.0, "h"), (1, 2.0, "c")]


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("tensors", [("c", "h"), ("h", "c")])
def test_what_cannot_be_compared_is_the_worst_and_drawn_at_the_top(make_run, value, tensors):
    run = make_run(sigma={tensors[0]: [1.0, value], tensors[1]: [1.0, 1e9]})
    chart = sigma_chart([run], ["torch_lstm"])
    assert rows_of(chart)[1]["sigma"] == HIGHEST
    assert rows_of(chart)[1]["tensor"] == tensors[0]
    assert rows_of(chart)[1]["text"] == str(value)
    assert scale_of(chart, "y")["domain"][1] == HIGHEST


def test_zero_is_drawn_at_the_bottom_of_a_log_scale(make_run):
    chart = sigma_chart([make_run(sigma={"h": [0.0, 1e-30]})], ["torch_lstm"])
    assert [(row["sigma"], row["text"]) for row in rows_of(chart)] == [(LOWEST, "0"), (LOWEST, "1e-30")]
    assert scale_of(chart, "y")["domain"][0] == LOWEST


@pytest.mark.parametrize(("worst", "top"), [(0.5, 100), (99.0, 100), (101.0, 1000), (1e9, HIGHEST)])
def test_the_scale_ends_at_the_power_of_ten_above_all(make_run, worst, top):
    chart = sigma_chart([make_run(sigma={"h": [0.5, worst]})], ["torch_lstm"])
    assert scale_of(chart, "y")["domain"][1] == pytest.approx(top)


def test_the_limit_is_drawn_once(make_run):
    chart = sigma_chart([make_run(backend=name, sigma={"h": [1.0, 2.0]}) for name in "ab"], ["a", "b"])
    assert limits_of(chart) == [10.0]


def test_no_limit_is_drawn_where_rtol_and_atol_judge(make_run):
    run = make_run(sigma={"h": [1.0, 2.0]}, limit=Limit("case", rtol=1e-5, atol=1e-6))
    chart = sigma_chart([run], ["torch_lstm"])
    assert limits_of(chart) == []
    assert len(rows_of(chart)) == 2


@pytest.mark.parametrize("limit", [0.0, 1e9, math.inf])
def test_a_limit_beyond_the_edges_is_not_drawn(make_run, limit):
    run = make_run(sigma={"h": [1.0, 2.0]}, limit=Limit("option", sigma=limit))
    assert limits_of(sigma_chart([run], ["torch_lstm"])) == []


def test_a_backend_looks_the_same_in_every_chart(make_run):
    backends = ["a", "b", "c"]
    whole = sigma_chart([make_run(backend=name, sigma={"h": [1.0, 2.0]}) for name in backends], backends)
    part = sigma_chart([make_run(backend="c", sigma={"h": [1.0, 2.0]})], backends)
    for channel in ("color", "strokeDash"):
        assert scale_of(whole, channel)["domain"] == backends
        assert scale_of(part, channel) == {"domain": ["c"], "range": scale_of(whole, channel)["range"][2:]}


def test_forty_backends_look_different():
    assert len({(COLORS[n % len(COLORS)], str(DASHES[n % len(DASHES)])) for n in range(40)}) == 40


def test_one_timestep_is_points_side_by_side(make_run):
    chart = sigma_chart([make_run(backend=name, sigma={"h": [1.0]}) for name in "ab"], ["a", "b"])
    assert [layer["mark"]["type"] for layer in chart["layer"][0]["layer"]] == ["circle"]
    assert scale_of(chart, "xOffset")["domain"] == ["a", "b"]


def test_a_long_line_keeps_its_peaks(make_run):
    T, peak = 7 * MOST_POINTS + 3, 4567
    sigma = [1.0] * T
    sigma[peak] = 321.0
    rows = rows_of(sigma_chart([make_run(sigma={"h": sigma})], ["torch_lstm"]))
    assert len(rows) <= MOST_POINTS
    assert [row["t"] for row in rows if row["sigma"] == 321.0] == [peak]
    assert rows == sorted(rows, key=lambda row: row["t"])


def test_a_short_line_keeps_every_point(make_run):
    rows = rows_of(sigma_chart([make_run(sigma={"h": [1.0] * MOST_POINTS})], ["torch_lstm"]))
    assert [row["t"] for row in rows] == list(range(MOST_POINTS))


def test_json_in_a_script_cannot_end_it(hostile_text):
    value = {hostile_text: [hostile_text, "<!--", "\u2028", "\ud800"]}
    text = as_script_json(value)
    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text) == value


def test_json_in_a_script_has_no_number_that_is_none():
    with pytest.raises(ValueError, match="JSON compliant"):
        as_script_json(math.nan)


def test_the_script_of_the_page_cannot_end_itself():
    script = charts_script()
    assert 'getElementById("charts")' in script
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "\r" not in script
