"""Who does work that comes in pieces: threads of this process, or the workers of a Ray cluster."""
