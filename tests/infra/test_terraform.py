"""What is deployed is what the code needs: a thing that is missing on either side is found, and named."""

from __future__ import annotations

import copy
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from infra.checks import consistency, hcl, policy, scan, terraform
from infra.checks.__main__ import exit_code, main
from infra.checks.code import Code, read_code
from infra.checks.hcl import Configuration
from infra.checks.provider_schema import SchemaError, provider_schema
from infra.local import hosting, scheduler, stack

ROOT = Path(__file__).resolve().parents[2]
CACHE = terraform.default_cache()
NEEDS_TERRAFORM = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on this machine's PATH")
NEEDS_SCHEMA = pytest.mark.skipif(
    not terraform.has_schema(CACHE), reason="the provider's schema is not here yet: ./dev infra fetches it"
)
Topology = dict[str, Any]


@pytest.fixture(scope="module")
def code() -> Code:
    return read_code()


@pytest.fixture
def topology() -> Topology:
    return copy.deepcopy(consistency.read_topology())


@pytest.fixture(scope="module")
def parsed() -> Configuration:
    pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    return hcl.read_configuration()


@pytest.fixture
def configuration(parsed: Configuration) -> Configuration:
    return copy.deepcopy(parsed)


# Code and topology --------------------------------------------------------------------------------------------------


def test_the_topology_says_what_the_code_needs_and_no_more(topology: Topology, code: Code) -> None:
    """One definition, which the one-machine stack and Terraform read: it must be the true one."""
    assert consistency.code_faults(topology, code) == []


def _without(*path: str) -> Callable[[Topology], object]:
    def remove(topology: Topology) -> None:
        part: Any = topology
        for name in path[:-1]:
            part = part[name]
        part.remove(path[-1]) if isinstance(part, list) else part.pop(path[-1])

    return remove


def _with(value: Any, *path: str) -> Callable[[Topology], object]:
    def put(topology: Topology) -> None:
        part: Any = topology
        for name in path[:-1]:
            part = part[name]
        if isinstance(part[path[-1]], list):
            part[path[-1]].append(value)
        else:
            part[path[-1]] = value

    return put


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("topics", "ticks"), "The topic ticks is in shared/domain/names.py, and not in"),
        (_without("schedules", "reap"), "The duty reap is in tick.proto, and not in"),
        (_without("functions", "dashboard", "environment", "VERTEX_ENDPOINT"), "dashboard needs VERTEX_ENDPOINT"),
        (_with("TOKEN_KEYS_SECRET", "functions", "drive_webhook", "environment"), "does not need TOKEN_KEYS_SECRET"),
        (_without("functions", "ai_processor", "touches", "document_ai"), "ai_processor needs document_ai"),
        (_with("cloud_sql", "functions", "drive_webhook", "touches"), "drive_webhook does not need cloud_sql"),
        (_without("functions", "file_streamer", "publishes", "file-chunks"), "file_streamer needs file-chunks"),
        (_without("settings", "tunable", "LIFE_SECONDS"), "The setting LIFE_SECONDS is in shared/config.py, and not"),
        (_with("LIVE_SECONDS", "settings", "tunable"), "The setting LIVE_SECONDS is in infra/topology.json, and not"),
        (
            _without("firestore", "ttl", "channels"),
            "The collection that forgets channels is in shared/adapters, and not",
        ),
        (_without("functions", "oauth_callback"), "The function oauth_callback is in functions/, and not in"),
        (_without("deployments", "file-streamer-ocr"), "pushes to file-streamer-ocr, which is not deployed"),
        (_with("dashboard", "subscriptions", "ai-processor", "deployment"), "pushes to dashboard"),
        (_without("subscriptions", "dead-letters"), "Nobody listens to the topic dead-letters"),
        (_with("CAI=", "schedules", "renew", "tick"), "The tick of renew tells the caretaker to sweep"),
        (_with(2, "functions", "dashboard", "pools"), "dashboard keeps 1 pools of connections"),
    ],
)
def test_what_is_missing_or_too_much_in_the_topology_is_named(
    topology: Topology, code: Code, change: Callable[[Topology], object], said: str
) -> None:
    """Found here it costs a sentence; found in a project, a night."""
    change(topology)

    assert any(said in fault for fault in consistency.code_faults(topology, code))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("settings", "The setting new is in shared/config.py, and not in infra/topology.json"),
        ("topics", "The topic new is in shared/domain/names.py, and not in infra/topology.json"),
        ("messages", "The schema new is in schemas/messages, and not in infra/topology.json"),
        ("logins", "The login new is in schemas/sql/roles.sql, and not in infra/topology.json"),
    ],
)
def test_what_is_new_in_the_code_is_asked_for(topology: Topology, code: Code, field: str, said: str) -> None:
    """Whoever adds a setting learns here that nobody would set it."""
    newer = replace(code, **{field: getattr(code, field) | {"new"}})

    assert any(said in fault for fault in consistency.code_faults(topology, newer))


def test_the_one_machine_stack_runs_what_is_deployed(topology: Topology) -> None:
    """What only runs in one of the two places is tested in neither."""
    assert set(hosting.FUNCTIONS) == topology["functions"].keys()
    assert {*scheduler.EVERY_SECONDS, "sweep"} == topology["schedules"].keys()
    assert stack.PUSHES.keys() <= topology["subscriptions"].keys()


# Terraform, as text -------------------------------------------------------------------------------------------------


def test_terraform_makes_everything_of_the_topology_and_nothing_beside_it(
    topology: Topology, configuration: Configuration
) -> None:
    """A second definition would differ from the first one some day."""
    assert consistency.terraform_faults(topology, configuration) == []


def _second_topic(found: Configuration) -> None:
    found.resources["google_pubsub_topic", "more"] = {"name": '"more"'}


def _no_subscriptions(found: Configuration) -> None:
    found.resources.pop(("google_pubsub_subscription", "this"))


def _no_webhook_url(found: Configuration) -> None:
    found.locals["environment"] = found.locals["environment"].replace("WEBHOOK_URL = ", "webhook = ")


def _value_for_nobody(found: Configuration) -> None:
    found.locals["environment"] += "{DATABASE_PASSWORD = 1}"


def _no_roles(found: Configuration) -> None:
    found.locals["roles_of_service"].pop("vertex_ai")


def _an_editor(found: Configuration) -> None:
    found.locals["releaser_roles"].append('"roles/editor"')


def _a_public_secret(found: Configuration) -> None:
    found.resources["google_secret_manager_secret_iam_member", "reader"]["member"] = '"allUsers"'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_second_topic, "There should be one google_pubsub_topic in infra/terraform, and there are 2"),
        (_no_subscriptions, "There should be one google_pubsub_subscription in infra/terraform, and there are 0"),
        (_no_webhook_url, "WEBHOOK_URL has no value in local.environment"),
        (_value_for_nobody, "DATABASE_PASSWORD has a value in local.environment, and no function is given it"),
        (_no_roles, "Nothing in infra/terraform says which roles vertex_ai takes"),
        (_an_editor, "local.releaser_roles gives roles/editor: too much for anybody"),
        (_a_public_secret, "google_secret_manager_secret_iam_member.reader lets everybody in"),
    ],
)
def test_what_terraform_lacks_or_gives_away_is_named(
    topology: Topology, configuration: Configuration, change: Callable[[Configuration], None], said: str
) -> None:
    change(configuration)

    assert any(said in fault for fault in consistency.terraform_faults(topology, configuration))


def test_a_file_that_is_no_hcl_is_named(tmp_path: Path) -> None:
    pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    (tmp_path / "broken.tf").write_text('resource "google_pubsub_topic" "x" {\n')

    with pytest.raises(hcl.Unreadable, match=r"^broken\.tf: "):
        hcl.read_configuration(tmp_path)


def test_every_variable_and_output_has_a_sentence(configuration: Configuration) -> None:
    """They are all that an operator reads."""
    said = {
        name: body.get("description", "") for name, body in (configuration.variables | configuration.outputs).items()
    }

    assert [name for name, sentence in said.items() if not sentence.strip('"').endswith((".", "stored"))] == []


def test_variables_are_in_the_order_of_the_alphabet() -> None:
    for name in ("variables.tf", "outputs.tf"):
        lines = (ROOT / "infra" / "terraform" / name).read_text().splitlines()
        found = [line.split('"')[1] for line in lines if line.startswith(("variable ", "output "))]

        assert found == sorted(found)


# Terraform, by terraform --------------------------------------------------------------------------------------------


@NEEDS_TERRAFORM
def test_terraform_files_are_formatted() -> None:
    terraform.check_format()


@NEEDS_SCHEMA
def test_a_new_project_is_planned_as_it_should_be() -> None:
    """With the provider's true schema and a provider that makes nothing: infra/terraform/tests says what is planned."""
    assert terraform.run_tests(CACHE).startswith("Success! ")


@NEEDS_SCHEMA
def test_an_argument_that_the_provider_does_not_know_is_refused(tmp_path: Path) -> None:
    """The schema that came from a registry of Python packages is as strict as the provider's."""
    for name in ("infra/terraform", "schemas/messages"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "infra" / "topology.json", tmp_path / "infra")
    schedules = tmp_path / "infra" / "terraform" / "schedules.tf"
    schedules.write_text(schedules.read_text().replace("retry_count", "retries").replace("schedule  ", "cron  "))

    with pytest.raises(terraform.Refused) as refused:
        terraform.validate(CACHE, tmp_path)

    assert 'An argument named "retries" is not expected here' in str(refused.value)
    assert 'An argument named "cron" is not expected here' in str(refused.value)


def test_what_cannot_be_looked_at_here_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silence would be taken for success."""
    pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    assert main(["--cache", str(tmp_path / "cache")]) == 0

    said = capsys.readouterr().out
    assert "consistency  ok\n" in said
    assert said.count("not checked: there is no terraform on this machine's PATH") == 3
    assert "policy       not checked: checkov could not be installed (ERROR: " in said


def test_what_cannot_be_looked_at_is_a_fault_where_it_is_strict() -> None:
    """The pipeline has everything; what it does not look at, nobody does."""
    seen = ["ok", "absent"]

    assert [exit_code(seen, strict=False), exit_code(seen, strict=True)] == [0, 1]
    assert [exit_code([*seen, "fault"], strict=False), exit_code(["ok"], strict=True)] == [1, 0]


# The provider's schema ----------------------------------------------------------------------------------------------

SOURCE = """
function thingPartsToHclTerraform(struct) {
    const attrs = {
        size: {
            value: cdktn.numberToHclTerraform(struct.size),
            isBlock: false,
            type: "simple",
            storageClassType: "number",
        },
    };
}
class ThingPartsOutputReference extends cdktn.ComplexObject {
    // size - computed: false, optional: false, required: true
    _size;
    get size() {
        return this.getNumberAttribute('size');
    }
}
class Thing extends cdktn.TerraformResource {
    // labels - computed: false, optional: true, required: false
    _labels;
    get labels() {
        return this.getStringMapAttribute('labels');
    }
    // state - computed: true, optional: false, required: false
    get state() {
        return this.getStringAttribute('state');
    }
    // parts - computed: false, optional: false, required: true
    _parts = new ThingPartsList(this, "parts", false);
    get parts() {
        return this._parts;
    }
    synthesizeHclAttributes() {
        const attrs = {
            labels: {
                value: cdktn.hashMapperHcl(cdktn.stringToHclTerraform)(this._labels),
                isBlock: false,
                type: "map",
                storageClassType: "stringMap",
            },
            parts: {
                value: cdktn.listMapperHcl(thingPartsToHclTerraform, true)(this._parts.internalValue),
                isBlock: true,
                type: "set",
                storageClassType: "ThingPartsList",
            },
        };
    }
}
"""


def package(path: Path, **folders: str) -> Path:
    """A package like the one that holds the provider's schema."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for folder, source in folders.items():
            member = tarfile.TarInfo(f"package/lib/{folder.replace('_', '-')}/index.js")
            member.size = len(source.encode())
            archive.addfile(member, io.BytesIO(source.encode()))
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("google/_jsii/google@1.jsii.tgz", packed.getvalue())
    return path


def test_a_schema_says_what_a_resource_takes(tmp_path: Path) -> None:
    """What is required, of what type, how often, and what only the provider knows."""
    provider = SOURCE.replace("TerraformResource", "TerraformProvider")
    wheel = package(tmp_path / "package.whl", thing=SOURCE, provider=provider)

    schema = grpc.protos("infra/checks/provider.proto").ProviderSchema.FromString(
        provider_schema(wheel, ["google_thing"], [])
    )

    block = schema.resource_schemas["google_thing"].block
    attributes = {
        one.name: (json.loads(one.type), one.required, one.optional, one.computed) for one in block.attributes
    }
    assert attributes == {
        "id": ("string", False, True, True),
        "labels": (["map", "string"], False, True, True),
        "state": ("string", False, False, True),
    }
    (parts,) = block.block_types
    assert (parts.type_name, parts.nesting, parts.min_items, parts.max_items) == ("parts", parts.SET, 1, 0)
    assert [(one.name, one.type, one.required) for one in parts.block.attributes] == [("size", b'"number"', True)]


def test_a_type_that_the_provider_does_not_have_is_named(tmp_path: Path) -> None:
    wheel = package(tmp_path / "package.whl", provider=SOURCE.replace("TerraformResource", "TerraformProvider"))

    with pytest.raises(SchemaError, match="has nothing called data-google-project, pubsub-topics"):
        provider_schema(wheel, ["google_pubsub_topics"], ["google_project"])


# The policy ---------------------------------------------------------------------------------------------------------


def test_an_objection_needs_an_exception_and_an_exception_an_objection() -> None:
    """An exception that outlives its reason lets the next fault through."""
    found = [
        {"check": "CKV_1", "resource": "a.b", "name": "Be safe"},
        {"check": "CKV_2", "resource": "a.b", "name": "Log"},
    ]
    exceptions = [
        {"check": "CKV_2", "resource": "a.b", "because": "x"},
        {"check": "CKV_3", "resource": "a.b", "because": "x"},
    ]

    assert policy.faults(found, exceptions) == [
        "a.b: Be safe (CKV_1)",
        "a.b: nothing objects by CKV_3 any more: remove the exception",
    ]


def test_every_exception_is_argued() -> None:
    """Somebody will ask why."""
    exceptions = policy.read_exceptions()

    assert exceptions
    assert [one["check"] for one in exceptions if len(one["because"].split()) < 10] == []


# Secrets ------------------------------------------------------------------------------------------------------------

TOKENS = {
    "a key of Google's APIs": "AIza" + "b" * 35,
    "the secret of an OAuth client": "GOCSPX-" + "c" * 28,
    "a refresh token of Google's": "1//0" + "d" * 60,
    "an access token of Google's": "ya29." + "e" * 120,
    "a private key": "-----BEGIN PRIVATE " + "KEY-----\n" + "f" * 64,
    "a key of Amazon's": "AKIA" + "G" * 16,
    "a token of GitHub's": "ghp_" + "h" * 36,
    "a token of Slack's": "xoxb-" + "1" * 12 + "-" + "i" * 24,
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_secret_in_a_file_is_found_and_not_repeated(tmp_path: Path, kind: str) -> None:
    """What the scan prints is in the log of a build, which more people read."""
    (tmp_path / "notes.md").write_text(f"first\nthe token is {TOKENS[kind]} and more\n")

    assert list(scan.secrets([tmp_path / "notes.md"])) == [f"{tmp_path}/notes.md:2: {kind}"]


def test_no_file_of_the_repository_holds_a_secret() -> None:
    """What was committed once is known for ever."""
    try:
        files = scan.tracked_files()
    except subprocess.CalledProcessError:
        pytest.skip("this is no clone")

    assert list(scan.secrets(files)) == []
