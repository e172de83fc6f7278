"""The experiment: everything a run depends on, validated; default plugins by name, never imported."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from invdesign_core.cluster.settings import ComputeSettings
from invdesign_core.errors import ConfigError, near_match, require, require_section
from invdesign_core.plugin import KINDS, Dataset, Objective, Plugin, Race, Solver, SurrogateBuilder, Tuner
from invdesign_core.registry import OWN, Registry, build_options, refused
from invdesign_core.surrogate.settings import Confidence, Training
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.workflow.defaults import AUTO, CLASSIC, DEFAULTS
from invdesign_core.workflow.design import Design as Design
from invdesign_core.workflow.experiment_text import read_toml
from invdesign_core.workflow.others import PluginsSection
from invdesign_core.workflow.solver_choice import Requirements, pick_solver


class Choice(BaseModel):
    """A plugin by name (`use`), and its options beside it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str = Field(description="Name of the plugin; `distribution:name` where two have it.")

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's options."""
        return dict(self.model_extra or {})


class Experiment(BaseModel):
    """One run's settings, as the experiment file holds them.

    Examples
    --------
    >>> Experiment(seed=3, solver={"use": "lbfgsb", "starts": 16}).solver.options
    {'starts': 16}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="Fixes the data of generated datasets, the split, the training, the starts and the result, on one "
        "machine.",
    )
    backend: Literal["jax", "tensorflow"] | None = Field(
        None, description="What Keras runs on, `jax` or `tensorflow`; by default `$KERAS_BACKEND`, else `jax`."
    )
    dataset: Choice = Field(Choice(use=DEFAULTS["dataset"]), description="Where designs and responses come from.")
    design: Design = Field(
        default_factory=Design, description="Design variables: bounds and constraints beyond those in the data."
    )
    surrogate: Choice = Field(
        Choice(use=DEFAULTS["surrogate"]),
        description="The model of the forward map; by default the best of several for a table of your own, and "
        f"`{CLASSIC}` for the built-in example.",
    )
    training: Training = Field(default_factory=Training, description="How the surrogate is trained.")
    tuner: Choice = Field(Choice(use=DEFAULTS["tuner"]), description="Proposes hyper-parameters.")
    confidence: Confidence = Field(default_factory=Confidence, description="How far answers can be trusted.")
    objective: Choice = Field(Choice(use=DEFAULTS["objective"]), description="How far a prediction is from the goal.")
    solver: Choice = Field(Choice(use=DEFAULTS["solver"]), description="Searches for designs.")
    truth: TruthSettings = Field(
        default_factory=TruthSettings,
        description="A simulator, as a Python function or a program, which designs are judged by.",
    )
    targets: dict[str, Any] = Field(
        default_factory=dict,
        description="Target of each output: a number, `<=1`, `>=1`, `1..2`, `max`, `min`, `free`, or a table; of an "
        "input also a label.",
    )
    units: dict[str, str] = Field(
        default_factory=dict,
        description='Units of inputs and outputs, such as `"degC"`, by name, where the table does not say them.',
    )
    derive: dict[str, str] = Field(
        default_factory=dict,
        description='Quantities that follow from inputs by a formula, such as `cost = "2.1*resin + 0.8*filler"`, by '
        "name: they are shown with every design, and may be targets.",
    )
    compute: ComputeSettings = Field(
        default_factory=ComputeSettings, description="Who does the work: this machine, or a Ray cluster."
    )
    plugins: PluginsSection = Field(
        default_factory=PluginsSection, description="Which plugins there are, beyond those installed."
    )
    folder: Path = Field(
        default_factory=Path.cwd, exclude=True, description="The folder that relative paths start from."
    )
    _unnamed: frozenset[str] = PrivateAttr(frozenset())
    """The kinds of which nobody named a plugin."""

    @model_validator(mode="wrap")
    @classmethod
    def _use_defaults(
        cls, values: Any, handler: ModelWrapValidatorHandler[Experiment], info: ValidationInfo
    ) -> Experiment:
        """Let a section leave out `use`, or be a bare name; say what can't be used in our words."""
        if not isinstance(values, Mapping):
            return handler(values)
        filled, unnamed = dict(values), set()
        surrogate = _surrogate_for(filled.get("dataset"), filled.get("surrogate"))
        if "surrogate" not in filled:
            filled["surrogate"] = {}
        for kind, default in (DEFAULTS | {"surrogate": surrogate}).items():
            section = filled.get(kind)
            if isinstance(section, str):
                filled[kind] = {"use": section}
            elif isinstance(section, Mapping) and "use" not in section:
                filled[kind] = {"use": default, **section}
                unnamed.add(kind)
            elif kind not in filled:
                unnamed.add(kind)
        if isinstance(filled.get("compute"), str):
            filled["compute"] = {"use": filled["compute"]}
        try:
            experiment = handler(filled)
        except ValidationError as error:
            raise refused(cls, error, (info.context or {}).get("place", "Experiment")) from None
        experiment._unnamed = frozenset(unnamed)
        return experiment

    @property
    def _is_the_example(self) -> bool:
        """Whether the data are the two bits of `invdesign run` without a file."""
        use, options = self.dataset.use.removeprefix(f"{OWN}:"), self.dataset.options
        return use == DEFAULTS["dataset"] and options.get("digits", 2) == 2

    def choice(self, kind: str, registry: Registry) -> tuple[str, dict[str, Any]]:
        """Return the name to look a plugin up by, and its options; nobody else's is taken where none is named."""
        section: Choice = getattr(self, kind)
        use = registry.label(kind, section.use) if kind in self._unnamed else section.use
        if kind == "solver" and self._is_the_example:
            return use, {"discrete": "relax"} | section.options  # the example is there to show a solver at work
        return use, section.options

    @classmethod
    def from_mapping(
        cls, values: Mapping[str, Any], place: str = "experiment", folder: Path | None = None
    ) -> Experiment:
        """Validate settings, with messages for people.

        Raises
        ------
        ConfigError
            Naming the key, what was found and what was expected.
        """
        require_section(values, place)
        for key in values:
            if key not in cls.model_fields or key == "folder":
                raise ConfigError(f"{place}: there is no section or key {key!r}", near_match(key, SECTIONS))
        sections: tuple[tuple[str, type[BaseModel]], ...] = (
            ("training", Training),
            ("confidence", Confidence),
            ("design", Design),
            ("truth", TruthSettings),
            ("compute", ComputeSettings),
            ("plugins", PluginsSection),
        )
        for section, model in sections:
            if isinstance(values.get(section), Mapping):
                build_options(model, values[section], f"{place}: [{section}]")
        extra = {} if folder is None else {"folder": folder}
        return cls.model_validate({**values, **extra}, context={"place": place})

    @classmethod
    def from_toml(cls, path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
        """Read an experiment file; relative paths in it start from its folder.

        Raises
        ------
        ConfigError
            If the file is missing, is no TOML, or holds what can't be used.
        """
        require(path, (str, Path), "Experiment.from_toml", "the path of an experiment file")
        path = Path(path)
        values = apply_overrides(read_toml(path), overrides)
        return cls.from_mapping(values, path.name, path.resolve().parent)

    def stages(self, registry: Registry) -> Stages:
        """Return the plugins with their options set; `auto` is the solver of a target without an extremum.

        Parameters
        ----------
        registry : Registry
            The installed plugins.

        Raises
        ------
        PluginError, ConfigError
            If a plugin or an option doesn't exist, an option's value is refused, or the solver can't take the others.
        """
        created: dict[str, Any] = {
            kind: registry.create(kind, *self.choice(kind, registry)) for kind in KINDS if kind != "solver"
        }
        surrogate, objective = created["surrogate"], created["objective"]
        solver = self.pick_solver(registry, objective, surrogate.name, surrogate.differentiable)
        return Stages(**created, solver=solver)

    def pick_solver(
        self, registry: Registry, objective: Objective, surrogate: str, differentiable: bool, extremum: bool = False
    ) -> Solver:
        """Return the solver for such a surrogate, named for messages, and for targets with or without an extremum."""
        demand = Requirements(objective, surrogate, differentiable, self.design.linear, extremum)
        return pick_solver(registry, *self.choice("solver", registry), demand)


class Stages(BaseModel):
    """The five plugins of a run."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    dataset: Dataset
    surrogate: SurrogateBuilder
    tuner: Tuner
    objective: Objective
    solver: Solver

    @property
    def all(self) -> list[Plugin]:
        """The five, in the order of a run."""
        return [self.dataset, self.surrogate, self.tuner, self.objective, self.solver]


def _surrogate_for(dataset: Any, section: Any) -> str:
    """Return the surrogate where none is named: a race for a user's data, unless its options are those of another."""
    if isinstance(section, Mapping) and set(section) - {"use"}:
        return AUTO if set(section) <= {"use", *Race.model_fields} else CLASSIC
    use = dataset.get("use") if isinstance(dataset, Mapping) else getattr(dataset, "use", dataset)
    example = DEFAULTS["dataset"]
    return CLASSIC if str(use or example).removeprefix(f"{OWN}:") == example else AUTO


SECTIONS = tuple(name for name in Experiment.model_fields if name != "folder")


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set ``SECTION.KEY=VALUE`` items over an experiment's values.

    A value is read as TOML, and as plain text where it is no TOML, so that text needs no quotes.

    Raises
    ------
    ConfigError
        If an item has another form or names no section.
    """
    result: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    for item in [overrides] if isinstance(overrides, str) else overrides:
        place = f"--set {item!r}"
        require(item, str, "--set", "SECTION.KEY=VALUE", "for example solver.starts=64")
        path, text = _split_path(item)
        if not path:
            raise ConfigError(f"{place}: expected SECTION.KEY=VALUE", "for example --set solver.starts=64")
        if path[0] not in SECTIONS:
            raise ConfigError(f"{place}: there is no section or key {path[0]!r}", near_match(path[0], SECTIONS))
        node = result
        for key in path[:-1]:
            child = node.get(key, {})
            child = {"use": child} if isinstance(child, str) else child
            if not isinstance(child, Mapping):
                raise ConfigError(f"{place}: {key!r} holds a value, not a section")
            node[key] = dict(child)
            node = node[key]
        node[path[-1]] = parse_value(text)
    return result


def parse_value(text: str) -> Any:
    """Read a value as TOML, or take it as text; ``none`` means nothing.

    Examples
    --------
    >>> parse_value("64"), parse_value("[1, 2]"), parse_value("3-point")
    (64, [1, 2], '3-point')
    """
    text = text.strip()
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


_KEY = re.compile(r'\s*(?:"(?P<quoted>[^"]+)"|(?P<bare>[^".=\s][^.=]*?))\s*(?P<end>[.=])')


def _split_path(item: str) -> tuple[list[str], str]:
    """Split ``a."b c".d=v`` into its keys, none where it is something else, and its value.

    A bare key of TOML itself could not hold spaces, as columns' names do.
    """
    keys, at = list[str](), 0
    while match := _KEY.match(item, at):
        keys.append(match["quoted"] or match["bare"])
        at = match.end()
        if match["end"] == "=":
            return keys, item[at:]
    return [], item
