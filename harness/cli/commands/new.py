"""Write a file to begin from: a port, a case, a backend, or a shipped example.

``lockstep new``: they run as they are written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App

from lockstep.harness.cli.argument import Argument, for_cyclopts
from lockstep.harness.errors import LockstepError, unknown
from lockstep.harness.output.console import console_beside, say

new = App(name="new", help=(__doc__ or "").partition("\n")[0])
PLACE = "YOUR LSTM HERE"  # stands once in the template of a port, where the user's own goes
EXAMPLES = "cases/ports/"  # the folder in which the examples tell of themselves
PROGRAMS = {"c": "c", "rust": "rs", "js": "js"}  # languages of examples that are programs, and the ending of each
# What a file says is to be run, between backquotes or alone on its line.
_COMMAND = re.compile(r"(?:gcc|rustc|lockstep (?:check|run|variables)) [^`\n]+")


def _installed(pattern: str) -> dict[str, Path]:
    from lockstep.harness.cases.find import installed

    return installed(pattern)


def _templates(kind: str) -> dict[str, Path]:
    """The templates of a kind by the rest of their names: torch_plain, for example."""
    return {stem.removeprefix(f"{kind}_"): path for stem, path in _installed(f"templates/{kind}_*.*").items()}


FormOption = Annotated[
    str,
    Argument(
        completer=lambda context: dict.fromkeys(_templates("case"), ""),
        help="What is asked of it: plain (one layer, one direction), network (layers and directions), gradients or "
        "decoder (with attention).",
    ),
]


@new.command
@for_cyclopts
def port(
    file: Annotated[Path, Argument(help="The file to write, for example my_lstm.py.")],
    *,
    source: Annotated[
        str,
        Argument(
            name="--from",
            help="What your code is written in: torch, keras, tf1, jax or numpy; c, rust or js for a program.",
        ),
    ] = "numpy",
    form: FormOption = "plain",
) -> int:
    """Write a port that agrees as it stands, with one place marked for your own LSTM."""
    programs = {f"{name}_plain": _installed(f"ports/lstm.{ending}")["lstm"] for name, ending in PROGRAMS.items()}
    template = _chosen(_templates("port") | programs, source, form)
    written = _from_template(file, template.suffix, template)
    _tell(f'It agrees as it stands. Put your LSTM where {written} says "{PLACE}", then:', written.read_text("utf-8"))
    return 0


@new.command
@for_cyclopts
def case(
    file: Annotated[Path, Argument(help="The file to write, for example my-sizes.toml.")],
    *,
    form: FormOption = "plain",
) -> int:
    """Write a case file, to put your own sizes into."""
    templates = _templates("case")
    if form not in templates:
        raise LockstepError(f"--form: {unknown('form', form, templates)}")
    written = _from_template(file, ".toml", templates[form])
    _tell(f"It runs as it stands. Put your sizes into {written}, then:", written.read_text("utf-8"))
    return 0


@new.command
@for_cyclopts
def backend(
    folder: Annotated[Path, Argument(help="The folder to write; its name is the backend's, for example my_lstm.")],
) -> int:
    """Write a package that offers a backend, ready to be installed."""
    from lockstep.harness.adapters.backend import find_backends

    name = folder.name
    if not name.isidentifier():
        raise LockstepError(f"{folder}: its name is to be that of a Python module: letters, digits and underscores.")
    if any(backend.name == name for backend in find_backends()):
        raise LockstepError(f'a backend is called "{name}" already: choose another name.')
    texts = {
        folder / path.name.replace("my_lstm", name): _read(path).replace("my_lstm", name).replace("my-lstm", name)
        for path in _installed("templates/backend/*.*").values()
    }
    _write(texts)
    package = folder if folder.is_absolute() else f"./{folder}"
    _tell(
        f"It runs as it stands. Put your LSTM into {folder / name}.py, then:",
        f"lockstep run --backend {name}",
        before=f"pip install {package}",
    )
    return 0


@new.command
@for_cyclopts
def example(
    name: Annotated[
        str | None,
        Argument(completer=lambda context: dict.fromkeys(_examples(), ""), help="The example. Default: list all."),
    ] = None,
    folder: Annotated[Path, Argument(help="The folder to write it into.")] = Path(),
) -> int:
    """Write a shipped example, a port that is wrong or one that is right, with the files that it needs."""
    examples = _examples()
    if name is None:
        for stem, path in examples.items():
            say(console_beside(), f"{stem}: {_summary(path)}")
        return 0
    name = name.removesuffix(".py")
    if name not in examples:
        raise LockstepError(unknown("example", name, examples))
    text = _read(examples[name])
    # What it imports, or names by its file, stands beside it.
    needed = [
        path
        for stem, path in _installed("ports/*.*").items()
        if stem == name or re.search(rf"^import {stem}\b", text, re.MULTILINE) or f"{EXAMPLES}{stem}.toml" in text
    ]
    where = "" if folder == Path() else f"{folder.as_posix()}/"
    _write({folder / path.name: _read(path).replace(EXAMPLES, where) for path in needed})
    _tell(_summary(examples[name]), text.replace(EXAMPLES, where))
    return 0


def _chosen(templates: Mapping[str, Path], source: str, form: str) -> Path:
    """The template of a port by what it is written in, and by its form."""
    offered = [(name.partition("_")[0], name.partition("_")[2]) for name in templates]
    sources, forms = (list(dict.fromkeys(words)) for words in zip(*offered, strict=True))
    if source not in sources:
        raise LockstepError(f"--from: {unknown('framework', source, sources)}")
    if form not in forms:
        raise LockstepError(f"--form: {unknown('form', form, forms)}")
    if (source, form) not in offered:
        raise LockstepError(
            f"--from {source} --form {form}: there is none. "
            f"From {source} there are: {', '.join(form for framework, form in offered if framework == source)}. "
            f"With {form} there are: {', '.join(framework for framework, offer in offered if offer == form)}."
        )
    return templates[f"{source}_{form}"]


def _examples() -> dict[str, Path]:
    """The shipped ports by name, but for what others import."""
    return {stem: path for stem, path in _installed("ports/*.py").items() if "def port(" in _read(path)}


def _summary(path: Path) -> str:
    """The first line of a file's docstring."""
    return _read(path).partition('"""')[2].partition("\n")[0]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _from_template(file: Path, ending: str, template: Path) -> Path:
    """Write a template under a name of the user's, to which an ending is added that it lacks."""
    if file.suffix != ending:
        file = file.parent / f"{file.name or 'lstm'}{ending}"
    # In its text, which tells the command that runs it, the template goes by its own name.
    text = _read(template).replace(EXAMPLES, "")
    if template.suffix != ".py":  # what it is compiled to is called ./lstm
        compiled = file.with_suffix("").as_posix()
        text = text.replace("./lstm", shlex.quote(compiled if file.is_absolute() else f"./{compiled}"))
    text = text.replace(template.name, shlex.quote(file.as_posix()))
    _write({file: text})
    return file


def _write(texts: Mapping[Path, str]) -> None:
    """Write files where none is yet.

    Raises:
        LockstepError: If one exists, or cannot be written.
    """
    try:
        for file in texts:
            if file.exists():
                raise LockstepError(f"{file} exists already, and is not overwritten: choose another name.")
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written: {error.strerror or error}.") from error


def _tell(sentence: str, text: str, before: str | None = None) -> None:
    """Print what was written, and the commands that are to be run next, which the text of a file tells."""
    commands = [before] if before else []
    for line in [sentence, *(f"  {command}" for command in [*commands, *dict.fromkeys(_COMMAND.findall(text))])]:
        say(console_beside(), line)
