"""docs/api.md's second half, written from the schema of the routes: `python -m app.manual`."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.server import build_app
from app.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
MARK = "<!-- From here on the page is written by `python -m app.manual`. -->\n"
Schema = Mapping[str, Any]


def to_markdown(schema: Schema) -> str:
    """Every route and every shape of an OpenAPI schema, as text.

    Args:
        schema: OpenAPI 3.1, as FastAPI writes it.
    """
    blocks = ["## Routes"]
    for path, acts in schema["paths"].items():
        blocks += [_route(method.upper(), path, act) for method, act in acts.items()]
    shapes = schema["components"]["schemas"]
    named = (_shape(name, shape) for name, shape in shapes.items() if "Validation" not in name)
    blocks += ["## Shapes", "A `?` stands behind what may be left out.", *named]
    return "\n\n".join(blocks) + "\n"


def _route(method: str, path: str, act: Schema) -> str:
    lines = [f"### {method} {path}", "", act["description"], ""]
    lines += [f"- Needs: {_right(act['tags'][0])}"]
    lines += _asks(act)
    lines += [f"- Answers {_answer(act['responses'])}"]
    refused = sorted(status for status in act["responses"] if status >= "4")
    lines += [f"- Refuses with {', '.join(refused)}"]
    return "\n".join(lines)


def _right(tag: str) -> str:
    return "a valid token" if tag == "own" else f"the right to *{tag}*"


def _asks(act: Schema) -> Iterator[str]:
    """What the address, the headers and the body take."""
    for one in act.get("parameters", []):
        if one["in"] != "path":
            default = one["schema"].get("default")
            words = [one.get("description", ""), "" if default is None else f"default `{default}`"]
            told = "; ".join(word for word in words if word)
            kind = f"`{one['name']}` ({one['in']}, {_kind(one['schema'])})"
            yield f"- Takes {kind}{': ' if told else ''}{told}"
    for media, body in act.get("requestBody", {}).get("content", {}).items():
        yield f"- Body: {_kind(body['schema']) if 'json' in media else 'the bytes of the file'}"


def _answer(responses: Schema) -> str:
    ((status, good),) = ((s, r) for s, r in responses.items() if s < "4")
    for media, body in good.get("content", {}).items():
        if "json" in media and body.get("schema"):
            return f"{status}: {_kind(body['schema'])}"
    return f"{status}: the bytes of the file"


def _shape(name: str, shape: Schema) -> str:
    needed = shape.get("required", [])
    lines = [f"### {name}", "", shape.get("description", ""), ""]
    for field, value in shape.get("properties", {}).items():
        told = f": {value['description']}" if "description" in value else ""
        default = value.get("default")
        told += f" (default `{default}`)" if default not in (None, "", []) else ""
        lines += [f"- `{field}`{'' if field in needed else '?'} {_kind(value)}{told}"]
    if "enum" in shape:
        lines += [", ".join(f"`{value}`" for value in shape["enum"])]
    return "\n".join(lines).rstrip()


def _kind(schema: Schema) -> str:
    """A type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])} {_kind(schema['prefixItems'][0])}s"
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("format", kind))


async def _read_schema(folder: Path) -> Schema:
    """The schema of a studio on an empty folder."""
    schema: Schema = build_app(Settings(data_dir=folder, threads=1)).state.schema
    return schema


def main() -> None:
    """Write the page anew."""
    with tempfile.TemporaryDirectory() as folder:
        schema = asyncio.run(_read_schema(Path(folder)))
    kept, _, _ = PAGE.read_text("utf-8").partition(MARK)
    PAGE.write_text(kept + MARK + "\n" + to_markdown(schema), "utf-8")


if __name__ == "__main__":
    main()
