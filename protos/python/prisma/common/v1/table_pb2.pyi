from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class TableFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TABLE_FORMAT_UNSPECIFIED: _ClassVar[TableFormat]
    TABLE_FORMAT_CSV: _ClassVar[TableFormat]
    TABLE_FORMAT_JSON_LINES: _ClassVar[TableFormat]
    TABLE_FORMAT_PARQUET: _ClassVar[TableFormat]
    TABLE_FORMAT_ARROW: _ClassVar[TableFormat]
TABLE_FORMAT_UNSPECIFIED: TableFormat
TABLE_FORMAT_CSV: TableFormat
TABLE_FORMAT_JSON_LINES: TableFormat
TABLE_FORMAT_PARQUET: TableFormat
TABLE_FORMAT_ARROW: TableFormat
