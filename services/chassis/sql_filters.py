"""AND, OR and NOT of filters, as SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from services.chassis.filters import Logic

SQL: Logic[ColumnElement[bool]] = Logic(
    all_of=lambda parts: and_(true(), *parts),
    any_of=lambda parts: or_(false(), *parts),
    negation=not_,
)
"""Of conditions that are true or false, never NULL."""
