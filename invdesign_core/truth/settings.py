"""The `[truth]` section: which function or command says what a design really gives, and how it is called."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from invdesign_core.errors import plural
from invdesign_core.surrogate.user_code import UserObject

OF_COMMANDS = ("timeout", "parallel")
"""Options that a command alone can be given."""
PLACES = ("{input}", "{output}")
"""What stands in a command for its two files."""


class TruthSettings(BaseModel):
    """The `[truth]` section; without a function and a command there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str = Field(
        "",
        description="A Python function, `module:function`, from a DataFrame of designs to one of outputs; the module "
        "lies beside the experiment file or on Python's import path.",
    )
    command: list[str] = Field(
        default_factory=list,
        description='A program and its arguments, such as `["./simulate", "{input}", "{output}"]`: it reads a CSV file '
        "of designs and writes one of outputs. No shell is involved.",
    )
    batch: int | None = Field(
        None, ge=1, description="Designs of one call at most; by default all, or an equal share for parallel calls."
    )
    timeout: float | None = Field(
        None, gt=0, description="Seconds after which a call of the command is ended; none for no limit."
    )
    retries: int = Field(0, ge=0, description="How many times a design that failed is simulated again.")
    parallel: int = Field(1, ge=1, description="Calls of the command at the same time.")

    @field_validator("function")
    @classmethod
    def _known_form(cls, function: str) -> str:
        if function and not UserObject.is_place(function):
            near = function.replace(".py:", ":").removeprefix("./").replace("/", ".")
            example = near if UserObject.is_place(near) else "simulator:simulate"
            raise ValueError(f"found {function!r}, expected 'module:function', such as {example!r}")
        return function

    @field_validator("command", mode="before")
    @classmethod
    def _no_shell(cls, command: Any) -> Any:
        if isinstance(command, str):
            listed = ", ".join(f'"{part}"' for part in command.split())
            raise ValueError(f"found a text, expected a list of the program and its arguments: [{listed}]")
        return command

    @field_validator("command")
    @classmethod
    def _both_files(cls, command: list[str]) -> list[str]:
        lacking = [place for place in PLACES if not any(place in part for part in command)]
        if command and (lacking or not command[0]):
            raise ValueError(
                f"found {command}, expected a program and arguments with {' and '.join(lacking or PLACES)} in them"
            )
        return command

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.function and self.command:
            raise ValueError("found 'function' and 'command', expected one of them")
        given = [name for name in OPTIONS if getattr(self, name) != _default(name)]
        if given and not self:
            raise ValueError(f"found {given[0]!r}, and neither 'function' nor 'command', which it is about")
        alone = [name for name in given if self.function and name in OF_COMMANDS]
        if alone:
            raise ValueError(f"found {alone[0]!r} beside 'function', expected it beside 'command' alone")
        return self

    @property
    def words(self) -> str:
        """What it names, and how that is called."""
        named = f"function {self.function}" if self.function else f"command {' '.join(self.command)}"
        said = [f"at most {plural(self.batch, 'design')} a call"] if self.batch else []
        said += [f"at most {self.timeout:g} s"] if self.timeout else []
        said += [f"{self.parallel} at the same time"] if self.parallel > 1 else []
        return ", ".join([named, *said])

    def __bool__(self) -> bool:
        return bool(self.function or self.command)


OPTIONS = tuple(name for name in TruthSettings.model_fields if name not in ("function", "command"))
"""How the function or the command is called."""


def _default(name: str) -> Any:
    return TruthSettings.model_fields[name].default
