"""The parts of a live session: sound that arrives in packets in, evenly timed frames out."""
