"""What SQLite and PostgreSQL say differently, so that a migration is written once.

Types of columns that both have are `Whole` and `Real` of app.schema, and Text.
"""

from alembic import op

_REFUSE = """
    CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$
"""


def is_postgresql() -> bool:
    """Whether the database that is migrated is PostgreSQL; else it is SQLite."""
    return op.get_context().dialect.name == "postgresql"


def append_only(table: str, plural: str) -> None:
    """Let the rows of a table never be changed or removed.

    Args:
        table: its name.
        plural: what its rows are called, for the text of the refusal.
    """
    refuse(f"{table}_is_never_updated", table, "UPDATE", f"{plural} are append-only: no update")
    refuse(f"{table}_is_never_deleted", table, "DELETE", f"{plural} are append-only: no delete")
    if is_postgresql():
        op.execute(
            f"CREATE TRIGGER {table}_is_never_emptied BEFORE TRUNCATE ON {table}"
            f" EXECUTE FUNCTION refuse('{plural} are append-only: no truncate')"
        )


def refuse(name: str, table: str, event: str, text: str, when: str = "") -> None:
    """Refuse what an event would do to a row.

    Args:
        name: of the trigger.
        table: it watches over.
        event: such as "UPDATE" or "UPDATE OF split".
        text: what to say.
        when: a condition on OLD and NEW that both databases read alike; "" for always.
    """
    only = f"WHEN ({when})" if when else ""
    if is_postgresql():
        op.execute(_REFUSE)
        act = f"FOR EACH ROW {only} EXECUTE FUNCTION refuse('{text}')"
    else:
        act = f"{only} BEGIN SELECT RAISE(ABORT, '{text}'); END"
    op.execute(f"CREATE TRIGGER {name} BEFORE {event} ON {table} {act}")
