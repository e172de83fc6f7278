"""Draw how the error of each surrogate falls with the rows: ``python tests/benchmarks/learning_curves.py FOLDER``.

Writes a picture (SVG) for each of three tables into FOLDER, and prints the numbers. It draws by itself, so that
nothing has to be installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CANDIDATES = ("ridge", "gaussian-process", "mlp", "gradient-boosting")
COLOURS = dict(zip(CANDIDATES, ("#888888", "#0072b2", "#d55e00", "#009e73"), strict=True))
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 420, 300, 58, 34, 130, 46
Points = Mapping[str, tuple[Sequence[int], Sequence[float]]]


def tables() -> dict[str, pd.DataFrame]:
    """Return the tables that are drawn; the output is the last column."""
    from sklearn.datasets import load_diabetes, make_friedman1

    rng = np.random.default_rng(0)
    x, y = make_friedman1(320, 8, noise=1.0, random_state=0)
    smooth = pd.DataFrame(x, columns=[f"x{i}" for i in range(8)]).assign(y=y)
    noisy = load_diabetes(as_frame=True).frame
    x = rng.uniform(size=(320, 4))
    steps = np.where(x[:, 0] > 0.6, 2.0, 0.0) + np.where(x[:, 1] > x[:, 2], 1.0, 0.0) * (x[:, 3] > 0.3)
    ruled = pd.DataFrame(x, columns=list("abcd")).assign(y=steps + 0.05 * rng.standard_normal(320))
    return {"smooth": smooth, "noisy": noisy, "steps": ruled}


def curves(frame: pd.DataFrame) -> Points:
    """Return for each candidate the numbers of rows, and the error in standard deviations of the output."""
    from invdesign_core.context import Context
    from invdesign_core.data.data import Data
    from invdesign_core.registry import Registry
    from invdesign_core.surrogate.cross_validation import SHARES, CrossValidation
    from invdesign_core.surrogate.settings import Training
    from invdesign_core.surrogate.trials import Trial
    from invdesign_core.workflow.race import pool_of, settings_of
    from invdesign_core.workflow.train import tune

    registry, ctx = Registry.discover(), Context(0)
    auto: Any = registry.create("surrogate", "auto", {})
    tuner: Any = registry.create("tuner", "grid-search", {})
    pool = pool_of(Data.from_frame(frame, [frame.columns[-1]]), auto, Training(), ctx)
    rows = float(np.mean([len(fold.train) for fold in pool.folds]))
    found = {}
    for name in CANDIDATES:
        builder: Any = registry.create("surrogate", name, {})
        work = CrossValidation(builder, pool, settings_of(builder, pool, Training()), ctx)
        if work.space.space:
            tune(tuner, work, ctx)
        else:
            work([Trial()])
        errors = np.sqrt(work.curve(work.winner()).mean(axis=1))
        found[name] = ([round(rows * share) for share in (*SHARES, 1.0)], [float(e) for e in errors])
    return found


def picture(points: Points, title: str) -> str:
    """Return an SVG of the curves, both axes logarithmic."""
    rows = np.log([r for xs, _ in points.values() for r in xs])
    errors = np.log([e for _, ys in points.values() for e in ys])
    x0, x1, y0, y1 = rows.min(), rows.max(), errors.min() - 0.1, errors.max() + 0.1

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (np.log(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        return float(across), float(TOP + (y1 - np.log(y)) / (y1 - y0) * (HEIGHT - TOP - BOTTOM))

    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="13">{title}</text>',
        f'<path d="M{LEFT} {TOP}V{low}H{right}" fill="none" stroke="#444"/>',
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">training rows</text>',
        f'<text transform="translate(14 {(TOP + low) / 2}) rotate(-90)" text-anchor="middle">error / std. dev.</text>',
    ]
    for x in sorted({r for xs, _ in points.values() for r in xs}):
        parts.append(f'<text x="{place(x, 1)[0]:.0f}" y="{low + 15}" text-anchor="middle">{x}</text>')
    for y in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        if y0 < np.log(y) < y1:
            at = place(np.exp(x0), y)[1]
            parts.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
    ends = sorted((place(xs[-1], ys[-1])[1], name) for name, (xs, ys) in points.items())
    last = -100.0
    for at, name in ends:
        xs, ys = points[name]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(x, y) for x, y in zip(xs, ys, strict=True)))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        last = max(at, last + 13)
        parts.append(f'<text x="{right + 6}" y="{last + 4:.1f}" fill="{COLOURS[name]}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


TITLES = {
    "smooth": "a smooth function of 8 inputs, some noise",
    "noisy": "measurements with much noise (diabetes)",
    "steps": "rules and thresholds of 4 inputs",
}


def main() -> None:
    """Draw all tables."""
    folder = Path(sys.argv[1])
    for name, frame in tables().items():
        points = curves(frame)
        (folder / f"learning-curve-{name}.svg").write_text(picture(points, TITLES[name]), encoding="utf-8")
        print(f"\n{TITLES[name]}")
        for candidate, (rows, errors) in points.items():
            said = ", ".join(f"{e:.3f} ({r} rows)" for r, e in zip(rows, errors, strict=True))
            print(f"  {candidate:18} {said}", flush=True)


if __name__ == "__main__":
    main()
