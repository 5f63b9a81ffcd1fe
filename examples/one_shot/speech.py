"""Sound for silero-vad as an .npz file: `input` [n, 64, 576] (windows of 512 samples at
16 kHz, each with the 64 before it), `h` and `c` [1, 1, 128] of zeros.

    pip install numpy scipy
    apt-get install espeak-ng; apt-get download alsa-utils && dpkg -x alsa-utils*.deb alsa
    python speech.py calibration.npz               voices that espeak-ng makes, pauses, noise
    python speech.py test.npz alsa/**/*.wav        recorded voices, with noise added
"""

import io
import subprocess
import sys

import numpy as np
import scipy.io.wavfile
import scipy.signal

RATE, WINDOW, CONTEXT, WINDOWS = 16_000, 512, 64, 64
VOICES = ["en", "en-us+f3", "en+m5", "de", "fr+f2", "es", "it+m2", "en+whisper"]
TEXT = [
    "The north wind and the sun were disputing which was the stronger.",
    "Please leave a message after the tone, and we will call you back.",
    "Two, four, eight, sixteen, thirty two.",
    "Is anybody there?",
]


def resampled(rate, samples):
    if samples.dtype.kind == "i":
        samples = samples / np.iinfo(samples.dtype).max
    if samples.ndim == 2:
        samples = samples.mean(1)
    return scipy.signal.resample_poly(samples.astype(np.float64), RATE, rate)


def spoken(voice, text):
    wav = subprocess.run(["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True)
    return resampled(*scipy.io.wavfile.read(io.BytesIO(wav.stdout)))


def windows(sound):
    sound = np.concatenate([np.zeros(CONTEXT), sound])
    starts = range(0, len(sound) - WINDOW - CONTEXT + 1, WINDOW)
    cut = np.stack([sound[s : s + WINDOW + CONTEXT] for s in starts])
    return cut[: len(cut) // WINDOWS * WINDOWS].reshape(-1, WINDOWS, WINDOW + CONTEXT)


def main():
    out, *files = sys.argv[1:]
    noise = np.random.default_rng(1)
    if files:
        clips = [resampled(*scipy.io.wavfile.read(path)) for path in sorted(files)]
    else:
        clips = [spoken(voice, text) for voice in VOICES for text in TEXT]
    parts = []
    for index, clip in enumerate(clips * (3 if files else 1)):
        pause = noise.normal(0, 1e-4, int(RATE * noise.uniform(0.2, 1.5)))
        loud = clip / max(np.abs(clip).max(), 1e-6) * noise.uniform(0.05, 0.9)
        loud = loud + noise.normal(0, [0.0, 0.003, 0.02][index % 3], len(loud))
        parts += [pause, loud]
    state = np.zeros((1, 1, 128), np.float32)
    np.savez(out, input=windows(np.concatenate(parts)).astype(np.float32), h=state, c=state)


if __name__ == "__main__":
    main()
