"""The OpenAPI document allows what the services' checks accept, and nothing that they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message
from jsonschema import Draft202012Validator

from gateway import binding, constraints, openapi, proto_json
from gateway.routes import routes
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import resources_pb2 as embedder_resources
from prisma.interpreter.v1 import analyses_pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.interpreter.v1 import resources_pb2 as interpreter_resources
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_common import contract
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.embedder import requests as embedder
from services.interpreter import analysis_requests
from services.interpreter import requests as interpreter
from services.search import requests as search
from services.trainer import requests as trainer

Check = Callable[[Any], object]


def check_dataset(dataset: embedder_resources.Dataset) -> None:
    embedder.new_dataset(embedder_pb2.CreateDatasetRequest(dataset=dataset))


def check_texts(request: embedder_pb2.EmbedTextsRequest) -> None:
    embedder.texts(request, 1000)


def check_label(label: interpreter_resources.Label) -> None:
    interpreter.written_label(interpreter_pb2.CreateLabelRequest(parent="runs/r/features/1", label=label))


def check_document_set(documents: analyses_pb2.DocumentSet) -> None:
    analysis_requests.document_set(documents, "first")


def check_search(request: search_pb2.SearchDocumentsRequest) -> None:
    if request.latents:
        request.mode = search_pb2.SearchDocumentsRequest.MODE_SPARSE
    search.document_search(request)


def check_latent_set(steering_set: search_pb2.LatentSet) -> None:
    check_search(
        search_pb2.SearchDocumentsRequest(parent="datasets/d", query="a", run="runs/r", steering_sets=[steering_set])
    )


CHECKS: Mapping[str, tuple[Message, Check]] = {
    message.DESCRIPTOR.full_name: (message, check)
    for message, check in (
        (embedder_resources.Dataset(), check_dataset),
        (embedder_pb2.BatchGetDocumentsRequest(parent="datasets/d"), embedder.batch_ids),
        (embedder_pb2.EmbedTextsRequest(texts=["a"]), check_texts),
        (trainer_resources.Run(), trainer.description_of),
        (trainer_resources.Config(), trainer.recipe),
        (trainer_pb2.CompareRunsRequest(), trainer.min_cosine),
        (interpreter_pb2.CarryLabelsRequest(), interpreter.min_cosine),
        (interpreter_resources.Label(text="a"), check_label),
        (interpreter_pb2.LabelFeaturesRequest(run="runs/r"), interpreter.label_job),
        (interpreter_pb2.ScoreLabelsRequest(run="runs/r"), interpreter.scoring_job),
        (interpreter_pb2.JudgeOptions(model="ollama/m"), interpreter.judgement),
        (interpreter_resources.LabelOptions(), interpreter.options),
        (interpreter_pb2.BuildFamiliesRequest(run="runs/r"), interpreter.family_job),
        (interpreter_pb2.SampleActivationsRequest(run="runs/r"), interpreter.sample),
        (interpreter_pb2.GetFeatureMatrixRequest(run="runs/r"), interpreter.matrix),
        (analyses_pb2.AttributeSentencesRequest(run="runs/r", text="a"), analysis_requests.attribution),
        (
            analyses_pb2.ExplainSimilarityRequest(run="runs/r", first={"text": "a"}, second={"text": "a"}),
            analysis_requests.similarity,
        ),
        (
            analyses_pb2.AssociateMetadataRequest(run="runs/r", key="a"),
            analysis_requests.metadata_associations,
        ),
        (analyses_pb2.CompareDatasetsRequest(run="runs/r"), analysis_requests.dataset_comparison),
        (analyses_pb2.CorrelateFeaturesRequest(run="runs/r"), analysis_requests.feature_correlations),
        (analyses_pb2.DocumentSet(), check_document_set),
        (analyses_pb2.FitClassifierRequest(run="runs/r"), analysis_requests.classifier),
        (analyses_pb2.FindFeaturesRequest(run="runs/r", positives=[{"text": "a"}]), analysis_requests.separation),
        (search_pb2.SearchDocumentsRequest(parent="datasets/d", query="a", run="runs/r"), check_search),
        (search_pb2.LatentSet(indices=[0], weight=1), check_latent_set),
    )
}
"""For each message that has constraints, a valid one and the check of it."""


def items(field: str, count: int) -> list[Any]:
    """So many valid items of a repeated field."""
    match field:
        case "names" | "documents":
            return [f"datasets/d/documents/{number}" for number in range(count)]
        case "positives" | "negatives":
            return [{"text": "a"}] * count
        case "latents" | "steering":
            return [{"index": number, "weight": 1} for number in range(count)]
        case "steering_sets":
            return [{"indices": [number], "weight": 1} for number in range(count)]
        case "rows" | "indices":
            return list(range(count))
        case _:
            return ["a"] * count


def bounds(field: str, schema: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Values at and just beyond each bound of a schema, each with whether it is allowed."""
    for keyword, bound in schema.items():
        match keyword:
            case "minimum" | "exclusiveMinimum":
                step = bound / 2 if isinstance(bound, float) else 1
                yield bound, keyword == "minimum"
                yield bound - step, False
            case "maximum":
                yield bound, True
                yield bound + (1 if isinstance(bound, int) else bound / 10), False
            case "maxLength":
                yield "x" * bound, True
                yield "x" * (bound + 1), False
            case "maxItems":
                yield items(field, bound), True
                yield items(field, bound + 1), False
            case _:
                assert keyword == "minItems"
                yield items(field, bound), True
                yield items(field, bound - 1), False


@pytest.mark.parametrize(
    ("message", "field"), [(message, field) for message, fields in constraints.FIELDS.items() for field in fields]
)
def test_the_bounds_are_those_of_the_checks(message: str, field: str) -> None:
    valid, check = CHECKS[message]
    for value, allowed in bounds(field, constraints.FIELDS[message][field]):
        changed = type(valid)()
        changed.CopyFrom(valid)
        changed.ClearField(field)
        try:
            changed.MergeFrom(type(valid)(**{field: value}))
        except ValueError:
            assert not allowed, f"{field}: the type itself cannot hold {value}"
            continue
        if allowed:
            check(changed)
        else:
            with pytest.raises(InvalidArgument):
                check(changed)


NAMES = ("datasets/d", "datasets/-", "datasets/a b", "datasets/", "runs/r", "runs/r/x", f"runs/{'r' * 129}", "d", "")
PATTERNS = {"dataset": "datasets/{dataset}", "run": "runs/{run}"}


def is_name(pattern: str, name: str) -> bool:
    """Whether the services accept a name."""
    try:
        names.parse(pattern, name, "name")
    except InvalidArgument:
        return False
    return True


@pytest.mark.parametrize(
    ("schema", "field", "resource"),
    [
        ("prisma.trainer.v1.SweepRunsRequest", "dataset", "dataset"),
        ("prisma.search.v1.SearchDocumentsRequest", "run", "run"),
    ],
)
def test_the_patterns_of_names_are_those_of_the_checks(schema: str, field: str, resource: str) -> None:
    message = openapi.document()["components"]["schemas"][schema]
    pattern, required = message["properties"][field]["pattern"], field in message.get("required", ())
    for name in NAMES:
        expected = is_name(PATTERNS[resource], name) or (name == "" and not required)
        assert bool(re.fullmatch(pattern, name)) == expected, name


def test_every_id_in_a_path_has_a_pattern_and_every_page_size_a_minimum() -> None:
    operations = [operation for path in openapi.document()["paths"].values() for operation in path.values()]
    parameters = [parameter for operation in operations for parameter in operation.get("parameters", ())]
    for parameter in parameters:
        if parameter["in"] == "path":
            assert parameter["required"]
            assert parameter["schema"]["pattern"], parameter
        if parameter["name"] == "pageSize":
            assert parameter["schema"]["minimum"] == 0


def statuses(path: str, verb: str) -> set[str]:
    return set(openapi.document()["paths"][path][verb]["responses"])


def test_each_operation_lists_the_errors_that_can_occur() -> None:
    everywhere = {"200", "400", "401", "403", "429", "503", "default"}
    assert statuses("/v1/datasets", "get") == everywhere
    assert statuses("/v1/datasets/{dataset}", "get") == {*everywhere, "404"}
    assert statuses("/v1/datasets/{dataset}/documents:search", "post") == {*everywhere, "404", "413"}
    assert statuses("/v1/datasets", "post") == {*everywhere, "404", "409", "413"}  # 404: a model that nobody offers
    assert statuses("/v1/status", "get") == {"200", "401", "403", "429", "default"}


RESPONSES = {method.output_type.full_name: method.output_type for method in contract.methods()}


@pytest.mark.parametrize("name", sorted(set(RESPONSES) - {"google.api.HttpBody"}))
def test_a_response_has_all_required_fields_even_if_empty(name: str) -> None:
    written = json.loads(proto_json.dump(message_factory.GetMessageClass(RESPONSES[name])()))
    schema = openapi.document()["components"]["schemas"].get(name, {})
    assert set(schema.get("required", ())) == set(written)


def test_requests_of_resources_require_less_than_answers() -> None:
    schemas = openapi.document()["components"]["schemas"]
    assert "createTime" not in schemas["prisma.embedder.v1.Dataset"]["required"]
    assert "documentCount" in schemas["prisma.embedder.v1.Dataset"]["required"]
    assert "required" not in schemas["prisma.embedder.v1.DatasetInput"]
    assert schemas["prisma.trainer.v1.RunInput"]["required"] == ["dataset"]
    create = openapi.document()["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]["application/json"]
    assert create["schema"] == {"$ref": "#/components/schemas/prisma.embedder.v1.DatasetInput"}


def examples() -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Each example of the document: where it is, its schema, its value."""
    for path, operations in openapi.document()["paths"].items():
        for verb, operation in operations.items():
            place = f"{verb} {path}"
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    yield f"{place} {parameter['name']}", parameter["schema"], parameter["example"]
            for body in (operation.get("requestBody", {}), operation["responses"]["200"]):
                for media_type, content in body.get("content", {}).items():
                    if media_type == "application/json":
                        yield f"{place} {media_type}", content["schema"], content["example"]
                    elif media_type == "application/x-ndjson":
                        yield (
                            f"{place} {media_type}",
                            content["schema"]["contentSchema"],
                            json.loads(content["example"]),
                        )


def test_each_example_is_as_its_schema_says() -> None:
    document = openapi.document()
    whole = Draft202012Validator(document)
    checked = list(examples())
    assert len(checked) > len(document["paths"])
    for place, schema, value in checked:
        errors = [
            error.message
            for error in whole.evolve(schema={**schema, "components": document["components"]}).iter_errors(value)
        ]
        assert not errors, (place, value, errors)


def test_each_example_of_a_request_is_one_that_the_gateway_reads() -> None:
    operations = [operation for path in openapi.document()["paths"].values() for operation in path.values()]
    by_id = {operation["operationId"]: operation for operation in operations}
    for route in routes():
        body = by_id[f"{route.method.containing_service.name}_{route.method.name}"].get("requestBody", {})
        content = body.get("content", {}).get("application/json")
        if content:
            binding.message(route.method.input_type, path={}, body=content["example"], body_field=route.body)
