"""One file per corpus: how its owner ships it, read as source clips."""
