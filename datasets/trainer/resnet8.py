"""Trains ResNet-8 on CIFAR-10 with PyTorch and writes the weights that the project ships, with a record of how they were made.

    scripts/fetch-datasets cifar10
    pip install torch pillow safetensors          # in a virtual environment; about 2 GB
    python datasets/trainer/resnet8.py            # half an hour of CPU time

makes `datasets/weights/resnet8-cifar10.safetensors` and `.json` again: the network `resnet8-cifar10` under the names that a model
of PyTorch's has, trained as one trains there, so that it stands for weights that come from elsewhere. candle, with which LeNet is
trained, takes several times as long for a convolution's gradients on a CPU. Only the record depends on the machine: threads and
instructions change the last bits of sums, and with them the weights."""

import argparse
import hashlib
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy, pad, relu

DATASETS = Path(__file__).resolve().parent.parent
DOWNLOADS = Path(os.environ.get("CRYPTGPU_DATASETS") or DATASETS / "downloads")
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
SHIFT = 4


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        projects = nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None if inputs == outputs else nn.Sequential(*projects)

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet8(nn.Module):
    """The network of He et al. (2016, section 4.2) with one block a stage, and a projection where the shape changes."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2))
        self.layer3 = nn.Sequential(Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


def manifest():
    """The files of CIFAR-10 with their digests, each compared."""
    entries = [entry for entry in json.loads((DATASETS / "manifest.json").read_text())["files"] if entry["dataset"] == "cifar10"]
    for entry in entries:
        found = hashlib.sha256((DOWNLOADS / entry["path"]).read_bytes()).hexdigest()
        if found != entry["sha256"]:
            raise SystemExit(f"{entry['path']} is another file than the manifest's: run scripts/fetch-datasets")
    return {entry["member"]: entry["sha256"] for entry in entries}


def load(split, stems):
    """Images `[count, 3, 32, 32]` as bytes, and labels."""
    rows = [np.asarray(Image.open(DOWNLOADS / "cifar10" / f"{stem}.png").convert("RGB")) for stem in stems]
    images = np.concatenate(rows).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    labels = json.loads((DOWNLOADS / "cifar10" / f"{split}_lables.json").read_text())
    return torch.from_numpy(np.ascontiguousarray(images)), torch.tensor(labels)


def scaled(images):
    """Bytes as the network takes them; channels last is faster on a CPU."""
    mean, std = (torch.tensor(figure).view(1, 3, 1, 1) for figure in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def changed(images, generator):
    """Each image moved by up to `SHIFT` pixels in both directions, what comes in is black, and every other one mirrored."""
    height, width = images.shape[2:]
    padded = pad(images, (SHIFT,) * 4)
    corners = torch.randint(0, 2 * SHIFT + 1, (len(images), 2), generator=generator).tolist()
    moved = torch.stack([image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, corners)])
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    moved[mirrored] = moved[mirrored].flip(3)
    return moved


def right(net, images, labels):
    """How many images are classified right."""
    net.eval()
    with torch.no_grad():
        found = [(net(scaled(part)).argmax(1) == of).sum().item() for part, of in zip(images.split(500), labels.split(500))]
    net.train()
    return sum(found)


def fit(net, images, labels, test, settings):
    """Trains, printing a line per epoch, and gives the mean loss of the last epoch."""
    generator = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps, step, mean = settings.epochs * math.ceil(len(images) / settings.batch), 0, float("nan")
    for epoch in range(1, settings.epochs + 1):
        began, total = time.monotonic(), 0.0
        for indices in torch.randperm(len(images), generator=generator).split(settings.batch):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimiser.zero_grad()
            loss = cross_entropy(net(scaled(changed(images[indices], generator))), labels[indices])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(indices)
            step += 1
        mean = total / len(images)
        accuracy = 100 * right(net, *test) / len(test[1])
        print(f"epoch {epoch:2}: loss {mean:.4f}, test {accuracy:.2f} %, {time.monotonic() - began:.0f} s", flush=True)
    return mean


def main():
    parser = argparse.ArgumentParser(description="Trains ResNet-8 on CIFAR-10 and writes its weights.")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the 50,000 training images")
    parser.add_argument("--batch", type=int, default=128, help="images a step")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="at the start; it falls to zero along a cosine")
    parser.add_argument("--weight-decay", type=float, default=0.05, help="AdamW's decoupled weight decay")
    parser.add_argument("--seed", type=int, default=2021, help="of the first weights, the order and the changes")
    parser.add_argument("--out", type=Path, default=DATASETS / "weights/resnet8-cifar10.safetensors", help="the file to write")
    settings = parser.parse_args()
    digests = manifest()
    train, test = load("train", [f"data_batch_{part}" for part in range(1, 6)]), load("test", ["test_batch"])
    torch.manual_seed(settings.seed)
    net = ResNet8().to(memory_format=torch.channels_last)
    began = time.monotonic()
    loss = fit(net, *train, test, settings)
    seconds = time.monotonic() - began
    # Counters of batches belong to training.
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items() if "num_batches" not in name}
    weights = save(tensors)
    correct = right(net, *test)
    record = {
        "network": "ResNet-8 3x32x32: C(16,k3)-B-R, three blocks of two 3x3 convolutions to 16, 32 and 64 channels, AP, FC 64->10",
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "made_by": f"datasets/trainer/resnet8.py (PyTorch {torch.__version__.partition('+')[0]}, CPU, f32)",
        "made_at_unix_seconds": int(time.time()),
        "command": "python datasets/trainer/resnet8.py"
        + "".join(f" --{name.replace('_', '-')} {getattr(settings, name)}" for name in ("epochs", "batch", "learning_rate", "weight_decay", "seed")),
        "seed": settings.seed,
        "epochs": settings.epochs,
        "batch": settings.batch,
        "optimiser": f"AdamW, beta 0.9 and 0.999, decoupled weight decay {settings.weight_decay}, learning rate {settings.learning_rate} "
        "falling to 0 along a cosine",
        "augmentation": f"each image moved by up to {SHIFT} pixels in both directions, every other one mirrored",
        "normalisation": {"mean": MEAN, "std": STD},
        "final_train_loss": loss,
        "train_accuracy_percent": 100 * right(net, *train) / len(train[1]),
        "test_accuracy_percent": 100 * correct / len(test[1]),
        "test_correct": correct,
        "test_images": len(test[1]),
        "training_seconds": seconds,
        "data_sha256": digests,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    settings.out.write_bytes(weights)
    settings.out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{record['test_accuracy_percent']:.2f} % of the test images; written to {settings.out}")


if __name__ == "__main__":
    main()
