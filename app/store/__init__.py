"""The one place that reads and writes the database.

`Store` gives one transaction a method and returns frozen records, never database rows. It is
thread-safe: one store serves all threads of the server, each with a connection of its own.
"""

from pathlib import Path

from app.store.accounts import Accounts
from app.store.assignments import Assignments
from app.store.audit import Audit
from app.store.database import no_such
from app.store.foreign import Foreign
from app.store.histories import Histories
from app.store.images import Images
from app.store.incoming import Incoming
from app.store.jobs import Jobs
from app.store.leases import Leases
from app.store.logins import Logins
from app.store.models import Models
from app.store.people import People
from app.store.projects import Projects
from app.store.soundness import Soundness
from app.store.tables import Tables, fill, newest_version

__all__ = ["Store", "fill", "newest_version", "no_such"]


class Store(
    Projects, Images, Incoming, Jobs, Models, People, Foreign, Accounts, Logins, Audit, Leases,
    Histories, Assignments, Tables, Soundness,
):  # fmt: skip
    """All that the studio remembers; see the base classes for what it can be asked.

    Args:
        where: the SQLite file, or the URL of a PostgreSQL database; its tables are made, or
            migrated to the newest version, when the store opens.
        as_it_is: leave the tables as they are; only `schema_version` may be asked of old ones.

    Raises:
        StudioError: the database was made by a newer studio, or cannot be opened.
    """

    def __init__(self, where: Path | str, *, as_it_is: bool = False) -> None:
        super().__init__(where, as_it_is=as_it_is)
