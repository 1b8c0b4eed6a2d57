"""What Drivestream may expect of a Firestore, asked through Google's own client: of ours, and of Google's emulator."""

from __future__ import annotations

import asyncio
import datetime
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cmp_to_key, partial
from typing import Any

import grpc
import pytest
import requests
from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud import firestore
from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.base_query import And, Or
from google.cloud.firestore_v1.order import Order
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.firestore import FirestoreServer
from shared.adapters.documents import Collections, Documents
from shared.adapters.edge import LONG_AGO, KnownChannels, OAuthStates, forget_access_token, open_connection
from shared.adapters.google_calls import AlreadyThere
from shared.adapters.google_requests import GoogleRequests
from shared.config import Settings
from tests.contract import firestore_emulator
from tests.contract.firestore_clients import (
    ANONYMOUS,
    DOWN,
    INDEXES,
    NO_RETRY,
    call,
    connect,
    content,
    ids,
    increment,
    run_together,
    where,
)

UTC = datetime.UTC
NOON = datetime.datetime(2026, 11, 23, 12, tzinfo=UTC)
NAN = float("nan")


@dataclass(frozen=True)
class Place:
    """One implementation that is up."""

    name: str
    host: str
    rest: str  # the address of plain requests


GOOGLE = pytest.param("google", marks=pytest.mark.xdist_group("firestore_emulator"))  # started once, not by each worker


@pytest.fixture(scope="module", params=["ours", GOOGLE])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "ours":
        server = FirestoreServer(tmp_path_factory.mktemp("firestore"), indexes=INDEXES)
        server.start()
        yield Place("ours", server.url, server.rest_url)
        server.stop()
        return
    if (reason := firestore_emulator.missing()) is not None:
        pytest.skip(reason)
    with firestore_emulator.running() as host:
        yield Place("google", host, f"http://{host}")


@pytest.fixture
def config(place: Place, db: firestore.Client, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same project for the doors, which have no client."""
    anybody = GoogleRequests("Firestore", ANONYMOUS)
    monkeypatch.setattr("shared.adapters.documents._requests", lambda: anybody)
    monkeypatch.setattr("shared.adapters.documents.SECONDS", 60.0)  # the emulator's first answers are slow
    return Settings(google_cloud_project=db.project, firestore_endpoint=place.rest)


@pytest.fixture
def db(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[firestore.Client]:
    client = connect(place.host, monkeypatch)
    yield client
    client.close()


# Documents


def test_every_kind_of_value_comes_back_as_it_was(db: firestore.Client) -> None:
    """What a cursor or a channel stores is what the next function reads."""
    document = db.document("things/all")
    values: dict[str, Any] = {
        "null": None, "yes": True, "int": -(2**63), "float": 1.5, "text": "Grüße, 😀", "bytes": b"\x00\xff",
        "when": NOON, "where": firestore.GeoPoint(47.5, -8.5), "who": db.document("people/ada"),
        "list": [1, {"a": [2]}], "map": {"a": {}},
    }  # fmt: skip

    document.set(values)

    assert document.get().to_dict() == values


def test_times_are_kept_to_the_microsecond(db: firestore.Client) -> None:
    """A time with nanoseconds would otherwise never equal what was stored of it."""
    document = db.document("things/time")
    precise = DatetimeWithNanoseconds(2026, 1, 1, nanosecond=123456789, tzinfo=UTC)  # type: ignore[no-untyped-call]

    document.set({"when": precise})

    assert document.get().get("when").timestamp_pb().nanos == 123456000


def test_create_succeeds_once(db: firestore.Client) -> None:
    """Claims and one-time states rest on it."""
    document = db.document("states/one")
    document.create({"n": 1})

    with pytest.raises(exceptions.AlreadyExists):
        document.create({"n": 2})

    assert document.get().to_dict() == {"n": 1}


def test_update_needs_a_document(db: firestore.Client) -> None:
    """A disconnected person's rows must not come back by a late update."""
    with pytest.raises(exceptions.NotFound):
        db.document("things/none").update({"n": 1})

    assert not db.document("things/none").get().exists


def test_update_touches_only_what_it_names(db: firestore.Client) -> None:
    """Two functions write different fields of one document."""
    document = db.document("things/masked")
    document.set({"a": {"b": 1, "c": 2}, "x": 5, "d.e": 1, "gone": 1})

    document.update({"a.b": 7, "x.y": 1, "`d.e`": 7, "`w w`.q": 1, "gone": firestore.DELETE_FIELD})

    assert document.get().to_dict() == {"a": {"b": 7, "c": 2}, "x": {"y": 1}, "d.e": 7, "w w": {"q": 1}}


def test_merge_creates_or_adds(db: firestore.Client) -> None:
    """`set(merge=True)` is the client's upsert."""
    document = db.document("things/merged")

    document.set({"a": {"b": 1}}, merge=True)
    document.set({"a": {"c": 2}, "ignored": 9}, merge=["a.c"])  # type: ignore[arg-type]  # as documented

    assert document.get().to_dict() == {"a": {"b": 1, "c": 2}}


def test_transforms_count_on_what_is_stored(db: firestore.Client) -> None:
    """Counters and sets change without a read."""
    document = db.document("things/transformed")
    made = document.set(
        {"i": 2**63 - 1, "d": 1, "text": "x", "same": 3, "low": 3, "nan": 1, "list": [1, NAN, 2, 1], "scalar": 5}
    )

    document.update(
        {
            "i": firestore.Increment(5), "d": firestore.Increment(0.5), "text": firestore.Increment(2),
            "same": firestore.Maximum(3.0), "low": firestore.Minimum(-1), "nan": firestore.Maximum(NAN),
            "list": firestore.ArrayUnion([1.0, NAN, 7, 7]), "scalar": firestore.ArrayRemove([5]),
            "new": firestore.Minimum(4), "when": firestore.SERVER_TIMESTAMP,
        }
    )  # fmt: skip

    found = content(document)
    assert (found["i"], found["d"], found["text"], found["same"], found["low"], found["new"]) == (
        2**63 - 1,
        1.5,
        2,
        3,
        -1,
        4,
    )
    assert isinstance(found["same"], int)
    assert found["nan"] != found["nan"]
    assert [str(item) for item in found["list"]] == ["1", "nan", "2", "1", "7"]
    assert found["scalar"] == []
    # In whole milliseconds, between the two writes.
    assert made.update_time - datetime.timedelta(milliseconds=1) <= found["when"] <= document.get().update_time


def test_array_remove_takes_equal_numbers_away(db: firestore.Client) -> None:
    """1 and 1.0 are one member."""
    document = db.document("things/removed")
    document.set({"list": [1, NAN, 2, 1, None]})

    document.update({"list": firestore.ArrayRemove([1.0, NAN])})

    assert document.get().get("list") == [2, None]


def test_a_write_that_changes_nothing_keeps_the_update_time(db: firestore.Client) -> None:
    """A repeated message must not break another's precondition."""
    document = db.document("things/same")
    first = document.set({"a": 1}).update_time

    document.set({"a": 1})

    assert document.get().update_time == first


@pytest.mark.parametrize("act", ["update", "delete"])
def test_a_stale_update_time_is_refused(db: firestore.Client, act: str) -> None:
    """A lease that somebody else took since is not ours to renew or release."""
    document = db.document("leases/one")
    seen = document.set({"owner": "a"}).update_time
    document.set({"owner": "b"})
    stale = db.write_option(last_update_time=seen)

    with pytest.raises(exceptions.FailedPrecondition):
        document.update({"owner": "a"}, option=stale) if act == "update" else document.delete(option=stale)

    assert document.get().to_dict() == {"owner": "b"}


def test_the_right_update_time_is_accepted(db: firestore.Client) -> None:
    """The owner of a lease may renew it and let it go."""
    document = db.document("leases/mine")
    seen = document.set({"n": 1}).update_time

    seen = document.update({"n": 2}, option=db.write_option(last_update_time=seen)).update_time
    document.delete(option=db.write_option(last_update_time=seen))

    assert not document.get().exists


def test_deleting_twice_is_no_error_unless_asked(db: firestore.Client) -> None:
    """Erasing a person is repeatable."""
    document = db.document("things/deleted")
    document.set({})
    document.delete()

    document.delete()

    with pytest.raises(exceptions.NotFound):
        document.delete(option=db.write_option(exists=True))


def test_a_document_that_comes_back_is_new(db: firestore.Client) -> None:
    """create_time tells one life of a document from the next."""
    document = db.document("things/again")
    first = document.set({"n": 1}).update_time
    document.update({"n": 2})
    assert document.get().create_time == first

    document.delete()
    document.set({"n": 1})

    assert document.get().create_time > first


def test_a_batch_is_all_or_nothing(db: firestore.Client) -> None:
    """A cursor never moves without its lease."""
    db.document("things/there").set({})
    batch = db.batch()
    batch.set(db.document("things/first"), {"n": 1})
    batch.create(db.document("things/there"), {})

    with pytest.raises(exceptions.AlreadyExists):
        batch.commit()

    assert not db.document("things/first").get().exists


def test_writes_of_one_batch_build_on_each_other(db: firestore.Client) -> None:
    """The order in a commit is the order of effects, at one time."""
    document = db.document("things/built")
    batch = db.batch()
    batch.create(document, {"n": 1})
    batch.update(document, {"n": firestore.Increment(2)})
    batch.set(db.document("things/other"), {})

    results = batch.commit()

    assert document.get().to_dict() == {"n": 3}
    assert len({str(result.update_time) for result in results}) == 1


def test_batch_write_judges_each_write_alone(db: firestore.Client) -> None:
    """The bulk writer relies on a status per write."""
    base = f"{db._database_string}/documents/things"
    db.document("things/taken").set({})
    writes = [
        {"update": {"name": f"{base}/free"}, "current_document": {"exists": False}},
        {"update": {"name": f"{base}/taken"}, "current_document": {"exists": False}},
    ]

    response = call(db, "batch_write", writes=writes)

    assert [status.code for status in response.status] == [0, grpc.StatusCode.ALREADY_EXISTS.value[0]]
    assert db.document("things/free").get().exists


def test_get_all_tells_found_from_missing(db: firestore.Client) -> None:
    """One call for many documents, with only the fields that are wanted."""
    db.document("things/a").set({"n": 1, "m": {"x": 1, "y": 2}})
    wanted = [db.document("things/a"), db.document("things/b")]

    found = {one.id: one for one in db.get_all(wanted, field_paths=["m.y"])}

    assert found["a"].to_dict() == {"m": {"y": 2}}
    assert not found["b"].exists


def test_single_document_calls_of_the_api(db: firestore.Client) -> None:
    """Not every client goes through Commit."""
    parent = f"{db._database_string}/documents"
    api = db._firestore_api
    created = api.create_document(
        request={"parent": parent, "collection_id": "things", "document_id": "x", "document": {"fields": {}}}
    )
    named = {"name": created.name, "fields": {"n": {"integer_value": 1}}}

    api.update_document(request={"document": named, "update_mask": {"field_paths": ["n"]}})

    assert api.get_document(request={"name": created.name}).fields["n"].integer_value == 1
    api.delete_document(request={"name": created.name})
    with pytest.raises(exceptions.NotFound):
        api.get_document(request={"name": created.name})
    random_id = api.create_document(request={"parent": parent, "collection_id": "things", "document": {}})
    assert len(random_id.name.rpartition("/")[2]) == 20


# Limits


def test_a_document_may_have_a_mebibyte_and_no_more(db: firestore.Client) -> None:
    """Reader state in a document must fail on one machine as it would in the cloud."""
    document = db.document("things/large")
    document.set({"a": "x" * 500_000, "b": b"x" * 500_000})

    with pytest.raises(exceptions.InvalidArgument):
        document.set({"a": "x" * 500_000, "b": b"x" * 600_000})


def test_one_value_must_fit_an_empty_document(db: firestore.Client) -> None:
    """The limit of a value, to the byte."""
    document = db.document("things/value")
    document.set({"a": "x" * 1_048_487})

    with pytest.raises(exceptions.InvalidArgument):
        document.set({"a": "x" * 1_048_488})


@pytest.mark.parametrize("own", ["__reserved__", "..", ".", "a" * 1501, "é" * 751])
def test_ids_the_service_refuses(db: firestore.Client, own: str) -> None:
    """An id made from outside data must not work on one machine only."""
    with pytest.raises(exceptions.InvalidArgument):
        db.collection("things").document(own).set({})


@pytest.mark.parametrize("fields", [{"__a__": 1}, {"a": [[1]]}])
def test_fields_the_service_refuses(db: firestore.Client, fields: dict[str, Any]) -> None:
    """Nested arrays are the classic that only the real service notices."""
    with pytest.raises(exceptions.InvalidArgument):
        db.document("things/odd").set(fields)


def test_maps_nest_twenty_levels_deep(db: firestore.Client) -> None:
    """A state that nests with its input has an end."""

    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels else {}

    db.document("things/deep").set(nested(20))

    with pytest.raises(exceptions.InvalidArgument):
        db.document("things/deeper").set(nested(23))


def test_a_request_may_have_ten_mebibytes_and_no_more(place: Place, db: firestore.Client) -> None:
    """A batch is cut before it gets there."""
    if place.name == "google":
        pytest.skip("Google's emulator stops at 4 MiB with RESOURCE_EXHAUSTED, unlike the service")
    batch = db.batch()
    for number in range(11):
        batch.set(db.document(f"things/{number}"), {"a": "x" * 1_000_000})

    with pytest.raises(exceptions.InvalidArgument):
        batch.commit(**NO_RETRY)


# Lists


def test_listing_pages_through_a_collection(db: firestore.Client) -> None:
    """Sweeps list everything, however much it is."""
    names = sorted(f"{number:03}" for number in range(25))
    for name in names:
        db.document(f"things/{name}").set({})

    assert [one.id for one in db.collection("things").list_documents(page_size=10)] == names


def test_listing_shows_parents_that_are_missing(db: firestore.Client) -> None:
    """A document may have children without being there itself."""
    db.document("people/ada/cursors/my-drive").set({})
    db.document("people/bob").set({})

    assert [one.id for one in db.collection("people").list_documents()] == ["ada", "bob"]
    assert ids(db.collection("people")) == ["bob"]
    assert [one.id for one in db.document("people/ada").collections()] == ["cursors"]
    assert [one.id for one in db.collections()] == ["people"]


def test_recursive_delete_takes_the_whole_tree_and_nothing_else(db: firestore.Client) -> None:
    """Erasing a person leaves nothing below, and the neighbour untouched."""
    for path in ["rooms/b", "rooms/b/seats/d", "rooms/b/seats/d/parts/f", "rooms/A/seats/d", "rooms2/z", "room/a"]:
        db.document(path).set({"x": 1})

    deleted = db.recursive_delete(db.collection("rooms"))

    assert deleted == 4
    assert ids(db.collection_group("seats")) == ids(db.collection_group("parts")) == []
    assert ids(db.collection("rooms2")) == ["z"]
    assert ids(db.collection("room")) == ["a"]


# Queries

CITIES: dict[str, dict[str, Any]] = {
    "la": {"state": "ca", "people": 39, "area": 12, "coastal": True, "tags": ["film", "sea"]},
    "sf": {"state": "ca", "people": 8, "area": 1, "coastal": True, "tags": ["sea"]},
    "sac": {"state": "ca", "people": 5, "area": 2, "coastal": False, "tags": []},
    "den": {"state": "co", "people": 7, "area": 4, "coastal": False, "tags": ["snow"]},
    "nowhere": {"state": None, "people": NAN, "tags": "sea"},
    "ruin": {"state": "nv"},
}

Query = Callable[[Any], Any]

QUERIES: dict[str, tuple[Query, list[str]]] = {
    "equal": (lambda c: c.where(filter=where("state", "==", "ca")), ["la", "sac", "sf"]),
    "equal null": (lambda c: c.where(filter=where("state", "==", None)), ["nowhere"]),
    "equal nan": (lambda c: c.where(filter=where("people", "==", NAN)), ["nowhere"]),
    "not null": (lambda c: c.where(filter=where("area", "!=", None)), ["sf", "sac", "den", "la"]),
    "not equal": (lambda c: c.where(filter=where("state", "!=", "ca")), ["den", "ruin"]),
    "less": (lambda c: c.where(filter=where("people", "<", 8)), ["sac", "den"]),
    "between": (
        lambda c: c.where(filter=where("people", ">=", 7)).where(filter=where("people", "<=", 8)),
        ["den", "sf"],
    ),
    "in": (lambda c: c.where(filter=where("area", "in", [1, 2.0, None])), ["sac", "sf"]),
    "not in": (lambda c: c.where(filter=where("state", "not-in", ["ca", "co"])), ["ruin"]),
    "contains": (lambda c: c.where(filter=where("tags", "array_contains", "sea")), ["la", "sf"]),
    "contains any": (lambda c: c.where(filter=where("tags", "array_contains_any", ["film", "snow"])), ["den", "la"]),
    "two equal": (
        lambda c: c.where(filter=where("state", "==", "ca")).where(filter=where("coastal", "==", True)),
        ["la", "sf"],
    ),
    "or": (lambda c: c.where(filter=Or([where("state", "==", "co"), where("area", "==", 1)])), ["den", "sf"]),
    "or of ands": (
        lambda c: c.where(
            filter=Or([And([where("state", "==", "ca"), where("coastal", "==", False)]), where("state", "==", "nv")])
        ),
        ["ruin", "sac"],
    ),
    "equal and range": (
        lambda c: c.where(filter=where("state", "==", "ca")).where(filter=where("people", ">", 5)),
        ["sf", "la"],
    ),
    "two equal and order": (
        lambda c: (
            c.where(filter=where("state", "==", "ca")).where(filter=where("coastal", "==", True)).order_by("people")
        ),
        ["sf", "la"],
    ),
    "contains and order": (
        lambda c: c.where(filter=where("tags", "array_contains", "sea")).order_by("people", direction=DOWN),
        ["la", "sf"],
    ),
    "order leaves out who lacks the field": (lambda c: c.order_by("area", direction=DOWN), ["la", "den", "sac", "sf"]),
    "two orders": (lambda c: c.order_by("area").order_by("people", direction=DOWN), ["sf", "sac", "den", "la"]),
    "limit and offset": (lambda c: c.order_by("people").offset(1).limit(2), ["sac", "den"]),
    "limit to last": (lambda c: c.order_by("area").limit_to_last(2), ["den", "la"]),
    "start at": (lambda c: c.order_by("people").start_at({"people": 7}), ["den", "sf", "la"]),
    "start after": (lambda c: c.order_by("people").start_after({"people": 7}), ["sf", "la"]),
    "end at": (lambda c: c.order_by("area", direction=DOWN).end_at({"area": 4}), ["la", "den"]),
    "end before": (lambda c: c.order_by("area", direction=DOWN).end_before({"area": 4}), ["la"]),
    "names": (lambda c: c.where(filter=where("__name__", ">", c.document("nowhere"))), ["ruin", "sac", "sf"]),
    "names in": (
        lambda c: c.where(filter=where("__name__", "in", [c.document("sf"), c.document("den")])),
        ["den", "sf"],
    ),
    "descending names": (
        lambda c: c.where(filter=where("state", "==", "ca")).order_by("__name__", direction=DOWN).limit(2),
        ["sf", "sac"],
    ),
}


@pytest.fixture(scope="module")
def cities(place: Place) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        client = connect(place.host, patch)
    for name, fields in CITIES.items():
        client.document(f"cities/{name}").set(fields)
    yield client.collection("cities")
    client.close()


@pytest.mark.parametrize("case", QUERIES)
def test_queries_find_what_they_describe(cities: Any, case: str) -> None:
    """What a sweep or a caretaker looks for is what it finds, and in that order."""
    query, expected = QUERIES[case]

    found = [one.id for one in query(cities).get()]

    assert found == expected


def test_a_projection_gives_the_named_fields(cities: Any) -> None:
    """Names are cheap where bodies are not wanted."""
    found = {one.id: one.to_dict() for one in cities.order_by("area").select(["people"]).stream()}

    assert found == {"sf": {"people": 8}, "sac": {"people": 5}, "den": {"people": 7}, "la": {"people": 39}}


def test_a_cursor_may_be_a_snapshot(cities: Any) -> None:
    """Paging with ties: the name decides."""
    first = cities.order_by("coastal").limit(3).get()

    rest = ids(cities.order_by("coastal").start_after(first[-1]))

    assert [one.id for one in first] + rest == ["den", "sac", "la", "sf"]


def test_counts_sums_and_averages(cities: Any) -> None:
    """The dashboard counts without reading."""
    query = cities.where(filter=where("state", "==", "ca"))

    results = query.sum("people", alias="sum").avg("people", alias="mean").count(alias="count").get()

    assert {one.alias: one.value for one in results[0]} == {"sum": 52, "mean": pytest.approx(52 / 3), "count": 3}
    assert cities.limit(2).count().get()[0][0].value == 2


def test_sums_of_nothing(db: firestore.Client) -> None:
    """No documents sum up to nought, and the client takes the missing average for nought, too."""
    (values,) = db.collection("nothing").sum("x", alias="s").avg("x", alias="a").count(alias="c").get()

    assert {one.alias: one.value for one in values} == {"s": 0, "a": 0, "c": 0}


def test_a_collection_group_finds_every_collection_of_that_name(db: firestore.Client) -> None:
    """Channels of all people are swept at once."""
    for path, row in [("rooms/1/seats/a", 2), ("rooms/2/seats/b", 1), ("seats/c", 3), ("rooms/1/tables/d", 1)]:
        db.document(path).set({"row": row})

    assert [one.id for one in db.collection_group("seats").order_by("row").get()] == ["b", "a", "c"]
    assert ids(db.collection_group("seats").where(filter=where("row", "==", 3))) == ["c"]


def test_names_alone_are_not_sorted_downwards(db: firestore.Client) -> None:
    """The service has no such index unless it is declared."""
    with pytest.raises(exceptions.FailedPrecondition):
        db.collection("cities").order_by("__name__", direction=DOWN).get()


@pytest.mark.parametrize(
    "query",
    [
        lambda c: c.where(filter=where("a", "in", [])),
        lambda c: c.where(filter=where("a", "in", list(range(31)))),
        lambda c: c.where(filter=where("a", "not-in", list(range(11)))),
        lambda c: c.where(filter=where("a", "not-in", [1])).where(filter=where("b", "!=", 1)),
        lambda c: c.where(filter=where("a", "array_contains", 1)).where(filter=where("b", "array_contains", 1)),
        lambda c: c.where(filter=where("a-b", "==", 1)),
    ],
)
def test_queries_the_service_refuses(db: firestore.Client, query: Query) -> None:
    """A query that runs on one machine only is a trap."""
    with pytest.raises(exceptions.InvalidArgument):
        query(db.collection("cities")).get()


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from([0, -0.0, 2**53 + 1, float(2**53), NAN]),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.datetimes(min_value=datetime.datetime(1, 1, 2), max_value=datetime.datetime(9999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.builds(firestore.GeoPoint, st.integers(-90, 90), st.integers(-180, 180)),
)
names = st.text("abcdé", min_size=1, max_size=2)
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(names, scalars, max_size=3))
property_settings = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@property_settings
@given(stored=st.lists(values, min_size=2, max_size=12), seed=st.integers())
def test_values_of_all_types_have_one_order(db: firestore.Client, stored: list[Any], seed: int) -> None:
    """The client's own rules of order are the judge, equal values going by name."""
    collection = db.collection(f"order-{uuid.uuid4().hex}")
    batch = db.batch()
    shuffled = random.Random(seed).sample(stored, len(stored))
    for number, value in enumerate(shuffled):
        batch.set(collection.document(f"{number:02}"), {"v": value})
    batch.commit()

    found = [int(one.id) for one in collection.order_by("v").stream()]

    encoded: list[Any] = [_helpers.encode_value(value) for value in shuffled]

    def compare(a: int, b: int) -> int:
        return Order.compare(encoded[a], encoded[b])

    assert found == sorted(range(len(stored)), key=cmp_to_key(compare))


Model = dict[str, dict[str, Any]]
documents = st.sampled_from(["a", "b", "c"])
fields = st.dictionaries(st.sampled_from(["x", "y"]), st.integers(-3, 3), max_size=2)
operations = st.lists(
    st.tuples(st.sampled_from(["set", "merge", "create", "update", "delete", "count"]), documents, fields), max_size=4
)


@property_settings
@given(batches=st.lists(operations, max_size=6))
def test_any_history_of_batches_leaves_what_a_dictionary_would(
    db: firestore.Client, batches: list[list[tuple[str, str, dict[str, Any]]]]
) -> None:
    """Every batch is applied in order and as a whole, or refused as a whole for the right reason."""
    collection = db.collection(f"model-{uuid.uuid4().hex}")
    model: Model = {}
    for operations in batches:
        batch = db.batch()
        for operation in operations:
            _write(batch, collection, *operation)
        expected, refusal = _imagine(model, operations)

        if refusal is None:
            batch.commit()
            model = expected
        else:
            with pytest.raises(refusal):
                batch.commit()

        assert {one.id: one.to_dict() for one in collection.stream()} == model


def _write(batch: Any, collection: Any, act: str, name: str, new: dict[str, Any]) -> None:
    document = collection.document(name)
    match act:
        case "merge":
            batch.set(document, new, merge=True)
        case "update":
            batch.update(document, new or {"x": firestore.DELETE_FIELD})
        case "count":
            batch.set(document, {"x": firestore.Increment(1)}, merge=True)
        case "delete":
            batch.delete(document)
        case _:
            getattr(batch, act)(document, new)


def _imagine(model: Model, operations: list[tuple[str, str, dict[str, Any]]]) -> tuple[Model, type[Exception] | None]:
    state = {name: dict(old) for name, old in model.items()}
    refusal: type[Exception] | None = None
    touched: set[str] = set()
    for act, name, new in operations:
        demands = {"create": False, "update": True}.get(act)
        if demands is not None and demands != (name in state):
            # Whether the batch contradicts itself is looked at first.
            if name in touched:
                return model, exceptions.InvalidArgument
            refusal = refusal or (exceptions.NotFound if demands else exceptions.AlreadyExists)
        touched.add(name)
        _imagine_one(state, act, name, new)
    return (model, refusal) if refusal else (state, None)


def _imagine_one(state: Model, act: str, name: str, new: dict[str, Any]) -> None:
    old = state.get(name, {})
    match act:
        case "delete":
            state.pop(name, None)
        case "set" | "create":
            state[name] = dict(new)
        case "count":
            state[name] = {**old, "x": old.get("x", 0) + 1}
        case "update" if not new:
            state[name] = {field: value for field, value in old.items() if field != "x"}
        case _:
            state[name] = {**old, **new}


# Transactions


def test_a_transaction_reads_then_writes(db: firestore.Client) -> None:
    """The lease: read who has it, then take it."""
    counter = db.document("counters/one")
    counter.set({"n": 1})

    assert increment(db.transaction(), counter) == 2
    assert counter.get().to_dict() == {"n": 2}


def test_a_transaction_that_fails_leaves_nothing(db: firestore.Client) -> None:
    """An error in the story undoes all of it."""

    @firestore.transactional
    def broken(transaction: firestore.Transaction) -> None:
        transaction.set(db.document("things/half"), {})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken(db.transaction())

    assert not db.document("things/half").get().exists


def test_a_transaction_may_query(db: firestore.Client) -> None:
    """Read a set, decide, write."""
    db.document("things/a").set({"n": 1})

    @firestore.transactional
    def copy(transaction: firestore.Transaction) -> None:
        found = list(db.collection("things").where(filter=where("n", "==", 1)).stream(transaction=transaction))
        transaction.set(db.document("things/copy"), {"of": [one.id for one in found]})

    copy(db.transaction())

    assert db.document("things/copy").get().to_dict() == {"of": ["a"]}


def test_a_read_only_transaction_sees_one_moment(db: firestore.Client) -> None:
    """Counting while others write gives numbers that were true together."""
    document = db.document("things/moment")
    document.set({"n": 1})
    transaction = db.transaction(read_only=True)
    transaction._begin()
    assert document.get(transaction=transaction).get("n") == 1

    document.set({"n": 2})
    db.document("things/later").set({"n": 1})

    assert document.get(transaction=transaction).get("n") == 1
    assert ids(db.collection("things"), transaction) == ["moment"]
    transaction._rollback()


def test_a_transaction_may_begin_with_its_first_read(db: firestore.Client) -> None:
    """Other clients save a call that way."""
    document = db.document("things/inline")
    document.set({"n": 1})
    name = document._document_path

    answers = list(call(db, "batch_get_documents", documents=[name], new_transaction={"read_write": {}}))
    begun = next(answer.transaction for answer in answers if answer.transaction)
    write = {"update": {"name": name, "fields": {"n": {"integer_value": 2}}}}
    call(db, "commit", transaction=begun, writes=[write])

    assert document.get().get("n") == 2


def test_a_transaction_is_over_after_its_commit(db: firestore.Client) -> None:
    """An id does not work twice."""
    begun = call(db, "begin_transaction").transaction
    call(db, "commit", transaction=begun)

    with pytest.raises(exceptions.InvalidArgument):
        call(db, "commit", transaction=begun)


def test_only_one_of_many_claims_a_document(place: Place, db: firestore.Client) -> None:
    """One lister per cursor, however many were told."""
    if place.name == "google":
        pytest.skip("Google's emulator is slow and may fail under contention (firebase-tools #1629, #2452)")
    won: list[int] = []

    def claim(number: int) -> None:
        @firestore.transactional
        def story(transaction: firestore.Transaction) -> bool:
            lease = db.document("leases/only")
            if lease.get(transaction=transaction).exists:
                return False
            transaction.create(lease, {"owner": number})
            return True

        if story(db.transaction()):
            won.append(number)

    run_together([partial(claim, number) for number in range(6)])

    assert len(won) == 1
    assert db.document("leases/only").get().to_dict() == {"owner": won[0]}


def test_the_async_client_works_alike(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dashboard may be asynchronous."""

    async def story() -> list[str]:
        client = connect(place.host, monkeypatch, firestore.AsyncClient)
        document = client.document("things/a")
        await document.set({"n": 1})

        @firestore.async_transactional
        async def add(transaction: firestore.AsyncTransaction) -> None:
            read = await document.get(transaction=transaction)
            transaction.update(document, {"n": read.get("n") + 1})

        await add(client.transaction())
        return [f"{one.id}={one.get('n')}" async for one in client.collection("things").stream()]

    assert asyncio.run(story()) == ["a=2"]


# The doors, a document at a time by plain requests


def test_what_a_door_writes_the_client_reads_and_the_other_way_round(config: Settings, db: firestore.Client) -> None:
    """A channel is recorded by the lister and found by the door; both must mean the same by it."""
    held = Documents(config, Collections.CHANNELS)
    values: dict[str, Any] = {
        "yes": True, "int": -(2**63), "text": "Grüße, 😀", "bytes": b"\x00\xff", "empty": "", "none": b"",
        "when": datetime.datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC),
    }  # fmt: skip
    held.create("by-door", values)
    db.document("channels/by-client").set(values)

    by_client, by_door = db.document("channels/by-door").get(), held.get("by-client")

    assert by_client.to_dict() == values
    assert by_door is not None
    assert by_door.fields == values
    mirrored = held.get("by-door")
    assert mirrored is not None
    assert mirrored.created_at == by_client.create_time
    assert datetime.datetime.fromisoformat(mirrored.version) == by_client.update_time
    assert mirrored.created_at < mirrored.now


def test_a_document_is_created_once_and_replaced_with_the_time_of_the_server(config: Settings) -> None:
    """Two consents must not share a state; and who is connected since when, one clock says."""
    held = Documents(config, Collections.CONNECTIONS)
    missing = held.get("ada")
    held.create("ada", {"user_id": "before"})

    with pytest.raises(AlreadyThere):
        held.create("ada", {"user_id": "again"})
    held.put("ada", {"user_id": "after"}, dated="opened_at")

    found = held.get("ada")
    assert missing is None
    assert found is not None
    assert found.fields["user_id"] == "after"
    assert found.created_at <= found.fields["opened_at"] <= found.now


def test_a_change_touches_what_it_names_of_the_version_that_was_read(config: Settings) -> None:
    """Whoever was faster must not be overwritten, and what is gone must not come back."""
    held = Documents(config, Collections.CHANNELS)
    held.create("one", {"user_id": "ada", "corpus": "a"})
    first = held.get("one")

    changed = [held.change("one", {"corpus": text}, unless_changed=first) for text in ("b", "c")]
    plainly = held.change("one", {"new": 1})
    then = held.get("one")
    removed = [held.remove("one", unless_changed=read) for read in (first, then, then)]
    after = [held.change("one", {"corpus": "d"}, unless_changed=then), held.change("one", {"corpus": "e"})]

    assert (changed, plainly) == ([True, False], True)
    assert then is not None
    assert then.fields == {"user_id": "ada", "corpus": "b", "new": 1}
    assert removed == [False, True, False]
    assert after == [False, False]
    assert held.get("one") is None
    assert held.remove("one")


def test_a_state_works_once_and_so_does_the_first_of_many_who_come_at_once(config: Settings) -> None:
    """Of one consent there is one connection."""
    states = OAuthStates(config)
    states.begin("alone", {"nonce": "n"})
    states.begin("wanted", {"nonce": "m"})
    taken: list[dict[str, Any] | None] = []

    alone = [states.consume("alone"), states.consume("alone"), states.consume("unknown")]
    run_together([lambda: taken.append(states.consume("wanted"))] * 6)

    assert [fields and fields["nonce"] for fields in alone] == ["n", None, None]
    assert sorted(fields["nonce"] for fields in taken if fields) == ["m"]


def test_a_channel_is_adopted_once_and_announces_once_for_a_burst(config: Settings, db: firestore.Client) -> None:
    """One notification of a hundred asks for a sync, and again only when that one has begun."""
    recorded = {"user_id": "ada", "corpus": "my-drive", "token_hash": b"h", "resource_id": "", "expires_at": NOON}
    db.document("channels/c").set({**recorded, "recorded_at": NOON, "announced_at": LONG_AGO})
    channels = KnownChannels(config)
    channel = channels.find("c")
    assert channel is not None
    said: list[bool] = []

    run_together([lambda: said.append(channels.announce(channel, quiet_seconds=60))] * 6)
    for resource in ("first", "second"):
        channels.adopt(channel, resource)
    heard = channels.find("c")
    channels.hear("c")
    again = channels.announce(channel, quiet_seconds=60)

    assert (channel.token_hash, channel.recorded_at, channel.notified_at) == (b"h", NOON, LONG_AGO)
    assert said.count(True) == 1
    assert heard is not None
    assert heard.resource_id == "first"
    assert channel.now <= heard.announced_at == heard.notified_at <= heard.now
    assert again


def test_a_channel_that_is_gone_is_nobody_s(config: Settings, db: firestore.Client) -> None:
    """It was stopped while its notification was on the way: nothing is written for it any more."""
    channels = KnownChannels(config)
    db.document("channels/c").set(
        {"user_id": "a", "corpus": "c", "token_hash": b"", "resource_id": "", "expires_at": NOON, "announced_at": NOON}
    )
    channel = channels.find("c")
    assert channel is not None
    db.document("channels/c").delete()

    channels.adopt(channel, "resource")
    channels.hear("c")
    asked = channels.announce(channel, quiet_seconds=1)

    assert (channels.find("c"), asked, ids(db.collection("channels"))) == (None, False, [])


def test_a_person_is_connected_and_their_old_token_forgotten(config: Settings, db: firestore.Client) -> None:
    """After a new consent the transactions of the others find a connection, and no token of before."""
    db.document("access_tokens/ada").set({"user_id": "ada", "sealed": "old"})

    open_connection(config, "ada")
    for _ in range(2):
        forget_access_token(config, "ada")

    assert content(db.document("connections/ada")).keys() == {"user_id", "opened_at"}
    assert not db.document("access_tokens/ada").get().exists


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("commit", {"writes": [{"delete": "things/a", "nonsense": 1}]}, 400, "INVALID_ARGUMENT"),
        ("commit", {"writes": [{"delete": "nonsense"}]}, 400, "INVALID_ARGUMENT"),
        ("commit", {"writes": "nonsense"}, 400, "INVALID_ARGUMENT"),
        ("batchGet", {"documents": ["nonsense"]}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_a_plain_request_that_is_none_is_refused_as_google_does(
    config: Settings, method: str, body: dict[str, Any], status: int, code: str
) -> None:
    """A stand-in that takes more than Google does hides a fault until the deployment."""
    url = f"{config.firestore_endpoint}/v1/projects/{config.google_cloud_project}/databases/(default)/documents"

    answer = requests.post(f"{url}:{method}", json=body, timeout=20)

    error = answer.json()[0]["error"] if isinstance(answer.json(), list) else answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, code)
