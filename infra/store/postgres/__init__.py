"""PostgreSQL store: the engine for several machines, through psycopg 3."""
