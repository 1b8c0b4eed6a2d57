"""The .proto files are the only definition of what the functions say to each other."""

from pathlib import Path

from infra.schemas import ROOT, generate


def test_regenerating_the_message_classes_changes_nothing(tmp_path: Path) -> None:
    """Committed classes that differ from their definition would speak another language than the topic's schema."""
    fresh = generate(tmp_path)

    for path in fresh:
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), f"{committed.name}: run ./dev schemas"
    assert {p.name for p in (ROOT / "schemas/messages").glob("*_pb2.py*")} == {p.name for p in fresh}
