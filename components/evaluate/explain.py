"""Where a network looks, by several methods that are checked first: explanations.json, explanations.png, features.png, time.png."""

from pathlib import Path

import numpy as np

from components.evaluate import charts, explain_checks, explain_gradients
from components.shared import files, plots
from components.shared.data import arrays
from components.shared.models import backend, keras_file
from components.shared.models.occlusion import occlusion

MOST_CLASSES = 12  # rows of explanations.png
KINDS = ("typical", "surest mistake", "near the border")
TIME, SHAM = "time", "sham"  # methods that no picture of places is drawn of
FEW = 3  # pictures in features.png
BATCH = 256  # samples


def explain(network, test: arrays.Split, probabilities: np.ndarray, classes: list[str], explained: int, folder: Path) -> None:
    """Explain and check some pictures, three of a class; of more classes than there is room for those that are confused most often.

    Only the best method that passed its checks is drawn. Its maps are of the picture's own side where the network averages it
    with its mirror image; what is hidden and removed is judged by the whole network.
    """
    rows = _chosen(test.labels, probabilities, min(explained // len(KINDS), MOST_CLASSES))
    chosen = np.unique([index for row in rows.values() for index in row.values()])
    if not len(chosen):
        return
    images, labels = np.array(test.images[chosen]), probabilities[chosen].argmax(1)
    parts = explain_gradients.differentiable(network)
    checked, maps = checks(network, parts, images, labels)
    trusted = [name for name, found in checked.items() if found["trusted"] and name not in (TIME, SHAM)]
    best = min(trusted, key=lambda name: checked[name]["deletion"], default=None)
    files.write_json(folder / "explanations.json", {name: found | {"drawn": name == best} for name, found in checked.items()})
    heats = dict(zip(chosen, maps[best] if best else [None] * len(chosen), strict=True))
    _draw_panels(rows, heats, test, probabilities, classes, best, folder / "explanations.png")
    typical = {row[KINDS[0]]: plots.label(classes[label], 24) for label, row in rows.items() if KINDS[0] in row}
    _draw_features(parts, {index: typical[index] for index in [*typical][:FEW]}, test.images, folder / "features.png")
    if TIME in maps and typical:
        what = "frames" if images.ndim == 5 else "rows"
        passed = "checked" if checked[TIME]["trusted"] else "did not pass its checks"
        samples = [(test.images[index], maps[TIME][np.searchsorted(chosen, index)], name) for index, name in typical.items()]
        charts.time(samples, folder / "time.png", f"What speaks for the class among {what} ({passed})")


def checks(network, parts, images: np.ndarray, labels: np.ndarray) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Of each method what its checks say (see explain_checks.check), and how relevant it finds each cell, float (n, cells).

    `parts`: what `differentiable` makes of the network; `images` uint8 (n, h, w, c) or (n, time, h, w, c); `labels` (n,): the
    classes that are explained.
    """
    tf, _ = backend.start()
    run, shape = keras_file.compiled(network), images.shape[1:]
    steps = shape[0] if len(shape) == 4 else parts.steps
    grid, bands = explain_checks.grid(shape), explain_checks.time(shape, steps) if steps else None

    def predict(some: np.ndarray) -> np.ndarray:
        batches = (some[start : start + BATCH] for start in range(0, len(some), BATCH))
        return np.concatenate([run(tf.constant(batch)).numpy() for batch in batches])

    def relevance(some: np.ndarray, of: np.ndarray) -> dict[str, np.ndarray]:
        found, per_cell = {}, explain_checks.per_cell
        if "last" in parts.model.output:
            found["grad_cam"] = per_cell(explain_gradients.grad_cam(parts, some, of), grid)
        plain = np.stack([explain_checks.plain(image) for image in some])
        gradients = explain_gradients.integrated_gradients(parts, some, plain, of)
        found["integrated_gradients"] = per_cell(gradients, grid)
        hidden = [occlusion(predict, *pair, cells=explain_checks.SIDE).ravel() for pair in zip(some, of, strict=True)]
        found["occlusion"] = np.stack(hidden)
        if steps:
            found[TIME] = per_cell(gradients, bands)
        # Edges look like an explanation and know nothing of the network: they have to fail.
        return found | {SHAM: per_cell(np.hypot(*np.gradient(some.mean(-1), axis=(-2, -1))), grid)}

    before = relevance(images, labels)
    after = {name: np.zeros_like(maps) for name, maps in before.items()}
    for seed in range(min(explain_checks.SEEDS, len(images))):
        own = slice(seed, None, explain_checks.SEEDS)
        with explain_checks.shuffled(parts.layers, seed):
            for name, maps in relevance(images[own], labels[own]).items():
                after[name][own] = maps
    timed, placed = ({name: maps for name, maps in before.items() if (name == TIME) == want} for want in (True, False))
    checked = explain_checks.check(predict, images, labels, grid, placed, after)
    return checked | (explain_checks.check(predict, images, labels, bands, timed, after) if timed else {}), before


def _chosen(labels: np.ndarray, probabilities: np.ndarray, most: int) -> dict[int, dict[str, int]]:
    """Class -> of its samples the typical one, of middling confidence, the surest mistake, and the one nearest to another class."""
    predicted, rows = probabilities.argmax(1), {}
    for label in charts.most_confused(labels, predicted, probabilities.shape[1], at_most=most):
        own = np.flatnonzero(labels == label)
        right, wrong = own[predicted[own] == label], own[predicted[own] != label]
        sure = probabilities.max(1)
        row = {}
        if len(right):
            row[KINDS[0]] = right[np.argsort(sure[right], kind="stable")[len(right) // 2]]
        if len(wrong):
            row[KINDS[1]] = wrong[sure[wrong].argmax()]
        if len(own):
            row[KINDS[2]] = own[np.ptp(np.sort(probabilities[own], axis=1)[:, -2:], axis=1).argmin()]
            rows[int(label)] = row
    return rows


def _draw_panels(rows: dict, heats: dict, test, probabilities, classes: list[str], best: str | None, file: Path) -> None:
    def panel(label: int, kind: str, index: int) -> tuple:
        first, second = (plots.label(classes[other], 13, 2) for other in np.argsort(-probabilities[index], kind="stable")[:2])
        about = {KINDS[0]: "", KINDS[1]: f"taken for\n{first}", KINDS[2]: f"{first}\nor {second}"}[kind]
        heat = heats[index].reshape(explain_checks.SIDE, -1) if best else None
        return test.images[index], heat, f"{plots.label(classes[label], 13, 2)}:\n{kind}", about

    panels = [[panel(label, kind, row[kind]) if kind in row else None for kind in KINDS] for label, row in rows.items()]
    title = (
        f"{best.replace('_', ' ').capitalize()}: bright is what the prediction rests on"
        if best
        else "No method passed its checks"
    )
    if len(rows) < len(classes):
        title += f"\n{len(rows)} of {len(classes):,} classes, those that are confused most often"
    charts.explanations(panels, file, title)


def _draw_features(parts, names: dict[int, str], pictures: np.ndarray, file: Path) -> None:
    if not parts.convolution or not names:
        return
    made, shown = explain_gradients.activations(parts, np.stack([pictures[index] for index in names])), []
    for number, (index, name) in enumerate(names.items()):
        image, of = pictures[index], number
        if image.ndim == 4:  # one frame stands for a clip
            there = np.flatnonzero(explain_checks.shown(image))
            middle = there[len(there) // 2] if len(there) else 0
            image, of = image[middle], number * len(image) + middle
        shown.append((name, image, made["first"][of], made["last"][of]))
    charts.features(shown, parts.convolution.get_weights()[0], file)
