import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prisma.common.v1 import block_pb2 as _block_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Run(_message.Message):
    __slots__ = ("name", "uid", "display_name", "description", "dataset", "dataset_uid", "dataset_revision", "row_ranges", "row_count", "fingerprint", "embedding_model", "dimension", "config", "state", "revision", "code_count", "metrics", "job", "device", "create_time", "update_time", "train_time", "delete_time", "tags", "evaluation", "imported_from", "latent_count", "history", "dataset_history", "pending_count", "dead_count", "uncoded_count", "warnings", "quality", "sizing", "dataset_fingerprint", "dataset_changes")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Run.State]
        STATE_CREATED: _ClassVar[Run.State]
        STATE_TRAINED: _ClassVar[Run.State]
    STATE_UNSPECIFIED: Run.State
    STATE_CREATED: Run.State
    STATE_TRAINED: Run.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    DATASET_UID_FIELD_NUMBER: _ClassVar[int]
    DATASET_REVISION_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FROM_FIELD_NUMBER: _ClassVar[int]
    LATENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    DATASET_HISTORY_FIELD_NUMBER: _ClassVar[int]
    PENDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNCODED_COUNT_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SIZING_FIELD_NUMBER: _ClassVar[int]
    DATASET_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DATASET_CHANGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    display_name: str
    description: str
    dataset: str
    dataset_uid: str
    dataset_revision: int
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    row_count: int
    fingerprint: str
    embedding_model: str
    dimension: int
    config: Config
    state: Run.State
    revision: int
    code_count: int
    metrics: Metrics
    job: str
    device: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    train_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    tags: _containers.RepeatedScalarFieldContainer[str]
    evaluation: Evaluation
    imported_from: str
    latent_count: int
    history: str
    dataset_history: str
    pending_count: int
    dead_count: int
    uncoded_count: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    quality: Quality
    sizing: Sizing
    dataset_fingerprint: str
    dataset_changes: DatasetChanges
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., dataset: _Optional[str] = ..., dataset_uid: _Optional[str] = ..., dataset_revision: _Optional[int] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ..., row_count: _Optional[int] = ..., fingerprint: _Optional[str] = ..., embedding_model: _Optional[str] = ..., dimension: _Optional[int] = ..., config: _Optional[_Union[Config, _Mapping]] = ..., state: _Optional[_Union[Run.State, str]] = ..., revision: _Optional[int] = ..., code_count: _Optional[int] = ..., metrics: _Optional[_Union[Metrics, _Mapping]] = ..., job: _Optional[str] = ..., device: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., train_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ..., evaluation: _Optional[_Union[Evaluation, _Mapping]] = ..., imported_from: _Optional[str] = ..., latent_count: _Optional[int] = ..., history: _Optional[str] = ..., dataset_history: _Optional[str] = ..., pending_count: _Optional[int] = ..., dead_count: _Optional[int] = ..., uncoded_count: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., quality: _Optional[_Union[Quality, _Mapping]] = ..., sizing: _Optional[_Union[Sizing, _Mapping]] = ..., dataset_fingerprint: _Optional[str] = ..., dataset_changes: _Optional[_Union[DatasetChanges, _Mapping]] = ...) -> None: ...

class DatasetChanges(_message.Message):
    __slots__ = ("fingerprint", "added_count", "deleted_count", "changed_count")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    added_count: int
    deleted_count: int
    changed_count: int
    def __init__(self, fingerprint: _Optional[str] = ..., added_count: _Optional[int] = ..., deleted_count: _Optional[int] = ..., changed_count: _Optional[int] = ...) -> None: ...

class Sizing(_message.Message):
    __slots__ = ("goal", "reason", "pilots")
    class Pilot(_message.Message):
        __slots__ = ("latent_count", "k", "train_fvu", "held_out_fvu", "reproduced_share")
        LATENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        K_FIELD_NUMBER: _ClassVar[int]
        TRAIN_FVU_FIELD_NUMBER: _ClassVar[int]
        HELD_OUT_FVU_FIELD_NUMBER: _ClassVar[int]
        REPRODUCED_SHARE_FIELD_NUMBER: _ClassVar[int]
        latent_count: int
        k: int
        train_fvu: float
        held_out_fvu: float
        reproduced_share: float
        def __init__(self, latent_count: _Optional[int] = ..., k: _Optional[int] = ..., train_fvu: _Optional[float] = ..., held_out_fvu: _Optional[float] = ..., reproduced_share: _Optional[float] = ...) -> None: ...
    GOAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PILOTS_FIELD_NUMBER: _ClassVar[int]
    goal: Config.Goal
    reason: str
    pilots: _containers.RepeatedCompositeFieldContainer[Sizing.Pilot]
    def __init__(self, goal: _Optional[_Union[Config.Goal, str]] = ..., reason: _Optional[str] = ..., pilots: _Optional[_Iterable[_Union[Sizing.Pilot, _Mapping]]] = ...) -> None: ...

class Quality(_message.Message):
    __slots__ = ("train_fvu", "held_out_fvu", "sibling_count", "live_count", "reproduced_count", "closely_reproduced_count")
    TRAIN_FVU_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FVU_FIELD_NUMBER: _ClassVar[int]
    SIBLING_COUNT_FIELD_NUMBER: _ClassVar[int]
    LIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPRODUCED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLOSELY_REPRODUCED_COUNT_FIELD_NUMBER: _ClassVar[int]
    train_fvu: float
    held_out_fvu: float
    sibling_count: int
    live_count: int
    reproduced_count: int
    closely_reproduced_count: int
    def __init__(self, train_fvu: _Optional[float] = ..., held_out_fvu: _Optional[float] = ..., sibling_count: _Optional[int] = ..., live_count: _Optional[int] = ..., reproduced_count: _Optional[int] = ..., closely_reproduced_count: _Optional[int] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("row_count", "fvu", "cosine", "l0", "dead_share", "dense_share", "density_histogram", "knn_overlap", "ndcg", "stability", "time")
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    FVU_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    L0_FIELD_NUMBER: _ClassVar[int]
    DEAD_SHARE_FIELD_NUMBER: _ClassVar[int]
    DENSE_SHARE_FIELD_NUMBER: _ClassVar[int]
    DENSITY_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    KNN_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    NDCG_FIELD_NUMBER: _ClassVar[int]
    STABILITY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    row_count: int
    fvu: float
    cosine: float
    l0: float
    dead_share: float
    dense_share: float
    density_histogram: _containers.RepeatedScalarFieldContainer[int]
    knn_overlap: float
    ndcg: float
    stability: float
    time: _timestamp_pb2.Timestamp
    def __init__(self, row_count: _Optional[int] = ..., fvu: _Optional[float] = ..., cosine: _Optional[float] = ..., l0: _Optional[float] = ..., dead_share: _Optional[float] = ..., dense_share: _Optional[float] = ..., density_histogram: _Optional[_Iterable[int]] = ..., knn_overlap: _Optional[float] = ..., ndcg: _Optional[float] = ..., stability: _Optional[float] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ("expansion", "k", "k_aux", "aux_coefficient", "learning_rate", "batch_size", "epochs", "warmup_fraction", "decay_fraction", "held_out_fraction", "dead_window", "gradient_clip", "seed", "normalization", "threads", "architecture", "patience", "auto", "cycles", "siblings", "latent_count", "goal")
    class Goal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        GOAL_UNSPECIFIED: _ClassVar[Config.Goal]
        GOAL_INTERPRETABLE: _ClassVar[Config.Goal]
        GOAL_FAITHFUL: _ClassVar[Config.Goal]
    GOAL_UNSPECIFIED: Config.Goal
    GOAL_INTERPRETABLE: Config.Goal
    GOAL_FAITHFUL: Config.Goal
    class Architecture(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ARCHITECTURE_UNSPECIFIED: _ClassVar[Config.Architecture]
        ARCHITECTURE_TOP_K: _ClassVar[Config.Architecture]
        ARCHITECTURE_BATCH_TOP_K: _ClassVar[Config.Architecture]
        ARCHITECTURE_MATRYOSHKA: _ClassVar[Config.Architecture]
    ARCHITECTURE_UNSPECIFIED: Config.Architecture
    ARCHITECTURE_TOP_K: Config.Architecture
    ARCHITECTURE_BATCH_TOP_K: Config.Architecture
    ARCHITECTURE_MATRYOSHKA: Config.Architecture
    class Normalization(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NORMALIZATION_UNSPECIFIED: _ClassVar[Config.Normalization]
        NORMALIZATION_STANDARD: _ClassVar[Config.Normalization]
        NORMALIZATION_SCALE: _ClassVar[Config.Normalization]
        NORMALIZATION_NONE: _ClassVar[Config.Normalization]
    NORMALIZATION_UNSPECIFIED: Config.Normalization
    NORMALIZATION_STANDARD: Config.Normalization
    NORMALIZATION_SCALE: Config.Normalization
    NORMALIZATION_NONE: Config.Normalization
    EXPANSION_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    K_AUX_FIELD_NUMBER: _ClassVar[int]
    AUX_COEFFICIENT_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    DECAY_FRACTION_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FRACTION_FIELD_NUMBER: _ClassVar[int]
    DEAD_WINDOW_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CLIP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    AUTO_FIELD_NUMBER: _ClassVar[int]
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    SIBLINGS_FIELD_NUMBER: _ClassVar[int]
    LATENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    expansion: int
    k: int
    k_aux: int
    aux_coefficient: float
    learning_rate: float
    batch_size: int
    epochs: int
    warmup_fraction: float
    decay_fraction: float
    held_out_fraction: float
    dead_window: int
    gradient_clip: float
    seed: int
    normalization: Config.Normalization
    threads: int
    architecture: Config.Architecture
    patience: int
    auto: bool
    cycles: int
    siblings: int
    latent_count: int
    goal: Config.Goal
    def __init__(self, expansion: _Optional[int] = ..., k: _Optional[int] = ..., k_aux: _Optional[int] = ..., aux_coefficient: _Optional[float] = ..., learning_rate: _Optional[float] = ..., batch_size: _Optional[int] = ..., epochs: _Optional[int] = ..., warmup_fraction: _Optional[float] = ..., decay_fraction: _Optional[float] = ..., held_out_fraction: _Optional[float] = ..., dead_window: _Optional[int] = ..., gradient_clip: _Optional[float] = ..., seed: _Optional[int] = ..., normalization: _Optional[_Union[Config.Normalization, str]] = ..., threads: _Optional[int] = ..., architecture: _Optional[_Union[Config.Architecture, str]] = ..., patience: _Optional[int] = ..., auto: _Optional[bool] = ..., cycles: _Optional[int] = ..., siblings: _Optional[int] = ..., latent_count: _Optional[int] = ..., goal: _Optional[_Union[Config.Goal, str]] = ...) -> None: ...

class Metrics(_message.Message):
    __slots__ = ("step", "total_steps", "epoch", "loss", "fvu", "held_out_fvu", "l0", "silent_count", "silent_share", "gradient_norm", "learning_rate", "samples_per_second", "elapsed_seconds", "peak_memory_bytes", "time")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    FVU_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FVU_FIELD_NUMBER: _ClassVar[int]
    L0_FIELD_NUMBER: _ClassVar[int]
    SILENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SILENT_SHARE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NORM_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    step: int
    total_steps: int
    epoch: float
    loss: float
    fvu: float
    held_out_fvu: float
    l0: float
    silent_count: int
    silent_share: float
    gradient_norm: float
    learning_rate: float
    samples_per_second: float
    elapsed_seconds: float
    peak_memory_bytes: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, step: _Optional[int] = ..., total_steps: _Optional[int] = ..., epoch: _Optional[float] = ..., loss: _Optional[float] = ..., fvu: _Optional[float] = ..., held_out_fvu: _Optional[float] = ..., l0: _Optional[float] = ..., silent_count: _Optional[int] = ..., silent_share: _Optional[float] = ..., gradient_norm: _Optional[float] = ..., learning_rate: _Optional[float] = ..., samples_per_second: _Optional[float] = ..., elapsed_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
