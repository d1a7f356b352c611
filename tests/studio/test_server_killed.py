"""kill -9 of a server while 20 browsers save: what was answered 200 is there after the restart."""

import http.client
import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from app.records import Instance
from app.store import Store
from tests.studio.conftest import Studio
from tests.studio.nursery import DEADLINE, Nursery, is_gone, kill, wait_until
from tests.studio.rest import to_body

BROWSERS = 20
GONE = (OSError, http.client.HTTPException)  # what a killed server looks like from outside


class Browser(Thread):
    """Saves one instance again and again until its server is gone; knows what was acknowledged.

    Each save says in its reason what it is, so that what is kept can be told from what is not.
    """

    def __init__(self, address: str, token: str, instance: Instance, round_: int) -> None:
        super().__init__(daemon=True)
        self._address, self._token = urlsplit(address), token
        self._body, self._round = to_body(instance), round_
        self.key, self.version = instance.id, instance.version
        self.acknowledged: dict[int, str] = {}
        self.refused = ""

    def run(self) -> None:
        host, port = self._address.hostname, self._address.port
        assert host is not None
        line = http.client.HTTPConnection(host, port, timeout=DEADLINE)
        with closing(line), suppress(*GONE):
            while self._save(line):
                pass

    def has_saved(self, often: int) -> bool:
        """Whether so many saves were acknowledged, or never will be."""
        return len(self.acknowledged) >= often or not self.is_alive()

    def _save(self, line: http.client.HTTPConnection) -> bool:
        reason = f"round {self._round}, after {self.version}"
        headers = {"x-mal-session": self._token, "if-match": str(self.version)}
        headers["content-type"] = "application/json"
        body = json.dumps(self._body | {"reason": reason})
        line.request("PUT", f"/mal/annotations/{self.key}", body, headers)
        answer = line.getresponse()
        text = answer.read()
        if answer.status == 200:
            self.version = json.loads(text)["version"]
            self.acknowledged[self.version] = reason
        elif answer.status != 429:
            self.refused = f"{answer.status} {text!r}"
        return not self.refused


@contextmanager
def serving(nursery: Nursery, studio: Studio, kind: str, said: Path) -> Iterator[tuple[int, str]]:
    """A server on the studio's folder; its process and its address."""
    said.write_text("")
    settings = studio.settings
    pid = nursery.begin(kind, settings.data_dir, settings.weights, output=said)

    def address() -> str | None:
        assert not is_gone(pid), said.read_text()
        found = re.search(r"^(http://\S+)\n", said.read_text(), re.MULTILINE)
        return found and found[1]

    wait_until(lambda: address() is not None)
    try:
        yield pid, address() or ""
    finally:
        if not is_gone(pid):
            kill(pid)


def read(address: str, token: str, image_id: int) -> dict[int, int]:
    """The versions of an image's instances as a page gets them."""
    where = urlsplit(address)
    with closing(http.client.HTTPConnection(str(where.hostname), where.port)) as line:
        line.request("GET", f"/mal/annotations/{image_id}", headers={"x-mal-session": token})
        answer = line.getresponse()
        assert answer.status == 200
        return {one["id"]: one["version"] for one in json.loads(answer.read())["annotations"]}


@pytest.mark.soak
@pytest.mark.sqlite
def test_a_killed_server_has_every_save_that_it_acknowledged(
    nursery: Nursery,
    studio: Studio,
    tmp_path: Path,
    scale: Callable[[int, int], int],
    tell: Callable[[str], None],
) -> None:
    whole = scale(0, 1)
    kind = f"tests.studio.{'whole_server:serve_all' if whole else 'servers:serve_routes'}"
    made = [studio.add(0) for _ in range(BROWSERS)]
    image, token, chance = made[0].image_id, studio.sessions.mint("Ada"), random.Random(0)
    total = unanswered = 0
    kept = {one.id: one.version for one in made}
    kills, few = scale(1, 50), scale(3, 1)
    for number in itertools.count():
        with serving(nursery, studio, kind, tmp_path / "said") as (pid, address):
            assert read(address, token, image) == kept  # what the server says that came after
            if number == kills:
                break
            now = [studio.store.get_instance(key) for key in kept]
            browsers = [Browser(address, token, one, number) for one in now]
            for browser in browsers:
                browser.start()
            wait_until(lambda browsers=browsers: all(b.has_saved(few) for b in browsers))
            time.sleep(chance.uniform(0, 0.2))
            kill(pid)
        for browser in browsers:
            browser.join(DEADLINE)
            assert not browser.is_alive()
            assert browser.refused == ""
            history = {r.version: r.reason for r in studio.store.list_revisions(browser.key)}
            assert browser.acknowledged.items() <= history.items()
            kept[browser.key] = max(history)
            assert kept[browser.key] - browser.version in (0, 1)
            total += len(browser.acknowledged)
            unanswered += kept[browser.key] - browser.version
        with closing(Store(studio.settings.database)) as store:
            assert list(store.find_troubles()) == []
    what = "whole servers" if whole else "servers of the routes"
    tell(f"{kills} {what} killed with {BROWSERS} browsers saving: {total} saves answered 200,"
         f" all kept; {unanswered} kept whose answer was lost")  # fmt: skip
