"""The schema of Google's Terraform provider, from a package registry instead of Terraform's own.

The Python package of CDK Terrain for this provider holds, for each resource, a JavaScript class that was generated from
the provider's schema. The class says of every argument whether it is required and of what type it is. Nothing of it is
run: it is read as text. What it does not say are the provider's own checks of values.
"""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import grpc

PACKAGE, PACKAGE_VERSION, PROVIDER_VERSION = "cdktn-provider-google", "21.1.0", "8.7.0"
PACKAGE_HASH = "sha256:157dead5025d5db5abe48e40cc49f0b6a4d8088fd0498eb17ad5a36bca811b2a"

_SINGLE, _LIST, _SET = 1, 2, 3
_TERRAFORMS_OWN = {"alias"}
_PRIMITIVE = {"string": "string", "number": "number", "boolean": "bool"}
_GETTERS = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
}
_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
# What is said of an argument, and the first thing that its getter gives back.
_ARGUMENT = re.compile(
    r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)$(.*?)^    \}$",
    re.MULTILINE | re.DOTALL,
)
_ENTRY = re.compile(
    r'^ +"?(\w+)"?: \{\s+value: (.*?),\s+isBlock: (true|false),\s+type: "(\w+)",\s+storageClassType: "([^"]*)",\s+\}',
    re.MULTILINE | re.DOTALL,
)


class SchemaError(Exception):
    """The package does not hold what it held when this was written."""


def provider_schema(wheel: Path, resources: Iterable[str], data_sources: Iterable[str]) -> bytes:
    """The answer to Terraform's question for the schema, with these types and no others. Raises `SchemaError`."""
    messages = grpc.protos("infra/checks/provider.proto")
    schema = messages.ProviderSchema()
    places = {
        "provider": schema.provider,
        **{_folder(name): schema.resource_schemas[name] for name in resources},
        **{"data-" + _dashed(name): schema.data_source_schemas[name] for name in data_sources},
    }
    for folder, source in _sources(wheel, set(places)):
        _Reader(source).fill(places.pop(folder).block)
    if places:
        raise SchemaError(f"{PACKAGE} {PACKAGE_VERSION} has nothing called {', '.join(sorted(places))}.")
    answer: bytes = schema.SerializeToString()
    return answer


def _folder(name: str) -> str:
    return _dashed(name.removeprefix("google_"))


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _sources(wheel: Path, folders: set[str]) -> Iterator[tuple[str, str]]:
    """The JavaScript of each of these folders. The archive is read once, as a stream."""
    with zipfile.ZipFile(wheel) as package:
        inner = next((name for name in package.namelist() if name.endswith(".jsii.tgz")), None)
        if inner is None:
            raise SchemaError(f"{wheel.name} holds no .jsii.tgz.")
        with package.open(inner) as packed, tarfile.open(fileobj=packed, mode="r|gz") as archive:
            for member in archive:
                parts = member.name.split("/")
                if len(parts) == 4 and parts[3] == "index.js" and parts[2] in folders:
                    content: IO[bytes] | None = archive.extractfile(member)
                    assert content is not None
                    yield parts[2], content.read().decode()


class _Reader:
    """One file of JavaScript: the class of a resource, and those of its blocks."""

    def __init__(self, source: str) -> None:
        self._classes = {name: (base, body) for name, base, body in _CLASS.findall(source)}
        self._functions = dict(_FUNCTION.findall(source))

    def fill(self, block: Any) -> None:
        """Everything that may stand in a resource, a data source or the provider."""
        bases = ("TerraformResource", "TerraformDataSource", "TerraformProvider")
        bodies = [body for base, body in self._classes.values() if base in bases]
        if len(bodies) != 1:
            raise SchemaError(f"One resource was expected in a file, and {len(bodies)} are there.")
        entries = bodies[0].partition("synthesizeHclAttributes()")[2]
        self._fill(block, bodies[0], entries)
        if not any(attribute.name == "id" for attribute in block.attributes):
            block.attributes.add(name="id", type=b'"string"', optional=True, computed=True)

    def _fill(self, block: Any, body: str, entries: str) -> None:
        written = {name: rest for name, *rest in _ENTRY.findall(entries)}
        unsaid = [(name, "false", "true", "false", "") for name in written]
        for name, computed, optional, required, getter in _ARGUMENT.findall(body) or unsaid:
            if name in _TERRAFORMS_OWN:
                continue
            value, is_block, kind, stored = written.get(name, ("", "false", "", ""))
            nested = re.search(r"(\w+)ToHclTerraform", value) if is_block == "true" else None
            if nested and nested[1] in self._functions:
                self._nest(block, name, kind, nested[1], required=required == "true", many="listMapper" in value)
                continue
            block.attributes.add(
                name=name,
                type=json.dumps(_type(kind, stored) if stored else _computed_type(getter)).encode(),
                required=required == "true",
                optional=optional == "true",
                # To say so of all that may be left out lets an own default be one of the provider's.
                computed=computed == "true" or optional == "true",
            )

    def _nest(self, block: Any, name: str, kind: str, function: str, *, required: bool, many: bool) -> None:
        single = name == "timeouts"
        nesting = _SINGLE if single else _SET if kind == "set" else _LIST
        nested = block.block_types.add(type_name=name, nesting=nesting)
        if not single:
            nested.min_items, nested.max_items = int(required), 0 if many else 1
        reference = f"{function[0].upper()}{function[1:]}OutputReference"
        nested.block.SetInParent()  # an empty block is a block; Terraform crashes where none is said
        _, body = self._classes.get(reference, ("", ""))  # the provider's own blocks have no class
        self._fill(nested.block, body, self._functions[function])
        if nesting == _SET and _has_dynamic(nested.block):
            nested.nesting = _LIST  # a set of what has no type is no schema


def _type(kind: str, stored: str) -> Any:
    if kind == "simple":
        return _PRIMITIVE.get(stored, "dynamic")
    match = re.fullmatch(r"(string|number|boolean)(?:List|Set|Map)", stored)
    return [kind, _PRIMITIVE[match[1]]] if match else "dynamic"


def _computed_type(getter: str) -> Any:
    if "new cdktn.StringMap(" in getter:
        return ["map", "string"]
    match = re.search(r"\.get(\w+)Attribute\(", getter)
    return _GETTERS.get(match[1], "dynamic") if match else "dynamic"


def _has_dynamic(block: Any) -> bool:
    own = any(attribute.type == b'"dynamic"' for attribute in block.attributes)
    return own or any(_has_dynamic(nested.block) for nested in block.block_types)
