"""Where a network looks, by several methods that are checked first: explanations.json, explanations.png, features.png, time.png."""

from pathlib import Path

import numpy as np

from components.evaluate import charts, explain_checks, explain_gradients
from components.shared import files, plots
from components.shared.data import arrays
from components.shared.models import backend, keras_file
from components.shared.models.occlusion import occlusion
from components.shared.progress_bar import progress_bar

MOST_CLASSES = 12  # rows of explanations.png
TYPICAL, BORDER, MISTAKE = KINDS = ("typical", "near another class", "surest mistake")  # the wrong ones stand apart
TIME, SHAM = "time", "sham"  # methods that no picture of places is drawn of
LEAST, VALUES = 12, 2**22  # pictures, and pixel values of all of them: fewer are explained where they are large, above LEAST
BATCH = 256  # samples


def explain(
    model: str, network, test: arrays.Split, probabilities: np.ndarray, classes: list[str], explained: int, folder: Path
) -> None:
    """Explain and check some pictures, and draw three of each class; of very many classes those that are confused most often.

    Only the best method that passed its checks is drawn. Its maps are of the picture's own side where the network averages it
    with its mirror image; what is hidden and removed is judged by the whole network.
    """
    explained = min(explained, max(LEAST, VALUES // test.images[0].size))
    rows = _chosen(test.labels, probabilities, explained)
    if not rows:
        return
    chosen = np.unique([index for row in rows.values() for index in row.values()])
    others = np.setdiff1d(np.arange(len(test.labels)), chosen)  # which are checked alone: few pictures would prove nothing
    more = min(explained - len(chosen), len(others))
    chosen = np.sort([*chosen, *others[np.linspace(0, len(others) - 1, more).astype(int)]]).astype(int)
    images, labels = np.array(test.images[chosen]), probabilities[chosen].argmax(1)
    parts = explain_gradients.differentiable(network)
    checked, maps = checks(network, parts, images, labels)
    trusted = [name for name, found in checked.items() if found["trusted"] and name not in (TIME, SHAM)]
    best = min(trusted, key=lambda name: checked[name]["deletion"], default=None)
    files.write_json(folder / "explanations.json", {name: found | {"drawn": name == best} for name, found in checked.items()})
    heats = dict(zip(chosen, maps[best] if best else [None] * len(chosen), strict=True))
    _draw_panels(model, rows, heats, test, probabilities, classes, best, folder / "explanations.png")
    typical = {row[TYPICAL]: plots.label(classes[label], 24) for label, row in rows.items() if TYPICAL in row}
    title = f"{model}: what its first layer and its last react to, each tile from its darkest to its brightest"
    _draw_features(
        title + _part(typical, classes, "those of explanations.png with a right answer"),
        parts,
        typical,
        test.images,
        folder / "features.png",
    )
    if TIME in maps and typical:
        what = "frames" if images.ndim == 5 else "rows"
        passed = "checked" if checked[TIME]["trusted"] else "did not pass its checks"
        samples = [(test.images[index], maps[TIME][np.searchsorted(chosen, index)], name) for index, name in typical.items()]
        title = f"{model}: {what} that speak for the class (blue), against it (orange); {passed}"
        charts.time(samples, folder / "time.png", title)


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

    with progress_bar(total=2 * len(images), name="explain") as bar:
        before = relevance(images, labels)
        bar.update(len(images))
        after = {name: np.zeros_like(maps) for name, maps in before.items()}
        for seed in range(min(explain_checks.SEEDS, len(images))):
            own = slice(seed, None, explain_checks.SEEDS)
            with explain_checks.shuffled(parts.layers, seed):
                for name, maps in relevance(images[own], labels[own]).items():
                    after[name][own] = maps
            bar.update(len(images[own]))
    timed, placed = ({name: maps for name, maps in before.items() if (name == TIME) == want} for want in (True, False))
    checked = explain_checks.check(predict, images, labels, grid, placed, after)
    return checked | (explain_checks.check(predict, images, labels, bands, timed, after) if timed else {}), before


def _chosen(labels: np.ndarray, probabilities: np.ndarray, most: int) -> dict[int, dict[str, int]]:
    """Class -> of its samples the typical one, of middling confidence, the right one nearest to another class, the surest mistake.

    No more than `most` in all: of each class in turn first a typical one, then a mistake.
    """
    predicted, sure, rows, left = probabilities.argmax(1), probabilities.max(1), {}, most
    shown = charts.most_confused(labels, predicted, probabilities.shape[1], at_most=min(most, MOST_CLASSES)).tolist()
    margin = np.ptp(np.sort(probabilities, axis=1)[:, -2:], axis=1)
    for kind in (TYPICAL, MISTAKE, BORDER):
        for label in shown:
            row = rows.setdefault(label, {})
            own = np.setdiff1d(np.flatnonzero((labels == label) & ((predicted == label) == (kind != MISTAKE))), [*row.values()])
            if len(own) and left:
                of = {TYPICAL: sure, MISTAKE: -sure, BORDER: margin}[kind][own]
                row[kind] = int(own[np.argsort(of, kind="stable")[len(own) // 2 if kind == TYPICAL else 0]])
                left -= 1
    return {label: row for label, row in rows.items() if row}


def _draw_panels(
    model: str, rows: dict, heats: dict, test, probabilities, classes: list[str], best: str | None, file: Path
) -> None:
    kinds = [kind for kind in KINDS if any(kind in row for row in rows.values())]

    def panel(label: int, kind: str, index: int) -> tuple:
        first, second = np.argsort(-probabilities[index], kind="stable")[:2]
        answers = [f"{plots.label(classes[of], 10, 2)} {probabilities[index, of]:.0%}" for of in (first, second)]
        about = f"\u2717 taken for\n{answers[0]}" if kind == MISTAKE else f"\u2713 {probabilities[index, first]:.0%}"
        about += f",\n{answers[1]}" if kind == BORDER else ""
        heat = heats[index].reshape(explain_checks.SIDE, -1) if best else None
        return test.images[index], heat, f"{plots.label(classes[label], 13, 2)}:\n{kind}", about

    panels = [[panel(label, kind, row[kind]) if kind in row else None for kind in kinds] for label, row in rows.items()]
    title = f"{model}: {f'what its answers rest on, by {best}' if best else 'no method passed its checks'}".replace("_", " ")
    charts.explanations(panels, file, title + _part(rows, classes))


def _part(shown: dict, classes: list[str], which: str = "those that are confused most often") -> str:
    return f"; {len(shown)} of {len(classes):,} classes, {which}" if len(shown) < len(classes) else ""


def _draw_features(title: str, parts, names: dict[int, str], pictures: np.ndarray, file: Path) -> None:
    """Of a clip its middle frame."""
    if not parts.convolution or not names:
        return
    _, keras = backend.start()
    # Without what follows the last: recurrent layers take most of the time.
    layers = keras.Model(parts.model.input, {name: parts.model.output[name] for name in ("first", "last")})
    shown = []
    for index, name in names.items():
        image, frame = pictures[index], 0
        outputs = layers(image[None].astype(np.float32), training=False)
        if image.ndim == 4:
            frame = np.count_nonzero(explain_checks.shown(image)) // 2  # padding comes last
            image = image[frame]
        shown.append((name, image, outputs["first"][frame].numpy(), outputs["last"][frame].numpy()))
    charts.features(title, shown, parts.convolution.get_weights()[0], file)
