"""Table files: text, parquet and Excel, read the same way wherever a table is asked for."""

from invdesign_core.tables.load import READERS, load_table, read_table, refuse_unknown
from invdesign_core.tables.reading import DESIGN, LoadedTable, Reading
from invdesign_core.tables.wording import option

__all__ = ["DESIGN", "READERS", "LoadedTable", "Reading", "load_table", "option", "read_table", "refuse_unknown"]
