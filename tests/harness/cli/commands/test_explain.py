"""``lockstep explain``: a dump, and two of them, as a user meets them."""

from __future__ import annotations

import json

import dumped
import numpy as np
import pytest
from dumped import lstm, torch_names

W, R, B_IH, B_HH = dumped.weights()
B = B_IH + B_HH
X = dumped.inputs()
H_SEQ, _ = lstm(X, W, R, B)
TORCH = torch_names(W, R, B_IH, B_HH)
WRONG = lstm(X, W, R, B, order="igfo")[0]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dump(name, **arrays):
    np.savez(name, **arrays)
    return name


def test_a_dump_that_is_right_is_told_as_it_was_read(lockstep):
    status, out, err = lockstep("explain", dump("mine.npz", inputs=X, out=H_SEQ, **TORCH))
    assert (status, err) == (0, "")
    assert out.startswith("mine.npz: weights as in PyTorch nn.LSTM and cuDNN: input_size 3, hidden_size 4.\n")
    assert "  inputs (5, 2, 3) taken for x, time first.\n" in out
    assert "  no h0 and no c0: they are taken to be zeros.\n" in out
    assert out.endswith("1 run: 1 agree\n")
    assert lockstep("explain", "mine.npz", "--quiet") == (0, "", "")


def test_a_dump_that_is_wrong_is_explained_and_reported(lockstep, folder):
    dump("mine.npz", x=X, out=WRONG, **TORCH)
    status, out, _ = lockstep("explain", "mine.npz", "--json", "r.json", "--html", "report", "--sarif", "s.json")
    assert status == 1
    assert 'mine.npz diverges at timestep 0 of 5 in case "mine".' in out
    assert "[WRb:read-as-igfo]" in out
    assert "Rerun: lockstep explain mine.npz\n" in out
    results = json.loads((folder / "r.json").read_text())
    assert results["runs"][0]["diagnosis"][0]["fault"] == "WRb:read-as-igfo"
    assert results["environment"]["dumps"][0]["file"] == "mine.npz"
    assert (folder / "report" / "index.html").is_file()
    assert lockstep("compare", "r.json")[0] == 1


def test_without_weights_it_says_what_to_dump(lockstep):
    status, out, err = lockstep("explain", dump("mine.npz", x=X, out=H_SEQ))
    assert (status, out) == (2, "")
    assert err.startswith(
        "lockstep: mine.npz: no weights, and without them nothing can be said of the outputs. It holds x"
    )
    for framework in ("PyTorch", "Keras", "TF1"):
        code = err.partition(f"  {framework}:\n")[2].partition("\n\n")[0].splitlines()
        assert len(code) == 3, framework
        compile("\n".join(line.strip() for line in code), framework, "exec")


def test_of_two_dumps_it_says_which_is_right_and_where_they_part(lockstep, folder):
    dump("ours.npz", x=X, out=WRONG, **TORCH)
    status, out, _ = lockstep("explain", "ours.npz", "--against", dump("theirs.npz", y=H_SEQ), "--json", "r.json")
    assert status == 1
    assert "theirs.npz: weights are those of ours.npz.\n  x of ours.npz.\n  y (5, 2, 4) taken for h_seq.\n" in out
    assert "[WRb:read-as-igfo]" in out
    assert "ours.npz and theirs.npz part at timestep 0 of 5, in h.\n  First: h[0, 0, " in out
    assert "theirs.npz is right, and ours.npz is not: it leaves the reference." in out
    parting = json.loads((folder / "r.json").read_text())["environment"]["partings"][0]
    assert parting["difference"]["first_divergence"] == {"tensor": "h", "timestep": 0, "backward": False}
    out = lockstep("explain", "theirs.npz", "--against", "ours.npz")[2]
    assert "theirs.npz: no weights" in out


def test_two_dumps_that_are_right_are_within_rounding_of_each_other(lockstep):
    dump("ours.npz", x=X, out=H_SEQ, **TORCH)
    dump("theirs.npz", inputs=X.swapaxes(0, 1), result=H_SEQ.swapaxes(0, 1) + np.float32(1e-8), W=W, R=R, b=B)
    status, out, _ = lockstep("explain", "ours.npz", "--against", "theirs.npz")
    assert status == 0
    assert "ours.npz and theirs.npz are within rounding of each other." in out
    assert "Both are right: ours.npz and theirs.npz agree with the reference." in out


def test_two_dumps_that_are_wrong_are_told_apart(lockstep):
    dump("ours.npz", x=X, out=WRONG, **TORCH)
    dump("theirs.npz", out=lstm(X, W, R, B_IH)[0])
    status, out, _ = lockstep("explain", "ours.npz", "--against", "theirs.npz")
    assert status == 1
    assert out.index("[WRb:read-as-igfo]") < out.index("[b_hh:left-out]")
    assert "Neither is right: ours.npz and theirs.npz both leave the reference." in out


def test_dumps_of_other_weights_are_not_held_against_each_other(lockstep):
    dump("ours.npz", x=X, out=H_SEQ, **TORCH)
    other = [*dumped.weights(seed=9)]
    theirs = lstm(X, other[0], other[1], other[2] + other[3])[0]
    dump("theirs.npz", x=X, out=theirs, **torch_names(*other))
    status, out, _ = lockstep("explain", "ours.npz", "--against", "theirs.npz")
    assert status == 0
    assert (
        "ours.npz and theirs.npz are not held against each other: the weights of theirs.npz are others: W: other "
        in out
    )
    assert out.count("are others") == 1
    dump("theirs.npz", x=2 * X, out=lstm(2 * X, W, R, B)[0])
    assert "the inputs of theirs.npz are others: x." in lockstep("explain", "ours.npz", "--against", "theirs.npz")[1]


def test_dumps_of_other_runs_are_refused(lockstep):
    dump("ours.npz", x=X, out=H_SEQ, **TORCH)
    dump("theirs.npz", x=np.stack([X, X]), out=np.stack([H_SEQ, H_SEQ]))
    status, _, err = lockstep("explain", "ours.npz", "--against", "theirs.npz")
    assert (status, err) == (2, "lockstep: theirs.npz: it holds 2 runs, and ours.npz holds 1.\n")
