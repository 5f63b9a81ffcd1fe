"""Lines of text for the PP-OCR recogniser, rendered: an .npy file of
[n, 3, 48, 320], (pixel / 255 - 0.5) / 0.5.

    pip install numpy pillow rapidocr-onnxruntime==1.4.4
    python lines.py 240 calibration.npy 1 FONTS...
    python lines.py 60 test.npy 2 OTHER FONTS...

The last argument but the count says the seed. Words are drawn anew for each seed.
"""

import random
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HEIGHT, WIDTH = 48, 320
WORDS = """the quick brown fox jumps over lazy dog invoice total amount due date number street
city payment received order quantity price tax net gross account balance reference customer
January February March April Monday Tuesday EUR USD No. 1,234.56 2024-03-17 +49 30 1234 #42
www.example.org A/B 50% (see page 7) Dear Sir or Madam, kind regards; first: second""".split()


def line(draw_from, fonts):
    text, font = "", ImageFont.truetype(draw_from.choice(fonts), draw_from.randint(24, 36))
    while font.getlength(text) < WIDTH * draw_from.uniform(0.5, 0.95):
        text = f"{text} {draw_from.choice(WORDS)}".strip()
    ink, paper = draw_from.randint(0, 90), draw_from.randint(170, 255)
    if draw_from.random() < 0.15:
        ink, paper = paper, ink
    image = Image.new("L", (WIDTH, HEIGHT), paper)
    place = (draw_from.randint(2, 12), HEIGHT // 2 + draw_from.randint(-3, 3))
    ImageDraw.Draw(image).text(place, text, fill=ink, font=font, anchor="lm")
    image = image.rotate(draw_from.uniform(-1.5, 1.5), fillcolor=paper, resample=Image.BICUBIC)
    return image.filter(ImageFilter.GaussianBlur(draw_from.uniform(0, 0.9)))


def main():
    count, out, seed, *fonts = sys.argv[1:]
    draw_from = random.Random(int(seed))
    noise = np.random.default_rng(int(seed))
    lines = []
    for _ in range(int(count)):
        pixels = np.asarray(line(draw_from, fonts), np.float32)
        pixels = np.clip(pixels + noise.normal(0, draw_from.uniform(0, 8), pixels.shape), 0, 255)
        lines.append(np.repeat((pixels[None] / 255 - 0.5) / 0.5, 3, axis=0))
    np.save(out, np.stack(lines).astype(np.float32))


if __name__ == "__main__":
    main()
