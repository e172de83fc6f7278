"""An experiment from its settings to its run folder, and the Python API."""
