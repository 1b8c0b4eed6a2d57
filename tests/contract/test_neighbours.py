"""Two neighbouring versions speak with each other: the messages of each are understood by the other's code.

While a version is rolled out or back both run. What the release speaks is kept in `schemas/released` (`./dev release`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from infra.released import RELEASED, SCHEMAS, last_migration, message_classes, release, required_fields
from infra.schemas import ROOT
from shared.consume import REQUIRED, parse
from shared.domain.errors import BadRequest

UUID = "1b671a64-40d5-491e-99b0-da01ff1f3341"
Classes = Mapping[str, type[Message]]


def full(kind: type[Message]) -> Message:
    """A message with a value in every field, the newest one of each enum."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        fill(message, field)
    return message


def fill(message: Message, field: FieldDescriptor) -> None:
    if field.message_type is not None:
        target = getattr(message, field.name)
        part = target.add() if field.is_repeated else target
        for inner in field.message_type.fields:
            fill(part, inner)
        return
    value = value_of(field)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def value_of(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return max(value.number for value in field.enum_type.values)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return b"\x00\xff bytes"
        return UUID if field.name in ("user_id", "job_id") else f"{field.name}.1"
    return (
        1 if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else field.number + 0.0 if is_float(field) else field.number
    )


def is_float(field: FieldDescriptor) -> bool:
    return field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def said(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)


def known_to(kind: Descriptor, said_of: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a message that a class has fields for."""
    known = {}
    for name, value in said_of.items():
        field = kind.fields_by_name.get(name)
        if field is None:
            continue
        inner = field.message_type
        if inner is not None and isinstance(value, list):
            value = [known_to(inner, one) for one in value]
        elif inner is not None:
            value = known_to(inner, value)
        known[name] = value
    return known


def misunderstandings(old: Classes, new: Classes, required: Mapping[str, list[str]]) -> list[str]:
    """What one version says and the other does not understand. `required`: what the old one refuses to be without."""
    wrong = [f"{name} is a message no more" for name in old.keys() - new.keys()]
    for name in old.keys() & new.keys():
        said_by_old, said_by_new = full(old[name]), full(new[name])
        try:
            read_by_new = said(parse(new[name], said_by_old.SerializeToString()))
        except (BadRequest, AttributeError) as refusal:  # the latter: what is required has another name
            wrong.append(f"new code refuses an old {name}: {refusal}")
            continue
        if read_by_new != said(said_by_old):
            wrong.append(f"new code reads an old {name} as {read_by_new}")
        read_by_old = old[name].FromString(said_by_new.SerializeToString())
        if (
            said(read_by_old) != known_to(old[name].DESCRIPTOR, said(said_by_new))
            or said(read_by_old).keys() != said(said_by_old).keys()
        ):
            wrong.append(f"old code reads a new {name} as {said(read_by_old)}")
        wrong += [f"old code refuses a new {name}: no {one}" for one in required[name] if not getattr(read_by_old, one)]
    return wrong


def test_old_and_new_code_understand_each_other_s_messages() -> None:
    """What waits in Pub/Sub during a deployment was said by the other version, for up to seven days."""
    old, new = message_classes(RELEASED / "messages"), message_classes(SCHEMAS / "messages")

    assert misunderstandings(old, new, required_fields()) == []
    assert set(old) >= {"SyncRequested", "FileChanged", "FileChunk", "Tick"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("string file_id = 2;", "string document_id = 2;"),
        ("string file_id = 2;", "string file_id = 9;"),
        ("string job_id = 6;", ""),
        ("bool removed = 4;", "string removed = 4;"),
    ],
    ids=["renamed", "renumbered", "dropped", "of another type"],
)
def test_a_change_that_the_neighbour_does_not_understand_is_found(tmp_path: Path, before: str, after: str) -> None:
    """A comparison that sees too little would approve anything."""
    old, new = changed(tmp_path, "file_changed.proto", before, after)

    assert misunderstandings(old, new, required_fields()) != []


def test_a_field_that_is_only_added_is_understood(tmp_path: Path) -> None:
    """That is how a message grows."""
    old, new = changed(tmp_path, "file_changed.proto", "int64 epoch = 7;", "int64 epoch = 7; string why = 8;")

    assert misunderstandings(old, new, required_fields()) == []


def test_a_field_that_becomes_required_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New code would refuse every message that is on its way, and each would be buried."""
    old, new = changed(tmp_path, "tick.proto", "string user_id = 2;", "string user_id = 2; string why = 9;")
    monkeypatch.setitem(REQUIRED, "Tick", ("duty", "why"))

    assert misunderstandings(old, new, required_fields()) == ["new code refuses an old Tick: The Tick lacks why."]


def test_a_release_keeps_what_it_speaks(tmp_path: Path) -> None:
    """`./dev release` is all that a release needs to do about it."""
    release(tmp_path / "released")

    kept = {path.name for path in (tmp_path / "released").rglob("*.proto")}
    assert kept == {path.name for path in (ROOT / "schemas" / "messages").glob("*.proto")}
    assert required_fields(tmp_path / "released") == {name: list(fields) for name, fields in REQUIRED.items()}
    assert last_migration(tmp_path / "released") >= last_migration()


def changed(place: Path, file: str, before: str, after: str) -> tuple[Classes, Classes]:
    """The released classes of one file, and those after a change of its text."""
    text = (RELEASED / "messages" / file).read_text()
    assert before in text
    for name, content in (("old", text), ("new", text.replace(before, after))):
        (place / name).mkdir()
        (place / name / file).write_text(content)
    return message_classes(place / "old"), message_classes(place / "new")
