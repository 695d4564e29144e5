"""Made-up requests, good and bad, against a running server: no 5xx, no status or body that is not described.

Each operation gets the same few requests in every run. What destroys or never ends runs against a server of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lightrag_server.core.ids import document_id
from tests.api.conftest import STORY
from tests.conformance.facts import Schema, operations
from tests.conformance.served import DOCUMENT
from tests.server import Server, running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
KNOWN = {
    "document_id": document_id("carol.txt", STORY),
    "name": "Jacob Marley",
    "source": "Jacob Marley",
    "target": "Ebenezer Scrooge",
    "label": "Jacob Marley",
    "model": "lightrag:mix",
}
"""Values of parameters that name something which is there: beside made-up ones they are tried too."""
DESTROYING = ("DELETE", "PATCH")
CREDENTIAL = {"X-API-Key": "correct horse battery staple"}
SETTINGS = {"LIGHTRAG_API_KEY": CREDENTIAL["X-API-Key"], "EVENT_STREAM_SECONDS": "1"}
"""Without a key the server would close itself as soon as a request has made one."""


def with_known_values(document: Schema) -> Schema:
    """A copy whose parameters have them as examples."""
    copied = deepcopy(document)
    for _, path, operation in operations(copied):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in KNOWN and not path.startswith("/workspaces"):
                parameter["example"] = KNOWN[parameter["name"]]
    return copied


ENDLESS = "/documents/events"
"""Goes on while documents are indexed: only how it begins is looked at, in a test of its own."""
SCHEMA = schemathesis.openapi.from_dict(with_known_values(DOCUMENT)).exclude(path=ENDLESS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("asked"), **SETTINGS) as started, started.client() as client:
        text = {"text": STORY, "file_source": "carol.txt"}
        assert client.post("/documents/text", json=text, headers=CREDENTIAL).status_code == 200
        yield started
        assert faults_in(started) == ""


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("doomed"), **SETTINGS) as started:
        yield started
        assert faults_in(started) == ""


def faults_in(server: Server) -> str:
    """The log from the first trace of an unforeseen error on; empty when there is none."""
    return "".join(server.text.partition("Traceback")[1:])[:4000]


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_every_answer_is_as_described(case: schemathesis.Case, server: Server, doomed: Server) -> None:
    address = (doomed if case.method in DESTROYING else server).address
    case.call_and_validate(base_url=address, checks=CHECKS, headers=CREDENTIAL, timeout=20)


@pytest.mark.parametrize("parameters", [{}, {"track_id": "unknown"}, {"track_id": "\x00"}, {"moon": "1"}])
def test_the_stream_of_events_begins_as_described(server: Server, parameters: dict[str, str]) -> None:
    responses = DOCUMENT["paths"][ENDLESS]["get"]["responses"]
    with (
        server.client() as client,
        client.stream("GET", ENDLESS, params=parameters, headers=CREDENTIAL) as reply,
    ):
        assert reply.headers["content-type"].partition(";")[0] in responses[str(reply.status_code)]["content"]
        assert reply.status_code < 500
