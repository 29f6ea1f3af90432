"""Questions to a ranking: what comes next, what is still to come, and how well an answer foresees it."""
