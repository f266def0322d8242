"""Strategies for real resources: `aiosqlite`, `asyncpg`, `psycopg`, `redis` and plain `streams`.

Each module imports its driver itself, so import the one you want by its name.
"""
