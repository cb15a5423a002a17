"""What `qetl check` finds in the files that `sls` reads: each service's function.yml, and serverless.yml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qualtrics_etl.catalogue import KINDS, Kind
from qualtrics_etl.deployment.locks import BASE, lock_name
from qualtrics_etl.deployment.package import layer_names, layer_ref, name_clashes
from qualtrics_etl.deployment.target import SERVERLESS_FILE
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.messages import FilePosted
from qualtrics_etl.workflow import Workflow
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

# The ways in which a function.yml names a service: parameters of Terraform's, workflow.yml, what is made from that.
_NAMED = re.compile(
    r"\$\{ssm:\$\{self:custom\.parameters\}/(\w+)/"
    r"|\$\{file\(workflow\.yml\):services\.(\w+)"
    r"|\$\{file\(serverless/\w+\.cjs\):(\w+)"
)
_SCHEDULES = "file(serverless/schedules.cjs)"
_LISTED = re.compile(r"\$\{file\(services/([^/()]+)/function\.yml\)\}")


def function_problems(root: Path, workflow: Workflow) -> Iterator[str]:
    """Yield what keeps a service's function from running that service on AWS; each names file, line and remedy."""
    try:
        serverless = read_yaml(root / SERVERLESS_FILE)
    except ConfigurationError as error:
        yield str(error)
        return
    for_all = layer_names(_at(serverless.data, ("provider", "layers")))
    for service in workflow.services:
        if (root / "services" / service / "function.yml").is_file():
            yield from _of_service(root, service, workflow, for_all)
        else:
            yield f"{_name(service)} does not exist. Copy it from another service and change the name."
    yield from _of_list(serverless, workflow)
    yield from _of_layers(root, serverless, workflow)


def _of_service(root: Path, service: str, workflow: Workflow, for_all: list[str]) -> Iterator[str]:
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
    yield from _wrong_layers(file, service, workflow.services[service].step, for_all)
    yield from _missing_route(file, service, workflow.services[service].step)
    if workflow.services[service].schedule is not None and f"{_SCHEDULES}:{service}}}" not in "".join(
        text for _, text in _texts(function, ())
    ):
        line = file.line_of(service, "events")
        yield (
            f"{_name(service)}:{line}: it has no event for the service's schedule: nothing would start it. Add"
            f" `- schedule: {{name: '${{self:custom.prefix}}-{service.replace('_', '-')}',"
            f" rate: ['${{{_SCHEDULES}:{service}}}']}}` to `events`."
        )


def _missing_route(file: YamlFile, service: str, kind: Kind) -> Iterator[str]:
    """Yield what keeps POSTs from a service that takes them: the path is part of what the client signs."""
    if kind.starts_on is not FilePosted:
        return
    events = _at(file.data, (service, "events"))
    routes = [each.get("httpApi") for each in events if isinstance(each, dict)] if isinstance(events, list) else []
    if {"method": "POST", "path": f"/{service}"} not in routes:
        line = file.line_of(service, "events")
        yield (
            f"{_name(service)}:{line}: it has no event for POSTs: nothing would start it. Add"
            f" `- httpApi: {{method: POST, path: /{service}}}` to `events`."
        )


def _wrong_values(file: YamlFile, service: str) -> Iterator[str]:
    """Yield what is not this service's own among the values that are fixed."""
    wanted = {
        ("handler",): f"services/{service}/handler.handler",
        ("environment", "QETL_SERVICE"): service,
        ("package", "artifact"): f"${{param:build}}/functions/{service}.zip",
    }
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


def _wrong_layers(file: YamlFile, service: str, kind: Kind, for_all: list[str]) -> Iterator[str]:
    """Yield what is wrong between the layers that a function takes and those that its kind of step needs."""
    given = file.data[service].get("layers")
    taken = for_all if given is None else layer_names(given)
    needed = [BASE] if kind.extra is None else [BASE, kind.extra]
    where = f"{_name(service)}:{file.line_of(service, 'layers')}"
    for layer in needed:
        if layer not in taken:
            all_needed = ", ".join(f"{{Ref: {layer_ref(each)}}}" for each in needed)
            yield f"{where}: it takes no layer `{layer}`, which its kind needs. Write `layers: [{all_needed}]`."
    for layer in taken:
        kinds = [each.name for each in KINDS.values() if each.extra == layer]
        if kinds and layer not in needed:
            yield (
                f"{where}: it takes the layer `{layer}`, which only kind {', '.join(kinds)} needs."
                f" Delete `Ref: {layer_ref(layer)}`."
            )


def _of_layers(root: Path, file: YamlFile, workflow: Workflow) -> Iterator[str]:
    """Yield what is wrong between the layers of serverless.yml, those that functions take, and the locks."""
    found = _at(file.data, ("layers",))
    defined: dict[str, Any] = found if isinstance(found, dict) else {}
    where = f"{SERVERLESS_FILE}:{file.line_of('layers')}"
    for layer, services in _takers(root, workflow).items():
        if layer not in defined:
            yield (
                f"{where}: `layers` does not define `{layer}`, which {', '.join(services)} needs."
                " Copy a layer, and change its name and its artifact."
            )
    for layer, given in defined.items():
        artifact = f"${{param:build}}/layers/{layer}.zip"
        if _at(given, ("package", "artifact")) != artifact:
            line = file.line_of("layers", layer, "package", "artifact")
            yield f"{SERVERLESS_FILE}:{line}: the layer `{layer}` is not what is built. Write `artifact: {artifact}`."
        if not (root / lock_name(layer)).is_file():
            lock, line = lock_name(layer), file.line_of("layers", layer)
            yield (
                f"{SERVERLESS_FILE}:{line}: the layer `{layer}` is made from {lock}, which does not exist."
                f" Write {Path(lock).stem}.in and run `make lock`."
            )
    yield from name_clashes(workflow, defined)


def _takers(root: Path, workflow: Workflow) -> dict[str, list[str]]:
    """Return the services that need a layer, by kind or by their function.yml; by layer."""
    takers: dict[str, list[str]] = {BASE: list(workflow.services)}
    for service, given in workflow.services.items():
        try:
            function = read_yaml(root / _name(service)).data
        except ConfigurationError:
            function = None  # told already
        for layer in {given.step.extra, *layer_names(_at(function, (service, "layers")))} - {None, BASE}:
            takers.setdefault(str(layer), []).append(service)
    return dict(sorted(takers.items()))


def _of_list(file: YamlFile, workflow: Workflow) -> Iterator[str]:
    """Yield what is wrong between the functions of serverless.yml and the services of workflow.yml."""
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
