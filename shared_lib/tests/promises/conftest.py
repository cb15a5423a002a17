"""The place of the steps' own tests: promises are held where the steps are tested."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _place_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("place_of_steps", Path(__file__).parents[1] / "steps" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


_module = _place_module()
place, with_slow_jobs, contacts = _module.place, _module.with_slow_jobs, _module.contacts
client, host_key, logged = _module.client, _module.host_key, _module.logged
poster = _module.poster
