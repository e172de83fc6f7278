"""The tables of options in the documentation are made by the code: `python tests/made_tables.py` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from invdesign_core.cli.listing import markdown_table
from invdesign_core.cluster.settings import ComputeSettings
from invdesign_core.registry import Registry, schema_of
from invdesign_core.surrogate.settings import Confidence, Training
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.others import PluginsSection

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS: dict[str, type[BaseModel]] = {
    "experiment": Experiment,
    "design": Design,
    "training": Training,
    "truth": TruthSettings,
    "confidence": Confidence,
    "compute": ComputeSettings,
    "plugins": PluginsSection,
}
TABLE = re.compile(r"(?<=<!-- options: )(?P<name>[\w-]+) -->\n(?:\|.*\n)*")


def made(page: str) -> str:
    """Return a page with the table below each `<!-- options: NAME -->` as the code makes it."""
    registry = Registry.discover()

    def table(found: re.Match[str]) -> str:
        name = found["name"]
        model = SECTIONS[name] if name in SECTIONS else registry.find(name).plugin
        schema = schema_of(model)
        hidden = [key for key, field in model.model_fields.items() if field.exclude]
        schema["properties"] = {key: item for key, item in schema["properties"].items() if key not in hidden}
        return f"{name} -->\n{markdown_table(schema, 'key' if name in SECTIONS else 'option')}\n"

    return TABLE.sub(table, page)


if __name__ == "__main__":
    for path in DOCS.rglob("*.md"):
        path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")
