"""Training: the only place where networks learn, behind one function that tuners call."""
