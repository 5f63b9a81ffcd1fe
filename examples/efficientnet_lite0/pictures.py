"""Pictures for calibration and for testing, as EfficientNet-Lite0 wants them.

    pip install pillow numpy scikit-image scikit-learn foolbox==3.3.4
    apt-get download darknet && dpkg -x darknet*.deb darknet
    python pictures.py calibration darknet      the photographs of three packages
    python pictures.py test                     foolbox's 20 labelled ImageNet pictures

Calibration pictures are copied as they are: `secateur compress` crops them. Test
pictures are resized (bicubic) to 256 on the short side and cut to the middle 224.
"""

import importlib.util
import pathlib
import shutil
import sys

from PIL import Image

SIDE, SHORT = 224, 256
# What of scikit-image's data is a photograph.
SKIMAGE = "astronaut brick camera chelsea coffee coins grass gravel hubble_deep_field motorcycle_left moon retina rocket"


def folder(package):
    return pathlib.Path(importlib.util.find_spec(package).origin).parent


def calibration(darknet):
    pictures = list(pathlib.Path(darknet).rglob("data/*.jpg"))
    pictures += (folder("sklearn") / "datasets/images").glob("*.jpg")
    for name in SKIMAGE.split():
        pictures += (folder("skimage") / "data").glob(f"{name}.*")
    return sorted(pictures)


def test():
    return sorted((folder("foolbox") / "data").glob("imagenet_*"))


def cut(path):
    image = Image.open(path).convert("RGB")
    scale = SHORT / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.BICUBIC)
    left, top = ((side - SIDE) // 2 for side in image.size)
    return image.crop((left, top, left + SIDE, top + SIDE))


if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1])
    out.mkdir(exist_ok=True)
    if sys.argv[1] == "test":
        for path in test():
            cut(path).save(out / f"{path.stem}.png")
    else:
        for path in calibration(sys.argv[2]):
            shutil.copy(path, out / path.name)
