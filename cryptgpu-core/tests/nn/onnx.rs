//! Networks from ONNX files, which `tests/data/onnx/make.py` has made with what onnxruntime computes of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::support::{infer, largest, max_difference, unit};
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::{self, CheckRange, Cost, Settings};
use cryptgpu_core::nn::onnx::{OnnxError, Unsupported};
use cryptgpu_core::nn::range::{self, Conditions};
use cryptgpu_core::nn::training::{Train, TrainingPlan};
use cryptgpu_core::nn::{
    Graph, LowerOptions, NnError, OnnxModel, Op, WeightSource, cost, fold, lower, plaintext, window,
};
use cryptgpu_core::ring::{FixedPoint, Ring};
use ndarray::ArrayD;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx"))
}

fn load(name: &str) -> OnnxModel {
    OnnxModel::load(folder().join(format!("{name}.onnx"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn array(name: &str, part: &str) -> ArrayD<f64> {
    cryptgpu_datasets::npy::read(folder().join(format!("{name}.{part}.npy"))).unwrap()
}

fn cases() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter_map(|name| name.strip_suffix(".x.npy").map(str::to_owned)).collect();
    names.sort();
    assert!(names.len() >= 105, "{names:?}");
    names
}

/// In the clear within 1e-4 of onnxruntime, which computes in f32; privately, in both rings, within 20 units of the codec's last bit for results
/// up to 1 and as many times as much for larger ones, and with the rounds and bytes that are declared. The ring of 32 bits refuses none of
/// them at its 12 fraction bits: what files may not have there is in `quotients_have_the_room_of_64_bits_in_both_rings` and
/// `a_vision_transformer_is_bounded_and_refused_where_it_does_not_fit`.
#[test]
fn files_compute_what_onnxruntime_computes() {
    const UNITS: f64 = 20.0;
    for name in cases() {
        let (model, x, y) = (load(&name), array(&name, "x"), array(&name, "y"));
        let ends = name.starts_with("ending-");
        assert_eq!(model.notices.len(), usize::from(ends), "{name}: {:?}", model.notices);
        assert!(model.notices.iter().all(|notice| notice.contains("of the opened scores")), "{name}");
        assert_eq!((x.shape(), y.shape()), (&model.input_dims(x.shape()[0])[..], &model.output_dims(x.shape()[0])[..]));
        let images = model.arrange(&x).unwrap();
        let ours = plaintext::evaluate(&model.graph, &model.weights, &images).unwrap();
        let error = max_difference(&model.finish(&ours).unwrap(), &y) / largest(&y);
        assert!(error < 1e-4, "{name}: in the clear {error:.2e} away from onnxruntime");
        for ring in [Ring::Z64, Ring::Z32] {
            let settings = Settings { codec: ring.into(), check_range: CheckRange::usual(ring), ..Settings::default() };
            let options = LowerOptions::default();
            let conditions = Conditions { options, settings, ..Default::default() };
            if let Err(error) = range::check(&model.graph, &model.weights, Some(images.view()), &conditions) {
                panic!("{name}, {ring}: {error}");
            }
            let private = infer(&model.graph, &model.weights, &images, options, settings);
            let error = max_difference(&model.finish(&private.scores).unwrap(), &y) / largest(&y).max(1.0);
            let units = error / unit(settings.codec);
            assert!(units < UNITS, "{name}, {ring}: privately {error:.2e} away from onnxruntime, {units:.1} units");
            let plan = lower::lower(&fold::fold_graph(&model.graph).unwrap(), options, ring).unwrap();
            assert_eq!(private.declared, cost::infer(&plan, images.shape()[0], &settings), "{name}, {ring}");
            assert_eq!(private.measured.bytes, private.declared.bytes, "{name}, {ring}");
        }
    }
}

/// A quotient has the room of the ring that it is computed in, and not that of a product: in 32 bits it was refused from 4 on.
#[test]
fn quotients_have_the_room_of_64_bits_in_both_rings() {
    let (model, x, y) =
        (load("quotients-and-extrema"), array("quotients-and-extrema", "x"), array("quotients-and-extrema", "y"));
    let images = model.arrange(&x).unwrap();
    // Dividends and divisors are off by some units of 2^−12, and divisors are as small as 0.4.
    for (ring, limit, tolerance) in [(Ring::Z64, 2048.0, 1e-3), (Ring::Z32, 262_144.0, 0.1)] {
        let (options, settings) = (LowerOptions::default(), Settings { codec: ring.into(), ..Settings::default() });
        let conditions = Conditions { options, settings, ..Default::default() };
        let room = range::headroom(&model.graph, &model.weights, Some(images.view()), &conditions).unwrap();
        assert!(room.iter().any(|step| step.kind == "div"));
        assert!(room.iter().filter(|step| step.kind == "div").all(|step| step.limit == limit), "{ring}: {room:?}");
        range::judge(&room, &conditions).unwrap();
        let private = infer(&model.graph, &model.weights, &images, options, settings);
        let error = max_difference(&model.finish(&private.scores).unwrap(), &y);
        assert!(error < tolerance, "{ring}: privately {error:.2e} away from onnxruntime");
    }
}

/// Factors go into the layers before them, names are PyTorch's, and both exporters give the same network.
#[test]
fn a_network_is_as_small_as_the_same_by_hand() {
    let kinds = |name: &str| load(name).graph.nodes().iter().map(|node| node.op.kind()).collect::<Vec<_>>();
    assert_eq!(kinds("conv-batch-norm-relu6-opset9"), ["input", "conv2d", "relu6"]);
    assert_eq!(kinds("mlp")[1..3], ["flatten", "linear"]);
    assert_eq!(kinds("keras-like").iter().filter(|&&kind| kind == "conv2d").count(), 2, "factors at the input are one");
    let names: Vec<String> =
        load("lenet-like").graph.parameters().into_iter().map(|parameter| parameter.name).collect();
    assert_eq!(names[..2], ["conv1.weight", "conv1.bias"]);
    assert_eq!(names[4..6], ["fc1.weight", "fc1.bias"]);
    for name in ["torch-torchscript", "torch-torchscript-unfolded", "torch-dynamo", "torch-dynamo-fixed"] {
        assert_eq!(kinds(name), kinds("torch-dynamo"), "{name}");
        assert!(load(name).weights.get("fc.weight").is_some(), "{name}");
    }
    let padded = load("conv-auto-pad-same-upper");
    let Op::Conv2d { window, .. } = padded.graph.nodes()[1].op else { panic!("a convolution was expected") };
    assert_eq!(window, PoolGeometry { padding: [0, 1, 1, 1], ..PoolGeometry::square(3, 2, 0) });
}

/// What is local costs nothing, and a sum of two products is truncated once.
#[test]
fn new_operations_cost_what_they_must() {
    let of = |name: &str, kind: &str| {
        let graph = fold::fold_graph(&load(name).graph).unwrap();
        let plan = lower::lower(&graph, LowerOptions::default(), Ring::Z64).unwrap();
        let settings = Settings::default();
        let steps = plan.steps().iter().filter(|step| step.op.kind() == kind);
        steps.map(|step| cost::of_step(&plan, step, 1, &settings)).collect::<Vec<_>>()
    };
    for (name, kind) in [
        ("pad", "avg_pool"),
        ("resize", "upsample"),
        ("conv-1d-of-a-row", "reshape"),
        ("tile", "reshape"),
        ("depth-to-space", "reshape"),
        ("pad-by-elements", "reshape"),
        ("entries-in-any-order", "reshape"),
        ("resize-nearest", "reshape"),
    ] {
        let costs = of(name, kind);
        assert!(!costs.is_empty() && costs.iter().all(|cost| cost.bytes == 0 && cost.rounds == 0), "{name}: {costs:?}");
    }
    // Clip to −1.25…0.3 by two comparisons, from −0.5 and up to 0.75 by one, |x| by one, −x by none.
    let relu = |n: usize| mpc::cost::relu(Ring::Z64, n, Settings::default().window);
    let expected = [relu(100), relu(50), relu(50), relu(50), Cost::FREE];
    assert_eq!(of("clip-abs-neg", "piecewise_linear"), expected);
    assert_eq!(of("mul-sub", "mul"), [mpc::cost::truncate_product(Ring::Z64, 36, 20)]);
    // A slope of a quarter is truncated by two bits, one of 0.2 by all.
    let costs = of("averages-before-activations", "piecewise_linear");
    assert_eq!(costs[0], relu(8) + mpc::cost::truncate_shared(Ring::Z64, 8, 2));
    assert_eq!(costs[1], relu(6) + mpc::cost::truncate_shared(Ring::Z64, 3, 20));
    // A mean that leaves padding out: a factor for each pixel, which takes the mean's divisor along.
    assert!(of("average-pool-without-padding", "avg_pool").iter().all(|cost| *cost == Cost::FREE));
    // A softplus is one comparison and one smooth function.
    let function = mpc::SmoothFunction::SoftplusBelowZero;
    let expected = mpc::cost::smooth(Ring::Z64, 36, 20, function, Settings::default().window);
    assert_eq!(of("softplus-mish-celu-gelu", "softplus_below_zero"), [expected]);
    let octaves = mpc::Octaves::of(Settings::default().codec);
    let quotient = mpc::cost::quotient(Ring::Z64, 60, 20, octaves);
    assert_eq!(of("quotients-and-extrema", "div"), [quotient; 4]);
    // PRelu: its two products by channel are one truncation, of the sum.
    let graph = fold::fold_graph(&load("prelu").graph).unwrap();
    let plan = lower::lower(&graph, LowerOptions::default(), Ring::Z64).unwrap();
    assert_eq!(plan.steps().iter().filter(|step| step.left_to_sum).count(), 6);
}

/// A vision transformer, as any network: what it needs is said before it runs, and where it cannot run.
#[test]
fn a_vision_transformer_is_bounded_and_refused_where_it_does_not_fit() {
    let (model, x) = (load("torch-vit-torchscript"), array("torch-vit-torchscript", "x"));
    let images = model.arrange(&x).unwrap();
    let room = range::headroom(&model.graph, &model.weights, Some(images.view()), &Conditions::default()).unwrap();
    let of = |kind: &str| room.iter().filter(|step| step.kind == kind).collect::<Vec<_>>();
    assert_eq!([of("layer_norm").len(), of("softmax").len(), of("matmul").len()], [5, 2, 4]);
    for step in &room {
        let seen = step.seen.unwrap();
        assert!(seen <= step.bound && step.bits_seen().unwrap() > 4.0, "{step:?}");
    }
    assert!(of("layer_norm").iter().all(|step| step.limit == 2048.0 && step.seen.unwrap() > 1.0));
    // Weights of layer normalisation are in the layers behind it; attention has no weights of its own.
    let kinds: Vec<_> = model.graph.nodes().iter().map(|node| node.op.kind()).collect();
    assert_eq!(kinds.iter().filter(|&&kind| kind == "linear").count(), 9);
    assert_eq!(kinds.iter().filter(|&&kind| kind == "bias").count(), 1, "class token and positions are one");
    let plan = lower::lower(&fold::fold_graph(&model.graph).unwrap(), LowerOptions::default(), Ring::Z64).unwrap();
    let settings = Settings::default();
    let error = {
        let private = infer(&model.graph, &model.weights, &images, LowerOptions::default(), settings);
        max_difference(&model.finish(&private.scores).unwrap(), &array("torch-vit-torchscript", "y"))
    };
    println!("{}, {error:.1e} away from onnxruntime", cost::infer(&plan, 1, &settings));
    assert!(error < 1e-4, "{error}");
    // In the ring of 32 bits too, with fewer bits behind the point.
    let codec = FixedPoint::in_ring(Ring::Z32, 10).unwrap();
    let short = Settings { codec, ..settings };
    window::check_plan(&plan, &short).unwrap();
    let private = infer(&model.graph, &model.weights, &images, LowerOptions::default(), short);
    let declared = cost::infer(&plan, images.shape()[0], &short);
    assert_eq!((private.declared, private.measured.bytes), (declared, declared.bytes));
    let error = max_difference(&model.finish(&private.scores).unwrap(), &array("torch-vit-torchscript", "y"));
    assert!(error < 0.05, "{error}");
    let error = TrainingPlan::new(&model.graph, &Train::default(), Ring::Z64).unwrap_err();
    assert!(matches!(error, NnError::NoGradient { .. }), "{error}");
}

fn refused(name: &str) -> OnnxError {
    OnnxModel::load(folder().join("refused").join(format!("{name}.onnx"))).unwrap_err()
}

#[test]
fn every_node_that_cannot_be_computed_is_named_at_once() {
    let OnnxError::Unsupported(Unsupported { refused: nodes, nodes: all, .. }) = refused("many") else {
        panic!("nodes were to be refused")
    };
    let named: Vec<[&str; 2]> = nodes.iter().map(|node| [node.node.as_str(), node.operator.as_str()]).collect();
    // The Softmax at the end is computed of the opened scores.
    let expected = [["lrn1", "LRN"], ["hardmax3", "Hardmax"], ["lppool4", "LpPool"]];
    assert_eq!((named.as_slice(), all), (&expected[..], 7));
    let text = refused("many").to_string();
    for hint in ["3 of 7 nodes", "normalisations", "finds the largest in the clear", "no private protocol"] {
        assert!(text.contains(hint), "{hint}: {text}");
    }
}

#[test]
fn refusals_say_what_to_change() {
    for (name, hint) in [
        ("conv-2d-of-a-signal", "[channels, length]"),
        ("pad-by-infinity", "pads with -inf"),
        ("resize-a-part", "tf_crop_and_resize"),
        ("tile-of-images", "images of the batch"),
        ("opset8", "opset 9"),
        ("open-size", "one size of image"),
        ("mixed-images", "batch is not in front"),
        ("into-a-ball", "computed in normalisations alone"),
    ] {
        let error = refused(name).to_string();
        assert!(error.contains(hint), "{name}: {error}");
    }
    let other = array("mlp", "x");
    let error = load("lenet-like").arrange(&other).unwrap_err().to_string();
    assert!(error.contains("[1, 16, 16]"), "{error}");
    let error = OnnxModel::load(folder().join("make.py")).unwrap_err();
    assert!(matches!(error, OnnxError::Format { .. }), "{error}");
    assert!(matches!(OnnxModel::load("no/such.onnx").unwrap_err(), OnnxError::Read { .. }));
}

/// The parties get the graph, and the owner of the weights reads the file for them: it must be the same file's.
#[test]
fn a_file_is_a_source_of_weights_for_its_own_network_alone() {
    let model = load("external");
    let source = |name: &str| WeightSource::File(folder().join(format!("{name}.onnx")).into());
    assert_eq!(source("external").load(&model.graph).unwrap(), model.weights);
    let error = source("lenet-like").load(&model.graph).unwrap_err();
    assert!(matches!(error, NnError::Onnx(OnnxError::OtherNetwork { .. })), "{error}");
    let lenet = cryptgpu_core::nn::zoo::by_name("lenet").unwrap();
    let error = source("mlp").load(&lenet).unwrap_err().to_string();
    assert!(error.contains("lenet") && error.contains("same ONNX file"), "{error}");
    let digests = ["external", "mlp"].map(|name| load(name).digest);
    assert_ne!(digests[0], digests[1]);
    let alone = OnnxModel::from_bytes(&std::fs::read(folder().join("external.onnx")).unwrap(), "external.onnx");
    assert!(alone.unwrap_err().to_string().contains("beside"));
}

/// The check of padding that decides whether every window of a max-pool sees the image, against each tap looked at.
#[test]
fn windows_that_see_only_padding_are_found() {
    let mut seen = [0; 2];
    for (kernel, stride, dilation) in [(1, 1, 1), (2, 1, 1), (2, 3, 1), (3, 2, 2), (2, 1, 5), (3, 4, 3)] {
        for (before, after, size) in (0..5).flat_map(|b| (0..7).flat_map(move |a| (1..4).map(move |size| (b, a, size))))
        {
            let window = PoolGeometry {
                kernel: [kernel, 1],
                stride: [stride, 1],
                dilation: [dilation, 1],
                padding: [before, after, 0, 0],
            };
            let Ok([out, _]) = window.output([size, 1]) else { continue };
            let sees =
                |start: usize| (0..kernel).any(|tap| (before..before + size).contains(&(start + tap * dilation)));
            let all_see = (0..out).all(|at| sees(at * stride));
            let mut builder = Graph::builder("pool", [1, size, 1]);
            let added = builder.add("pool", Op::MaxPool { window }, &[builder.input()]);
            assert_eq!(added.is_ok(), all_see, "{window:?} on {size}");
            seen[usize::from(all_see)] += 1;
        }
    }
    assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
}
