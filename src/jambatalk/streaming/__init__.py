"""What a live session is put together from: sound that arrives in packets in, evenly timed frames out."""
