"""A journal holds what was done, wherever it was cut off."""

from pathlib import Path

import pytest

from mal_core.errors import InputError
from mal_core.journal import Journal

HEADER = {"data": "a"}


def write(path: Path, rows: dict[int, list[str]]) -> bytes:
    with Journal.open(path, HEADER) as journal:
        for key, row in rows.items():
            journal.add(key, row)
    return path.read_bytes()


def rows_of(path: Path) -> dict[int, object]:
    with Journal.open(path, HEADER) as journal:
        return {key: journal.get(key) for key in journal.keys}


def test_rows_come_back_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    write(path, {7: ["old"], 0: ["b"]})
    write(path, {7: ["new"]})
    assert rows_of(path) == {7: ["new"], 0: ["b"]}


def test_a_journal_cut_anywhere_keeps_its_whole_rows_and_takes_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    content = write(path, {1: ["ä\n"], 2: ["b"]})
    whole = [end for end, byte in enumerate(content, start=1) if byte == ord("\n")]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        kept = sum(end <= length for end in whole[1:])
        assert list(rows_of(path)) == [1, 2][:kept]
        write(path, {3: ["c"]})
        assert list(rows_of(path)) == [*[1, 2][:kept], 3]


def test_rows_behind_a_damaged_one_are_done_again(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    content = write(path, {1: ["a"], 2: ["b"], 3: ["c"]})
    path.write_bytes(content.replace(b'[2,["b"]]', b"\0" * 9))
    assert rows_of(path) == {1: ["a"]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"data":"b"}\n[1,[]]\n', id="another-run"),
        pytest.param(b"my diary", id="another-file"),
    ],
)
def test_a_file_of_another_run_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.part"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.part was left by .* --restart"):
        rows_of(path)
    assert path.read_bytes() == content
    with Journal.open(path, HEADER, restart=True) as journal:
        assert journal.keys == {}
    assert rows_of(path) == {}


def test_two_runs_cannot_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    with Journal.open(path, HEADER) as journal:
        journal.add(1, [])
        with pytest.raises(InputError, match="another run is writing"), Journal.open(path, HEADER):
            pass
    assert rows_of(path) == {1: []}
