"""Days to a first sync and dollars a month, each by a formula that is printed with its numbers.

Everything goes on at once, so the first sync takes as long as the slowest part of it alone: that is the bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import ceil

from infra.plan.kinds import KINDS
from infra.plan.limits import LIMITS, UNITS, Limit
from infra.plan.rates import Rates
from shared.domain.prices import Price, price_table, service_prices

MONTH_HOURS = 730
# Assumptions, printed with every plan.
CHARACTERS_A_PAGE = 1_800  # recognised
PAGES_A_REQUEST = 15
CHARACTERS_A_TOKEN = 4
OVERLAP = 1.1  # tokens are embedded for each token of text
MODEL_IN, MODEL_OUT = 1.5, 0.1  # tokens of the entities' model for each token of text
WAIT_FILE = 0.5  # seconds that an instance waits for Drive for one file, of the two that it reads at a time
WAIT_PASSAGE = 0.01  # and for the models for one passage, of the 24 calls that it has under way
STREAM_BYTES = 25e6  # a second, of one file
GIB = 2  # of memory of an instance
MESSAGE = 1.35  # bytes said for each byte of text, published and delivered
PAGE_BYTES = 250_000  # of a page on its way to be recognised
DOCUMENTS_READ, DOCUMENTS_WRITTEN = 1.0, 0.05  # in Firestore, for a file
LOG_BYTES = 2_500  # for a file
ROW_BYTES, PASSAGE_BYTES = 3_000, 7_000  # in the database, indexes included
GIB_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Drive:
    """What is to be read. `mix` are shares of the files that add up to 1."""

    bytes: float
    files: float
    mix: Mapping[str, float]
    people: int = 1
    changes: float = 0.05  # of the files, that are new or changed in a month


@dataclass(frozen=True, slots=True)
class Machines:
    """What it runs on."""

    instances: int = 80  # of the streamer and the processor together, with one core each
    sql_cores: int = 4
    sql_memory_gib: int = 16
    highly_available: bool = True
    embedding_model: str = "gemini-embedding-001"
    entity_model: str = "gemini-3.5-flash-lite"
    entities: float = 1.0  # share of the text in which names are looked for
    limits: Mapping[str, Limit] = field(default_factory=lambda: LIMITS)


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a plan: the formula with its numbers, and what comes out."""

    name: str
    formula: str
    value: float


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a first sync is made of."""

    fetched: float
    requests: float
    pages: float
    ocr_requests: float
    characters: float
    passages: float
    processor: float  # seconds of cores

    @property
    def tokens(self) -> float:
        return self.characters / CHARACTERS_A_TOKEN * OVERLAP


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole forecast."""

    kinds: tuple[Part, ...]  # mean bytes of a file of each kind
    amounts: Amounts
    days: tuple[Part, ...]
    once: tuple[Part, ...]
    monthly: tuple[Part, ...]
    instances: float  # that are busy on the average while the first sync goes on
    prices: tuple[Price, ...]

    @property
    def bottleneck(self) -> Part:
        return max(self.days, key=lambda part: part.value)


def forecast(drive: Drive, machines: Machines, rates: Rates, prices: str = "") -> Plan:
    """The plan for a Drive. `prices` is the setting PRICES."""
    sizes = mean_sizes(drive)
    amounts = amounts_of(drive, sizes, rates)
    days = _days(drive, machines, amounts)
    table = {**price_table(machines.embedding_model, machines.entity_model, prices), **service_prices()}
    longest = max(part.value for part in days)
    return Plan(
        kinds=tuple(Part(kind, f"{drive.mix[kind]:.1%} of the files", size) for kind, size in sizes.items()),
        amounts=amounts,
        days=days,
        once=_once(drive, machines, amounts, table),
        monthly=_monthly(drive, machines, amounts, table),
        instances=_instance_seconds(drive, amounts) / (longest * 86_400) if longest else 0.0,
        prices=tuple(table.values()),
    )


def mean_sizes(drive: Drive) -> dict[str, float]:
    """The mean size of a file of each kind: kinds differ by their weights, and all together are the bytes."""
    heavy = sum(share * KINDS[kind].weight for kind, share in drive.mix.items())
    unit = drive.bytes / drive.files / heavy if drive.files and heavy else 0.0
    return {kind: unit * KINDS[kind].weight for kind in drive.mix}


def amounts_of(drive: Drive, sizes: Mapping[str, float], rates: Rates) -> Amounts:
    """What is fetched, recognised and cut."""
    found = Amounts(0, 0, 0, 0, 0, 0, 0)
    for name, share in drive.mix.items():
        kind, files, size = KINDS[name], drive.files * share, sizes[name]
        pages = max(kind.least_pages, kind.pages * size / 1e6)
        characters = kind.characters * size / 1e6 + pages * CHARACTERS_A_PAGE
        passages = rates.passages("text", characters)
        work = rates.file[name] + rates.passage * passages
        found = replace(
            found,
            fetched=found.fetched + files * size * kind.fetched,
            requests=found.requests + files * kind.requests * bool(kind.fetched),
            pages=found.pages + files * pages,
            ocr_requests=found.ocr_requests + files * ceil(pages / PAGES_A_REQUEST),
            characters=found.characters + files * characters,
            passages=found.passages + files * passages,
            processor=found.processor + files * work * rates.processor,
        )
    return found


def units_of(drive: Drive, amounts: Amounts) -> float:
    """Drive's units of a first sync."""
    return drive.files / 1000 * UNITS["list"] + drive.files * UNITS["read"] + amounts.requests * UNITS["download"]


def _days(drive: Drive, machines: Machines, amounts: Amounts) -> tuple[Part, ...]:
    units = units_of(drive, amounts)
    wanted = {
        "drive-project-minute": units,
        "drive-person-minute": units / drive.people,
        "drive-day": units,
        "drive-bytes-day": amounts.fetched,
        "ocr-requests-minute": amounts.ocr_requests,
        "embedding-tokens-minute": amounts.tokens,
        "passages-minute": amounts.passages,
    }
    parts = []
    for name, amount in wanted.items():
        limit = machines.limits[name]
        if name == "passages-minute":
            limit = replace(limit, amount=limit.amount * machines.sql_cores / 2)
        per = "day" if limit.minutes == 1440 else "minute"
        parts.append(Part(limit.what, f"{amount:,.0f} / {limit.amount:,.0f} a {per}", limit.days(amount)))
    seconds = _instance_seconds(drive, amounts)
    formula = f"{seconds:,.0f} s of instances / {machines.instances} at a time"
    parts.append(Part("instances of functions", formula, seconds / machines.instances / 86_400))
    return tuple(parts)


def _instance_seconds(drive: Drive, amounts: Amounts) -> float:
    """What is billed: cores at work, and waiting for others."""
    waiting = drive.files * WAIT_FILE + amounts.passages * WAIT_PASSAGE + amounts.fetched / STREAM_BYTES
    return amounts.processor + waiting


def _once(
    drive: Drive, machines: Machines, amounts: Amounts, prices: Mapping[str, Price], share: float = 1.0
) -> tuple[Part, ...]:
    """What is paid for each file that is read: all of them at first, a share of them in each month."""
    seconds = _instance_seconds(drive, amounts)
    said = amounts.characters * MESSAGE * 2 + amounts.pages * PAGE_BYTES * 2
    tokens = amounts.characters / CHARACTERS_A_TOKEN * machines.entities
    rows = [
        ("Document AI, pages", "ocr_pages", amounts.pages),
        ("embedding, tokens", "embedded_tokens", amounts.tokens),
        ("entities, tokens in", "model_input_tokens", tokens * MODEL_IN),
        ("entities, tokens out", "model_output_tokens", tokens * MODEL_OUT),
        ("functions, vCPU seconds", "function_vcpu_seconds", seconds),
        ("functions, GiB seconds", "function_gib_seconds", seconds * GIB),
        ("functions, requests", "function_requests", drive.files * 3),
        ("Pub/Sub, bytes", "message_bytes", said),
        ("Firestore, reads", "firestore_reads", drive.files * DOCUMENTS_READ),
        ("Firestore, writes", "firestore_writes", drive.files * DOCUMENTS_WRITTEN),
        ("logging, bytes", "log_bytes", drive.files * LOG_BYTES),
    ]
    return tuple(_cost(name, prices[counter], amount * share) for name, counter, amount in rows)


def _monthly(drive: Drive, machines: Machines, amounts: Amounts, prices: Mapping[str, Price]) -> tuple[Part, ...]:
    twice = 2 if machines.highly_available else 1
    kept = (drive.files * ROW_BYTES + amounts.passages * PASSAGE_BYTES) / GIB_BYTES
    rows = [
        ("Cloud SQL, vCPU hours", "sql_vcpu_hours", machines.sql_cores * MONTH_HOURS * twice),
        ("Cloud SQL, GiB hours", "sql_gib_hours", machines.sql_memory_gib * MONTH_HOURS * twice),
        ("Cloud SQL, GiB of disk", "sql_disk_gib_months", kept * twice),
        ("Cloud SQL, GiB of backups", "sql_backup_gib_months", kept * 1.5),
    ]
    changed = _once(drive, machines, amounts, prices, drive.changes)
    return (*(_cost(name, prices[counter], amount) for name, counter, amount in rows), *changed)


def _cost(name: str, price: Price, amount: float) -> Part:
    formula = f"{amount:,.0f} x {price.dollars.normalize():f} / 1,000,000"
    return Part(name, formula, float(Decimal(amount) * price.dollars / 1_000_000))
