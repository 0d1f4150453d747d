//! Pictures as networks take them: PNG and JPEG files, turned upright, resized, cut and normalised as a network's training did.
//! What the numbers are has to be said ([`Preprocessing`]): no file of weights says it, and a wrong one costs accuracy unseen.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use ndarray::{Array4, Axis};

use crate::{DatasetError, Normalisation, Result};

/// How a picture of any size becomes one of height h and width w.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Resized in proportion until its shorter side has 256/224 of the network's, then the middle of it (torchvision).
    Crop,
    /// Resized to 256/224 of h and w, whatever its proportions, then the middle of it.
    StretchAndCrop,
    /// Resized to h and w, whatever its proportions.
    Stretch,
}

/// The order of three channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV and Caffe have them.
    Bgr,
}

/// What becomes of a picture: resized to the network's size, and each level l of 0 to 255 to (l / scale − mean) / std of its
/// channel. For networks of one channel it is the luminance (ITU-R 601).
///
/// Written as a preset's name, then what differs from it: `imagenet,fit=stretch,mean=0.5:0.5:0.5,std=0.2`.
///
/// | preset | fit | order | scale | mean | std | of |
/// |---|---|---|---:|---|---|---|
/// | `imagenet` | crop | rgb | 255 | 0.485:0.456:0.406 | 0.229:0.224:0.225 | torchvision's networks |
/// | `inception` | crop | rgb | 255 | 0.5 | 0.5 | Keras's MobileNets and Inceptions: −1 to 1 |
/// | `efficientnet-lite` | crop | rgb | 1 | 127 | 128 | EfficientNet-Lite |
/// | `open-nsfw` | stretch-and-crop | bgr | 1 | 104:117:123 | 1 | Caffe's networks, opennsfw |
/// | `cifar10` | stretch | rgb | 255 | 0.4914:0.4822:0.4465 | 0.247:0.2435:0.2616 | this project's networks on CIFAR-10 |
/// | `cifar100` | stretch | rgb | 255 | 0.5071:0.4865:0.4409 | 0.2673:0.2564:0.2762 | on CIFAR-100 |
/// | `mnist` | stretch | | 255 | 0.1307 | 0.3081 | this project's networks on MNIST: white on black |
/// | `fashion-mnist` | stretch | | 255 | 0.286 | 0.353 | on Fashion-MNIST, likewise |
/// | `unit` | stretch | rgb | 255 | 0 | 1 | 0 to 1 |
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// How sizes are made to fit.
    pub fit: Fit,
    /// In which order channels stand.
    pub channels: Channels,
    /// What levels are divided by first.
    pub scale: f64,
    /// What is subtracted then: one number, or one for each channel in their order.
    pub mean: Vec<f64>,
    /// What is divided by at last, likewise.
    pub std: Vec<f64>,
}

type Preset = (&'static str, Fit, Channels, f64, &'static [f64], &'static [f64]);

const PRESETS: [Preset; 9] = [
    ("imagenet", Fit::Crop, Channels::Rgb, 255.0, &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
    ("inception", Fit::Crop, Channels::Rgb, 255.0, &[0.5], &[0.5]),
    ("efficientnet-lite", Fit::Crop, Channels::Rgb, 1.0, &[127.0], &[128.0]),
    ("open-nsfw", Fit::StretchAndCrop, Channels::Bgr, 1.0, &[104.0, 117.0, 123.0], &[1.0]),
    ("cifar10", Fit::Stretch, Channels::Rgb, 255.0, &[0.4914, 0.4822, 0.4465], &[0.247, 0.2435, 0.2616]),
    ("cifar100", Fit::Stretch, Channels::Rgb, 255.0, &[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]),
    ("mnist", Fit::Stretch, Channels::Rgb, 255.0, &[0.1307], &[0.3081]),
    ("fashion-mnist", Fit::Stretch, Channels::Rgb, 255.0, &[0.286], &[0.353]),
    ("unit", Fit::Stretch, Channels::Rgb, 255.0, &[0.0], &[1.0]),
];

/// The names of the presets of [`Preprocessing`].
pub fn presets() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.0)
}

impl FromStr for Preprocessing {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| DatasetError::Preprocessing { text: text.into(), what };
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let Some(&(_, fit, channels, scale, mean, std)) = PRESETS.iter().find(|preset| preset.0 == name) else {
            let known: Vec<_> = presets().collect();
            return Err(wrong(format!("`{name}` is no preset: begin with one of {}", known.join(", "))));
        };
        let mut made = Preprocessing { fit, channels, scale, mean: mean.into(), std: std.into() };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let numbers = || -> Result<Vec<f64>> {
                let all: Option<Vec<f64>> =
                    value.split(':').map(|one| one.parse().ok().filter(|x: &f64| x.is_finite())).collect();
                all.ok_or_else(|| wrong(format!("`{part}` has no numbers: write {key}=0.5, or {key}=0.5:0.4:0.3")))
            };
            match (key, value) {
                ("fit", "crop") => made.fit = Fit::Crop,
                ("fit", "stretch-and-crop") => made.fit = Fit::StretchAndCrop,
                ("fit", "stretch") => made.fit = Fit::Stretch,
                ("channels", "rgb") => made.channels = Channels::Rgb,
                ("channels", "bgr") => made.channels = Channels::Bgr,
                ("mean", _) => made.mean = numbers()?,
                ("std", _) => made.std = numbers()?,
                ("scale", _) => made.scale = numbers()?[0],
                _ => {
                    let known = "fit=crop|stretch-and-crop|stretch, channels=rgb|bgr, scale, mean, std";
                    return Err(wrong(format!("`{part}` is none of {known}")));
                }
            }
        }
        if made.scale == 0.0 || made.std.contains(&0.0) {
            return Err(wrong("scale and std divide, and one is zero".into()));
        }
        Ok(made)
    }
}

impl Preprocessing {
    /// Tests that there are as many means and deviations as channels, or one for all.
    pub(crate) fn check(&self, channels: usize) -> Result<()> {
        for numbers in [&self.mean, &self.std] {
            if ![1, channels].contains(&numbers.len()) {
                let what = format!("{} numbers for {channels} channels: give one, or one for each", numbers.len());
                return Err(DatasetError::Preprocessing { text: format!("{numbers:?}"), what });
            }
        }
        Ok(())
    }

    /// What becomes of levels alone, in units of the full range.
    pub(crate) fn normalisation(&self) -> Normalisation {
        let of_range = |numbers: &[f64]| numbers.iter().map(|number| (number * self.scale / 255.0) as f32).collect();
        Normalisation { mean: of_range(&self.mean), std: of_range(&self.std) }
    }
}

/// Whether the name is one of a PNG or JPEG file.
pub fn is_named_so(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["png", "jpg", "jpeg"].iter().any(|&known| extension == known))
}

/// The picture at `path`, or those of the folder `path` by name (not of folders in it).
///
/// # Errors
/// [`DatasetError::Missing`], [`DatasetError::Io`]; [`DatasetError::Picture`] for a folder without one.
pub fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => DatasetError::Missing { path: path.into() },
        _ => DatasetError::Io { path: path.into(), action: "read", source },
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        all.push(entry.map_err(failed)?.path());
    }
    all.retain(|path| is_named_so(path));
    all.sort();
    if all.is_empty() {
        return Err(DatasetError::Picture { path: path.into(), what: "the folder has no .png, .jpg or .jpeg".into() });
    }
    Ok(all)
}

/// The pictures as one array [count, c, h, w], for a network of `shape` [c, h, w].
///
/// A picture's EXIF orientation is followed, its transparency ignored. Resizing is bilinear over all pixels that a new one
/// covers, as Pillow's: one level of 255 away from it at most, with a JPEG file up to four.
///
/// # Errors
/// [`DatasetError::Missing`], [`DatasetError::Io`]; [`DatasetError::Picture`] for a file that is damaged or too large, and for
/// networks of other than one or three channels; [`DatasetError::Preprocessing`] where means or deviations are not as many as channels.
pub fn read(paths: &[PathBuf], preprocessing: &Preprocessing, shape: [usize; 3]) -> Result<Array4<f64>> {
    let mut all = levels(paths, preprocessing, shape)?.mapv(f64::from);
    for (channel, mut levels) in all.axis_iter_mut(Axis(1)).enumerate() {
        let of_channel = |numbers: &[f64]| numbers[channel % numbers.len()];
        let (mean, std) = (of_channel(&preprocessing.mean), of_channel(&preprocessing.std));
        levels.mapv_inplace(|level| (level / preprocessing.scale - mean) / std);
    }
    Ok(all)
}

/// The pictures' levels of 0 to 255 in the network's size, before they are normalised.
///
/// # Errors
/// As [`read`].
pub(crate) fn levels(paths: &[PathBuf], preprocessing: &Preprocessing, shape: [usize; 3]) -> Result<Array4<u8>> {
    let [channels, height, width] = shape;
    preprocessing.check(channels)?;
    let mut all = Array4::zeros((paths.len(), channels, height, width));
    for (path, mut one) in paths.iter().zip(all.axis_iter_mut(Axis(0))) {
        let wrong = |what: String| DatasetError::Picture { path: path.clone(), what };
        if ![1, 3].contains(&channels) {
            let what = format!("the network takes {channels} channels, and pictures have 1 or 3: save a NumPy array");
            return Err(wrong(what));
        }
        let picture = decode(path)?.to_rgb8();
        let sizes = [height, width].map(u32::try_from);
        let [Ok(height), Ok(width)] = sizes else { return Err(wrong("the network's size is beyond pictures".into())) };
        let picture = fit(&picture, preprocessing.fit, [height, width]);
        for ((channel, y, x), level) in one.indexed_iter_mut() {
            let levels = picture.get_pixel(x as u32, y as u32).0;
            *level = match (channels, preprocessing.channels) {
                (1, _) => luminance(levels),
                (_, Channels::Rgb) => levels[channel],
                (_, Channels::Bgr) => levels[2 - channel],
            };
        }
    }
    Ok(all)
}

/// The picture, upright.
fn decode(path: &Path) -> Result<DynamicImage> {
    let wrong = |error: image::ImageError| match error {
        image::ImageError::IoError(source) if source.kind() == std::io::ErrorKind::NotFound => {
            DatasetError::Missing { path: path.into() }
        }
        error => DatasetError::Picture { path: path.into(), what: error.to_string() },
    };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut decoder = reader.map_err(|error| wrong(error.into()))?.into_decoder().map_err(wrong)?;
    let orientation = decoder.orientation().map_err(wrong)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(wrong)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The picture in the size `[height, width]`.
fn fit(picture: &RgbImage, fit: Fit, [height, width]: [u32; 2]) -> RgbImage {
    // Of 224 it makes 256, as everybody's evaluations do.
    let larger = |size: u32| (f64::from(size) * 256.0 / 224.0).round() as u32;
    let (into_width, into_height) = match fit {
        Fit::Stretch => (width, height),
        Fit::StretchAndCrop => (larger(width), larger(height)),
        Fit::Crop => in_proportion(picture.dimensions(), (larger(width), larger(height))),
    };
    let resized = imageops::resize(picture, into_width, into_height, FilterType::Triangle);
    // Python's rounding, as torchvision's.
    let middle = |whole: u32, part: u32| (f64::from(whole.saturating_sub(part)) / 2.0).round_ties_even() as u32;
    imageops::crop_imm(&resized, middle(into_width, width), middle(into_height, height), width, height).to_image()
}

/// The smallest size in the proportions of `of` that covers `least`, as torchvision rounds it.
fn in_proportion(of: (u32, u32), least: (u32, u32)) -> (u32, u32) {
    let (w, h) = (u64::from(of.0.max(1)), u64::from(of.1.max(1)));
    let (least_w, least_h) = (u64::from(least.0), u64::from(least.1));
    let sizes = if w * least_h <= h * least_w { (least_w, h * least_w / w) } else { (w * least_h / h, least_h) };
    (sizes.0.max(least_w) as u32, sizes.1.max(least_h) as u32)
}

/// As Pillow computes it.
fn luminance([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_and_what_differs_from_it() {
        let made: Preprocessing = "imagenet, fit=stretch,channels=bgr,scale=1,mean=1:2:3,std=4".parse().unwrap();
        let (mean, std) = (vec![1.0, 2.0, 3.0], vec![4.0]);
        assert_eq!(made, Preprocessing { fit: Fit::Stretch, channels: Channels::Bgr, scale: 1.0, mean, std });
        for (text, says) in [
            ("imagnet", "begin with one of imagenet, inception"),
            ("unit,mean=1:x", "write mean=0.5"),
            ("unit,fit=round", "none of fit=crop"),
            ("unit,std=0", "one is zero"),
        ] {
            let error = text.parse::<Preprocessing>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn sizes_are_torchvisions() {
        assert_eq!(in_proportion((640, 480), (256, 256)), (341, 256));
        assert_eq!(in_proportion((480, 640), (256, 256)), (256, 341));
        assert_eq!(in_proportion((1, 9), (3, 3)), (3, 27));
    }
}
