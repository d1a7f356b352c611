"""XML, parsed without entities, and the parts of it that are not ours, kept as text."""

import io
from collections.abc import Collection, Iterator
from copy import copy
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import defusedxml.ElementTree as Safe
from defusedxml.common import DefusedXmlException

from app.exchange.sheets import as_number
from mal_core.errors import InputError

Element = ElementTree.Element
_BROKEN = (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError)


def parse(data: bytes) -> Element:
    """Parse a whole document.

    Raises:
        InputError: it is not XML, or defines types or entities.
    """
    try:
        root: Element = Safe.fromstring(data, forbid_dtd=True)
    except _BROKEN as error:
        raise _explain(error) from error
    return root


def each(path: Path, *tags: str) -> Iterator[Element]:
    """Yield the elements with these tags as they end; each is emptied when the next is asked for.

    Raises:
        InputError: it is not XML, or defines types or entities.
    """
    depth = 0
    try:
        for event, element in Safe.iterparse(path, ("start", "end"), forbid_dtd=True):
            depth += 1 if event == "start" else -1
            if event == "end" and element.tag in tags and depth == 1:
                yield element
                element.clear()
    except _BROKEN as error:
        raise _explain(error) from error


def text_of(element: Element, tag: str) -> str:
    """The text of a child, without outer blanks; empty if there is none."""
    return (element.findtext(tag) or "").strip()


def number_of(element: Element, tag: str) -> float:
    """The finite number that is the text of a child, or an InputError."""
    return as_number(text_of(element, tag), tag)


def keep(element: Element, known: Collection[str]) -> list[str]:
    """The children that are not ours, as text."""
    return [to_text(child) for child in element if child.tag not in known]


def restore(element: Element, kept: object) -> None:
    """Put children back that `keep` took out."""
    for text in kept if isinstance(kept, list) else []:
        element.append(parse(str(text).encode()))


def add(parent: Element, tag: str, text: object = "") -> Element:
    """Add a child with a text."""
    child = ElementTree.SubElement(parent, tag)
    child.text = str(text)
    return child


def to_text(element: Element) -> str:
    """An element with all it holds, as text."""
    if element.text and element.tag.isidentifier() and not (len(element) or element.attrib):
        return f"<{element.tag}>{escape(element.text)}</{element.tag}>"  # most are no more
    bare = copy(element)
    bare.tail = None
    return ElementTree.tostring(bare, "unicode").strip()


def to_bytes(element: Element) -> bytes:
    """An element as a document in UTF-8."""
    ElementTree.indent(element)
    buffer = io.BytesIO()
    ElementTree.ElementTree(element).write(buffer, "utf-8", xml_declaration=True)
    return buffer.getvalue()


def _explain(error: Exception) -> InputError:
    if isinstance(error, DefusedXmlException):
        return InputError("XML must not define types or entities")
    return InputError(f"is not whole XML ({error!s:.80})")
