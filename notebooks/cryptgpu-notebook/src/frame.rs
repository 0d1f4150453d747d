//! Plain records into polars data frames ([`Frame`]), and data frames into HTML, which polars does not do in Rust.

use std::fmt::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use cryptgpu_core::show::{Show, escape, number_text};
use polars::prelude::{AnyValue, Column, CsvReadOptions, DataFrame, DataType, NamedFrom, SerReader, Series};
use serde::Serialize;
use serde_json::Value;

use crate::{NotebookError, Result};

/// Rows that a data frame shows when it is a cell's last expression; the rest is counted.
pub(crate) const MAX_ROWS: usize = 60;

/// Significant digits of a number in a table.
const DIGITS: usize = 5;

/// A data frame that a cell or a [`Bundle`](crate::bundle::Bundle) can show. Everything else of it is polars' `DataFrame`.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Frame(pub DataFrame);

impl Show for Frame {
    fn html(&self) -> String {
        html(self, MAX_ROWS)
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl From<DataFrame> for Frame {
    fn from(frame: DataFrame) -> Self {
        Frame(frame)
    }
}

impl Deref for Frame {
    type Target = DataFrame;

    fn deref(&self) -> &DataFrame {
        &self.0
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut DataFrame {
        &mut self.0
    }
}

/// Lets a cell end with polars' own `DataFrame`.
pub trait ShowFrame {
    /// The frame as a value that can be shown, alone and in a bundle.
    fn shown(&self) -> Frame;

    /// Shows it as the output of the cell that runs. evcxr calls this.
    fn evcxr_display(&self) {
        self.shown().evcxr_display();
    }
}

impl ShowFrame for DataFrame {
    fn shown(&self) -> Frame {
        Frame(self.clone())
    }
}

/// A data frame with a row for each record and a column for each field, in the order in which fields first appear.
/// Nested records become columns `outer.inner`, lists become columns `field.0`, `field.1` …, a missing field is null.
///
/// # Errors
/// [`NotARecord`](NotebookError::NotARecord) for a value without named fields.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
///
/// let frame = frame::from_json(&[
///     json!({"network": "LeNet", "bytes_sent": [10, 20, 30]}),
///     json!({"network": "ResNet-50", "seconds": 9.31}),
/// ])?;
/// assert_eq!(frame.get_column_names(), ["network", "bytes_sent.0", "bytes_sent.1", "bytes_sent.2", "seconds"]);
/// # Ok::<(), NotebookError>(())
/// ```
pub fn from_json(records: &[Value]) -> Result<Frame> {
    let mut columns = Columns::default();
    for (row, record) in records.iter().enumerate() {
        if !record.is_object() {
            return Err(NotebookError::NotARecord { row, found: record.to_string() });
        }
        columns.flatten(row, "", record);
    }
    let columns = columns.0.into_iter().map(|(name, cells)| column(&name, cells, records.len())).collect();
    Ok(Frame(DataFrame::new(records.len(), columns)?))
}

/// As [`from_json`], from anything that serialises to named fields.
///
/// # Errors
/// As [`from_json`], and [`Serialise`](NotebookError::Serialise).
pub fn from_records<R: Serialize>(records: &[R]) -> Result<Frame> {
    let to_value =
        |(row, record)| serde_json::to_value(record).map_err(|source| NotebookError::Serialise { row, source });
    from_json(&records.iter().enumerate().map(to_value).collect::<Result<Vec<_>>>()?)
}

/// As [`from_json`], from a file with a record on each line, as `cryptgpu run --out` writes it.
///
/// # Errors
/// As [`from_json`], and [`Read`](NotebookError::Read) or [`Line`](NotebookError::Line) naming the file.
pub fn read_json_lines(path: impl AsRef<Path>) -> Result<Frame> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).map_err(|source| NotebookError::Read { path: path.into(), source })?;
    let parse = |(line, text)| {
        serde_json::from_str(text).map_err(|source| NotebookError::Line { path: path.into(), line: line + 1, source })
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    from_json(&lines.map(parse).collect::<Result<Vec<_>>>()?)
}

/// A data frame from comma-separated text with a header, types inferred from all of it.
///
/// # Errors
/// [`Polars`](NotebookError::Polars) if the text is not CSV.
pub fn from_csv(text: &str) -> Result<Frame> {
    let options = CsvReadOptions::default().with_infer_schema_length(None);
    Ok(Frame(options.into_reader_with_file_handle(std::io::Cursor::new(text.as_bytes())).finish()?))
}

/// As [`from_csv`], from a file.
///
/// # Errors
/// As [`from_csv`], and [`Read`](NotebookError::Read).
pub fn read_csv(path: impl AsRef<Path>) -> Result<Frame> {
    let path = path.as_ref();
    from_csv(&std::fs::read_to_string(path).map_err(|source| NotebookError::Read { path: path.into(), source })?)
}

/// The first `rows` rows as an HTML table: numbers to the right, nulls empty, floating-point numbers to five digits.
pub fn html(frame: &DataFrame, rows: usize) -> String {
    let mut out = String::from("<table border=\"1\" class=\"dataframe\">\n<thead><tr>");
    for name in frame.get_column_names() {
        out += &format!("<th>{}</th>", escape(name));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in 0..frame.height().min(rows) {
        out += "<tr>";
        for column in frame.columns() {
            let align = if column.dtype().is_primitive_numeric() { " style=\"text-align:right\"" } else { "" };
            let cell = column.get(row).map(|value| cell_text(&value)).unwrap_or_default();
            out += &format!("<td{align}>{}</td>", escape(&cell));
        }
        out += "</tr>\n";
    }
    out += "</tbody></table>";
    if frame.height() > rows {
        let _ = write!(out, "<p><i>{rows} of {} rows</i></p>", frame.height());
    }
    out
}

/// A cell as people read it: five significant digits, no quotes, nothing for null.
fn cell_text(value: &AnyValue<'_>) -> String {
    match value {
        AnyValue::Null => String::new(),
        AnyValue::String(text) => (*text).to_owned(),
        AnyValue::StringOwned(text) => text.to_string(),
        AnyValue::Float64(number) => number_text(*number, DIGITS),
        AnyValue::Float32(number) => number_text(f64::from(*number), DIGITS),
        other => other.to_string(),
    }
}

/// Named columns of sparse cells (row, value), in order of first appearance.
#[derive(Default)]
struct Columns<'a>(Vec<(String, Vec<(usize, &'a Value)>)>);

impl<'a> Columns<'a> {
    fn flatten(&mut self, row: usize, name: &str, value: &'a Value) {
        let within = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| self.flatten(row, &within(key), value)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, value)| self.flatten(row, &within(&i.to_string()), value));
            }
            cell => match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, cells)) => cells.push((row, cell)),
                None => self.0.push((name.to_owned(), vec![(row, cell)])),
            },
        }
    }
}

/// One column of the narrowest type that holds all of its cells: boolean, integer, floating point, or text.
fn column(name: &str, cells: Vec<(usize, &Value)>, rows: usize) -> Column {
    fn fill<T: Clone>(cells: &[(usize, &Value)], rows: usize, get: impl Fn(&Value) -> Option<T>) -> Vec<Option<T>> {
        let mut column = vec![None; rows];
        for (row, cell) in cells {
            if let Some(place) = column.get_mut(*row) {
                *place = get(cell);
            }
        }
        column
    }
    let all = |is: fn(&Value) -> bool| cells.iter().all(|(_, cell)| cell.is_null() || is(cell));
    let series = if all(Value::is_null) {
        Series::full_null(name.into(), rows, &DataType::Null)
    } else if all(Value::is_boolean) {
        Series::new(name.into(), fill(&cells, rows, Value::as_bool))
    } else if all(Value::is_i64) {
        Series::new(name.into(), fill(&cells, rows, Value::as_i64))
    } else if all(Value::is_u64) {
        Series::new(name.into(), fill(&cells, rows, Value::as_u64))
    } else if all(Value::is_number) {
        Series::new(name.into(), fill(&cells, rows, Value::as_f64))
    } else {
        let text = |cell: &Value| match cell {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        Series::new(name.into(), fill(&cells, rows, text))
    };
    series.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_take_the_narrowest_type_and_missing_cells_are_null() {
        let frame = from_json(&[
            json!({"n": 1, "x": 1, "flag": true, "mixed": 1, "big": u64::MAX, "none": null}),
            json!({"n": -2, "x": 0.5, "mixed": "two", "late": {"inner": [1.5]}}),
        ])
        .unwrap();
        let types: Vec<_> = frame.columns().iter().map(|c| (c.name().to_string(), c.dtype().clone())).collect();
        let expected = [
            ("n", DataType::Int64),
            ("x", DataType::Float64),
            ("flag", DataType::Boolean),
            ("mixed", DataType::String),
            ("big", DataType::UInt64),
            ("none", DataType::Null),
            ("late.inner.0", DataType::Float64),
        ];
        assert_eq!(types, expected.map(|(name, dtype)| (name.to_owned(), dtype)));
        assert!(frame.column("flag").unwrap().get(1).unwrap().is_null());
        assert!(frame.column("late.inner.0").unwrap().get(0).unwrap().is_null());
        assert_eq!(frame.column("mixed").unwrap().get(1).unwrap(), AnyValue::String("two"));
    }

    #[test]
    fn records_that_are_not_records_are_named() {
        let error = from_json(&[json!({"a": 1}), json!([1])]).unwrap_err();
        assert!(matches!(error, NotebookError::NotARecord { row: 1, .. }), "{error}");
        assert!(matches!(from_records(&[1, 2]).unwrap_err(), NotebookError::NotARecord { row: 0, .. }));
        assert_eq!(from_json(&[]).unwrap().height(), 0);
    }

    #[test]
    fn a_frame_of_polars_shows_itself_as_ours_does() {
        let frame = from_csv("name,value\nlenet,1.5\n").unwrap();
        assert_eq!(frame.0.head(Some(1)).shown(), frame);
        assert!(frame.html().contains("<td>lenet</td>") && frame.text().contains("lenet"));
    }

    #[test]
    fn html_escapes_counts_the_rest_and_aligns_numbers() {
        let frame = from_csv("name,value\n<a & b>,1.5\nlast,\n").unwrap();
        let all = html(&frame, 10);
        assert!(all.contains("<td>&lt;a &amp; b&gt;</td><td style=\"text-align:right\">1.5</td>"), "{all}");
        assert!(all.contains("<td>last</td><td style=\"text-align:right\"></td>"), "{all}");
        assert!(!all.contains("rows"));
        let first = html(&frame, 1);
        assert!(first.contains("1 of 2 rows") && !first.contains("last"), "{first}");
    }

    #[test]
    fn files_that_are_missing_or_broken_are_named() {
        let error = read_csv("no/such/file.csv").unwrap_err().to_string();
        assert!(error.contains("no/such/file.csv"), "{error}");
        let path = std::env::temp_dir().join(format!("cryptgpu-frame-{}.jsonl", std::process::id()));
        std::fs::write(&path, "{\"a\": 1}\n\n{\"a\": }\n").unwrap();
        let error = read_json_lines(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(error, NotebookError::Line { line: 3, .. }), "{error}");
    }
}
