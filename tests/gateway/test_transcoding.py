"""Templates, queries and the OpenAPI document, without a server."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from gateway import binding, openapi
from gateway.routes import routes
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma_common.http_rule import PathTemplate
from services.chassis.errors import InvalidArgument

SEARCH: Any = search_pb2.SearchDocumentsRequest.DESCRIPTOR  # in its stub a union of two implementations' types
IMPORT: Any = embedder_pb2.ImportDocumentsRequest.DESCRIPTOR
UPDATE: Any = embedder_pb2.UpdateDatasetRequest.DESCRIPTOR
segment = st.text("ABCxyz0189._~-", min_size=1, max_size=20)


def test_every_method_has_a_route_of_its_own() -> None:
    descriptors = FileDescriptorSet.FromString((resources.files("prisma") / "prisma.binpb").read_bytes())
    methods = {
        f"/{file.package}.{service.name}/{method.name}"
        for file in descriptors.file
        for service in file.service
        for method in service.method
    }
    assert {route.full_name for route in routes()} == methods
    assert len({(route.verb, route.template) for route in routes()}) == len(routes())


@given(segment, segment)
def test_a_path_gives_the_fields_of_its_template_and_of_no_other(one: str, other: str) -> None:
    template = PathTemplate.parse("/v1/{name=datasets/*/documents/*}")
    assert [variable.field for variable in template.variables] == ["name"]
    pattern = template.regular_expression("[^/:]+")
    match = pattern.fullmatch(f"/v1/datasets/{one}/documents/{other}")
    assert match
    assert match[1] == f"datasets/{one}/documents/{other}"
    for path in (f"/v1/datasets/{one}", f"/v1/runs/{one}/documents/{other}", f"/v1/datasets/{one}/documents/{other}/x"):
        assert not pattern.fullmatch(path)


@given(segment)
def test_a_verb_is_not_part_of_an_id(name: str) -> None:
    path = f"/v1/runs/{name}/features:export"
    matching = [route.full_name for route in routes() if route.verb == "GET" and route.match(path) is not None]
    assert matching[0].endswith("/ExportFeatures")


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_any_query_is_a_message_or_a_clear_error(query: list[tuple[str, str]]) -> None:
    try:
        binding.message(SEARCH, path={"parent": "datasets/d"}, query=query)
    except InvalidArgument as error:
        assert error.violations


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([field.json_name for field in SEARCH.fields])


@given(st.dictionaries(names, json_values, max_size=4))
def test_any_body_is_a_message_or_a_clear_error(body: dict[str, object]) -> None:
    try:
        binding.message(SEARCH, path={"parent": "datasets/d"}, body=body, body_field="*")
    except InvalidArgument as error:
        assert error.violations


@given(st.binary(max_size=50))
def test_any_bytes_are_json_or_a_clear_error(data: bytes) -> None:
    try:
        binding.parse_json(data)
    except InvalidArgument as error:
        assert error.violations


def test_queries_take_nested_repeated_and_enum_fields() -> None:
    query = [
        ("mode", "MODE_SPARSE"),
        ("textWeight", "0.5"),
        ("latents", '{"index": 3, "weight": -1.5}'),
        ("page_size", "7"),
    ]
    message = binding.message(SEARCH, path={"parent": "datasets/d"}, query=query)
    assert message == search_pb2.SearchDocumentsRequest(
        parent="datasets/d", mode="MODE_SPARSE", text_weight=0.5, latents=[{"index": 3, "weight": -1.5}], page_size=7
    )
    config = binding.message(
        IMPORT,
        path={"config.dataset": "datasets/d"},
        query=[("config.validateOnly", "true"), ("config.id_field", "key")],
    )
    assert config == embedder_pb2.ImportDocumentsRequest(
        config={"dataset": "datasets/d", "validate_only": True, "id_field": "key"}
    )


def test_the_path_says_which_resource_is_meant_whatever_the_body_says() -> None:
    message = binding.message(
        UPDATE,
        path={"dataset.name": "datasets/d"},
        query=[("updateMask", "displayName,description")],
        body={"name": "datasets/other", "displayName": "x"},
        body_field="dataset",
    )
    assert message == embedder_pb2.UpdateDatasetRequest(
        dataset={"name": "datasets/d", "display_name": "x"}, update_mask={"paths": ["display_name", "description"]}
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"latents": [{"weigt": 1}]}, "latents"),
        ({"pageSize": "x"}, "pageSize"),
        ({"pageSize": "٣"}, "pageSize"),
    ],
)
def test_an_error_names_the_field(body: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        binding.message(SEARCH, path={"parent": "datasets/d"}, body=body, body_field="*")
    assert field in caught.value.violations[0].field


@pytest.mark.parametrize(
    ("query", "description"),
    [
        (("pageSize", "many"), "pageSize: expected an integer of -2147483648 to 2147483647, got many"),
        (("page_size", "many"), "page_size: expected an integer of -2147483648 to 2147483647, got many"),
        (("textWeight", "much"), "textWeight: expected a finite number, got much"),
    ],
)
def test_an_error_spells_the_field_as_the_request_does(query: tuple[str, str], description: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        binding.message(SEARCH, path={"parent": "datasets/d"}, query=[query])
    assert caught.value.message == description


@pytest.mark.parametrize(
    ("body", "description"),
    [
        (b"[" * 100_000, "expected at most 64 levels of nesting"),
        (b"9" * 5000, "expected JSON with numbers of at most 4,300 digits"),
        (b'{"a": NaN}', "expected JSON: it has no NaN"),
    ],
)
def test_a_body_that_python_cannot_read_is_refused_in_plain_words(body: bytes, description: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        binding.parse_json(body)
    assert caught.value.violations[0].description == description


def test_the_openapi_document_is_valid_and_as_the_protos_say() -> None:
    text = openapi.FILE.read_text(encoding="utf-8")
    assert text == openapi.text(), "run `make protos`: gateway/web/openapi.json is not what the protos say"
    document = json.loads(text)
    validate(document)
    described = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in described)
    assert len({operation["operationId"] for operation in described}) == len(described)


def test_a_body_asks_for_nothing_that_the_path_has() -> None:
    schemas = openapi.document()["components"]["schemas"]
    for route in routes():
        if route.body == "*":
            schema = schemas[route.method.input_type.full_name]
            assert not {
                field.json_name for field in route.method.input_type.fields if field.name in route.fields
            } & set(schema["properties"]), route.template
    assert schemas["prisma.interpreter.v1.AnalyzeTextRequest"]["required"] == ["text"]
