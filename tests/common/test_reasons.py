"""Error reasons: the same in the protos, in code and in the classes that carry them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib import resources

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

import gateway
import services
from prisma.common.v1.error_reason_pb2 import ErrorReason
from prisma_common.reasons import CODES, Code
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, PrismaError

FILE = "prisma/common/v1/error_reason.proto"
NEVER_SENT = "UNSPECIFIED"


IMPLIED = {
    "request_id": "REQUEST_ID_REUSED",
    "page_token": "INVALID_PAGE_TOKEN",
    "filter": "INVALID_FILTER",
    "since_revision": "HISTORY_CHANGED",
}
"""The reason that a field of a request brings with it."""


def protos() -> list[FileDescriptorProto]:
    return list(FileDescriptorSet.FromString((resources.files("prisma") / "prisma.binpb").read_bytes()).file)


def comments_of(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(part.path): part.leading_comments for part in file.source_code_info.location}


def documented() -> dict[str, Code]:
    """Each reason of the proto with the code that its comment begins with."""
    file = next(file for file in protos() if file.name == FILE)
    comments = comments_of(file)
    codes: dict[str, Code] = {}
    for number, value in enumerate(file.enum_type[0].value):
        reason = value.name.removeprefix("ERROR_REASON_")
        if reason != NEVER_SENT:
            word = re.match(r"\s*([A-Z_]+)\. ", comments[(5, 0, 2, number)])
            assert word, f"the comment of {value.name} must begin with its gRPC code"
            codes[reason] = Code[word[1]]
    return codes


def test_reasons_and_their_codes_are_those_of_the_proto() -> None:
    assert dict(CODES) == documented()
    assert {name.removeprefix("ERROR_REASON_") for name in dict(ErrorReason.items())} - {NEVER_SENT} == set(CODES)


def test_the_comment_of_an_rpc_names_the_reasons_that_its_messages_imply() -> None:
    files = [file for file in protos() if file.package.startswith("prisma.")]
    fields = {f".{file.package}.{message.name}": message.field for file in files for message in file.message_type}
    methods = 0
    for file in files:
        comments = comments_of(file)
        for place, service in enumerate(file.service):
            for number, method in enumerate(service.method):
                comment = comments[(6, place, 2, number)]
                named = set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", comment.partition("Errors:")[2]))
                implied = {IMPLIED[field.name] for field in fields[method.input_type] if field.name in IMPLIED}
                if method.output_type == ".prisma.common.v1.Job":
                    implied.add("NATS_UNAVAILABLE")
                assert implied <= named, f"{method.name}: {implied - named}"
                assert named <= set(CODES) | set(Code.__members__), f"{method.name}: {named - set(CODES)}"
                methods += 1
    assert methods


def error_classes() -> list[type[PrismaError]]:
    """All PrismaError classes that the services and the gateway define."""
    for package in (services, gateway):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not re.search(r"\.(__main__|migrations|gpu)", module.name):  # gpu needs torch
                importlib.import_module(module.name)
    unvisited, classes = [PrismaError], list[type[PrismaError]]()
    while unvisited:
        error = unvisited.pop()
        classes.append(error)
        unvisited += error.__subclasses__()
    return [error for error in classes if error.__module__.startswith(("services.", "gateway."))]


CARRIERS = ("RemoteError", "HttpError", "PartitionFailed", "PartitionWaits")
"""Classes of errors that pass on the reason of another one."""


def test_every_error_class_has_a_reason_of_the_contract_and_its_code() -> None:
    for error in error_classes():
        reason = getattr(error, "reason", None)
        if not error.abstract and reason is not None:
            assert CODES[reason] == error.code, error
        else:
            assert error.abstract or error.__name__ in CARRIERS, error


def test_every_reason_is_raised_by_some_class() -> None:
    raised = {error.reason for error in error_classes() if not error.abstract and hasattr(error, "reason")}
    assert raised == set(CODES)


def test_a_class_without_a_reason_or_with_one_of_another_code_cannot_be_defined() -> None:
    with pytest.raises(TypeError):
        type("Forgotten", (NotFound,), {})
    with pytest.raises(TypeError):
        type("Contradictory", (NotFound,), {"reason": "RUN_NOT_TRAINED"})
    with pytest.raises(TypeError):
        type("Unknown", (FailedPrecondition,), {"reason": "NO_SUCH_REASON"})
    with pytest.raises(TypeError):
        NotFound("abstract")


def test_an_error_that_quotes_a_long_request_still_fits_into_trailing_metadata() -> None:
    status = InvalidArgument.field("service", f"there is no service {'𝄞' * 10_000}").to_status()
    assert status.ByteSize() < 8_000
    assert status.message.startswith("service: there is no service 𝄞")
