"""Short clips of game characters that stand, run, strike, block, cast, shoot, are hit and die, for `darkroom ingest`.

    python benchmarks/flare_clips.py FOLDER

Out of Debian's package flare-game (the art of the game Flare, CC-BY-SA 3.0), which is downloaded (123 MB) and not installed. A clip
is one action of one character seen from one of eight directions (0 is west, then clockwise): eight frames of 48x48 pixels.
FOLDER/table.csv is what `darkroom ingest` takes; FOLDER/lengths.csv has the number of frames that each clip had in the game.

- Characters are all enemies that can run, and ten heroes. The game draws a hero in layers (boots, coif, shield ...), which alone
  are no character: they are put together, in five outfits for each sex. The people who only stand about (NPCs) are left out.
- All frames of a sheet of pictures are drawn in one frame of reference and in one scale, on mid grey: nothing jumps or swells.
- The group is the sheet, but one and the same for sheets whose silhouettes are nearly the same (characters in another colour or
  size) and for all outfits of a hero, so that no split by group has a character on both sides. Different skeletons or goblins
  are groups of their own, though they were made to move in much the same way.
- Every clip has eight frames, taken evenly, since its length alone would tell much (see sequences.py).
- `critdie` is another way to die. Left out are clips in which nothing moves, those that a character has under two actions (many
  strike and cast in one way), and actions that are too rare to be split by group.
"""

import argparse
import collections
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from components.ingest import named

PACKAGE = "flare-game"
FRAMES, SIDE, GREY = 8, 48, (128, 128, 128)
LEAST_CLIPS, LEAST_GROUPS = 60, 10  # of an action
SEEN = 12  # levels off the grey from which on a pixel is part of a silhouette
SAME_SHAPE = 0.8  # intersection / union of silhouettes above which sheets show one character (others: 0.77 at most)
SLOTS = ("legs", "feet", "hands", "chest", "main", "head", "off")
OUTFITS = {  # no layer is in two of them
    "cloth": "cloth_pants cloth_sandals cloth_gloves cloth_shirt dagger",
    "leather": "leather_pants leather_boots leather_gloves leather_chest longbow leather_hood",
    "chain": "chain_greaves chain_boots chain_gloves chain_cuirass longsword chain_coif shield",
    "plate": "plate_greaves plate_boots plate_gauntlets plate_cuirass greatsword plate_helm",
    "mage": "mage_skirt mage_boots mage_sleeves mage_vest greatstaff mage_hood",
}
BARE_HEADS = {"male": "head_short", "female": "head_long"}
Frame = list[tuple[Image.Image, int, int]]  # parts, hindmost first, and where their left upper corners are, seen from the feet
Animations = dict[tuple[str, str, int], list[Frame]]  # by name of the character, action and direction


def animations(file: Path, mods: Path, name: str) -> tuple[str, Animations]:
    """The sheet that an animation file cuts up, and the animations; neither where it only recolours what another file has."""
    sheet, stem, action, found = None, "", "", collections.defaultdict(dict)
    for line in file.read_text().splitlines():
        key, _, value = line.partition("=")
        if line.startswith("["):
            action = line.strip("[] ")
        elif key == "image":
            stem = Path(value).stem
            sheet = Image.open(next(mods.glob(f"*/{value}"))).convert("RGBA")
        elif key == "frame" and sheet:
            index, direction, x, y, width, height, left, up = map(int, value.split(","))
            found[name, action, direction][index] = [(sheet.crop((x, y, x + width, y + height)), -left, -up)]
    return stem, {key: [frames.get(i, []) for i in range(max(frames) + 1)] for key, frames in found.items()}


def hero(sex: str, outfit: str, mods: Path) -> Animations:
    """All layers in one. Which is in front depends on the direction; a layer lacks the frames in which it is hidden."""
    core, name = mods / "fantasycore", f"hero_{sex}_{outfit}"
    order = [line.split(",")[1:] for line in (core / "engine/hero_layers.txt").read_text().splitlines() if line[:6] == "layer="]
    worn = {"head": BARE_HEADS[sex]} | dict(zip(SLOTS, OUTFITS[outfit].split(), strict=False))
    layers = {slot: animations(core / f"animations/avatar/{sex}/{file}.txt", mods, name)[1] for slot, file in worn.items()}
    found = {}
    for key, frames in layers["chest"].items():
        drawn = [layers[slot].get(key, []) for slot in order[key[2]] if slot in layers]
        found[key] = [[part for layer in drawn for part in (layer[i] if i < len(layer) else [])] for i in range(len(frames))]
    return found


def sheets(mods: Path) -> dict[str, Animations]:
    """The animations of each sheet; a goblin's has two files to it, for two ways to run."""
    found: dict[str, Animations] = {}
    for file in sorted(mods.glob("*/animations/enemies/*.txt"), key=lambda file: file.stem):
        sheet, cut = animations(file, mods, file.stem)
        if (file.stem, "run", 0) in cut:
            found[sheet] = found.get(sheet, {}) | cut
    return found | {f"hero_{sex}_{outfit}": hero(sex, outfit, mods) for sex in BARE_HEADS for outfit in OUTFITS}


def draw(sheet: Animations) -> dict[tuple[str, str, int], np.ndarray]:
    """The pixels of all frames: on one canvas that holds each of them where it belongs, fitted into a square."""
    parts = [part for frames in sheet.values() for frame in frames for part in frame]
    left, top = min(x for _, x, _ in parts), min(y for _, _, y in parts)
    size = max(x + picture.width for picture, x, _ in parts) - left, max(y + picture.height for picture, _, y in parts) - top

    def fitted(frame: Frame) -> np.ndarray:
        canvas = Image.new("RGBA", size, GREY)
        for picture, x, y in frame:
            canvas.alpha_composite(picture, (x - left, y - top))
        return np.asarray(ImageOps.pad(canvas.convert("RGB"), (SIDE, SIDE), color=GREY))

    return {key: np.stack([fitted(frame) for frame in frames]) for key, frames in sheet.items()}


def groups(drawn: dict[str, dict[tuple[str, str, int], np.ndarray]]) -> dict[str, str]:
    """For each sheet the first sheet that shows the same character, however coloured and sized."""
    group: dict[str, str] = {}
    shapes: dict[str, dict] = {}
    for name, sheet in drawn.items():
        mine = {key[1:]: np.abs(frames.astype(int) - GREY[0]).max(axis=3) > SEEN for key, frames in sheet.items()}
        group[name] = "_".join(name.split("_")[:2]) if name.startswith("hero_") else name
        for other, theirs in shapes.items():
            both = [(mine[key], theirs[key]) for key in mine.keys() & theirs.keys() if mine[key].shape == theirs[key].shape]
            if sum((one & two).sum() for one, two in both) > SAME_SHAPE * sum((one | two).sum() for one, two in both):
                group[name] = group[other]
                break
        shapes[name] = mine
    return group


def clips(mods: Path) -> pd.DataFrame:
    """The clips whose action can be told, of actions that are common enough."""
    drawn = {name: draw(sheet) for name, sheet in sheets(mods).items()}
    group, rows = groups(drawn), []
    for sheet, cut in drawn.items():
        for (name, action, direction), native in cut.items():
            label, suffix = ("die", "-crit") if action == "critdie" else (action, "")
            pixels = native[np.arange(FRAMES) * len(native) // FRAMES]
            different = len({frame.tobytes() for frame in pixels})
            rows.append([f"{label}/{name}{suffix}-{direction}", label, group[sheet], len(native), different, pixels.tobytes()])
    table = pd.DataFrame(rows, columns=["clip", "label", "group", "frames", "different", "pixels"])
    clear = table[(table["different"] > 1) & (table.groupby("pixels")["label"].transform("nunique") == 1)]
    once = clear.drop_duplicates("pixels")
    by_label = once.groupby("label")
    kept = once[(by_label["clip"].transform("size") >= LEAST_CLIPS) & (by_label["group"].transform("nunique") >= LEAST_GROUPS)]
    print(f"{len(drawn)} sheets, {len(table):,} animations; left out: {len(table) - len(clear):,} still or under two actions, "
          f"{len(clear) - len(once):,} that come twice, {len(once) - len(kept):,} of rare actions")  # fmt: skip
    return kept.sort_values("clip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    folder = parser.parse_args().folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"{folder}: not empty; name a new folder")
    with tempfile.TemporaryDirectory() as scratch:
        table = clips(named.debian_package(PACKAGE, Path(scratch)) / "usr/share/games/flare/mods")
    rows = []
    for clip in table.itertuples():
        (folder / "clips" / clip.clip).mkdir(parents=True)
        for number, pixels in enumerate(np.frombuffer(clip.pixels, np.uint8).reshape(FRAMES, SIDE, SIDE, 3)):
            path = f"clips/{clip.clip}/frame-{number}.png"
            Image.fromarray(pixels).save(folder / path)
            rows.append([path, clip.label, clip.group, clip.clip, number])
    pd.DataFrame(rows, columns=["path", "label", "group", "clip", "frame"]).to_csv(folder / "table.csv", index=False)
    table[["clip", "label", "group", "frames"]].to_csv(folder / "lengths.csv", index=False)
    print(f"{len(table):,} clips, {table['label'].nunique()} actions, {table['group'].nunique()} groups")


if __name__ == "__main__":
    main()
