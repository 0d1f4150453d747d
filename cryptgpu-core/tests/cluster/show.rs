//! What a cell shows that ends with a cluster, a handle, a run or a result: short, and never a secret.

use cryptgpu_core::prelude::*;

fn double(p: &mut Party, x: Rep) -> Result<Rep> {
    Ok(p.step("open <it>", |p| p.mul(&x, &x))?)
}

fn rows(html: &str) -> usize {
    html.matches("<tr>").count()
}

#[test]
fn whatever_a_cell_ends_with_shows_itself_in_a_few_lines() {
    let cluster = Cluster::in_memory().start().unwrap();
    assert!(cluster.text().starts_with("Three parties on threads of this process\nparty  "), "{}", cluster.text());
    assert_eq!(rows(&cluster.html()), 4);
    let common = "Links in memory, masks from aes128-ctr, 20 fraction bits, exact truncation, comparisons of 64 bits.";
    assert!(cluster.text().ends_with(common) && cluster.html().contains(common), "{}", cluster.text());
    assert_eq!(format!("{cluster:?}"), "Cluster(three threads of this process, generation 1)");

    let x = cluster.share(&array![4242.0, 1.0]).unwrap();
    assert_eq!(x.text(), "a share of shape [2], at the parties");
    let run = cluster.run(double, &x).unwrap();
    let text = run.text();
    assert!(text.starts_with("Output: Shared[2]\n") && text.lines().count() == 6, "{text}");
    let one_line = format!("{run:?}");
    assert!(one_line.starts_with("Run(Shared[2], ") && one_line.ends_with(" 3 rounds, 224 B)"), "{one_line}");
    for shown in [text, run.html(), x.html(), format!("{x:?}"), one_line] {
        assert!(!shown.contains("4242") && !shown.contains("Timeline"), "{shown}");
    }
    let trace = run.trace();
    assert!(trace.html().contains("<td>open &lt;it&gt;</td>"), "{}", trace.html());
    assert!(trace.text().lines().count() < 8, "{}", trace.text());
    assert_eq!(run.claims().text().lines().count(), 2, "{}", run.claims().text());

    let lenet = cluster.load_model("lenet", WeightSource::Random(1)).unwrap();
    assert!(lenet.text().starts_with("lenet: 1×28×28 to 10, "), "{}", lenet.text());
    let result = cluster.infer(&lenet, &ArrayD::<f64>::zeros(vec![2, 1, 28, 28])).unwrap();
    let text = result.text();
    assert!(text.starts_with("Predictions: ") && text.contains("conv2d") && text.lines().count() < 12, "{text}");
    assert!(rows(&result.html()) > 3, "{}", result.html());
    let one_line = format!("{result:?}");
    assert!(one_line.starts_with("InferenceResult([") && one_line.len() < 80, "{one_line}");
    assert_eq!(format!("{lenet:?}"), "Model(lenet)");
}
