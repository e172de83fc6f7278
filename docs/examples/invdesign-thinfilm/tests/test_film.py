from typing import ClassVar

import numpy as np
import pandas as pd
from invdesign_thinfilm.film import MATERIALS, ThinFilm

from invdesign_core.plugin import Context
from invdesign_core.testing import DatasetTests


class TestThinFilm(DatasetTests):
    plugin = ThinFilm
    options: ClassVar[dict[str, int]] = {"rows": 20}


def test_a_quarter_wave_of_the_right_index_reflects_what_the_books_say() -> None:
    index = MATERIALS["MgF2"]
    quarter = pd.DataFrame({"thickness1": [550 / (4 * index)], "material1": ["MgF2"]})
    expected = 100 * ((1.52 - index**2) / (1.52 + index**2)) ** 2
    assert np.isclose(ThinFilm().truth(quarter)["R550"].item(), expected)


def test_a_layer_of_glass_on_glass_is_glass() -> None:
    film = pd.DataFrame({"thickness1": [80.0], "material1": ["SiO2"]})
    assert np.allclose(ThinFilm(glass=MATERIALS["SiO2"]).truth(film), 100 * (0.46 / 2.46) ** 2)


def test_every_layer_has_a_thickness_and_a_material() -> None:
    data = ThinFilm(layers=2, rows=4).load(Context())
    assert data.space.names == ("thickness1", "material1", "thickness2", "material2")
    assert len(data.outputs) == 40
