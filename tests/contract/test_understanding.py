"""The billed part of ai_processor against the stand-ins: what the services refuse costs only itself, and says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from google.auth.credentials import AnonymousCredentials

from functions.ai_processor.main import Paid, Understanding
from infra.local.ai.documentai import DocumentAiServer
from infra.local.ai.vertex import VertexServer
from schemas.messages.file_chunk_pb2 import FileChunk
from shared.adapters.chunks import file_chunk
from shared.adapters.documentai import Recognizer
from shared.adapters.vertex import Embedder, EntityFinder
from shared.config import Settings
from shared.domain.chunks import pack
from shared.domain.files import File
from shared.domain.spending import Account
from shared.readers import Limits, read
from shared.readers.source import BytesSource
from tests.contract.pdfs import number_on, scan_pdf, text_pdf

ANONYMOUS = AnonymousCredentials()  # type: ignore[no-untyped-call]
CONFIG = Settings(
    google_cloud_project="p",
    documentai_processor="projects/p/locations/us/processors/ocr",
    retry_base_seconds=0.01,
    entities="off",
)
SCAN = File(id="scan", name="scan.pdf", mime_type="application/pdf")


@pytest.fixture
def vertex() -> Iterator[VertexServer]:
    server = VertexServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def documentai() -> Iterator[DocumentAiServer]:
    server = DocumentAiServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def understanding(vertex: VertexServer, documentai: DocumentAiServer) -> Understanding:
    return understanding_of(replace(CONFIG, vertex_endpoint=vertex.url, documentai_endpoint=documentai.url))


def understanding_of(config: Settings) -> Understanding:
    return Understanding(
        config,
        Recognizer(config, credentials=ANONYMOUS),
        Embedder(config, credentials=ANONYMOUS),
        EntityFinder(config, credentials=ANONYMOUS),
    )


def nothing_known(hashes: object) -> set[bytes]:
    del hashes
    return set()


@pytest.mark.parametrize(("said", "low", "high"), [("on", 12, 12), ("0.5", 2, 10), ("off", 0, 0)])
def test_names_are_looked_for_in_as_many_chunks_as_the_setting_says(
    vertex: VertexServer, said: str, low: int, high: int
) -> None:
    """The dearest step has a dial; what is left out costs no token of a model."""
    understanding = understanding_of(replace(CONFIG, vertex_endpoint=vertex.url, entities=said))
    chunks = [
        FileChunk(kind=FileChunk.TEXT, payload=b"Ada Lovelace was in London.", job_id="j", index=index)
        for index in range(12)
    ]

    accounts = [Account() for _ in chunks]
    understood = [
        understanding.of(chunk, nothing_known, account, Paid()) for chunk, account in zip(chunks, accounts, strict=True)
    ]

    looked = [bool(one.named and one.named[0].entities) for one in understood]
    assert low <= sum(looked) <= high
    assert looked == [account.spent.model_input_tokens > 0 for account in accounts]
    assert looked == [account.spent.model_output_tokens > 0 for account in accounts]


def test_a_passage_that_the_model_refuses_is_kept_for_its_words(
    vertex: VertexServer, understanding: Understanding, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text is the person's: that a model will not embed it is no reason to lose it."""
    vertex.refuse_texts_with = "poison"
    text = "\n\n".join([*["The ferry leaves at nine. " * 60] * 3, "A paragraph about poison. " * 60])

    understood = understanding.of(
        FileChunk(kind=FileChunk.TEXT, payload=text.encode()), nothing_known, Account(), Paid()
    )

    refused = [vector is None for vector in understood.vectors]
    assert refused == ["poison" in passage.text for passage in understood.passages]
    assert 0 < sum(refused) < len(refused)
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["message"], line["severity"], line["passages"]) == ("not_embedded", "WARNING", sum(refused))


def test_equal_passages_of_two_files_have_one_vector(vertex: VertexServer, understanding: Understanding) -> None:
    """A vector is taken over by the passage's hash, so it may not depend on the file."""
    plan, notes = (
        understanding.of(
            FileChunk(kind=FileChunk.TEXT, payload=b"The ferry leaves at nine.", file_id=file_id),
            nothing_known,
            Account(),
            Paid(),
        )
        for file_id in ("plan", "notes")
    )

    assert plan.passages[0].hash == notes.passages[0].hash
    assert plan.vectors == notes.vectors
    assert vertex.texts == 2


def test_equal_passages_of_one_chunk_are_paid_for_once(vertex: VertexServer, understanding: Understanding) -> None:
    """The same terms on every page of a contract are the same words: one vector serves them all."""
    terms = "# Terms\n\n" + "The goods remain ours until they are paid for. " * 40
    text = "\n\n".join([terms] * 5)

    understood = understanding.of(
        FileChunk(kind=FileChunk.TEXT, payload=text.encode()), nothing_known, Account(), Paid()
    )

    different = {passage.hash for passage in understood.passages}
    assert vertex.texts == len(different) < len(understood.passages)
    assert all(vector is not None for vector in understood.vectors)


class _Stripes(DocumentAiServer):
    """Document AI for pages that say their number in stripes: no letters need be recognised 500 times."""

    def _recognise(self, picture: bytes) -> str:
        return f"This is page number {number_on(picture)}."


@pytest.mark.parametrize("imageless", [False, True])
def test_a_scan_of_five_hundred_pages_is_whole(imageless: bool) -> None:
    """Every page's text is there, at its page: never the first fifteen called done."""
    server = _Stripes()
    server.start()
    config = replace(CONFIG, documentai_endpoint=server.url, documentai_imageless=imageless)
    understanding = understanding_of(config)
    source = BytesSource(scan_pdf(500), name="scan.pdf", mime_type="application/pdf")

    try:
        found: dict[int, str] = {}
        for chunk in pack(read(source, Limits.of(config))):
            assert chunk.kind == "pages"
            message = file_chunk(chunk, "job", "user", SCAN)
            text, marks = understanding._text(message, Account(), Paid())
            ends = [*(offset for offset, _ in marks[1:]), len(text)]
            for (offset, place), end in zip(marks, ends, strict=True):
                assert place.page_first == place.page_last
                found[place.page_first or 0] = text[offset:end].strip()
    finally:
        server.stop()

    assert found == {number: f"This is page number {number}." for number in range(1, 501)}
    assert server.pages == 500
    assert server.calls == (17 if imageless else 34)


def test_a_window_of_too_many_pages_says_so(documentai: DocumentAiServer, understanding: Understanding) -> None:
    """The first fifteen pages alone would be a lie, and trying again for ever would bill for ever."""
    chunk = FileChunk(kind=FileChunk.PAGES, payload=text_pdf(["x"] * 16))

    why = understanding.of(chunk, nothing_known, Account(), Paid()).why

    assert why is not None
    assert why.code == "page_limit"
    assert documentai.calls == 1
