"""Formats in and out of a project, one module each; every export proves itself before it leaves."""

from app.exchange.bringing import Importer
from app.exchange.export import Exporter, ExportReport
from app.exchange.formats import FORMATS, Format, get_format, reader_titles
from app.exchange.looking import ImportReport, Tell, silent

__all__ = [
    "FORMATS",
    "ExportReport",
    "Exporter",
    "Format",
    "ImportReport",
    "Importer",
    "Tell",
    "get_format",
    "reader_titles",
    "silent",
]
