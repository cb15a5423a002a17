"""Secrets on a developer's machine: environment variables, or values that a test or the engine gives."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.ports import Secrets


class EnvironmentSecrets(Secrets):
    """Secret `name` from the variable `QETL_SECRET_<NAME>`.

    Args:
        environment: Variables by name, usually `os.environ`; read at each `get`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @override
    def get(self, name: str) -> str:
        variable = f"QETL_SECRET_{name.upper()}"
        value = self._environment.get(variable)
        if not value:
            raise ConfigurationError(
                f"There is no secret {name}: the environment variable {variable} is not set.",
                remedy=f"Set it in your shell: `export {variable}=...`.",
            )
        return value


class FixedSecrets(Secrets):
    """Secrets by name, given once: for tests and for what the engine itself makes up."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    @override
    def get(self, name: str) -> str:
        value = self._values.get(name)
        if not value:
            raise ConfigurationError(
                f"There is no secret {name} among those given: {', '.join(sorted(self._values)) or 'none'}.",
                remedy=f"Give `{name}`, or take the secrets from the environment.",
            )
        return value
