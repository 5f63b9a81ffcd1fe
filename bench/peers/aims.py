"""What issue 3 measured on a Zen 4 and asks for; the ratios are what carries over."""

# Milliseconds at batch 1 on one thread: ONNX Runtime f32, ONNX Runtime int8,
# OpenVINO int8, DeepSparse 90 %, and what Secateur's 90 % must take.
LATENCY_MS = {
    "resnet50": (79, 22.7, 22.3, 11.8, 6),
    "mobilenetv1": (12.2, 4.5, 4.0, 6.8, 2),
    "mobilenetv2": (8.4, 4.1, 3.8, 7.9, 2),
    "efficientnet-lite0": (9.9, 4.6, 4.2, 7.6, 2.2),
    "alexnet": (25, 7.9, 8.2, 3.8, 1.9),
    "vgg16": (309, 85, 84, 37.6, 19),
    "yolov5n": (49, 27.7, 30, 17, 9),
    "bert": (240, 88, 76, 28.2, 15),
    "lenet-300-100": (0.022, 0.014, 0.036, 0.017, 0.003),
    "lenet-5": (0.109, 0.060, 0.073, None, 0.012),
}
PEERS = ("onnxruntime-f32", "onnxruntime", "openvino", "deepsparse")

# ResNet-50, batch 16, two threads, images a second.
THROUGHPUT = {"onnxruntime-f32": 24, "onnxruntime": 84, "openvino": 90, "deepsparse": 187}
THROUGHPUT_AIMS = {"secateur": 375, "secateur-8of64": 600}

# Fully connected layers at 90 %, times as fast as ONNX Runtime f32.
LAYERS = 15
