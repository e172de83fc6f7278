"""The report of a run as one HTML file: from plain values to a page that needs neither Python nor a network."""
