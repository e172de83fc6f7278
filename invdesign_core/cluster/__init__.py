"""Work that comes in pieces, done by the workers of a Ray cluster."""
