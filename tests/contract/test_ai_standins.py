"""Google's own clients, unmodified, against the stand-ins for Document AI, Vertex AI and Secret Manager."""

from __future__ import annotations

import base64
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
import requests
from google import genai
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1, documentai_v1, secretmanager_v1
from google.genai import types as genai_types
from google.oauth2.credentials import Credentials
from google.protobuf import json_format, struct_pb2

from infra.local.ai.documentai import NO_OCR, DocumentAiServer
from infra.local.ai.lexical import embed
from infra.local.ai.vertex import VertexServer
from infra.local.secrets import SecretManagerServer
from tests.contract.pdfs import HAS_OCR, blank_pdf, picture_of_text, text_pdf

PROCESSOR = "projects/p/locations/us/processors/ocr"
MODEL = "projects/p/locations/l/publishers/google/models/"
ANONYMOUS = AnonymousCredentials()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def documentai() -> Iterator[DocumentAiServer]:
    server = DocumentAiServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def vertex() -> Iterator[VertexServer]:
    server = VertexServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[SecretManagerServer]:
    server = SecretManagerServer(tmp_path / "secrets", project="p")
    server.start()
    yield server
    server.stop()


def documentai_client(server: DocumentAiServer) -> Any:
    return documentai_v1.DocumentProcessorServiceClient(
        credentials=ANONYMOUS, transport="rest", client_options={"api_endpoint": server.url}
    )


def vertex_client(server: VertexServer) -> Any:
    return aiplatform_v1.PredictionServiceClient(
        credentials=ANONYMOUS, transport="rest", client_options={"api_endpoint": server.url}
    )


def gen_ai_client(server: VertexServer) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="p",
        location="l",
        credentials=Credentials("local"),  # type: ignore[no-untyped-call]
        http_options=genai_types.HttpOptions(base_url=server.url, api_version="v1"),
    )


def secrets_client(server: SecretManagerServer) -> Any:
    return secretmanager_v1.SecretManagerServiceClient(
        credentials=ANONYMOUS, transport="rest", client_options={"api_endpoint": server.url}
    )


def process(server: DocumentAiServer, content: bytes, mime_type: str = "application/pdf", **more: Any) -> Any:
    raw = {"content": content, "mime_type": mime_type}
    request = {"name": more.pop("name", PROCESSOR), "raw_document": raw, **more}
    return documentai_client(server).process_document(request=request, retry=None, timeout=60).document


# --- Document AI -----------------------------------------------------------------------------------------------------


def test_a_text_layer_comes_back_page_by_page(documentai: DocumentAiServer) -> None:
    """Pages are found by their anchors into the whole text, exactly as Google's answers are read."""
    document = process(documentai, text_pdf(["The tide turns at nine.", "Boats: 12"]))

    texts = [
        "".join(
            document.text[int(one.start_index) : int(one.end_index)] for one in page.layout.text_anchor.text_segments
        )
        for page in document.pages
    ]
    assert [page.page_number for page in document.pages] == [1, 2]
    assert [text.strip() for text in texts] == ["The tide turns at nine.", "Boats: 12"]


def test_a_field_mask_leaves_out_what_was_not_asked_for(documentai: DocumentAiServer) -> None:
    """The mask is what keeps a real answer from being fifty times its text."""
    document = process(documentai, text_pdf(["one"]), field_mask="text,pages.pageNumber")

    assert document.text.strip() == "one"
    assert document.pages[0].page_number == 1
    assert not document.pages[0].layout.text_anchor.text_segments
    assert not document.mime_type


@pytest.mark.parametrize(("pages", "imageless", "accepted"), [(15, False, True), (16, False, False), (16, True, True)])
def test_the_page_limit_is_googles(documentai: DocumentAiServer, pages: int, imageless: bool, accepted: bool) -> None:
    """A stand-in that takes more pages would let a test pass that Google fails."""
    document = text_pdf([f"page {number}" for number in range(pages)])

    if accepted:
        assert len(process(documentai, document, imageless_mode=imageless).pages) == pages
        return
    with pytest.raises(exceptions.BadRequest) as caught:
        process(documentai, document, imageless_mode=imageless)
    assert caught.value.reason == "PAGE_LIMIT_EXCEEDED"


def test_a_processor_version_can_be_named(documentai: DocumentAiServer) -> None:
    """Deployments pin the version."""
    document = process(documentai, text_pdf(["pinned"]), name=PROCESSOR + "/processorVersions/pretrained-ocr-v2.1")

    assert document.text.strip() == "pinned"


@pytest.mark.skipif(not HAS_OCR, reason="tesseract is not installed")
@pytest.mark.parametrize("kind", ["application/pdf", "image/x-portable"])
def test_a_page_without_a_text_layer_is_recognised(documentai: DocumentAiServer, kind: str) -> None:
    """Scans are the reason Document AI is there at all."""
    scan, picture = picture_of_text("HARBOUR 1847")

    document = process(documentai, scan) if kind == "application/pdf" else process(documentai, picture, "image/png")

    assert "HARBOUR" in document.text
    assert "1847" in document.text


def test_a_machine_without_tesseract_says_what_to_install() -> None:
    """The reason ends up on the dashboard: it has to say what to do."""
    server = DocumentAiServer(tesseract="")
    server.start()
    try:
        assert process(server, text_pdf(["still read"])).text.strip() == "still read"
        with pytest.raises(exceptions.BadRequest, match=NO_OCR.replace("(", r"\(").replace(")", r"\)")) as caught:
            process(server, blank_pdf())
        assert caught.value.response.json()["error"]["status"] == "FAILED_PRECONDITION"
    finally:
        server.stop()


@pytest.mark.parametrize(("content", "kind"), [(b"%PDF-1.4 broken", "application/pdf"), (b"text", "text/plain")])
def test_what_is_no_document_is_an_invalid_argument(documentai: DocumentAiServer, content: bytes, kind: str) -> None:
    """Broken input must end the work, not be tried again."""
    with pytest.raises(exceptions.BadRequest) as caught:
        process(documentai, content, kind)

    assert caught.value.response.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_a_picture_over_40_megapixels_is_refused(documentai: DocumentAiServer) -> None:
    """As Google does."""
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (9_000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"

    with pytest.raises(exceptions.BadRequest, match="40 megapixels"):
        process(documentai, header, "image/png")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("RESOURCE_EXHAUSTED", exceptions.TooManyRequests),
        ("UNAVAILABLE", exceptions.ServiceUnavailable),
        ("DEADLINE_EXCEEDED", exceptions.GatewayTimeout),
        ("PERMISSION_DENIED", exceptions.Forbidden),
    ],
)
def test_an_ordered_failure_reaches_the_client_as_googles_does(
    documentai: DocumentAiServer, status: str, kind: type[Exception]
) -> None:
    """Fault tests are only worth what the faults are."""
    before = documentai.pages
    documentai.faults.fail_next(1, status)

    with pytest.raises(kind):
        process(documentai, text_pdf(["x"]))

    assert documentai.pages == before
    assert len(process(documentai, text_pdf(["x"])).pages) == 1


def test_answers_hold_only_fields_that_google_has(documentai: DocumentAiServer, vertex: VertexServer) -> None:
    """Clients skip unknown fields in silence: a misspelt one would be missed here first."""
    raw = {"content": base64.b64encode(text_pdf(["x"])).decode(), "mimeType": "application/pdf"}
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]

    answers: list[tuple[str, str, dict[str, Any], Any]] = [
        (documentai.url, PROCESSOR + ":process", {"rawDocument": raw}, documentai_v1.ProcessResponse),
        (
            vertex.url,
            MODEL + "text-embedding-005:predict",
            {"instances": [{"content": "x"}]},
            aiplatform_v1.PredictResponse,
        ),
        (
            vertex.url,
            MODEL + "gemini-embedding-2:embedContent",
            {"content": contents[0]},
            aiplatform_v1.EmbedContentResponse,
        ),
        (
            vertex.url,
            MODEL + "gemini-3.5-flash-lite:generateContent",
            {"contents": contents},
            aiplatform_v1.GenerateContentResponse,
        ),
        (
            vertex.url,
            MODEL + "gemini-3.5-flash-lite:countTokens",
            {"contents": contents},
            aiplatform_v1.CountTokensResponse,
        ),
    ]

    for url, path, body, message in answers:
        answer = requests.post(f"{url}/v1/{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        json_format.Parse(answer.content, message.pb(message()), ignore_unknown_fields=False)


# --- Vertex AI -------------------------------------------------------------------------------------------------------


def predict(server: VertexServer, model: str, texts: list[str], **parameters: Any) -> list[dict[str, Any]]:
    answer = vertex_client(server).predict(
        endpoint=MODEL + model,
        instances=[json_format.ParseDict({"content": text}, struct_pb2.Value()) for text in texts],
        parameters=json_format.ParseDict(parameters, struct_pb2.Value()),
        timeout=30,
    )
    return [json_format.MessageToDict(one)["embeddings"] for one in type(answer).pb(answer).predictions]


def test_predict_gives_a_vector_and_its_statistics(vertex: VertexServer) -> None:
    """The same fields as Google's: values, token count, truncated."""
    before = vertex.tokens

    (first, second) = predict(vertex, "text-embedding-005", ["boats and tides", "tax return"], outputDimensionality=256)

    assert len(first["values"]) == len(second["values"]) == 256
    assert first["statistics"] == {"token_count": 3, "truncated": False}
    assert vertex.tokens - before == 5


@pytest.mark.parametrize(
    ("model", "texts", "parameters"),
    [
        ("gemini-embedding-001", ["one", "two"], {}),
        ("text-embedding-005", ["x"] * 251, {}),
        ("text-embedding-005", ["word " * 1500] * 12, {}),
        ("text-embedding-005", ["word " * 3000], {"autoTruncate": False}),
        ("text-embedding-005", ["x"], {"outputDimensionality": 1024}),
        ("text-embedding-005", [" "], {}),
    ],
    ids=["one text a request", "250 texts", "20,000 tokens", "2,048 tokens a text", "dimensions", "empty text"],
)
def test_googles_limits_are_invalid_arguments(
    vertex: VertexServer, model: str, texts: list[str], parameters: dict[str, Any]
) -> None:
    """A batch that only fits here would fail in the cloud."""
    with pytest.raises(exceptions.BadRequest):
        predict(vertex, model, texts, **parameters)


def test_a_long_text_is_truncated_in_silence_unless_told_otherwise(vertex: VertexServer) -> None:
    """That is Google's default, and the reason why we always say autoTruncate: false."""
    (answer,) = predict(vertex, "text-embedding-005", ["word " * 3000])

    assert answer["statistics"]["truncated"] is True


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "text-embedding-004", "no-such-model"])
def test_a_retired_model_is_not_found(vertex: VertexServer, model: str) -> None:
    """Models are retired on a date; the stand-in must not keep them alive."""
    with pytest.raises(exceptions.NotFound):
        if "flash" in model:
            vertex_client(vertex).generate_content(
                request={"model": MODEL + model, "contents": [{"role": "user", "parts": [{"text": "x"}]}]}
            )
        else:
            predict(vertex, model, ["x"])


def test_the_gen_ai_client_is_served_too(vertex: VertexServer) -> None:
    """Whoever tries the other official client finds the same doors."""
    client = gen_ai_client(vertex)

    vectors = client.models.embed_content(model="text-embedding-005", contents=["boats", "tides"]).embeddings
    answer = client.models.generate_content(model="gemini-3.5-flash-lite", contents="hello")
    counted = client.models.count_tokens(model="gemini-3.5-flash-lite", contents="hello there")

    assert vectors is not None
    assert [len(vector.values or []) for vector in vectors] == [768, 768]
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == genai_types.FinishReason.STOP
    assert (counted.total_tokens or 0) > 0


NAMES = {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": 2}
ENTITIES = {
    "type": "OBJECT",
    "properties": {
        "passages": {
            "type": "ARRAY",
            "items": {
                "type": "OBJECT",
                "properties": {"passage": {"type": "INTEGER"}, "person": NAMES, "place": NAMES},
            },
        }
    },
    "required": ["passages"],
}
PASSAGE = json.dumps({"passage": 0, "text": "Ada Lovelace sailed to London."})
NAMED = {"passages": [{"passage": 0, "person": ["Ada Lovelace"], "place": ["London"]}]}


def test_the_gen_ai_client_embeds_by_the_newer_door_and_answers_by_a_schema(vertex: VertexServer) -> None:
    """It asks newer embedding models by another method, and says schemas in another case than the older client."""
    client = gen_ai_client(vertex)

    answer = client.models.embed_content(
        model="gemini-embedding-2",
        contents="boats and tides",
        config=genai_types.EmbedContentConfig(output_dimensionality=256),
    )
    found = client.models.generate_content(
        model="gemini-3.5-flash-lite",
        contents=PASSAGE,
        config=genai_types.GenerateContentConfig(response_mime_type="application/json", response_schema=ENTITIES),
    )

    assert answer.embeddings is not None
    assert [len(vector.values or []) for vector in answer.embeddings] == [256]
    assert json.loads(found.text or "") == NAMED
    assert found.usage_metadata is not None
    assert (found.usage_metadata.prompt_token_count or 0) > 0


def test_the_prediction_client_embeds_by_both_doors_and_answers_by_a_schema(vertex: VertexServer) -> None:
    """It asks for embeddings of both kinds and says schemas in yet another way."""
    client = vertex_client(vertex)
    names = {"type_": "ARRAY", "items": {"type_": "STRING"}, "max_items": 2}
    lists = {"passage": {"type_": "INTEGER"}, "person": names, "place": names}

    embedded = client.embed_content(
        request={
            "model": MODEL + "gemini-embedding-2",
            "content": {"role": "user", "parts": [{"text": "boats and tides"}]},
            "embed_content_config": {"output_dimensionality": 256, "auto_truncate": False},
        },
        timeout=30,
    )
    found = client.generate_content(
        request={
            "model": MODEL + "gemini-3.5-flash-lite",
            "contents": [{"role": "user", "parts": [{"text": PASSAGE}]}],
            "generation_config": {
                "response_mime_type": "application/json",
                "response_schema": {
                    "type_": "OBJECT",
                    "properties": {"passages": {"type_": "ARRAY", "items": {"type_": "OBJECT", "properties": lists}}},
                    "required": ["passages"],
                },
            },
        },
        timeout=30,
    )

    assert len(embedded.embedding.values) == 256
    assert embedded.usage_metadata.prompt_token_count == 3
    (candidate,) = found.candidates
    assert candidate.finish_reason.name == "STOP"
    assert json.loads(candidate.content.parts[0].text) == NAMED


def test_the_lexical_embedding_is_deterministic_normal_and_finds_shared_words_in_any_script() -> None:
    """Search on one machine rests on it: the passage that shares the query's words must come first."""
    passages = [
        "The ferry to the island leaves at nine and returns before the tide turns.",
        "Invoices are due within thirty days of receipt; late payments cost two percent.",
        "港長は潮が満ちる前にもう一度船を数えた。",
        "Паром на остров отходит в девять часов утра.",
        "عد مدير الميناء القوارب مرة أخرى قبل المد",
    ]
    queries = [
        "when does the ferry leave for the island",
        "late invoice payment",
        "船を数える港長",
        "паром остров",
        "القوارب في الميناء",
    ]
    vectors = [embed(passage, 768) for passage in passages]

    for position, query in enumerate(queries):
        asked = embed(query, 768)
        likeness = [_dot(asked, vector) for vector in vectors]
        assert likeness.index(max(likeness)) == position, (query, likeness)
    assert all(abs(_dot(vector, vector) - 1) < 1e-3 for vector in vectors)
    assert embed(passages[0], 768) == vectors[0]
    # The value itself: vectors that are stored today are compared with those of next year.
    assert [round(number, 4) for number in embed("tide", 4)] == [0.5345, 0.0, -0.8018, -0.2673]


# --- Secret Manager --------------------------------------------------------------------------------------------------


def test_a_secret_is_kept_versioned_and_checked(secrets: SecretManagerServer) -> None:
    """Keys are rotated by adding a version; a number goes on naming the old one."""
    client = secrets_client(secrets)
    client.create_secret(parent="projects/p", secret_id="keys", secret={"replication": {"automatic": {}}})
    client.add_secret_version(parent="projects/p/secrets/keys", payload={"data": b"one"})
    client.add_secret_version(parent="projects/p/secrets/keys", payload={"data": b"two\x00\xff"})

    latest = client.access_secret_version(name="projects/p/secrets/keys/versions/latest")
    first = client.access_secret_version(name="projects/p/secrets/keys/versions/1")

    assert latest.name == "projects/p/secrets/keys/versions/2"
    assert latest.payload.data == b"two\x00\xff"
    assert latest.payload.data_crc32c == google_crc32c.value(b"two\x00\xff")
    assert first.payload.data == b"one"


def test_a_disabled_version_is_not_given(secrets: SecretManagerServer) -> None:
    """Disabling is how a leaked key is taken away at once."""
    client = secrets_client(secrets)
    name = secrets.put("keys", b"leaked")
    client.disable_secret_version(name=name)

    with pytest.raises(exceptions.BadRequest) as caught:
        client.access_secret_version(name=name)
    assert caught.value.response.json()["error"]["status"] == "FAILED_PRECONDITION"
    client.enable_secret_version(name=name)
    assert client.access_secret_version(name=name).payload.data == b"leaked"


@pytest.mark.parametrize("name", ["projects/p/secrets/none/versions/latest", "projects/p/secrets/keys/versions/9"])
def test_what_is_not_there_is_not_found(secrets: SecretManagerServer, name: str) -> None:
    """A misspelt name has its own answer."""
    secrets.put("keys", b"x")

    with pytest.raises(exceptions.NotFound):
        secrets_client(secrets).access_secret_version(name=name)


def test_a_name_cannot_leave_the_directory(secrets: SecretManagerServer, tmp_path: Path) -> None:
    """The names come from requests; the files beside the secrets are not secrets."""
    (tmp_path / "1").write_bytes(b"outside")

    for path in ("projects/p/secrets/..%2F../versions/1:access", "projects/../secrets/../versions/1:access"):
        answer = requests.get(f"{secrets.url}/v1/{path}", timeout=10)
        assert answer.status_code in {400, 404}
        assert b"outside" not in answer.content


def test_secrets_survive_a_restart_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    """The same sealed tokens must open after kill -9, and nobody else on the machine may open them."""
    data = tmp_path / "secrets"
    first = SecretManagerServer(data, project="p").put("keys", b"kept")

    again = SecretManagerServer(data, project="p")

    assert again.get("keys") == b"kept"
    assert again.put("keys", b"kept") == first == "projects/p/secrets/keys/versions/1"
    assert again.put("projects/p/secrets/keys", b"newer") == "projects/p/secrets/keys/versions/2"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in data.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in [data, *data.rglob("*")] if path.is_dir()} == {0o700}


def test_versions_added_at_once_are_all_kept(secrets: SecretManagerServer) -> None:
    """Two writers must not take the same number."""
    secrets.put("keys", b"0")
    url = f"{secrets.url}/v1/projects/p/secrets/keys:addVersion"
    threads = [
        threading.Thread(
            target=requests.post,
            args=(url,),
            kwargs={"json": {"payload": {"data": base64.b64encode(b"%d" % number).decode()}}, "timeout": 30},
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    values = [
        json.loads(requests.get(f"{secrets.url}/v1/projects/p/secrets/keys/versions/{n}:access", timeout=10).content)
        for n in range(1, 10)
    ]
    assert {base64.b64decode(value["payload"]["data"]) for value in values} == {b"%d" % n for n in range(8)}


def _dot(first: list[float], second: list[float]) -> float:
    return sum(x * y for x, y in zip(first, second, strict=True))
