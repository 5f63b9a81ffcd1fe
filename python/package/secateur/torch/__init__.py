"""Compression inside a PyTorch training loop of your own.

>>> from secateur.torch import Compression, export
>>> compression = Compression(model, "prune-only", steps=1000)    # doctest: +SKIP
>>> for images, labels in loader:                                           # doctest: +SKIP
...     outputs = model(images)
...     loss = compression.loss(criterion(outputs, labels), images, outputs)
...     optimizer.zero_grad(); loss.backward(); optimizer.step()
...     compression.step()
>>> export(model, images[:1], "net.sct", compression)                        # doctest: +SKIP
"""

from ._compression import Compression
from ._export import export
from ._gradients import GradientCompression

__all__ = ["Compression", "GradientCompression", "export"]
