"""Formats in and out of a project, one module each; every export proves itself before it leaves."""

from app.exchange.coco import ExportReport, ImportReport, export_project, import_coco

__all__ = [
    "EXPORTERS",
    "IMPORTERS",
    "ExportReport",
    "ImportReport",
    "export_project",
    "import_coco",
]

EXPORTERS = {"coco": export_project}
IMPORTERS = {"coco": import_coco}
