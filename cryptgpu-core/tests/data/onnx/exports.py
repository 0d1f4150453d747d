"""Makes the files of `exports/`: twenty-two networks built as torchvision builds them, of few channels and with random weights, each
exported by PyTorch with one of its two exporters, with inputs and what onnxruntime computes of them.

    venv/bin/python cryptgpu-core/tests/data/onnx/exports.py        # in the environment of make.py

torchvision's own constructors have no networks of a few thousand weights, so the definitions stand here.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent / "exports"
CLASSES = 5


def conv_bn(into, out, kernel=3, stride=1, groups=1, act=nn.ReLU, padding=None):
    padding = (kernel - 1) // 2 if padding is None else padding
    layers = [nn.Conv2d(into, out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Residual(nn.Module):
    """A basic block, or a bottleneck, also of groups (ResNeXt) and with squeeze-and-excite (RegNetY)."""

    def __init__(self, into, out, stride=1, bottleneck=False, groups=1, squeeze=False):
        super().__init__()
        if bottleneck:
            width = max(out // 2, groups)
            layers = [conv_bn(into, width, 1), conv_bn(width, width, 3, stride, groups)]
            layers += [Squeeze(width, nn.ReLU, nn.Sigmoid)] if squeeze else []
            layers += [conv_bn(width, out, 1, act=None)]
        else:
            layers = [conv_bn(into, out, 3, stride), conv_bn(out, out, act=None)]
        self.main = nn.Sequential(*layers)
        self.skip = conv_bn(into, out, 1, stride, act=None) if stride != 1 or into != out else nn.Identity()

    def forward(self, x):
        return torch.relu(self.main(x) + self.skip(x))


class Squeeze(nn.Module):
    def __init__(self, channels, act, gate):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x):
        return x * self.gate(self.fc2(self.act(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    def __init__(self, into, out, stride, expand, act, squeeze=None, kernel=3):
        super().__init__()
        width = into * expand
        layers = [] if expand == 1 else [conv_bn(into, width, 1, act=act)]
        layers += [conv_bn(width, width, kernel, stride, width, act)]
        layers += [squeeze(width)] if squeeze else []
        self.main = nn.Sequential(*layers, conv_bn(width, out, 1, act=None))
        self.adds = stride == 1 and into == out

    def forward(self, x):
        return x + self.main(x) if self.adds else self.main(x)


def pooled(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, CLASSES)]


def resnet(**kind):
    stem = [conv_bn(3, 4, 7, 2), nn.MaxPool2d(3, 2, 1)]
    blocks = [Residual(4, 4, **kind), Residual(4, 4, **kind), Residual(4, 8, 2, **kind), Residual(8, 8, **kind)]
    blocks += [Residual(8, 16, 2, **kind), Residual(16, 16, **kind)]
    return nn.Sequential(*stem, *blocks, *pooled(16))


def vgg():
    layers, into = [], 3
    for out in (4, "M", 8, "M", 8, 8, "M"):
        if out == "M":
            layers += [nn.MaxPool2d(2, 2)]
        else:
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(inplace=True)]
            into = out
    head = [nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, CLASSES)]
    return nn.Sequential(*layers, *head)


def alexnet():
    features = [nn.Conv2d(3, 6, 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 5, padding=2), nn.ReLU(True)]
    head = [nn.Flatten(), nn.Dropout(), nn.Linear(8 * 7 * 7, 16), nn.ReLU(True), nn.Linear(16, CLASSES)]
    return nn.Sequential(*features, *head)


def mobilenet_v2():
    blocks = [Inverted(4, 4, 1, 1, nn.ReLU6), Inverted(4, 6, 2, 6, nn.ReLU6), Inverted(6, 6, 1, 6, nn.ReLU6)]
    return nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.ReLU6), *blocks, conv_bn(6, 16, 1, act=nn.ReLU6), *pooled(16))


def mobilenet_v3():
    squeeze = lambda width: Squeeze(width, nn.ReLU, nn.Hardsigmoid)
    blocks = [Inverted(4, 4, 2, 1, nn.ReLU, squeeze), Inverted(4, 6, 1, 4, nn.Hardswish, squeeze, 5)]
    blocks += [Inverted(6, 6, 1, 2, nn.Hardswish)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 16), nn.Hardswish(), nn.Linear(16, CLASSES)]
    return nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.Hardswish), *blocks, conv_bn(6, 12, 1, act=nn.Hardswish), *head)


def efficientnet():
    squeeze = lambda width: Squeeze(width, nn.SiLU, nn.Sigmoid)
    blocks = [Inverted(4, 4, 1, 1, nn.SiLU, squeeze), Inverted(4, 6, 2, 4, nn.SiLU, squeeze, 5)]
    return nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.SiLU), *blocks, conv_bn(6, 12, 1, act=nn.SiLU), *pooled(12))


class Fire(nn.Module):
    def __init__(self, into, squeeze, out):
        super().__init__()
        self.squeeze, self.one, self.three = (
            nn.Conv2d(into, squeeze, 1), nn.Conv2d(squeeze, out, 1), nn.Conv2d(squeeze, out, 3, padding=1))

    def forward(self, x):
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.one(x)), torch.relu(self.three(x))], 1)


def squeezenet():
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    features = [nn.Conv2d(3, 6, 3, 2), nn.ReLU(), pool(), Fire(6, 4, 8), Fire(16, 4, 8), pool(), Fire(16, 4, 8)]
    head = [nn.Dropout(), nn.Conv2d(16, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    return nn.Sequential(*features, *head)


class Dense(nn.Module):
    def __init__(self, into, growth, layers):
        super().__init__()
        widths = [into + growth * index for index in range(layers)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2 * growth, 1, bias=False),
                          nn.BatchNorm2d(2 * growth), nn.ReLU(), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False))
            for width in widths)

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


def densenet():
    transition = [nn.BatchNorm2d(14), nn.ReLU(), nn.Conv2d(14, 8, 1, bias=False), nn.AvgPool2d(2, 2)]
    layers = [conv_bn(3, 6, 7, 2), nn.MaxPool2d(3, 2, 1), Dense(6, 4, 2), *transition, Dense(8, 4, 2), nn.BatchNorm2d(16)]
    return nn.Sequential(*layers, nn.ReLU(), *pooled(16))


class Inception(nn.Module):
    """GoogLeNet's, or with average pooling and factored convolutions Inception-v3's."""

    def __init__(self, into, factored):
        super().__init__()
        self.one = conv_bn(into, 4, 1)
        middle = [conv_bn(4, 4, (1, 5), padding=(0, 2)), conv_bn(4, 6, (5, 1), padding=(2, 0))] if factored else [conv_bn(4, 6)]
        self.three = nn.Sequential(conv_bn(into, 4, 1), *middle)
        self.pool = nn.AvgPool2d(3, 1, 1) if factored else nn.MaxPool2d(3, 1, 1, ceil_mode=True)
        self.projection = conv_bn(into, 2, 1)

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.projection(self.pool(x))], 1)


def inception(factored):
    stem = [conv_bn(3, 6, 3, 2), nn.MaxPool2d(3, 2, ceil_mode=True)]
    return nn.Sequential(*stem, Inception(6, factored), Inception(12, factored), *pooled(12))


class Shuffle(nn.Module):
    """ShuffleNet-V2's unit: half of the channels go through, and the halves are interleaved."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(conv_bn(half, half, 1), conv_bn(half, half, 3, 1, half, None), conv_bn(half, half, 1))

    def forward(self, x):
        left, right = x.chunk(2, 1)
        x = torch.cat([left, self.branch(right)], 1)
        batch, channels, height, width = x.shape
        return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


def shufflenet():
    return nn.Sequential(conv_bn(3, 8, 3, 2), nn.MaxPool2d(3, 2, 1), Shuffle(8), Shuffle(8), conv_bn(8, 12, 1), *pooled(12))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = conv_bn(3, 6), conv_bn(6, 8), conv_bn(8, 12)
        self.up2, self.up1 = nn.ConvTranspose2d(12, 8, 2, 2), nn.ConvTranspose2d(8, 6, 2, 2)
        self.join2, self.join1, self.head = conv_bn(16, 8), conv_bn(12, 6), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.middle(F.max_pool2d(two, 2))
        x = self.join2(torch.cat([self.up2(x), two], 1))
        return self.head(self.join1(torch.cat([self.up1(x), one], 1)))


class Segmentation(nn.Module):
    """As torchvision's FCN, with nearest neighbours."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(conv_bn(3, 6, 3, 2), Residual(6, 8, 2))
        self.head = nn.Sequential(conv_bn(8, 6), nn.Dropout(0.1), nn.Conv2d(6, 3, 1))

    def forward(self, x):
        return F.interpolate(self.head(self.backbone(x)), scale_factor=4.0, mode="nearest")


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 12), nn.LeakyReLU(), nn.Linear(12, CLASSES))


def signals():
    layers = [nn.Conv1d(2, 6, 5, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3, 2)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def lenet():
    features = [nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 5), nn.Tanh(), nn.AvgPool2d(2)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(8 * 4 * 4, 20), nn.Tanh(), nn.Linear(20, CLASSES))


class ViT(nn.Module):
    """torchvision's VisionTransformer: patches by a convolution, a class token, layers that normalise first."""

    def __init__(self, dim=16, heads=2, layers=2):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.randn(1, 17, dim) * 0.3)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class ConvNeXt(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up, self.down = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.scale * self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)


def convnext():
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), ConvNeXt(8), ConvNeXt(8), *pooled(8))


class Mixer(nn.Module):
    def __init__(self, tokens=16, dim=8):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(nn.Linear(tokens, 12), nn.GELU(), nn.Linear(12, tokens))
        self.channels = nn.Sequential(nn.Linear(dim, 12), nn.GELU(), nn.Linear(12, dim))
        self.head = nn.Linear(dim, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norm2(x))
        return self.head(x.mean(1))


NETWORKS = {
    "alexnet": (alexnet, (3, 63, 63)),
    "convnext": (convnext, (3, 16, 16)),
    "densenet": (densenet, (3, 32, 32)),
    "efficientnet": (efficientnet, (3, 16, 16)),
    "fcn": (Segmentation, (3, 16, 16)),
    "googlenet": (lambda: inception(False), (3, 32, 32)),
    "inception-v3": (lambda: inception(True), (3, 32, 32)),
    "lenet-tanh": (lenet, (1, 28, 28)),
    "mixer": (Mixer, (3, 16, 16)),
    "mlp": (mlp, (3, 4, 4)),
    "mobilenet-v2": (mobilenet_v2, (3, 32, 32)),
    "mobilenet-v3": (mobilenet_v3, (3, 32, 32)),
    "regnet-y": (lambda: resnet(bottleneck=True, groups=2, squeeze=True), (3, 32, 32)),
    "resnet18": (resnet, (3, 32, 32)),
    "resnet50": (lambda: resnet(bottleneck=True), (3, 32, 32)),
    "resnext": (lambda: resnet(bottleneck=True, groups=2), (3, 32, 32)),
    "shufflenet-v2": (shufflenet, (3, 32, 32)),
    "signals": (signals, (2, 32)),
    "squeezenet": (squeezenet, (3, 32, 32)),
    "unet": (UNet, (3, 16, 16)),
    "vgg": (vgg, (3, 16, 16)),
    "vit": (ViT, (3, 16, 16)),
}


def export(index, name):
    build, shape = NETWORKS[name]
    # SqueezeNet ends with a ReLU, which some seeds leave at zero.
    torch.manual_seed(20261128 + index + (100 if name == "squeezenet" else 0))
    net = build().eval()
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    x, path = torch.rand(2, *shape) * 3 - 1.5, HERE / f"{name}.onnx"
    if index % 2:
        dynamic = ({0: torch.export.Dim("N", min=1, max=64)},)
        torch.onnx.export(net, (x,), str(path), input_names=["x"], dynamo=True, external_data=False, dynamic_shapes=dynamic)
    else:
        torch.onnx.export(net, (x,), str(path), input_names=["x"], dynamo=False, opset_version=17, dynamic_axes={"x": {0: "N"}})
    model = onnx.load(path)
    for part in (model.metadata_props, model.graph.value_info, model.graph.metadata_props):
        del part[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x.numpy()})[0]
    error = np.abs(y - net(x).detach().numpy()).max()
    assert error < 1e-4 and np.abs(y).max() > 0.05, f"{name}: {error}, {y}"
    np.save(HERE / f"{name}.x.npy", x.numpy())
    np.save(HERE / f"{name}.y.npy", y)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for index, name in enumerate(NETWORKS):
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            export(index, name)
