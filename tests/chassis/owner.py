"""A small owner of resources, on the shared tables: what a service's store looks like to the chassis."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table

from services.chassis.blobs import blobs_table
from services.chassis.history import histories_table
from services.chassis.idempotency import requests_table

METADATA = MetaData()
THINGS = Table(
    "things",
    METADATA,
    Column("uid", String(32), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)
HISTORIES = histories_table(METADATA, "test")
REQUESTS = requests_table(METADATA, "test")
BLOBS = blobs_table(METADATA, "test")
