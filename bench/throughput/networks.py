"""The built-in networks in PyTorch: the same layers as crates/model/src/zoo.rs."""

from torch import nn


def conv(inputs, outputs, kernel, stride=1, pad=0, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.main = nn.Sequential(
            conv(inputs, outputs, 3, stride, 1), nn.ReLU(), conv(outputs, outputs, 3, 1, 1)
        )
        changes = inputs != outputs or stride != 1
        self.shortcut = conv(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        return nn.functional.relu(self.main(x) + self.shortcut(x))


def head(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def lenet_300_100():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def lenet_5():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


def vgg_small():
    layers, inputs = [], 3
    for channels in (64, 128, 256):
        for _ in range(2):
            layers += [conv(inputs, channels, 3, 1, 1), nn.ReLU()]
            inputs = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *head(256))


def resnet_20():
    layers, inputs = [conv(3, 16, 3, 1, 1), nn.ReLU()], 16
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Residual(inputs, channels, stride))
            inputs = channels
    return nn.Sequential(*layers, *head(64))


def mobilenet_small():
    layers, inputs = [conv(3, 32, 3, 1, 1), nn.ReLU()], 32
    for channels, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)):
        layers += [conv(inputs, inputs, 3, stride, 1, groups=inputs), nn.ReLU()]
        layers += [conv(inputs, channels, 1), nn.ReLU()]
        inputs = channels
    return nn.Sequential(*layers, *head(256))


# Constructor, image shape, batch, images a round (as crates/train/examples/throughput.rs).
NETWORKS = {
    "lenet-300-100": (lenet_300_100, (1, 28, 28), 128, 12_800),
    "lenet-5": (lenet_5, (1, 28, 28), 64, 3_200),
    "vgg-small": (vgg_small, (3, 32, 32), 64, 256),
    "resnet-20": (resnet_20, (3, 32, 32), 128, 384),
    "mobilenet-small": (mobilenet_small, (3, 32, 32), 64, 256),
}
