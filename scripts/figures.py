"""Draws the README's two figures from stored records and the published figures beside them: `docs/figures/*.svg`.

A reader who sees one of them alone knows what was measured, where, and what is better. `scripts/figures.py` writes them,
`scripts/figures.py --check` fails where the committed ones are not those of the records."""

import csv
import json
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs/figures"
OURS, OURS_CARD, CRYPTGPU, FALCON = "#0072b2", "#003262", "#d55e00", "#828282"
NAMES = {
    "lenet": "LeNet",
    "alexnet-cifar10": "AlexNet, CIFAR-10",
    "vgg16-cifar10": "VGG-16, CIFAR-10",
    "alexnet-tiny": "AlexNet, Tiny ImageNet",
    "vgg16-tiny": "VGG-16, Tiny ImageNet",
    "alexnet-imagenet": "AlexNet, ImageNet",
    "vgg16-imagenet": "VGG-16, ImageNet",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "resnet152": "ResNet-152",
}
WIDTH, LEFT, BAR, GAP, TOP, PANEL, BETWEEN = 900, 200, 13, 11, 96, 342, 8


def records(path, **wanted):
    """The newest record of each network in a file among those that have the wanted values."""
    newest = {}
    for line in (ROOT / path).read_text().splitlines():
        record = json.loads(line)
        if all(record.get(key) == value for key, value in wanted.items()):
            newest[record["network"]] = max(record, newest.get(record["network"], record), key=lambda r: r["time"])
    return newest


def published(table, system, quantity, batch):
    """A published figure by network, with whether it is verified; those of the paper's own tables come first."""
    with open(ROOT / f"datasets/paper/{table}.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["system"], row["quantity"]) == (system, quantity)]
    rows = [row for row in rows if batch(row["network"]) == row["batch"]]
    rows.sort(key=lambda row: row["verified"] == "true")  # A later entry replaces an earlier one.
    return {row["network"]: (float(row["value"]), row["verified"] == "true") for row in rows}


def measured(of, value):
    return {network: (value(record), True) for network, record in of.items()}


def readable(value, units, digits=3):
    """Three significant digits with the unit that fits: 6.37 ms, 4.12 GB."""
    size, unit = max((one for one in units if one[0] <= value * (1 + 1e-9)), default=units[0])
    value /= size
    places = max(digits - 1 - math.floor(math.log10(value) + 1e-9), 0)
    return f"{value:.{places}f} {unit}"


SECONDS = [(1e-3, "ms"), (1, "s")]
BYTES = [(1e6, "MB"), (1e9, "GB")]


def text(x, y, content, size=12, anchor="start", weight="normal", fill="#222"):
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">'
        f"{escape(content)}</text>"
    )


def panel(left, title, series, networks, units):
    """Bars of one quantity on a logarithmic scale, a group for each network."""
    values = [of[n][0] for _, _, of in series for n in networks if n in of]
    low, high = math.floor(math.log10(min(values))), math.log10(max(values))
    scale = (PANEL - 62) / (high - low)
    height = len(series) * BAR + GAP
    drawn = [text(left, TOP - 12, title, 13, weight="bold")]
    bottom = TOP + len(networks) * height
    for power in range(low, math.floor(high) + 1):
        x = left + (power - low) * scale
        drawn.append(f'<path d="M{x:.1f} {TOP - 4}V{bottom}" stroke="#ddd"/>')
        drawn.append(text(x, bottom + 14, readable(10.0**power, units, digits=1), 11, "middle", fill="#555"))
    for row, network in enumerate(networks):
        for place, (_, colour, of) in enumerate(series):
            if network not in of:
                continue
            value, verified = of[network]
            y, length = TOP + row * height + place * BAR, max((math.log10(value) - low) * scale, 1)
            style = f'fill="{colour}"' if verified else f'fill="#fff" stroke="{colour}"'
            drawn.append(f'<rect x="{left}" y="{y + 0.5}" width="{length:.1f}" height="{BAR - 1.5}" {style}/>')
            drawn.append(text(left + length + 4, y + BAR - 3, readable(value, units), 10, fill="#333"))
    return drawn


def figure(title, explained, note, panels, networks, more=lambda _: ""):
    """The text of a figure: what was measured and where in its head, panels side by side, and its sources in the foot."""
    rows = max(len(series) for _, series, _ in panels) * BAR + GAP
    height = TOP + len(networks) * rows + 24 + 16 * len(note)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(12, 24, title, 16, weight="bold"),
        text(12, 43, explained, 12, fill="#444"),
    ]
    x = 12
    for name, colour, _ in panels[0][1]:
        drawn += [f'<rect x="{x}" y="53" width="12" height="10" fill="{colour}"/>', text(x + 17, 62, name)]
        x += 34 + 6.6 * len(name)
    for row, network in enumerate(networks):
        drawn.append(text(LEFT - 10, TOP + row * rows + (rows - GAP) / 2 + 4, NAMES[network] + more(network), 12, "end"))
    for index, (name, series, units) in enumerate(panels):
        drawn += panel(LEFT + index * (PANEL + BETWEEN), name, series, networks, units)
    drawn += [text(12, height - 16 * (len(note) - row) + 6, line, 11, fill="#555") for row, line in enumerate(note)]
    return "\n".join([*drawn, "</svg>", ""])


def inference():
    ours = records("datasets/records/inference-ten-networks.jsonl", device="cpu", link="none", batch=1)
    one = lambda _: "1"
    series = lambda value, quantity, falcon: [
        ("ours: three processes on two CPU cores", OURS, measured(ours, value)),
        ("CryptGPU: three V100 GPUs", CRYPTGPU, published("inference", "CryptGPU", quantity, one)),
        ("Falcon: three CPUs", FALCON, published("inference", "Falcon", falcon, one)),
    ]
    days = sorted({record["time"][:10] for record in ours.values()})
    return figure(
        "Private inference of one image, ten networks: shorter bars are better",
        "Median time of an inference, and the bytes that all three parties send. Logarithmic scales.",
        [
            f"Ours: Intel Xeon with AMX, TLS over loopback, median of five, {days[0]} (datasets/records). Others: published, within one data",
            "centre (datasets/paper); hollow: unverified. CryptGPU's bytes: what its released code sends, one-byte messages included.",
        ],
        [
            ("time", series(lambda r: r["seconds"], "seconds", "seconds"), SECONDS),
            ("bytes, all parties", series(lambda r: sum(r["bytes_sent"]), "bytes_sent_cnt", "bytes_total"), BYTES),
        ],
        [network for network in NAMES if network in ours],
    )


def training():
    cores = records("notebooks/records/training-two-cores.jsonl", device="cpu", link="none")
    card = records("notebooks/records/training-h100.jsonl", device="cuda:0", link="none")
    batches = {network: str(record["batch"]) for network, record in {**cores, **card}.items()}
    of = lambda system, quantity: published("training", system, quantity, batches.get)
    series = lambda value, quantity, falcon: [
        ("ours: three processes on two CPU cores", OURS, measured(cores, value)),
        ("ours: three processes on one H100", OURS_CARD, measured(card, value)),
        ("CryptGPU: three V100 GPUs", CRYPTGPU, of("CryptGPU", quantity)),
        ("Falcon: three CPUs", FALCON, of("Falcon", falcon)),
    ]
    networks = [network for network in NAMES if network in batches]
    return figure(
        "An iteration of private training, five settings: shorter bars are better",
        "Forward and backward pass and update of one minibatch (its images in brackets), and what all parties send. Logarithmic scales.",
        [
            "Ours: Intel Xeon (two cores, 2026-11-29) and NVIDIA H100 (2026-11-27), TLS over loopback, median without the first (notebooks/records).",
            "AlexNet on the H100 is from before its kernels were trained only as far as they see more than padding (docs/adr/0064).",
            "Others: published (datasets/paper); hollow: unverified. CryptGPU's bytes: what its released code sends.",
        ],
        [
            ("time of an iteration", series(lambda r: r["seconds"], "seconds_per_iteration", "seconds_per_iteration"), SECONDS),
            ("bytes of an iteration, all parties", series(lambda r: sum(r["bytes_sent"]), "bytes_sent_cnt", "bytes_total"), BYTES),
        ],
        networks,
        lambda network: f" ({batches[network]})",
    )


def main():
    stale = []
    for name, drawn in (("inference", inference()), ("training", training())):
        path = FIGURES / f"{name}.svg"
        if path.exists() and path.read_text() == drawn:
            continue
        stale.append(path.relative_to(ROOT))
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            path.write_text(drawn)
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(map(str, stale))}: not what the records say now; run `python3 scripts/figures.py`")


if __name__ == "__main__":
    main()
