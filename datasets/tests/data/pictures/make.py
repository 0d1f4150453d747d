"""Makes the pictures of tests/pictures.rs, and what Pillow and NumPy make of them as torchvision's transforms do.

    python3 -m venv venv && venv/bin/pip install pillow numpy
    venv/bin/python datasets/tests/data/pictures/make.py
"""

import pathlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
SIZE = 14


def scene(width, height):
    """Slopes, an edge and a disc, which resizing and orders of channels show in."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    blue = np.where((x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2, 230, 40)
    red = np.where(x > 2 * width / 3, 255 - red, red)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def resized(picture, fit):
    larger = round(SIZE * 256 / 224)
    if fit == "stretch":
        return picture.resize((SIZE, SIZE), Image.BILINEAR)
    if fit == "crop":
        w, h = picture.size
        sizes = (larger, int(larger * h / w)) if w <= h else (int(larger * w / h), larger)
    else:
        sizes = (larger, larger)
    picture = picture.resize(sizes, Image.BILINEAR)
    left, top = (round((whole - SIZE) / 2) for whole in picture.size)
    return picture.crop((left, top, left + SIZE, top + SIZE))


def expect(name, file, fit, scale, mean, std, bgr=False, grey=False):
    picture = ImageOps.exif_transpose(Image.open(HERE / file)).convert("RGB")
    levels = np.asarray(resized(picture, fit).convert("L" if grey else "RGB"), np.float64)
    levels = levels[None] if grey else levels.transpose(2, 0, 1)
    if bgr:
        levels = levels[::-1]
    mean, std = (np.reshape(numbers, (-1, 1, 1)) for numbers in (mean, std))
    np.save(HERE / f"{name}.npy", ((levels / scale - mean) / std).astype(np.float32))


scene(60, 41).save(HERE / "wide.png")
scene(33, 50).save(HERE / "tall.jpg", quality=95, subsampling=0)
turned = Image.Exif()
turned[0x0112] = 6
scene(60, 41).save(HERE / "turned.jpg", quality=95, subsampling=0, exif=turned)
scene(30, 30).convert("L").save(HERE / "grey.png")
imagenet = dict(scale=255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
expect("wide-imagenet", "wide.png", "crop", **imagenet)
expect("tall-imagenet", "tall.jpg", "crop", **imagenet)
expect("turned-imagenet", "turned.jpg", "crop", **imagenet)
expect("wide-open-nsfw", "wide.png", "stretch-and-crop", 1, [104, 117, 123], [1], bgr=True)
expect("grey-unit", "grey.png", "stretch", 255, [0], [1])
expect("wide-mnist", "wide.png", "stretch", 255, [0.1307], [0.3081], grey=True)
