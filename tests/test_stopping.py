"""Early stopping and plateaus decide exactly as Keras' own callbacks do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.surrogate.loop import EarlyStopping, LearningRate
from invdesign_core.surrogate.settings import Training

sequences = st.lists(
    st.floats(0, 2, width=32) | st.sampled_from([0.5, 0.5001, 0.50005, 1.0, float("nan")]), min_size=1, max_size=40
)


class Model:
    """What Keras' callbacks touch of a model."""

    def __init__(self, rate):
        import keras

        self.stop_training, self.optimizer, self.metrics = False, keras.optimizers.SGD(rate), []
        self.weights = None

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


@settings(max_examples=60, deadline=None)
@given(sequences, st.integers(0, 5), st.sampled_from([0.0, 0.01]))
def test_early_stopping_follows_keras(losses, patience, min_delta):
    import keras

    model = Model(0.1)
    callback = keras.callbacks.EarlyStopping("val_loss", min_delta, patience, mode="min", restore_best_weights=True)
    callback.set_model(model)
    callback.on_train_begin()
    ours, kept, stopped = EarlyStopping(1, patience, min_delta), None, None
    for epoch, loss in enumerate(losses):
        model.weights = epoch
        callback.on_epoch_end(epoch, {"val_loss": loss})
        better, done = ours.update(epoch, np.array([loss]))
        kept = epoch if better[0] else kept
        assert bool(done[0]) == model.stop_training
        if done[0]:
            stopped = epoch
            break
    callback.on_train_end()
    assert kept == model.weights == callback.best_epoch
    assert (stopped or 0) == callback.stopped_epoch


@settings(max_examples=60, deadline=None)
@given(sequences, st.integers(1, 4), st.sampled_from([0.5, 0.3]))
def test_the_learning_rate_falls_on_plateaus_as_keras_lets_it(losses, patience, factor):
    import keras

    training = Training(plateau_patience=patience, plateau_factor=factor, min_learning_rate=1e-3)
    model = Model(0.1)
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", factor, patience, mode="min", min_lr=1e-3)
    callback.set_model(model)
    callback.on_train_begin()
    ours = LearningRate(np.array([0.1]), training)
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        ours.update(epoch, np.array([loss]))
        assert ours.at(epoch + 1)[0] == pytest.approx(float(model.optimizer.learning_rate), rel=1e-6)


def test_each_network_is_judged_alone():
    ours = EarlyStopping(2, patience=2)
    for epoch, losses in enumerate([[1.0, 1.0], [2.0, 0.5], [2.0, 0.4]]):
        _, done = ours.update(epoch, np.array(losses))
    assert done.tolist() == [True, False]


def test_a_cosine_falls_from_the_whole_rate_to_nearly_nothing():
    rates = LearningRate(np.array([0.1]), Training(schedule="cosine", epochs=100))
    values = [rates.at(epoch)[0] for epoch in range(100)]
    assert values[0] == 0.1
    assert values[-1] < 1e-4
    assert (np.diff(values) < 0).all()
