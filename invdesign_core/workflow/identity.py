"""What work that is kept and gone on with depends on, as digests and versions that can be compared."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.space.variables import plain

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import Plugin
    from invdesign_core.registry import Registry
    from invdesign_core.surrogate.surrogate import Surrogate

PACKAGES = {"jax": ("jax", "jaxlib"), "tensorflow": ("tensorflow",)}
"""The distributions of each backend."""


def digest(*parts: Any) -> str:
    """Return a digest of arrays, bytes and plain values, exact to the last bit."""
    return _digest(parts)


def _digest(parts: Iterable[Any]) -> str:
    """Return a digest of parts that need not be in memory together."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            head, body = f"{part.dtype.str} {part.shape}", np.ascontiguousarray(part).tobytes()
        elif isinstance(part, bytes):
            head, body = "bytes", part
        else:
            head, body = "plain", json.dumps(plain(part), default=repr).encode()
        found.update(f"{head} {len(body)} ".encode() + body)
    return found.hexdigest()[:16]


def of_table(frame: pd.DataFrame) -> str:
    """Return a digest of a table: its columns' names in their order, and its cells."""
    import pandas as pd

    def parts() -> Iterator[Any]:
        yield len(frame)
        for i, name in enumerate(frame.columns):
            yield str(name)
            yield pd.util.hash_pandas_object(frame.iloc[:, i], index=False).to_numpy()

    return _digest(parts())


def of_files(path: Path) -> str:
    """Return a digest of a file, or of all files below a folder with their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return digest(
        *(part for p in files for part in (p.relative_to(path).as_posix(), hashlib.sha256(p.read_bytes()).digest()))
    )


def of_surrogate(surrogate: Surrogate) -> str:
    """Return a digest of a surrogate's weights, units and ranges; what its layers do is not in it."""
    from keras import ops

    parts: list[Any] = [surrogate.shift, surrogate.scale, surrogate.box, surrogate.spread, list(surrogate.outputs)]
    parts.append(surrogate.space.to_json())
    parts += [] if surrogate.weights is None else [surrogate.weights]
    for member in surrogate.members:
        if surrogate.differentiable:
            parts += [np.asarray(ops.convert_to_numpy(weight)) for weight in member.weights]
        else:
            parts.append(pickle.dumps(member))
    return digest(*parts)


def versions(running: str, registry: Registry, plugins: Iterable[Plugin]) -> dict[str, str]:
    """Return the versions of all that computes: the program, the backend, and the distributions of plugins."""
    found = {}
    for name in ("invdesign", "keras", "numpy", "scipy", "scikit-learn", *PACKAGES.get(running, (running,))):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    types = {type(plugin) for plugin in plugins}
    makers = [entry.provider for entry in registry.entries if entry.plugin in types]
    return found | {maker.distribution: maker.version for maker in makers}
