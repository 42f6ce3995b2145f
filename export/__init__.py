"""A trained student -> files that serve: ONNX, INT8, the gate, the model card, the seal."""

from export.student import (
    Attempt,
    ExportOptions,
    ExportReport,
    StudentMeta,
    add_scores,
    export_student,
    seal,
)

__all__ = [
    "Attempt",
    "ExportOptions",
    "ExportReport",
    "StudentMeta",
    "add_scores",
    "export_student",
    "seal",
]
