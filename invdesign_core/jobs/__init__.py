"""Jobs: what the command line and Python start, each from its settings to its report."""
