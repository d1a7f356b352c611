"""Run by Alembic: migrate the connection that the store hands over in `config.attributes`."""

from alembic import context

from app.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
