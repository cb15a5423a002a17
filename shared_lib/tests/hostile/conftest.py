"""The place of the steps' own tests: what is hostile reaches the library there as it does in life."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _place_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "place_of_hostile", Path(__file__).parents[1] / "steps" / "conftest.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


_module = _place_module()
place, client, host_key = _module.place, _module.client, _module.host_key
poster = _module.poster
