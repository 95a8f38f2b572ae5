"""Fixed procedures: what is scored on which clips, and the table of it."""
