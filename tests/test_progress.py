"""How far a training is: which of its epochs is kept."""

import pytest

from components.train.progress import Progress


@pytest.mark.parametrize(
    ("margin", "epochs", "kept"),
    [
        (0.015, [(0.9122, 0.337), (0.8867, 0.356), (0.9121, 0.322)], 3),  # chance ordered them; the last is surer
        (0.015, [(0.95, 0.34), (0.93, 0.30)], 1),  # surer, and worse than chance explains
        (0.015, [(0.91, 0.30), (0.93, 0.34)], 2),
        (0.015, [(0.92, 0.34), (0.932, 0.36), (0.94, 0.35)], 3),  # the first was close to the second, and is not to the third
        (0.0, [(-0.34, 0.34), (-0.30, 0.30), (-0.30, 0.30)], 2),  # monitor: loss
    ],
)
def test_the_surest_of_all_epochs_that_chance_may_have_ordered_is_kept(margin, epochs, kept):
    progress = Progress()
    for number, (value, loss) in enumerate(epochs, 1):
        progress.keep(number, value, loss, margin=margin)
    assert progress.best_epoch == kept
    assert (progress.kept, progress.best_loss) == epochs[kept - 1]
    assert progress.best == max(value for value, _ in epochs)
