"""What calls answer."""

from __future__ import annotations

import grpc.aio
from google.rpc.status_pb2 import Status
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from services.chassis.errors import reason_of


def reason(error: grpc.aio.AioRpcError) -> str:
    """The reason in an error's ErrorInfo; empty where it has none of ours."""
    for key, value in error.trailing_metadata() or ():
        if key == GRPC_DETAILS_METADATA_KEY:
            return reason_of(Status.FromString(value))
    return ""
