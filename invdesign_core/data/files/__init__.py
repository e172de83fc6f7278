"""Reading text, parquet and Excel tables as people keep them."""
