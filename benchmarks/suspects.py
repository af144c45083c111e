"""How many planted faults the data check finds: by gradients and colours alone, and by a pretrained network's features.

    python benchmarks/suspects.py --photos FOLDER [--seeds 3] [--folder KEPT]

Into a folder per class of photos (or split and class) are planted: wrong labels (3 %, drawn anew for each seed), crops and edits of
photos that are there, and photos as another camera would have taken them. Everything is measured and embedded once; `--folder`
keeps that for the next time.
"""

import contextlib
import io
from pathlib import Path

import measuring
import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from components.shared import scratch
from components.shared.config import section_of
from components.shared.data import dataset, embeddings
from components.shared.data.dataset import Sample
from components.validate.config import ValidateConfig
from components.validate.context import Context
from components.validate.told_apart import told_apart

FLIPPED = 0.03  # of the labels
TWINS = 40  # photos for each kind of edit
SHARES = (0.2, 0.4)  # of the new pictures that come from another camera
BY = ("gradients and colours", "pretrained features")
TABLE = "\n| {} | " + " | ".join(BY) + " |\n|---|---|---|"


def crop(picture: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """A part of it, so much of each side, somewhere."""
    width, height = (round(share * side) for side in picture.size)
    left, top = rng.integers(0, picture.width - width + 1), rng.integers(0, picture.height - height + 1)
    return picture.crop((left, top, left + width, top + height))


def saved(picture: Image.Image, quality: int) -> bytes:
    """As a JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def small(picture: Image.Image) -> Image.Image:
    """300 pixels at most."""
    return ImageOps.contain(picture, (300, 300))


def brighter(picture: Image.Image) -> Image.Image:
    """Levels 1.3 times as high."""
    return ImageEnhance.Brightness(picture).enhance(1.3)


EDITS = {
    "crop to 95 % of each side": lambda picture, rng: saved(crop(picture, 0.95, rng), 90),
    "crop to 90 %": lambda picture, rng: saved(crop(picture, 0.9, rng), 90),
    "crop to 80 %": lambda picture, rng: saved(crop(picture, 0.8, rng), 90),
    "crop to 70 %": lambda picture, rng: saved(crop(picture, 0.7, rng), 90),
    "at most 300 pixels": lambda picture, rng: saved(small(picture), 90),
    "JPEG of quality 40": lambda picture, rng: saved(picture, 40),
    "1.3 times as bright": lambda picture, rng: saved(brighter(picture), 90),
    "mirrored": lambda picture, rng: saved(ImageOps.mirror(picture), 90),
    "crop to 85 %, mirrored, brighter, small, quality 50": lambda picture, rng: saved(
        brighter(ImageOps.mirror(small(crop(picture, 0.85, rng)))), 50
    ),
    "two crops to 80 % of one photo": lambda picture, rng: saved(crop(picture, 0.8, rng), 90),  # itself twice: see `plant`
}
CAMERAS = {
    "out of focus": lambda picture, rng: saved(small(picture).filter(ImageFilter.GaussianBlur(1.5)), 90),
    "warmer colours": lambda picture, rng: saved(Image.merge("RGB", [
        band.point(lambda level, gain=gain: level * gain) for band, gain in zip(picture.split(), (1.12, 1, 0.88), strict=True)]), 90),
    "messenger's JPEG (quality 15)": lambda picture, rng: saved(small(picture), 15),
}  # fmt: skip


def plant(data: Path) -> None:
    """Beside what was ingested: a shard of twins, and one of a quarter of the photos for each camera; sources name the original."""
    photos = [sample for shard in dataset.shards(data) for sample in dataset.read_samples(shard)]
    rng = np.random.default_rng(0)

    def edited(folder: str, number: int, edit, place: int = 0) -> Sample:
        with Image.open(io.BytesIO(photos[number].frames[0][0])) as picture:
            frame = edit(ImageOps.exif_transpose(picture).convert("RGB"), rng)
        source = f"{folder}/{number:06d}-{place}.jpg"
        return Sample(photos[number].label, source, ((frame, source),), split=photos[number].split)

    names = list(EDITS)
    chosen = rng.permutation(len(photos))[: TWINS * len(names)]
    twins = [
        edited(f"twins/{place % len(names)}", number, EDITS[names[place % len(names)]], copy)
        for place, number in enumerate(chosen)
        for copy in range(1 + ("two" in names[place % len(names)]))
    ]
    dataset.write_shard(twins, data / "99990.parquet")
    new = np.sort(rng.permutation(len(photos))[: len(photos) // 4])
    for number, (name, camera) in enumerate(CAMERAS.items()):
        dataset.write_shard([edited(f"cameras/{name}", photo, camera) for photo in new], data / f"9999{1 + number}.parquet")


def wrong_labels(contexts: list[Context], photos: np.ndarray, seeds: int) -> None:
    """Recall at as many suspects as there are wrong labels, and what the check itself would name."""
    print(TABLE.format(f"wrong labels, {FLIPPED:.0%} of {photos.sum():,}, mean of {seeds} draws"))
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        wrong = np.sort(rng.choice(np.flatnonzero(photos), round(FLIPPED * photos.sum()), replace=False))
        number, classes = np.where(photos, contexts[0].label_number.astype(int), -1), contexts[0].classes
        number[wrong] = (number[wrong] + rng.integers(1, len(classes), len(wrong))) % len(classes)
        labels = pd.Categorical.from_codes(number, classes)
        for context in contexts:
            opinion = Context(
                context.rows.assign(label=labels), context.limits, context.manifest, None, context.embeddings
            ).opinion
            first = np.argsort(np.where(photos, opinion.trust, np.inf), kind="stable")[: len(wrong)]
            named = np.flatnonzero(opinion.suspect & (opinion.trust < context.limits.max_label_trust))
            hits = np.isin(named, wrong).sum()
            rows.append([np.isin(first, wrong).mean(), len(named), hits / len(wrong), hits / len(named), opinion.accuracy])
    means, spread = (how(np.array(rows).reshape(seeds, 2, -1), axis=0).T for how in (np.mean, np.std))
    for name, mean, off in zip(("found among as many suspects as there are wrong labels", "suspects that validate names",
                                "of them found", "of the named so many are planted", "accuracy of the model behind"),
                               means, spread, strict=True):  # fmt: skip
        cells = [f"{m:.0f}" if m > 1 else f"{m:.1%} ± {100 * o:.1f}" for m, o in zip(mean, off, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def near_twins(contexts: list[Context], sources: pd.Series, photos: np.ndarray) -> None:
    """Of the planted pairs those that are found; and of the others that are found, how many there are."""
    print(TABLE.format(f"near twins: {TWINS} of each planted among {photos.sum():,}"))
    family = np.arange(len(sources))
    planted = sources[sources.str.startswith("twins/")].str.extract(r"twins/(\d+)/(\d+)-(\d+)").astype(int)
    family[planted.index] = np.flatnonzero(photos)[planted[1]]
    wanted = planted[planted[2] == planted.groupby(0)[2].transform("max")]
    target = np.where(wanted[2] > 0, wanted.index - 1, family[wanted.index])
    pairs = [context.near[~sources.iloc[context.near.ravel()].str.startswith("cameras/").to_numpy().reshape(-1, 2).any(axis=1)]
             for context in contexts]  # fmt: skip
    for number, name in enumerate(EDITS):
        mine = (wanted[0] == number).to_numpy()
        goal = {tuple(sorted(pair)) for pair in zip(wanted.index[mine], target[mine], strict=True)}
        print(f"| {name} | {' | '.join(f'{len(goal & set(map(tuple, found.tolist()))) / len(goal):.0%}' for found in pairs)} |")
    others = [found[family[found[:, 0]] != family[found[:, 1]]] for found in pairs]
    print(f"| pairs found that were not planted | {' | '.join(str(len(each)) for each in others)} |")
    for each in others[1]:
        print("  " + "  ".join(sources.iloc[each]))


def other_cameras(contexts: list[Context], sources: pd.Series, photos: np.ndarray, seeds: int) -> None:
    """How often the two-sample test picks the new one of two photos of a class, a share of the new ones by another camera."""
    print(
        TABLE.format("photos of another camera among the new ones: how often the new one of two is picked (alarm from 60 % on)")
    )
    old, limit = np.flatnonzero(photos), 0.5 + contexts[0].limits.max_drift
    samples = [context.sample for context in contexts]
    seen = [np.frombuffer(b"".join(each["features"].to_pylist()), np.uint8).reshape(len(each), -1) for each in samples]
    labels, units = (samples[0][name].to_numpy() for name in ("label", "unit"))
    for name, share in [("none: two parts of one set", 0.0), *((name, share) for name in CAMERAS for share in SHARES)]:
        there = np.flatnonzero(sources.str.startswith(f"cameras/{name if share else next(iter(CAMERAS))}/"))
        number = sources.iloc[there].str.extract(r"/(\d+)-")[0].astype(int).to_numpy()
        shares = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            new = np.where(rng.random(len(there)) < share, there, old[number])
            before = np.setdiff1d(old, old[number])
            if not share:
                before, new = np.split(rng.permutation(old), [len(before)])
            both = np.concatenate([before, new])
            apart = [told_apart(each[both], labels[both], np.arange(len(both)) >= len(before), units[both]) for each in seen]
            shares.append([(each.share, each.share > max(each.chance, limit)) for each in apart])
        cells = [f"{share:.0%}, alarm {alarms:.0f} of {seeds}" for share, alarms in
                 zip(np.mean(shares, axis=0)[:, 0], np.sum(shares, axis=0)[:, 1], strict=True)]  # fmt: skip
        print(f"| {name}{f', {share:.0%} of them' if share else ''} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    options = measuring.arguments(
        __doc__,
        photos={"type": Path, "required": True, "help": "a folder of photos, for `darkroom ingest`"},
        seeds={"type": int, "default": 3, "help": "draws"},
        folder={"type": Path, "help": "where the data is kept for the next time"},
    )
    with contextlib.nullcontext(options.folder) if options.folder else scratch.folder("benchmark") as folder:
        folder.mkdir(exist_ok=True)
        knobs = measuring.set_knobs(folder, {"embed": {"network": "efficientnet-lite0"}})
        if not (folder / "data").exists():
            measuring.darkroom(folder, "ingest", options.photos.absolute(), "data")
            plant(folder / "data")
        for stage in ("measure", "embed"):
            measuring.darkroom(folder, *measuring.command(stage))
        limits, manifest = ValidateConfig(**section_of(knobs, "validate", file=folder)), folder / "outputs/manifest"
        contexts = [
            Context.read(manifest, limits, None, seen) for seen in (None, embeddings.read(folder / "outputs/embeddings"))
        ]
        sources = contexts[0].column("source").astype("str")
        photos = ~sources.str.startswith(("twins/", "cameras/")).to_numpy()
        wrong_labels(contexts, photos, options.seeds)
        other_cameras(contexts, sources, photos, options.seeds)
        near_twins(contexts, sources, photos)


if __name__ == "__main__":
    main()
