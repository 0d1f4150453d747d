//! Other numbers of classes and other images for the networks of the zoo, as part of their names: `resnet18:classes=2:input=3x96x96`.

use crate::nn::NnError;

/// The images that a network takes, and the classes that it tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Channels, height, width.
    pub(super) input: [usize; 3],
    pub(super) classes: usize,
}

/// Most pixels of an image, and most classes: beyond what any image data set has, and far below what counts of layers hold.
const MOST: usize = 1 << 24;

impl Sizes {
    /// Those that the network was published with.
    fn usual(base: &str) -> Self {
        let (input, classes) = match base {
            "lenet" => ([1, 28, 28], 10),
            _ if base.ends_with("-cifar10") => ([3, 32, 32], 10),
            _ if base.ends_with("-tiny") => ([3, 64, 64], 200),
            _ => ([3, 224, 224], 1000),
        };
        Sizes { input, classes }
    }

    /// What is asked for behind the name `base`: `:classes=2:input=3x96x96`, in any order, each once at most.
    pub(super) fn of(name: &str, base: &str, options: &str) -> Result<Self, NnError> {
        let wrong = |what: String| NnError::NetworkSizes { name: name.to_owned(), what };
        let mut sizes = Sizes::usual(base);
        let mut seen = Vec::new();
        for option in options.split(':').skip(1) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if seen.contains(&key) {
                return Err(wrong(format!("`{key}` stands twice")));
            }
            seen.push(key);
            match key {
                "classes" => {
                    let classes = value.parse().ok().filter(|classes| (1..=MOST).contains(classes));
                    sizes.classes = classes.ok_or_else(|| wrong(format!("`{option}` is no number of classes")))?;
                }
                "input" => sizes.input = parse_input(value).map_err(wrong)?,
                _ => return Err(wrong(format!("`{option}` is neither classes=N nor input=CxHxW"))),
            }
        }
        Ok(sizes)
    }

    /// The name of the network `base` with these sizes: without those that are usual.
    pub(super) fn name(self, base: &str, usual_of: &str) -> String {
        let (usual, [channels, height, width]) = (Sizes::usual(usual_of), self.input);
        let mut name = base.to_owned();
        if self.classes != usual.classes {
            name += &format!(":classes={}", self.classes);
        }
        if self.input != usual.input {
            name += &format!(":input={channels}x{height}x{width}");
        }
        name
    }
}

/// Channels, height and width, as `3x96x96`.
///
/// ```
/// use cryptgpu_core::nn::zoo::parse_input;
/// assert_eq!(parse_input("3x96x64"), Ok([3, 96, 64]));
/// assert!(parse_input("96").unwrap_err().contains("3x96x96"));
/// ```
///
/// # Errors
/// A sentence that says how it is written.
pub fn parse_input(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split(['x', '×']).map(|size| size.parse().ok()).collect();
    let sizes = sizes.and_then(|sizes| <[usize; 3]>::try_from(sizes).ok());
    let few = |sizes: &[usize; 3]| {
        sizes.iter().all(|&size| size > 0)
            && sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(size)).is_some_and(|all| all <= MOST)
    };
    sizes
        .filter(few)
        .ok_or_else(|| format!("`{text}` is no size of images: write channels, height and width as 3x96x96"))
}

/// The name of a network with another number of classes, for other images.
///
/// ```
/// use cryptgpu_core::nn::zoo;
/// let name = zoo::sized("resnet18", Some(2), Some([3, 96, 96]));
/// assert_eq!(name, "resnet18:classes=2:input=3x96x96");
/// let net = zoo::by_name(&name)?;
/// assert_eq!((net.input_shape(), net.output_shape()), ([3, 96, 96], &[2][..]));
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
pub fn sized(name: &str, classes: Option<usize>, input: Option<[usize; 3]>) -> String {
    let classes = classes.map(|classes| format!(":classes={classes}"));
    let input = input.map(|[channels, height, width]| format!(":input={channels}x{height}x{width}"));
    [Some(name.to_owned()), classes, input].into_iter().flatten().collect()
}

/// A name without what is asked for otherwise, and that.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find(':').unwrap_or(name.len()))
}
