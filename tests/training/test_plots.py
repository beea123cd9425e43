"""Pictures of a training run, as far as numbers can say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from bruno_spice.training.runs.figures import activity_curve, new_figure, training_curve
from bruno_spice.training.tasks.pictures import MOST_NUMBERED, confusion


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def history(epochs):
    activity = {"hidden.0": {"rate": 0.1, "silent": 0.2}}
    return [
        {"epoch": n, "valid": {"nll": 9 / n}, "train": {"loss": 10 / n}, "activity": activity}
        for n in range(1, epochs + 1)
    ]


@pytest.mark.parametrize("epochs", [1, 2, 16])
def test_epochs_are_whole_and_every_curve_has_markers_below_the_legend(epochs):
    figure = new_figure(1, 2)
    curves = training_curve(figure.axes[0], history(epochs), "nll", {"markov": 8.0})
    activity = activity_curve(figure.axes[1], history(epochs))
    figure.canvas.draw()
    for axes, lines in ((curves, 2), (activity, 2)):
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == round(tick) for tick in ticks)
        assert [line.get_marker() for line in axes.lines[:lines]] == ["o", "s"]
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


@pytest.mark.parametrize("classes", [2, MOST_NUMBERED, MOST_NUMBERED + 1])
def test_a_confusion_of_few_classes_tells_its_counts(classes):
    counts = np.arange(classes**2).reshape(classes, classes)
    axes = confusion(new_figure().axes[0], counts, [f"c{n}" for n in range(classes)])
    shown = [int(text.get_text()) for text in axes.texts]
    assert shown == (counts.ravel().tolist() if classes <= MOST_NUMBERED else [])


def test_long_labels_do_not_run_into_each_other():
    for labels, rotation in ((["first", "second"], 0.0), ([f"a long name {n}" for n in range(8)], 45.0)):
        axes = confusion(new_figure().axes[0], np.eye(len(labels), dtype=np.int64), labels)
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}
