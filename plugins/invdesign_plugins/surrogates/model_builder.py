"""The user's own networks: a `model_builder(hp)` or a `HyperModel`, as Keras Tuner takes them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, WithJsonSchema, field_serializer, field_validator

from invdesign_core.plugin import ConfigError, Context, Data, SurrogateBuilder, UserObject

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt


class ModelBuilder(SurrogateBuilder):
    """A model_builder(hp) function or a HyperModel of your own, as Keras Tuner takes it.

    It is used unchanged: it returns a compiled model for the encoded columns of the table, and what
    it asks of `hp` is tuned. Only `build` of a HyperModel is called; the core trains.
    """

    name: ClassVar[str] = "model-builder"

    builder: Annotated[Any, WithJsonSchema({"type": "string"})] = Field(
        description="Where it is: `module:name`, the module beside the experiment file or on Python's import path. "
        "In Python also the function, the class or the instance itself."
    )

    @property
    def label(self) -> str:
        """The plugin and the function, for messages."""
        return f"surrogate {self.name!r} ({self._named(self.builder)})"

    @field_validator("builder")
    @classmethod
    def _known_form(cls, builder: Any) -> Any:
        if isinstance(builder, str):
            if not UserObject.is_place(builder):
                near = builder.replace(".py:", ":").replace("/", ".")
                example = near if UserObject.is_place(near) else "my_models:build_model"
                raise ValueError(f"found {builder!r}, expected 'module:name', such as {example!r}")
        elif fault := _fault(builder):
            raise ValueError(fault)
        return builder

    @field_serializer("builder")
    def _named(self, builder: Any) -> str:
        """Return what to call the builder."""
        return builder if isinstance(builder, str) else UserObject.of(builder).place

    def user_code(self, ctx: Context) -> tuple[UserObject, ...]:
        """Return the user's function or HyperModel."""
        return (self._found(ctx),)

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return what the user's function returns."""
        found = self._found(ctx)
        width = data.space.width
        with found.running(self.label, f"it is called with hp, and its model must take (None, {width})"):
            model: Any = found.value.build(hp) if _is_hypermodel(found.value) else found.value(hp)
            if hasattr(model, "built") and not model.built:
                model.build((None, width))
        return model

    def _found(self, ctx: Context) -> UserObject:
        """Import the user's module, and make an instance where it names a class."""
        what = f"[surrogate] {self.name}: option 'builder'"
        if isinstance(self.builder, str):
            found = UserObject.find(self.builder, ctx.folder, what)
            if fault := _fault(found.value):
                raise ConfigError(f"{what}: {found.place!r}: {fault}")
        else:
            found = UserObject.of(self.builder)
        if isinstance(found.value, type):
            with found.running(f"{what}: {found.place!r}", "a class is called without arguments; name an instance"):
                found = replace(found, value=found.value())
        return found


def _fault(builder: Any) -> str | None:
    """Say why an object is no builder; None where it is one."""
    expected = "expected a function of one argument, hp, or a HyperModel"
    if _is_hypermodel(builder):
        return None
    if isinstance(builder, type):
        return f"found the class {builder.__name__!r}, {expected}"
    if not callable(builder):
        return f"found {builder!r}, {expected}"
    if any(base.__module__.partition(".")[0] == "keras" for base in type(builder).__mro__):
        return f"found a {type(builder).__name__} that is built already, {expected} that makes a new one at each call"
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):  # built in
        return None
    try:
        signature.bind(None)
    except TypeError:
        return f"found a function of {signature}, {expected}"
    return None


def _is_hypermodel(builder: Any) -> bool:
    """Whether it is Keras Tuner's `HyperModel` or an instance; asked without importing Keras Tuner."""
    bases = inspect.getmro(builder if isinstance(builder, type) else type(builder))
    return any(base.__name__ == "HyperModel" and base.__module__.startswith("keras_tuner") for base in bases)
