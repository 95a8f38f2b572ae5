"""Fixed procedures: what is scored on which clips, and the table that comes of it."""
