"""Why a converter or runtime gave nothing, in one sentence: of what it raised, the part that tells what was found.

Runtimes wrap that into where their own source has a check, and the stack that led there. What matches none of these
forms is told by its first line. The forms are those of the versions in ``constraints.txt``.
"""

from __future__ import annotations

import re

from lockstep.harness.adapters.user_code import text_of

_MOST_READ, _MOST_TOLD = 4000, 300  # characters
# Lines that say where a check stands, before that which says what was found.
_PREAMBLE = re.compile(r"Check '.*' failed at .*|FrontEnd API failed with .*|.*detailed log:")
_OPENCV = re.compile(r"error: \(-?\d+:(?P<kind>[^)]*)\) (?P<told>.*?)\s*in function '(?P<function>\w+)'", re.DOTALL)
_OPENCV_NODE = re.compile(r"Node \[(?P<operator>\w+)@[\w.]+\]:\((?:onnx_node!)?(?P<name>[^)]*)\)")
_CAUSES = re.compile(r"\n\s*Caused by:\n(?P<causes>.+?)(?:\n\s*\n|\Z)", re.DOTALL)  # as Rust's anyhow lists them
_COMPILER = re.compile(r":\d+:\d+: error: (?P<told>[^\n]*)")  # as LLVM's tools print it
_OPERATOR = re.compile(r'name = "(?P<operator>onnx\.\w+)"')
_SOURCE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |/\S+\.(?:h|cc|cpp):\d+ \S+ \S+\(.*?\) (?=\S)")


def reason_of(error: BaseException) -> str:
    """What was raised, and what it says was found."""
    text = text_of(error, _MOST_READ).strip()
    told = _of_opencv(text) or _of_causes(text) or _of_compiler(text) or _of_lines(text) or "no message"
    kind = type(error).__name__
    return f"{'cv2.error' if kind == 'error' else kind}: {' '.join(told.split())[:_MOST_TOLD].rstrip(' .:')}"


def _of_opencv(text: str) -> str:
    checks = list(_OPENCV.finditer(text))
    if not checks:
        return ""
    check, node = checks[-1], _OPENCV_NODE.search(text)
    where = f" of {node['operator']} node {node['name']}" if node else ""
    told = check["told"].removesuffix(">").strip() or check["kind"]
    kind = f"{check['kind'].lower()}: " if told != check["kind"] else ""
    return f"{kind}{told}, in {check['function']}{where}"


def _of_causes(text: str) -> str:
    found = _CAUSES.search(text)
    if found is None:
        return ""
    causes = [re.sub(r"^\d+: ", "", line.strip()) for line in found["causes"].splitlines()]
    return f"{text.partition(chr(10))[0]}: {causes[-1]}"


def _of_compiler(text: str) -> str:
    found = _COMPILER.search(text)
    if found is None:
        return ""
    operator = _OPERATOR.search(found["told"])
    told = found["told"].partition(": %")[0]
    return f"{told}: {operator['operator']}" if operator else told


def _of_lines(text: str) -> str:
    lines = (_SOURCE.sub("", line.strip()) for line in text.splitlines())
    return next((line for line in lines if line and not _PREAMBLE.fullmatch(line)), text.partition("\n")[0])
