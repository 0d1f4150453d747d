//! What can be wrong with a data file, with the file's name and what to do about it.

use std::path::PathBuf;

/// A result whose error is a [`DatasetError`].
pub type Result<T> = std::result::Result<T, DatasetError>;

/// Why a data set could not be read. Each message names the file and says what to do; none shows a pixel or a label.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The file is not there.
    #[error("{} is not there: check the path; for MNIST, Fashion-MNIST and CIFAR-10 run scripts/fetch-datasets, or set CRYPTGPU_DATASETS to the folder that has them", .path.display())]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// The operating system refused to open or read the file.
    #[error("cannot {action} {}: {source}; check its permissions and the disk", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done: "open", "read", "decompress".
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file ends before the data that its header promises.
    #[error("{} is cut short: {what} takes {expected} bytes and only {found} are there; fetch it again (scripts/fetch-datasets)", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The part that is cut.
        what: &'static str,
        /// Bytes that the part takes.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file goes on after the data that its header promises.
    #[error("{} goes on after its {expected} bytes of data; it is damaged or of another format, fetch it again (scripts/fetch-datasets)", .path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Bytes that belong to the data, header included.
        expected: u64,
    },
    /// The file is of another format.
    #[error("{} is not {expected} but {found}; {advice}", .path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The format expected, in words.
        expected: &'static str,
        /// What it is, in words.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A NumPy array that cannot be read.
    #[error("{} is no NumPy array that can be used: {what}", .path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A picture that cannot be read.
    #[error("{} is no picture that can be used: {what}", .path.display())]
    Picture {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A text that says no preprocessing of pictures.
    #[error("`{text}` is no preprocessing of pictures: {what}")]
    Preprocessing {
        /// The text.
        text: String,
        /// What is wrong with it, and what to write.
        what: String,
    },
    /// A size in the file is beyond what these loaders take memory for.
    #[error("{}: {what} is {declared}, and at most {limit} is accepted; the file is damaged or not a data set of small images", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Which size.
        what: &'static str,
        /// The size that the file declares.
        declared: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// A dimension in the file is not what the data set has.
    #[error("{}: {what} is {found}, and {expected} is expected; is this the right file?", .path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Which size.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The size that the data set has.
        expected: u64,
    },
    /// A label is not a class of the data set. The message does not show the label, which is its owner's.
    #[error("{}: the label of image {index} is not one of the {classes} classes (0 to {}); the file is damaged or belongs to another data set", .path.display(), .classes.saturating_sub(1))]
    LabelOutOfRange {
        /// The file.
        path: PathBuf,
        /// Number of the image, from 0.
        index: usize,
        /// The label found.
        label: i64,
        /// Number of classes.
        classes: u8,
    },
    /// There are not as many labels as images.
    #[error("{images} images but {labels} labels (in {}); do the two files belong together?", .path.display())]
    CountMismatch {
        /// The file of the labels.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A PNG file cannot be decoded or has another layout.
    #[error("{} is not a PNG of image rows: {reason}; fetch it again (scripts/fetch-datasets cifar10)", .path.display())]
    Png {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A JSON file cannot be parsed or has another form.
    #[error("{} is not the expected JSON: {reason}; fetch or restore it", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A table of published figures has a bad row.
    #[error("{table}, line {line}: {reason}; correct the table under datasets/paper")]
    Table {
        /// The table's file name.
        table: &'static str,
        /// The line, from 1; the header is line 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A file is not the one that the manifest names.
    #[error("{} is not the file of the manifest: its SHA-256 is {found}, and {expected} is expected; remove it and run scripts/fetch-datasets", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The sum found, in hexadecimal.
        found: String,
        /// The sum expected.
        expected: String,
    },
    /// Labels were asked for and there are none.
    #[error("{dataset} has no labels; give a file of labels with it, or name a data set that has them")]
    Unlabelled {
        /// Name of the data set.
        dataset: String,
    },
    /// Images were asked for that the set does not have.
    #[error(
        "images {start} to {end} were asked for, and {dataset} has {count} images, counted from 0; ask for those that it has"
    )]
    OutOfBounds {
        /// Name of the data set.
        dataset: String,
        /// First image asked for.
        start: usize,
        /// One past the last image asked for.
        end: usize,
        /// Images in the set.
        count: usize,
    },
}
