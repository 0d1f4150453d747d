//! Tables for print: columns of numbers with their units ([`Quantity`]), three significant digits, decimals below one
//! another, the source beside each published figure, and what is unverified or wrong marked as such. A [`Sheet`] shows
//! itself in a notebook and writes itself as CSV, LaTeX and Parquet. What stands in one is decided by
//! [`tables`](crate::tables).

mod export;
mod number;
mod parquet;

pub use number::Quantity;
pub(crate) use number::{bytes_text, seconds_text};

use std::path::Path;

use cryptgpu_core::show::{Show, escape};

use crate::{NotebookError, Result};
use number::Written;

/// One cell: a number or a text, and what must be said of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// The number, in seconds, bytes, or as it is; none for a text or an empty cell.
    pub number: Option<f64>,
    /// The text, where it is no number.
    pub text: String,
    /// Where a published figure comes from: `T4`, `mem, unverified`.
    pub source: String,
    /// Nobody could check it.
    pub unverified: bool,
    /// The result was not right, so that the number says little.
    pub wrong: bool,
}

impl Cell {
    /// A number, or nothing.
    pub fn number(number: impl Into<Option<f64>>) -> Self {
        Cell { number: number.into(), ..Cell::default() }
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Cell { text: text.into(), ..Cell::default() }
    }

    fn is_empty(&self) -> bool {
        self.number.is_none() && self.text.is_empty()
    }
}

/// Cells below one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What stands above them.
    pub name: String,
    /// What its numbers are.
    pub quantity: Quantity,
    /// The cells, one for each row.
    pub cells: Vec<Cell>,
}

impl Column {
    /// A column of numbers.
    pub fn new(name: impl Into<String>, quantity: Quantity, cells: impl IntoIterator<Item = Cell>) -> Self {
        Column { name: name.into(), quantity, cells: cells.into_iter().collect() }
    }

    /// A column of texts.
    pub fn texts<T: Into<String>>(name: impl Into<String>, texts: impl IntoIterator<Item = T>) -> Self {
        Column::new(name, Quantity::Text, texts.into_iter().map(Cell::text))
    }

    /// Whether a source or a mark stands beside any of its cells.
    fn is_cited(&self) -> bool {
        self.cells.iter().any(|cell| !cell.source.is_empty() || cell.wrong)
    }

    fn written(&self) -> Vec<Written> {
        let mut written: Vec<Written> = self.cells.iter().map(|cell| self.quantity.written(cell)).collect();
        let decimals = written.iter().map(Written::decimals).max().unwrap_or(0);
        written.iter_mut().filter(|written| !written.digits.is_empty()).for_each(|written| written.room = decimals);
        written
    }
}

/// A table: columns of the same length, what is said above it and below.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
///
/// let times = [Cell::number(0.00684), Cell { source: "mem, unverified".into(), unverified: true, ..Cell::number(9.31) }];
/// let sheet = Sheet::new("Inference", vec![
///     SheetColumn::texts("network", ["LeNet", "ResNet-50"]),
///     SheetColumn::new("time", Quantity::Seconds, times),
/// ]);
/// assert!(sheet.text().contains("6.84 ms") && sheet.text().contains("9.31 s "));
/// assert!(sheet.latex().contains(r"\toprule"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Sheet {
    title: String,
    columns: Vec<Column>,
    notes: Vec<String>,
}

impl Sheet {
    /// A table. Columns without a single cell that says something are left out.
    pub fn new(title: impl Into<String>, columns: Vec<Column>) -> Self {
        let columns = columns.into_iter().filter(|column| column.cells.iter().any(|cell| !cell.is_empty())).collect();
        Sheet { title: title.into(), columns, notes: vec![] }
    }

    /// Adds what a reader must know, a line each.
    pub fn noted(mut self, notes: &str) -> Self {
        self.notes.extend(notes.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
        self
    }

    /// What stands above it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What stands below it, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Its columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.columns.iter().map(|column| column.cells.len()).max().unwrap_or(0)
    }

    /// The cell of a column, by its name, in a row.
    pub fn cell(&self, column: &str, row: usize) -> Option<&Cell> {
        self.columns.iter().find(|one| one.name == column)?.cells.get(row)
    }

    /// Comma-separated values: numbers as they are, with their unit in the head; a column of sources beside each column
    /// that has some.
    pub fn csv(&self) -> String {
        export::csv(self)
    }

    /// A LaTeX table for the package `booktabs`.
    pub fn latex(&self) -> String {
        export::latex(self)
    }

    /// The bytes of a Parquet file, with the columns of [`csv`](Self::csv).
    pub fn parquet(&self) -> Vec<u8> {
        parquet::file(&export::plain(self), self.rows())
    }

    /// Writes `NAME.csv`, `NAME.tex` and `NAME.parquet` into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Write`](NotebookError::Write).
    pub fn export(&self, folder: impl AsRef<Path>, name: &str) -> Result<()> {
        let folder = folder.as_ref();
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes).map_err(|source| NotebookError::Write { path: path.into(), source })
        };
        std::fs::create_dir_all(folder).map_err(|source| NotebookError::Write { path: folder.into(), source })?;
        write(&folder.join(format!("{name}.csv")), self.csv().as_bytes())?;
        write(&folder.join(format!("{name}.tex")), self.latex().as_bytes())?;
        write(&folder.join(format!("{name}.parquet")), &self.parquet())
    }
}

const TABLE: &str = "border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap";
const NUMBER: &str = "text-align:right;padding:1px 2px 1px 12px";
const BESIDE: &str = "text-align:left;padding:1px 2px;font-size:smaller;color:#6e747c";

impl Show for Sheet {
    fn html(&self) -> String {
        let mut out = format!("<table style=\"{TABLE}\"><caption><b>{}</b></caption><thead><tr>", escape(&self.title));
        for column in &self.columns {
            let span = if column.is_cited() { " colspan=\"2\"" } else { "" };
            let style = if column.quantity == Quantity::Text { "text-align:left" } else { NUMBER };
            out += &format!("<th{span} style=\"{style}\">{}</th>", escape(&column.name));
        }
        out += "</tr></thead><tbody>";
        let written: Vec<Vec<Written>> = self.columns.iter().map(Column::written).collect();
        for row in 0..self.rows() {
            out += "<tr>";
            for (column, written) in self.columns.iter().zip(&written) {
                if let (Some(cell), Some(written)) = (column.cells.get(row), written.get(row)) {
                    out += &html_cell(column, cell, written);
                }
            }
            out += "</tr>";
        }
        let notes = self.notes.iter().map(|note| escape(note)).collect::<Vec<_>>().join("<br>");
        out + &format!("</tbody></table><p style=\"font-size:smaller;max-width:70em\">{notes}</p>")
    }

    fn text(&self) -> String {
        let width = |lines: &[String]| lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let fill = |line: &str, width: usize| " ".repeat(width.saturating_sub(line.chars().count()));
        let mut columns: Vec<Vec<String>> = vec![];
        for column in &self.columns {
            let numbers: Vec<String> = column.written().iter().map(|written| written.padded(' ')).collect();
            let left = column.quantity == Quantity::Text;
            let of_numbers = if left { 0 } else { width(&numbers) };
            let cell = |(number, cell): (&String, &Cell)| {
                let beside = beside(cell);
                let beside = if beside.is_empty() { beside } else { format!(" ({beside})") };
                format!("{}{number}{beside}", fill(number, of_numbers))
            };
            let mut lines: Vec<String> = numbers.iter().zip(&column.cells).map(cell).collect();
            lines.insert(0, column.name.clone());
            let all = width(&lines);
            // What stands beside is of different width, and decimals stay below one another.
            let left = left || column.is_cited();
            let line = |line: &String| match left {
                true => format!("{line}{}", fill(line, all)),
                false => format!("{}{line}", fill(line, all)),
            };
            columns.push(lines.iter().map(line).collect());
        }
        let line = |row: usize| columns.iter().map(|column| column[row].clone()).collect::<Vec<_>>().join("  ");
        let lines: Vec<String> = (0..=self.rows()).map(|row| line(row).trim_end().to_owned()).collect();
        format!("{}\n{}\n{}", self.title, lines.join("\n"), self.notes.join("\n"))
    }
}

/// The source, and what is wrong with the number.
fn beside(cell: &Cell) -> String {
    match (cell.wrong, cell.source.as_str()) {
        (true, "") => "wrong".to_owned(),
        (true, source) => format!("{source}, wrong"),
        (false, source) => source.to_owned(),
    }
}

fn html_cell(column: &Column, cell: &Cell, written: &Written) -> String {
    let mut out = if column.quantity == Quantity::Text {
        format!("<td style=\"text-align:left;padding:1px 8px 1px 2px\">{}</td>", escape(&cell.text))
    } else {
        // A number that nobody could check is pale and slanted; a wrong one is struck through.
        let look = match (cell.unverified, cell.wrong) {
            (true, _) => ";font-style:italic;color:#6e747c",
            (_, true) => ";text-decoration:line-through",
            _ => "",
        };
        format!("<td style=\"{NUMBER}{look}\">{}</td>", escape(&written.padded('\u{2007}')))
    };
    if column.is_cited() {
        out += &format!("<td style=\"{BESIDE}\">{}</td>", escape(&beside(cell)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> Sheet {
        let times = [
            Cell::number(0.00684),
            Cell { source: "mem, unverified".into(), unverified: true, ..Cell::number(9.31) },
            Cell { wrong: true, ..Cell::number(0.1234) },
            Cell::default(),
        ];
        let bytes = [1_402_500.0, 8.853e9, 999.0, 12e3].map(Cell::number);
        Sheet::new(
            "Inference",
            vec![
                Column::texts("network", ["a & b", "resnet_50", "vgg16", "lenet"]),
                Column::new("time", Quantity::Seconds, times),
                Column::new("sent", Quantity::Bytes, bytes),
                Column::new("nothing", Quantity::Count, [const { None }; 4].map(Cell::number)),
            ],
        )
        .noted("One run.\n  T4: a source")
    }

    #[test]
    fn decimals_stand_below_one_another_and_sources_beside() {
        let text = sample().text();
        let lines: Vec<&str> = text.lines().collect();
        let place = |line: &str| line.find("MB").or(line.find("GB")).or(line.find("kB")).or(line.rfind('B'));
        assert_eq!(place(lines[2]), place(lines[3]), "{text}");
        assert!(lines[2].contains("6.84 ms") && lines[3].contains("9.31 s  (mem, unverified)"), "{text}");
        assert!(lines[4].contains("123    ms (wrong)") && !text.contains("nothing"), "{text}");
        let html = sample().html();
        assert!(html.contains("a &amp; b") && html.contains("line-through") && html.contains("italic"), "{html}");
        assert!(html.contains("white-space:nowrap") && html.contains("colspan=\"2\""), "{html}");
    }

    #[test]
    fn a_sheet_writes_its_files() {
        let folder = std::env::temp_dir().join(format!("cryptgpu-sheet-{}", std::process::id()));
        sample().export(&folder, "one").unwrap();
        let read = |end: &str| std::fs::read(folder.join(format!("one.{end}"))).unwrap();
        assert_eq!(read("parquet")[..4], *b"PAR1");
        assert!(!read("csv").is_empty() && !read("tex").is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(sample().export("/dev/null/x", "one").unwrap_err().to_string().contains("/dev/null/x"));
    }
}
