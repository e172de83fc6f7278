"""Draw what both coatings of the README reflect, by the physics: python spectrum.py RUN."""

import sys
from pathlib import Path

import pandas as pd
from invdesign_thinfilm.film import WAVELENGTHS, ThinFilm
from matplotlib import pyplot as plt

plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "thin films", "font.size": 9})
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for number, (name, colour) in enumerate({"anti-reflection": "#0072b2", "golden": "#b8860b"}.items(), 1):
    designs = pd.read_csv(Path(sys.argv[1], "solve", str(number), "designs.csv"))
    best = designs.filter(like="design.").rename(columns=lambda name: name.removeprefix("design.")).head(1)
    words = f"{name}: {best['thickness1'].item():.0f} nm of {best['material1'].item()}"
    axes.plot(WAVELENGTHS, ThinFilm().truth(best).iloc[0], color=colour, label=words)
axes.axhline(100 * (0.52 / 2.52) ** 2, color="#888888", linestyle=":", label="glass without a coating")
axes.set(xlabel="wavelength (nm)", ylabel="reflectance (%)", ylim=(0, None), xlim=(400, 790))
axes.legend(frameon=False)
figure.savefig("spectrum.svg", metadata={"Date": None})
