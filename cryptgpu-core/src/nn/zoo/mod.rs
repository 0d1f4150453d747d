//! Networks by name: the ten of the paper as its released code defines them (activation order
//! convolution, ReLU, average pooling), their textbook variants, torchvision's originals and MobileNet-V2.
//! Parameter names are torchvision's wherever torchvision has the network. Each may be had for other images and
//! another number of classes.

mod classic;
mod efficientnet;
mod function;
mod mobilenet;
mod resnet;
mod sizes;

use super::{Graph, NnError};
use classic::{Classifier, Pooling};
pub use function::{function, meant_by_torchvision, pooling, with_the_same_weights};
use resnet::Stem;
use sizes::Sizes;
pub use sizes::{parse_input, sized};

/// The ten networks of the paper, in the order of its tables.
pub const PAPER: [&str; 10] = [
    "lenet",
    "alexnet-cifar10",
    "vgg16-cifar10",
    "alexnet-tiny",
    "vgg16-tiny",
    "alexnet-imagenet",
    "vgg16-imagenet",
    "resnet50",
    "resnet101",
    "resnet152",
];

/// Networks besides the paper's ten and their variants.
const OTHERS: [&str; 8] = [
    "alexnet-torchvision",
    "vgg16-torchvision",
    "resnet18",
    "resnet8-cifar10",
    "resnet20-cifar10",
    "mobilenet-v2",
    "mobilenet-v2-same",
    "efficientnet-lite0",
];

/// Every name that [`by_name`] knows: the paper's ten, [`OTHERS`](self), and for each of the ten (and
/// `resnet18`) two variants:
///
/// | suffix | difference |
/// |---|---|
/// | `-relu-after-pool` | ReLU after each pooling layer, as in Piranha: fewer ReLUs, another function |
/// | `-maxpool` | max-pools instead of average pools; for ResNets exactly torchvision's stem |
///
/// `resnet8-cifar10` and `resnet20-cifar10` are small ResNets with batch normalisation, made to be trained from scratch.
/// `mobilenet-v2-same` has TensorFlow's asymmetric "SAME" padding in its strided convolutions. So has `efficientnet-lite0`,
/// whose tensors have the names of the PyTorch package of the same name.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = PAPER.iter().chain(&OTHERS).map(|&name| name.to_owned()).collect();
    for base in PAPER.iter().chain(&["resnet18"]) {
        names.extend(["-relu-after-pool", "-maxpool"].map(|suffix| format!("{base}{suffix}")));
    }
    names
}

/// The network called `name`; [`names`] lists them.
///
/// Behind a name, `:classes=N` and `:input=CxHxW` ask for another number of classes and for other images. Layers are the same; the
/// first takes other channels, and fully connected layers as many features as then arrive at them. What is usual needs no words:
/// `lenet:classes=10` is `lenet`.
///
/// ```
/// use cryptgpu_core::nn::zoo;
/// let net = zoo::by_name("lenet")?;
/// assert_eq!((net.input_shape(), net.output_shape()), ([1, 28, 28], &[10][..]));
/// let clothes = zoo::by_name("resnet20-cifar10:classes=100:input=3x48x48")?;
/// assert_eq!((clothes.input_shape(), clothes.output_shape()), ([3, 48, 48], &[100][..]));
/// let error = zoo::by_name("resnet51").unwrap_err();
/// assert!(error.to_string().contains("did you mean `resnet50`"));
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
///
/// # Errors
/// [`NnError::UnknownNetwork`], with the nearest names; [`NnError::NetworkSizes`] for sizes that cannot be read, and what a layer
/// says of images that are too small for it.
pub fn by_name(name: &str) -> Result<Graph, NnError> {
    let (network, options) = sizes::split(name);
    let (base, pooling) = if let Some(base) = network.strip_suffix("-relu-after-pool") {
        (base, Pooling::AverageThenRelu)
    } else if let Some(base) = network.strip_suffix("-maxpool") {
        (base, Pooling::ReluThenMax)
    } else {
        (network, Pooling::ReluThenAverage)
    };
    let plain = base == network;
    let sizes = Sizes::of(name, base, options)?;
    let name = &sizes.name(network, base);
    match base {
        "lenet" => classic::lenet(name, pooling, sizes),
        "alexnet-cifar10" => {
            classic::alexnet(name, sizes, pooling, Classifier { pool: 0, widths: [256; 2], relu: true })
        }
        "alexnet-tiny" => classic::alexnet(name, sizes, pooling, Classifier { pool: 2, widths: [1024; 2], relu: true }),
        "alexnet-imagenet" => {
            classic::alexnet(name, sizes, pooling, Classifier { pool: 4, widths: [4096; 2], relu: true })
        }
        "vgg16-cifar10" => classic::vgg16(name, sizes, pooling, Classifier { pool: 0, widths: [256; 2], relu: true }),
        "vgg16-tiny" => classic::vgg16(name, sizes, pooling, Classifier { pool: 2, widths: [512; 2], relu: true }),
        "vgg16-imagenet" => {
            classic::vgg16(name, sizes, pooling, Classifier { pool: 2, widths: [4096; 2], relu: false })
        }
        "alexnet-torchvision" if plain => classic::alexnet_torchvision(name, sizes),
        "vgg16-torchvision" if plain => {
            let classifier = Classifier { pool: 0, widths: [4096; 2], relu: true };
            classic::vgg16(name, sizes, Pooling::ReluThenMax, classifier)
        }
        "resnet18" => resnet::resnet(name, sizes, [2, 2, 2, 2], resnet::Block::Basic, Stem::from(pooling)),
        "resnet8-cifar10" if plain => resnet::small(name, sizes, 1),
        "resnet20-cifar10" if plain => resnet::small(name, sizes, 3),
        "resnet50" => resnet::resnet(name, sizes, [3, 4, 6, 3], resnet::Block::Bottleneck, Stem::from(pooling)),
        "resnet101" => resnet::resnet(name, sizes, [3, 4, 23, 3], resnet::Block::Bottleneck, Stem::from(pooling)),
        "resnet152" => resnet::resnet(name, sizes, [3, 8, 36, 3], resnet::Block::Bottleneck, Stem::from(pooling)),
        "mobilenet-v2" if plain => mobilenet::mobilenet_v2(name, sizes, mobilenet::Padding::Symmetric),
        "mobilenet-v2-same" if plain => mobilenet::mobilenet_v2(name, sizes, mobilenet::Padding::Same),
        "efficientnet-lite0" if plain => efficientnet::lite0(name, sizes),
        _ => Err(unknown(network)),
    }
}

fn unknown(name: &str) -> NnError {
    let all = names();
    // Edits find typing errors, Jaro and Winkler's measure common beginnings.
    let alike = |known: &str| strsim::jaro_winkler(known, name) + strsim::normalized_damerau_levenshtein(known, name);
    let mut ranked: Vec<(&str, f64)> = all.iter().map(|known| (known.as_str(), alike(known))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let nearest: Vec<String> = ranked.iter().take(3).map(|(known, _)| format!("`{known}`")).collect();
    NnError::UnknownNetwork { name: name.into(), nearest: nearest.join(", "), all: all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::count::count;

    /// ReLUs, outputs of convolutions and linear layers, multiply-accumulates (to the digits given)
    /// of the paper's networks.
    #[test]
    fn the_papers_networks_have_the_papers_counts() {
        let expected: [(&str, u64, u64, f64, f64); 10] = [
            ("lenet", 15_220, 15_230, 2.293e6, 0.0005e6),
            ("alexnet-cifar10", 12_160, 12_170, 9.173e6, 0.0005e6),
            ("vgg16-cifar10", 276_992, 277_002, 313.4e6, 0.05e6),
            ("alexnet-tiny", 67_968, 68_168, 113.1e6, 0.05e6),
            ("vgg16-tiny", 1_106_944, 1_107_144, 1.253e9, 0.0005e9),
            ("alexnet-imagenet", 1_144_192, 1_145_192, 2.527e9, 0.0005e9),
            ("vgg16-imagenet", 13_547_520, 13_556_712, 15.386e9, 0.0005e9),
            ("resnet50", 9_466_624, 10_944_488, 4.062e9, 0.0005e9),
            ("resnet101", 14_584_576, 16_062_440, 7.774e9, 0.0005e9),
            ("resnet152", 20_906_752, 22_384_616, 11.486e9, 0.0005e9),
        ];
        assert_eq!(expected.map(|row| row.0), PAPER);
        for (name, relus, outputs, macs, digits) in expected {
            let counts = count(&by_name(name).unwrap());
            assert_eq!((counts.relus, counts.linear_outputs), (relus, outputs), "{name}");
            assert!((counts.macs as f64 - macs).abs() <= digits, "{name}: {} MACs, not {macs}", counts.macs);
        }
    }

    #[test]
    fn relu_after_pool_has_piranhas_counts() {
        for (name, relus) in [("lenet", 4_180), ("alexnet-cifar10", 3_328), ("vgg16-cifar10", 183_296)] {
            assert_eq!(count(&by_name(&format!("{name}-relu-after-pool")).unwrap()).relus, relus, "{name}");
        }
    }

    /// Parameters of torchvision's models (its documentation's `num_params`).
    #[test]
    fn torchvisions_networks_have_torchvisions_parameters() {
        let expected = [
            ("alexnet-torchvision", 61_100_840),
            ("vgg16-torchvision", 138_357_544),
            ("resnet18-maxpool", 11_689_512),
            ("resnet50-maxpool", 25_557_032),
            ("resnet101-maxpool", 44_549_160),
            ("resnet152-maxpool", 60_192_808),
            ("mobilenet-v2", 3_504_872),
            // Of the package whose names it has: 4.7 million in TensorFlow's table.
            ("efficientnet-lite0", 4_652_008),
            // Not torchvision's: the usual 272,474 of a ResNet-20 with projections.
            ("resnet20-cifar10", 272_474),
            ("resnet8-cifar10", 78_042),
        ];
        for (name, parameters) in expected {
            assert_eq!(count(&by_name(name).unwrap()).parameters, parameters, "{name}");
        }
        let resnet = by_name("resnet50-maxpool").unwrap();
        let stem = resnet.nodes().iter().find(|node| node.name == "maxpool").unwrap();
        assert_eq!(stem.shape, [64, 56, 56]);
    }

    #[test]
    fn every_name_is_a_network_and_parameters_are_named_as_in_torchvision() {
        for name in names() {
            assert_eq!(by_name(&name).unwrap().name(), name);
        }
        let tensors = |name: &str| by_name(name).unwrap().parameters().into_iter().map(|p| p.name).collect::<Vec<_>>();
        let resnet = tensors("resnet50");
        for name in ["conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer4.2.bn3.bias", "fc.bias"]
        {
            assert!(resnet.iter().any(|tensor| tensor == name), "{name}");
        }
        let vgg = tensors("vgg16-cifar10");
        assert_eq!(
            (vgg[0].as_str(), vgg[24].as_str(), vgg[26].as_str()),
            ("features.0.weight", "features.28.weight", "classifier.0.weight")
        );
        let mobile = tensors("mobilenet-v2");
        for name in
            ["features.0.0.weight", "features.1.conv.0.1.running_var", "features.17.conv.3.weight", "classifier.1.bias"]
        {
            assert!(mobile.iter().any(|tensor| tensor == name), "{name}");
        }
    }

    #[test]
    fn unknown_names_get_the_nearest() {
        for (typed, meant) in [
            ("vgg16-cifar", "vgg16-cifar10"),
            ("resnet-50", "resnet50"),
            ("Lenet5", "lenet"),
            ("mobilenet", "mobilenet-v2"),
        ] {
            let error = by_name(typed).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{meant}`")), "{error}");
        }
        assert!(by_name("mobilenet-v2-maxpool").is_err() && by_name("").is_err());
    }

    #[test]
    fn every_network_has_other_classes_and_images() {
        for name in names() {
            let usual = by_name(&name).unwrap();
            let [channels, height, width] = usual.input_shape();
            let (input, classes) = ([4 - channels, height + 32, width + 64], 7);
            let net = by_name(&sized(&name, Some(classes), Some(input))).unwrap();
            assert_eq!((net.input_shape(), net.output_shape()), (input, &[classes][..]), "{name}");
            assert_eq!(by_name(net.name()).unwrap(), net);
            assert_eq!(net.nodes().len(), usual.nodes().len());
            let (same, usual_classes) = (usual.input_shape(), usual.output_shape()[0]);
            assert_eq!(by_name(&sized(&name, Some(usual_classes), Some(same))).unwrap(), usual);
        }
        assert_eq!(by_name("lenet:input=3x32x32:classes=47").unwrap().name(), "lenet:classes=47:input=3x32x32");
    }

    #[test]
    fn sizes_that_cannot_be_say_so() {
        for (name, says) in [
            ("lenet:classes=0", "`classes=0` is no number of classes"),
            ("lenet:classes=x", "no number of classes"),
            ("lenet:input=28", "channels, height and width as 3x96x96"),
            ("lenet:input=1x28x0", "3x96x96"),
            ("lenet:input=1x99999999x99999999", "3x96x96"),
            ("lenet:classes=2:classes=3", "stands twice"),
            ("lenet:depth=3", "neither classes=N nor input=CxHxW"),
            ("lenet:", "neither classes=N"),
            ("resnet51:classes=2", "did you mean `resnet50`"),
            ("lenet:input=1x8x8", "conv2"),
            ("vgg16-imagenet:input=3x16x16", "features."),
        ] {
            let error = by_name(name).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
    }
}
