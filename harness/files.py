"""Files that commands write: beside the old one, which they replace once they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what replaces ``path`` at the end of the ``with`` block; after an exception all is as it was.

    The folder is made if it is not there.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    if _is_stream(path):
        yield path
        return
    # Of the same suffix: some writers append theirs where it is missing.
    beside = target.with_name(f".lockstep-{os.urandom(8).hex()}{target.suffix}")
    try:
        yield beside
        if target.exists():
            _prepare(beside, target)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as a whole, or leave the old one."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def check_replaceable(path: Path) -> None:
    """Make sure that a file can be written, or replaced, without touching it; an OSError if not."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        target.stat()  # a name that is too long is heard of here
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if not _is_stream(path):
        check_folder(target.parent)


def check_folder(folder: Path) -> None:
    """Make sure that files can be made in a folder; an OSError if not."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _is_stream(path: Path) -> bool:
    """Whether a path leads to a device, a pipe, or what this process has open: these are written to, not replaced."""
    opened = any(Path(root) in path.absolute().parents for root in ("/dev", "/proc"))
    return path.exists() and (opened or not path.is_file())


def _prepare(beside: Path, target: Path) -> None:
    """Have a new file on the disk, with the rights of the one that it replaces: a power cut leaves one of them."""
    beside.chmod(target.stat().st_mode)
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
