"""The conformance kit: does a plugin keep the published contract? For plugin authors, in their own tests.

`check_plugin` runs every check of a plugin's kind; the classes below are the same checks as tests of pytest:

    from invdesign_core.testing import SolverTests

    class TestShrink(SolverTests):
        plugin = Shrink
"""

from invdesign_core.testing.kit import Record, Records, check_plugin, checks_of
from invdesign_core.testing.small import small_data, small_surrogate
from invdesign_core.testing.suites import (
    DatasetTests,
    ObjectiveTests,
    PluginTests,
    SolverTests,
    SurrogateTests,
    TunerTests,
)

__all__ = [
    "DatasetTests",
    "ObjectiveTests",
    "PluginTests",
    "Record",
    "Records",
    "SolverTests",
    "SurrogateTests",
    "TunerTests",
    "check_plugin",
    "checks_of",
    "small_data",
    "small_surrogate",
]
