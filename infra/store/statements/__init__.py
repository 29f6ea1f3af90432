"""The store's tables and statements as SQL text, for the connections of both edges."""
