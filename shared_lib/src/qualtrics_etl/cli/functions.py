"""What `qetl check` finds in the files that a deploy reads: each service's function.yml, and serverless.yml's list."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.workflow import Workflow
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

SERVERLESS_FILE = "serverless.yml"

# The three ways in which a function.yml names a service: parameters of Terraform's, workflow.yml, concurrency.
_NAMED = re.compile(
    r"\$\{ssm:\$\{self:custom\.parameters\}/(\w+)/"
    r"|\$\{file\(workflow\.yml\):services\.(\w+)"
    r"|\$\{file\(serverless/maximum_concurrency\.cjs\):(\w+)"
)
_LISTED = re.compile(r"\$\{file\(services/([^/()]+)/function\.yml\)\}")


def function_problems(root: Path, workflow: Workflow) -> Iterator[str]:
    """Yield what keeps a service's function from running that service on AWS; each names file, line and remedy."""
    for service in workflow.services:
        if (root / "services" / service / "function.yml").is_file():
            yield from _of_service(root, service, scheduled=workflow.services[service].schedule is not None)
        else:
            yield f"{_name(service)} does not exist. Copy it from another service and change the name."
    if (root / SERVERLESS_FILE).is_file():
        yield from _of_list(root, workflow)


def _of_service(root: Path, service: str, *, scheduled: bool) -> Iterator[str]:
    try:
        file = read_yaml(root / _name(service))
    except ConfigurationError as error:
        yield f"services/{service}/{error}"
        return
    function = file.data.get(service) if isinstance(file.data, dict) and len(file.data) == 1 else None
    if not isinstance(function, dict):
        yield f"{_name(service)} does not define just one function `{service}`. Name it as its folder."
        return
    yield from _wrong_values(file, service)
    yield from _other_services(file, service)
    if scheduled and f"services.{service}.schedule}}" not in "".join(text for _, text in _texts(function, ())):
        line = file.line_of(service, "events")
        yield (
            f"{_name(service)}:{line}: it has no event for the service's schedule: nothing would start it. Add"
            f" `- schedule: {{rate: ['${{file(workflow.yml):services.{service}.schedule}}']}}` to `events`."
        )


def _wrong_values(file: YamlFile, service: str) -> Iterator[str]:
    """Yield what is not this service's own among the values that are fixed."""
    wanted = {("handler",): f"services/{service}/handler.handler", ("environment", "QETL_SERVICE"): service}
    for path, value in wanted.items():
        found = _at(file.data[service], path)
        if found != value:
            said = f"is `{found}`" if found is not None else "is missing"
            line = file.line_of(service, *path)
            yield f"{_name(service)}:{line}: `{'.'.join(path)}` {said}. Write `{path[-1]}: {value}`."


def _other_services(file: YamlFile, service: str) -> Iterator[str]:
    """Yield each value that reads what belongs to another service."""
    for path, text in _texts(file.data, ()):
        others = {name for match in _NAMED.finditer(text) for name in match.groups() if name} - {service}
        for other in sorted(others):
            line = file.line_of(*path)
            yield f"{_name(service)}:{line}: it reads what belongs to `{other}`. Write `{service}` in its place."


def _of_list(root: Path, workflow: Workflow) -> Iterator[str]:
    """Yield what is wrong between the functions of serverless.yml and the services of workflow.yml."""
    try:
        file = read_yaml(root / SERVERLESS_FILE)
    except ConfigurationError as error:
        yield str(error)
        return
    given = file.data.get("functions") if isinstance(file.data, dict) else None
    listed = Counter(name for _, text in _texts(given, ()) for name in _LISTED.findall(text))
    where = f"{SERVERLESS_FILE}:{file.line_of('functions')}"
    for service in workflow.services:
        entry = f"${{file({_name(service)})}}"
        if not listed[service]:
            yield f"{where}: `functions` does not list {service}: it would not be deployed. Add `- {entry}`."
        elif listed[service] > 1:
            yield f"{where}: `functions` lists {service} {listed[service]} times. Keep one `- {entry}`."
    for name in sorted(listed.keys() - workflow.services.keys()):
        yield f"{where}: `functions` lists {name}, which is no service of workflow.yml. Delete that entry."


def _texts(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every text below a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _at(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _name(service: str) -> str:
    return f"services/{service}/function.yml"
