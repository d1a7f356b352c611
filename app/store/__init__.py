"""The one place that reads and writes the database.

`Store` gives one transaction a method and returns frozen records, never database rows. It is
thread-safe: one store serves all threads of the server, each with a connection of its own.
"""

from pathlib import Path

from app.store.accounts import Accounts
from app.store.audit import Audit
from app.store.foreign import Foreign
from app.store.images import Images
from app.store.instances import Instances
from app.store.jobs import Jobs
from app.store.leases import Leases
from app.store.logins import Logins
from app.store.models import Models
from app.store.people import People
from app.store.projects import Projects

__all__ = ["Store"]


class Store(
    Projects, Images, Instances, Jobs, Models, People, Foreign, Accounts, Logins, Audit, Leases
):
    """All that the studio remembers; see the base classes for what it can be asked.

    Args:
        where: the SQLite file, or the URL of a PostgreSQL database; its tables are made, or
            migrated to the newest version, when the store opens.

    Raises:
        StudioError: the database was made by a newer studio, or cannot be opened.
    """

    def __init__(self, where: Path | str) -> None:
        super().__init__(where)
