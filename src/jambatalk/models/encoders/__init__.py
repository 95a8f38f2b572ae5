"""Speech encoders: the built-in streaming one and pretrained ones."""
