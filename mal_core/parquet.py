"""Shards as Parquet: a row a box, in columns that any reader of tables understands.

Loaded by name only (mal_core.extras), as pyarrow need not be installed.
"""

import io
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import parquet

from mal_core.shards import ERROR, FLAGGED, Answer, Answers, Shard

SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.int64(), nullable=False) for name in ("image_id", "id", "category_id")),
        *(pa.field(name, pa.string(), nullable=False) for name in ("file_name", "category")),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("height", "width")),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("x0", "y0", "x1", "y1")),
        pa.field("counts", pa.string()),  # COCO's compressed run-length code of the whole image
        pa.field("area", pa.int64()),
        pa.field(FLAGGED, pa.bool_()),
        pa.field("score", pa.float64()),
        pa.field(ERROR, pa.string()),
    ]
)


class ParquetForm:
    """A Parquet file a shard; the header is in the metadata of its schema, as mal_label."""

    suffix = ".parquet"

    def write(self, shard: Shard, answers: Answers) -> bytes:
        """See `mal_core.shards.Form`."""
        categories = {category.id: category.name for category in shard.categories}
        rows: list[dict[str, Any]] = []
        for image, annotations in shard.work:
            found = {answer["id"]: answer for answer in answers[image.id]}
            size = {"height": image.height, "width": image.width}
            for a in annotations:
                answer = found[a.id]
                fields = {name: answer.get(name) for name in ("area", FLAGGED, "score", ERROR)}
                fields["counts"] = answer.get("segmentation", {}).get("counts")
                box = dict(zip(("x0", "y0", "x1", "y1"), a.box, strict=True))
                names = {"file_name": image.file_name, "category": categories[a.category_id]}
                keys = {"image_id": image.id, "id": a.id, "category_id": a.category_id}
                rows.append({**keys, **names, **size, **box, **fields})
        schema = SCHEMA.with_metadata({"mal_label": orjson.dumps(shard.header)})
        file = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")
        return file.getvalue()

    def read(self, content: bytes) -> dict[int, list[Answer]]:
        """See `mal_core.shards.Form`."""
        answers: dict[int, list[Answer]] = {}
        for row in parquet.read_table(io.BytesIO(content)).to_pylist():
            answers.setdefault(row["image_id"], []).append(_answer(row))
        return answers


def _answer(row: dict[str, Any]) -> Answer:
    if row[ERROR] is not None:
        return {"id": row["id"], ERROR: row[ERROR]}
    mask = {"size": [row["height"], row["width"]], "counts": row["counts"]}
    answer = {"id": row["id"], "segmentation": mask, "area": row["area"], FLAGGED: row[FLAGGED]}
    return answer if row["score"] is None else {**answer, "score": row["score"]}


FORM = ParquetForm()
