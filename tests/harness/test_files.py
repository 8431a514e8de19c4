"""Files that are written beside the old one and renamed: whatever happens, one of the two is there as a whole."""

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from lockstep.harness.cases import array_file
from lockstep.harness.errors import LockstepError
from lockstep.harness.files import check_folder, check_replaceable, replacing, write_whole
from lockstep.harness.output.write_results import check_writable, write_html, write_json
from lockstep.harness.weights import convert as conversion
from lockstep.harness.weights.convert import convert_file, find_dialect
from lockstep.reports import html
from tests.made_results import made, together


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "new folder" / "r.json"
    write_whole(file, b"old")

    def interrupted():
        with replacing(file) as beside:
            beside.write_bytes(b"ne")
            assert beside.parent == file.parent  # of one file system, or it could not be renamed
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (file.read_bytes(), names(file.parent)) == (b"old", ["r.json"])
    write_whole(file, b"new")
    assert (file.read_bytes(), names(file.parent)) == (b"new", ["r.json"])


def test_links_and_rights_stay(tmp_path):
    file, link = tmp_path / "r.json", tmp_path / "link.json"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    check_replaceable(pipe)  # does not wait for a reader
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"through it")
    reader.join(10)
    assert heard == [b"through it"]
    opened = tmp_path / "opened"
    with opened.open("wb") as file:  # as a shell does for: --json /dev/stdout > opened
        write_whole(Path(f"/proc/self/fd/{file.fileno()}"), b"to who has it open")
        assert opened.stat().st_ino == os.fstat(file.fileno()).st_ino


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file/r.json", "file: cannot be written to: "),
        ("file", None),
        ("folder", "folder: cannot be written to: Is a directory."),
        ("a" * 300, "a: cannot be written to: File name too long."),
    ],
)
def test_what_cannot_be_written_is_told_before_a_run_and_touches_nothing(path, message, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    if message is None:
        check_writable(tmp_path / path)
    else:
        with pytest.raises(LockstepError, match=message):
            check_writable(tmp_path / path)
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_or_file_without_the_right_to_write_is_told(tmp_path):
    file = tmp_path / "r.json"
    file.write_bytes(b"old")
    file.chmod(0o400)
    with pytest.raises(PermissionError):
        check_replaceable(file)
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        check_folder(tmp_path)


def test_a_disk_that_is_full_is_one_message_and_leaves_the_old_results(tmp_path, monkeypatch):
    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device", str(path))

    file = tmp_path / "r.json"
    write_json({"old": True}, file)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LockstepError, match="cannot be written to: No space left on device"):
        write_json({"new": True}, file)
    assert (file.read_text(), names(tmp_path)) == ('{"old":true}', ["r.json"])


def test_a_report_that_is_interrupted_leaves_all_old_pages(tmp_path, monkeypatch):
    results = together(made("a", "x"), made("b", "x"))
    write_html(results, tmp_path, details=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.html")}
    assert len(before) == 3
    whole = html.case_page_data

    def interrupted(results, case):
        if case == "b":
            raise KeyboardInterrupt
        return whole(results, case)

    monkeypatch.setattr(html, "case_page_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_html(together(made("other", "x"), made("b", "x")), tmp_path, details=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_arrays_that_are_half_written_leave_the_old_ones(suffix, tmp_path, monkeypatch):
    def half(first, second=None, *_, **__):
        path = first if isinstance(first, Path) else second
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    weights, out = tmp_path / "weights.npz", tmp_path / f"out{suffix}"
    shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    np.savez(weights, **{name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    convert_file(weights, find_dialect("torch"), find_dialect("keras"), out)
    before = out.read_bytes()
    monkeypatch.setattr(array_file, "save_file", half)
    monkeypatch.setattr(conversion.np, "savez", half)
    with pytest.raises(LockstepError, match="cannot be written: No space left"):
        convert_file(weights, find_dialect("torch"), find_dialect("tf1"), out)
    assert (out.read_bytes(), names(tmp_path)) == (before, sorted([f"out{suffix}", "weights.npz"]))
