"""The database's history: one hand-written step a file under versions/, run when a store opens.

A step runs inside the write transaction that the store began, so that a database is either at one
version or at the next, and two servers that start together do not both migrate.
"""
