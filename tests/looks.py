"""How a page can be looked at: in light or dark colours, in a wide or a narrow window."""

from __future__ import annotations

from typing import Any

import pytest


def looks() -> list[Any]:
    """Cases to parametrise ``dark`` and ``width`` with: the suite tries each of the four once, not every pair."""
    names = {False: "light", True: "dark"}
    return [
        pytest.param(dark, width, id=f"{names[dark]}-{width}", marks=() if dark == (width == 420) else pytest.mark.slow)
        for dark in names
        for width in (1400, 420)
    ]
