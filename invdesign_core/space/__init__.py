"""The design variables: their kinds and bounds, their encoding as numbers, and the constraints on them."""
