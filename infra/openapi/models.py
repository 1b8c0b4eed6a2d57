"""What the API answers and takes. Only the document is deployed; tests hold the answers to it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,128}$")]
Uuid = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Count = Annotated[int, Field(ge=0)]
State = Literal["queued", "processing", "waiting", "indexed", "skipped", "failed", "deleted", "folder"]
Kind = Literal["person", "organisation", "place", "date", "amount", "topic"]
Cap = Annotated[int, Field(ge=0, le=10**15)]


class Model(BaseModel):
    """Names that are not here are not told."""

    model_config = ConfigDict(extra="forbid")


class Problem(Model):
    """What went wrong (RFC 9457). `code` is its stable name, `detail` a sentence for a person."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: str


class Who(Model):
    """The person, and why something needs them, if it does."""

    email: str
    name: str
    status: Literal["active", "reconnect_needed", "erasing"]
    reason: str | None


class FileCounts(Model):
    """Every listed file is in exactly one state. `unchanged` were indexed before `since` and still are."""

    listed: Count
    indexed: Count
    unchanged: Count
    skipped: Count
    failed: Count
    deleted: Count
    queued: Count
    processing: Count
    waiting: Count


class LastMinute(Model):
    """What the last minute brought."""

    files: Count
    bytes: Count
    passages: Count


class Channel(Model):
    """How changes of one corpus are announced."""

    corpus: str
    state: Literal["pending", "active", "unsupported"]
    expires_at: AwareDatetime | None
    silent_at: AwareDatetime | None


class Census(Model):
    """What the last comparison of a corpus with Drive found."""

    corpus: str
    began_at: AwareDatetime
    finished_at: AwareDatetime | None
    compared: Count | None
    incomplete: bool
    missing: Count
    stale: Count
    surplus: Count
    repaired: Count


class Paused(Model):
    """For what work waits, and when it goes on; `files` wait for that."""

    until: AwareDatetime
    code: str
    reason: str
    files: Count


class Status(Model):
    """How far it is."""

    person: Who
    files: FileCounts
    bytes: Count
    chunks: Count
    passages: Count
    listed_bytes: Count
    done: Count
    progress: Annotated[float, Field(ge=0, le=1)]
    estimated_completion: AwareDatetime | None
    reasons: dict[str, Count]
    paused: Paused | None
    at_rest: bool
    last_indexed_at: AwareDatetime | None
    last_minute: LastMinute
    channels: list[Channel]
    changes_by: Literal["notifications", "polling"]
    censuses: list[Census]
    now: AwareDatetime


class File(Model):
    """A file, its state, and why."""

    id: Id
    name: str
    mime_type: str
    size: Count | None
    state: State
    reason_code: str | None
    reason: str | None
    next_try: AwareDatetime | None
    truncated_at: str | None
    state_at: AwareDatetime
    modified_at: AwareDatetime | None
    indexed_at: AwareDatetime | None
    link: str | None
    drive_id: str | None
    parents: list[str]


class Files(Model):
    """A page of files, the newest states first."""

    files: list[File]
    next_cursor: str | None


class Job(Model):
    """The reading of one revision."""

    id: Uuid
    file_id: Id
    state: Literal["streaming", "streamed", "waiting", "finished", "skipped", "failed", "superseded"]
    revision: str
    expected_chunks: Count | None
    finished_chunks: Count
    bytes_read: Count
    attempts: Count
    integrity: str | None
    truncated_at: str | None
    reason_code: str | None
    reason: str | None
    next_try: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None


class Event(Model):
    """Something that happened to a file."""

    at: AwareDatetime
    event: str
    detail: str | None


class Named(Model):
    """Who or what is named, and how often."""

    kind: Kind
    name: str
    times: Count


class Relation(Model):
    """How two that are named are related, as a passage states it."""

    subject_kind: Kind
    subject: str
    predicate: str
    object_kind: Kind
    object: str
    times: Count


class Freshness(Model):
    """The way of this content from a change in Drive into search, and how many seconds each step took."""

    changed_at: AwareDatetime | None
    announced_at: AwareDatetime | None
    seen_at: AwareDatetime | None
    indexed_at: AwareDatetime | None
    announced_after: float | None
    seen_after: float | None
    indexed_after: float | None


class FileInFull(File):
    """Everything about one file, and why it is not searchable (yet)."""

    why: str
    stage: str
    next: str
    freshness: Freshness
    path: list[str]
    created_at: AwareDatetime | None
    announced_at: AwareDatetime | None
    first_seen_at: AwareDatetime
    seen_at: AwareDatetime
    deleted_at: AwareDatetime | None
    version: Count
    owners: list[dict[str, Any]] | None
    passages: Count
    job: Job | None
    events: list[Event]
    entities: list[Named]
    relations: list[Relation]


class FileOfResult(Model):
    """The file that a result stands in."""

    id: Id
    name: str
    mime_type: str
    link: str | None
    state: State


class Snippet(Model):
    """A part of the passage, with marks as pairs of first and last character."""

    text: str
    marks: list[Annotated[list[Count], Field(min_length=2, max_length=2)]]


class Result(Model):
    """A place in a file, or a file by its name (then without a passage)."""

    file: FileOfResult
    index: Count | None
    ordinal: Count | None
    passage: str | None
    snippet: Snippet
    locator: dict[str, Any] | None
    place: str
    link: str | None
    score: float
    matched: list[str]


class Facet(Model):
    """Who or what is named in the results, and in how many of them."""

    kind: Kind
    name: str
    count: Count


class Found(Model):
    """Results, best first. `meaning` is false where the meaning of the query could not be had."""

    query: str
    results: list[Result]
    entities: list[Facet]
    meaning: bool


class Similar(Model):
    """The places of other files that are most like one, best first."""

    results: list[Result]


class FileNaming(Model):
    """A file that names an entity."""

    id: Id
    name: str
    link: str | None


class Entity(Model):
    """One of a kind and name of a person, in however many files and spellings."""

    kind: Kind
    name: str
    times: Count
    files: Count
    in_: Annotated[list[FileNaming], Field(alias="in")]


class Entities(Model):
    """A page of entities, those in the most files first."""

    entities: list[Entity]
    next_cursor: str | None


class Cost(Model):
    """What was counted, in the services' own units, and what that costs."""

    drive_units: Count
    drive_bytes: Count
    ocr_pages: Count
    embedded_tokens: Count
    model_input_tokens: Count
    model_output_tokens: Count
    dollars: Annotated[float, Field(ge=0)]


class CostOfDay(Cost):
    """Of one day (UTC)."""

    day: date


class CostOfFile(Cost):
    """Of one file."""

    id: str
    name: str | None


class Used(Model):
    """What is used of a month's cap."""

    used: Count
    cap: Cap | None


class Month(Model):
    """This month (UTC)."""

    bytes: Used
    pages: Used
    tokens: Used


class PriceOf(Model):
    """By which price, and where and when that was read."""

    of: str
    dollars_per_million: Annotated[float, Field(ge=0)]
    source: str
    read_on: str | None


class Costs(Model):
    """What was counted in the last three months, and what that costs."""

    currency: Literal["USD"]
    since: date
    total: Cost
    days: list[CostOfDay]
    files: list[CostOfFile]
    month: Month
    prices: list[PriceOf]


class Range(Model):
    """At least, likely, at most."""

    at_least: Count
    likely: Count
    at_most: Count


class DollarRange(Model):
    """At least, likely, at most."""

    at_least: Annotated[float, Field(ge=0)]
    likely: Annotated[float, Field(ge=0)]
    at_most: Annotated[float, Field(ge=0)]


class Expectation(Model):
    """What is expected, said before anything was read. Tokens are those of vectors and of both ways of the model."""

    files: Count
    listed_bytes: Count
    drive_units: Range
    drive_bytes: Range
    ocr_pages: Range
    embedded_tokens: Range
    model_input_tokens: Range
    model_output_tokens: Range
    seconds: Range
    tokens: Range
    dollars: DollarRange


class SpentSoFar(Cost):
    """What is done, and what it took so far."""

    done: Count
    indexed: Count
    tokens: Count


class SpentInAll(SpentSoFar):
    """Of everything, from the first file to the last."""

    seconds: Count


class ForecastTotal(Model):
    """Of all files."""

    expected: Expectation | None
    actual: SpentInAll


class ForecastKind(Model):
    """Of files that are alike in what they cost. `skipped` says why they are not read."""

    kind: str
    title: str
    skipped: str | None
    expected: Expectation | None
    actual: SpentSoFar | None


class DoneBy(Model):
    """When everything will be read."""

    at_least: AwareDatetime
    likely: AwareDatetime
    at_most: AwareDatetime


class Forecast(Model):
    """What reading will take, as the listing says, beside what it took. `asks`: nothing is read before the person says
    so (`POST /api/start`). `listed` names what has been listed to its end."""

    reading: Literal["asks", "begun"]
    made_at: AwareDatetime | None
    listed: list[str]
    done_by: DoneBy | None
    began_at: AwareDatetime | None
    currency: Literal["USD"]
    total: ForecastTotal
    kinds: list[ForecastKind]


class Started(Model):
    """Reading begins, or has begun before."""

    reading: Literal["begun"]


class SelectedFolder(Model):
    """A folder or shared drive that the person chose."""

    id: str
    name: str | None
    known: bool


class Caps(Model):
    """What may be spent in a month (UTC); null has no cap."""

    bytes: Cap | None = None
    pages: Cap | None = None
    tokens: Cap | None = None


class Settings(Model):
    """What the person has chosen. No folder means everything."""

    selected_folders: list[SelectedFolder]
    applied: bool
    caps: Caps


Chosen = Annotated[list[Id], Field(max_length=100)]


class ChangeSettings(Model):
    """Folders, caps, or both; what is not named stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    selected_folders: Chosen | SkipJsonSchema[None] = None
    caps: Caps | SkipJsonSchema[None] = None


class ConnectLink(Model):
    """Where the consent begins."""

    url: str


class Receipt(Model):
    """The receipt's id: what it says can be read at `/?receipt=`."""

    receipt: Uuid


class Asked(Model):
    """It is looked at again."""

    id: Id
    asked: Literal[True]


class Passage(Model):
    """A part of a file's text, and where it stands."""

    index: Count
    ordinal: Count
    passage: str
    locator: dict[str, Any]
    place: str


class Passages(Model):
    """A page of what was read in a file, in its order."""

    passages: list[Passage]
    next_cursor: str | None


class Happened(Model):
    """Something that happened to one of the person's files."""

    at: AwareDatetime
    file_id: str
    name: str | None
    event: str
    detail: str | None


class Activity(Model):
    """A page of what happened to files, the newest first."""

    events: list[Happened]
    next_cursor: str | None


class Done(Model):
    """Something that was done in the person's name."""

    at: AwareDatetime
    action: str
    file_id: str | None
    name: str | None
    revision: str | None
    bytes: Count | None
    why: str | None
    outcome: str


class Audit(Model):
    """A page of what was done with the account and its files, the newest first."""

    entries: list[Done]
    next_cursor: str | None


class FreshnessOfDay(Model):
    """How long the changes of a day took into search: half of them, and 95 in 100, in seconds."""

    day: date
    changes: Count
    half: Annotated[float, Field(ge=0)]
    slowest: Annotated[float, Field(ge=0)]


class FreshnessDays(Model):
    """Day by day of the last month."""

    days: list[FreshnessOfDay]


class Folder(Model):
    """A folder to choose."""

    id: str
    name: str
    drive_id: str | None
    has_folders: bool


class Folders(Model):
    """The folders of one level, by name."""

    folders: list[Folder]


class Check(Model):
    """One part of the whole, and whether it is well."""

    part: str
    state: Literal["ok", "warning", "error"]
    told: str


class Checks(Model):
    """Every part."""

    checks: list[Check]


class DriveConnectionRequest(Model):
    """Whom another dashboard sends to the consent."""

    user_id: Annotated[str, Field(pattern="^[!-~]{1,128}$", description="its own id of the person")]
    email: Annotated[
        str, Field(pattern="^[^@ \\s]{1,128}@[^@ \\s]{1,128}$", description="the account that must consent")
    ]
    return_url: Annotated[str, Field(description="a page of that dashboard, where the browser ends")] = ""


class DriveConnection(Model):
    """The link for that person's browser: once, until then."""

    url: str
    expires_at: AwareDatetime


class DriveFileMetadata(Model):
    """A file as another dashboard knows it."""

    file_id: Id
    name: str
    mime_type: str
    size: Count | None
    drive_id: str | None
    parents: list[str]
    state: State
    reason: str | None
    indexed_at: AwareDatetime | None
    modified_time: AwareDatetime | None
    web_view_link: str | None


class DriveFiles(Model):
    """A page of them."""

    files: list[DriveFileMetadata]
    next_cursor: str | None


class DriveJobStatus(Model):
    """How far the reading of a person's Drive is."""

    user_id: str
    status: Literal["listing", "running", "waiting", "completed", "reconnect_needed", "erasing"]
    total_files: Count
    processed_files: Count
    skipped_files: Count
    failed_files: Count
    progress: Annotated[float, Field(ge=0, le=1)]
    estimated_completion: AwareDatetime | None
    message: str | None
    updated_at: AwareDatetime


class Health(Model):
    """Whether it is well."""

    ok: bool
    database: bool
