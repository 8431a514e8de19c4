"""What GitHub shows of a step: its summary, and annotations."""

from __future__ import annotations

import re

import pytest
from made_results import EXPLAINED, HOSTILE, made, many, together
from msgspec.structs import replace

from lockstep.harness.cli.main import main
from lockstep.harness.output.github import (
    MOST_ANNOTATIONS,
    MOST_SUMMARY_BYTES,
    annotation_commands,
    summary_markdown,
    write_summary,
)

PORT = "def port(x, weights, h0, c0, lengths=None):\n    raise ValueError('out: of, luck 100%')\n"
COMMAND = re.compile(r"::(error|warning) (?:file=([^,:]+),line=(\d+),)?title=([^,:]*)::([^\n\r]*)")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of somebody's, in which a step of a workflow runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as exited:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return exited.value.code, out, err


def test_a_check_annotates_the_function_of_the_port_and_adds_to_the_summary(checkout, capsys):
    (checkout / "src").mkdir()
    (checkout / "src" / "my lstm.py").write_text(f"import math\n\n\n{PORT}")
    (checkout / "summary.md").write_text("Another step was here.\n")
    status, out, _ = command(
        capsys, "check", "src/my lstm.py:port", "--case", "ones", "--case", "tiny", "--case", "square", "--github"
    )
    assert status == 3
    found = [COMMAND.fullmatch(line) for line in out.splitlines() if line.startswith("::error")]
    assert len(found) == 1  # one cause at one place is one annotation
    _, file, line, title, message = found[0].groups()
    assert (file, line) == ("src/my lstm.py", "4")
    assert re.fullmatch("Lockstep%3A port failed in [a-z]+ and 2 more", title)
    assert "ValueError" in message
    assert "100%25" in message
    assert "%0A" in message
    assert "The same in: " in message
    text = (checkout / "summary.md").read_text()
    assert text.startswith("Another step was here.\n## Lockstep: 3 runs: 3 failed\n")
    assert "| ones | **failed** |" in text


def test_a_run_annotates_case_files_and_leaves_out_what_is_not_in_the_checkout(checkout):
    (checkout / "mine.toml").touch()
    runs = [made("mine", "a", "diverge", sigma=790.0, diagnosis=[EXPLAINED]), made("ones", "a", "crashed", message="!")]
    mine, ones = annotation_commands(replace(together(*runs), files={"mine": "mine.toml", "ones": "/else/ones.toml"}))
    assert mine.startswith("::error file=mine.toml,line=1,title=Lockstep%3A a diverges in mine::")
    assert "%0A  Why: The state is not carried. [state-reset]" in mine
    assert ones.startswith("::error title=Lockstep%3A a crashed in ones::")


def test_agreement_and_what_is_unsupported_annotate_nothing():
    assert annotation_commands(together(made("ones", "a", sigma=0.5), made("ones", "b", "unsupported"))) == []
    (nothing,) = annotation_commands(together(made("ones", "b", "unsupported", message="not for it")))
    assert "nothing could be compared::b, unsupported: not for it (ones)" in nothing


def test_known_findings_are_warnings_once_for_each():
    runs = [made(case, "flax_nnx", "diverge", sigma=1e9, known="flax-length-0") for case in ("a", "b")]
    (warning,) = annotation_commands(together(*runs))
    assert warning.startswith("::warning title=")
    assert "flax_nnx in a, b. More: lockstep findings flax-length-0" in warning


def test_github_shows_ten_annotations_so_the_last_counts_the_rest_and_no_backend_hides_another():
    runs = [made(f"c{k}", "all_wrong", "failed", message=str(k)) for k in range(30)]
    runs.append(made("c3", "other", "failed", message="once"))
    found = annotation_commands(together(*runs))
    assert len(found) == MOST_ANNOTATIONS
    assert "other failed in c3" in found[1]
    assert "Lockstep%3A 22 more" in found[-1]


def test_hostile_text_stays_text():
    run = made(HOSTILE, HOSTILE, "failed", message=HOSTILE, stderr="````\n```\n::error::no")
    (only,) = annotation_commands(together(run))
    assert COMMAND.fullmatch(only)
    text = summary_markdown(together(run))
    text.encode()
    assert "<script>" not in re.sub(
        r"`{5}text\n.*?\n`{5}\n", "", text, flags=re.DOTALL
    )  # a fence longer than any inside
    assert "\x1b" not in text
    row = next(line for line in text.splitlines() if line.startswith("| \\`x"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_a_summary_stays_below_a_mebibyte_and_says_what_is_left_out(tmp_path):
    wrong = [made(f"c{k}", "b", "failed", message=f"{k} " + "é" * 19_000) for k in range(100)]
    text = summary_markdown(together(*wrong))
    assert 0.9 * MOST_SUMMARY_BYTES < len(text.encode()) < MOST_SUMMARY_BYTES
    assert re.search(r"\*\*\d+ parts left out: GitHub shows at most 1 MiB", text)
    file = tmp_path / "summary.md"
    file.write_bytes(b"x" * (MOST_SUMMARY_BYTES - 40_000))
    write_summary(together(*wrong), file)
    write_summary(together(*wrong), file)
    assert MOST_SUMMARY_BYTES - 40_000 < file.stat().st_size < MOST_SUMMARY_BYTES


def test_a_large_table_shows_what_is_wrong_and_counts_the_rest():
    runs = [*many(500, 3, sigma=0.5), made("last", "backend_1", "diverge", sigma=99.0)]
    text = summary_markdown(together(*runs))
    assert "| last |  | **diverge 99** |  |" in text
    assert "Not shown: 401 more cases." in text


def test_outside_a_workflow_it_is_a_wrong_request_before_anything_runs(capsys, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    status, out, err = command(capsys, "run", "ones", "--backend", "numpy_loop", "--github")
    assert status == 2
    assert "GITHUB_STEP_SUMMARY is not set" in err
    assert out == ""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/nowhere/summary.md")
    status, _, err = command(capsys, "run", "ones", "--backend", "numpy_loop", "--github")
    assert status == 2
    assert "/nowhere/summary.md" in err


def test_what_is_printed_cannot_give_commands_and_saved_results_can_be_summed_up(checkout, capsys):
    status, out, _ = command(
        capsys, "run", "ones", "--backend", "numpy_loop", "--github", "--limit", "0.001", "--json", "r.json"
    )
    assert status == 1
    first, *_, last = (line for line in out.splitlines() if not line.startswith("::error"))
    assert last == f"::{first.removeprefix('::stop-commands::')}::"
    (checkout / "summary.md").unlink()
    status, out, _ = command(capsys, "report", "r.json", "--github", "--sarif", "r.sarif")
    assert status == 0
    assert out.startswith("::error title=")
    assert "1 diverge" in (checkout / "summary.md").read_text()
    assert (checkout / "r.sarif").exists()
    assert not (checkout / "lockstep-report").exists()
