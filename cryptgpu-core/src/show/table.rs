//! A plain table: named columns, typed cells, notes below. It is text for a terminal and HTML for a notebook, and
//! whoever has data frames can make one of it.

use super::{Show, escape, number_text};

/// Rows that are shown by default; the rest is counted.
const MAX_ROWS: usize = 60;

/// Significant digits of a number.
const DIGITS: usize = 5;

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing is known, or nothing applies.
    Empty,
    /// Words.
    Text(String),
    /// A count, shown exactly.
    Count(u64),
    /// A number, shown to five digits.
    Number(f64),
}

/// Named columns and rows of cells, a line above and notes below.
///
/// ```
/// use cryptgpu_core::show::{Show, PlainTable};
///
/// let table = PlainTable::new(["step", "rounds"]).titled("A run").row(["square".into(), 3u64.into()]).note("counted");
/// assert_eq!(table.text(), "A run\nstep    rounds\nsquare       3\ncounted");
/// assert!(table.html().contains("<td style=\"text-align:right\">3</td>"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct PlainTable {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
    whole: bool,
}

impl PlainTable {
    /// A table without rows.
    pub fn new<N: Into<String>>(columns: impl IntoIterator<Item = N>) -> Self {
        PlainTable { columns: columns.into_iter().map(Into::into).collect(), ..PlainTable::default() }
    }

    /// Two columns without names: what is said, and of what.
    pub fn facts<N: Into<String>>(facts: impl IntoIterator<Item = (N, Cell)>) -> Self {
        facts
            .into_iter()
            .fold(PlainTable::new(["", ""]), |table, (name, cell)| table.row([Cell::Text(name.into()), cell]))
    }

    /// Sets the line above.
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds a row: one cell for each column; missing ones are empty, and those beyond the columns are dropped.
    pub fn row(mut self, cells: impl IntoIterator<Item = Cell>) -> Self {
        let mut row: Vec<Cell> = cells.into_iter().take(self.columns.len()).collect();
        row.resize(self.columns.len(), Cell::Empty);
        self.rows.push(row);
        self
    }

    /// Adds rows.
    pub fn rows<R: IntoIterator<Item = Cell>>(self, rows: impl IntoIterator<Item = R>) -> Self {
        rows.into_iter().fold(self, PlainTable::row)
    }

    /// Adds a line below; lines of it become lines of their own.
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        self.notes.extend(note.as_ref().lines().map(str::to_owned));
        self
    }

    /// The line above.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, each with a cell for each column.
    pub fn cells(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// The lines below.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn has_names(&self) -> bool {
        self.columns.iter().any(|name| !name.is_empty())
    }

    /// Whether a column holds numbers, which stand to the right.
    fn is_numeric(&self, column: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| **cell != Cell::Empty);
        cells().next().is_some() && cells().all(|cell| !matches!(cell, Cell::Text(_)))
    }

    /// Shows all rows, in place of the first sixty.
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The rows that are shown.
    fn shown(&self) -> &[Vec<Cell>] {
        let most = if self.whole { self.rows.len() } else { self.rows.len().min(MAX_ROWS) };
        &self.rows[..most]
    }

    /// How many rows are not shown.
    fn hidden(&self) -> Option<String> {
        let (shown, all) = (self.shown().len(), self.rows.len());
        (all > shown).then(|| format!("{shown} of {all} rows"))
    }
}

impl Cell {
    /// As it is shown.
    pub fn text(&self) -> String {
        match self {
            Cell::Empty => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Number(number) => number_text(*number, DIGITS),
        }
    }
}

impl Show for PlainTable {
    fn text(&self) -> String {
        let names = self.has_names().then(|| self.columns.clone());
        let rows = self.shown().iter().map(|row| row.iter().map(one_line).collect::<Vec<_>>());
        let lines: Vec<Vec<String>> = names.into_iter().chain(rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let columns: Vec<(usize, bool)> =
            (0..self.columns.len()).map(|column| (width(column), self.is_numeric(column))).collect();
        let padded = |line: &Vec<String>| {
            let cells = line.iter().zip(&columns).map(|(text, &(width, numeric))| match numeric {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let title = Some(self.title.clone()).filter(|title| !title.is_empty());
        let body = lines.iter().map(padded);
        let below = self.hidden().into_iter().chain(self.notes.iter().cloned());
        title.into_iter().chain(body).chain(below).collect::<Vec<_>>().join("\n")
    }

    fn html(&self) -> String {
        let mut out = String::new();
        if !self.title.is_empty() {
            out += &format!("<p>{}</p>\n", escape(&self.title));
        }
        out += "<table border=\"1\" class=\"dataframe\">\n";
        if self.has_names() {
            let names: String = self.columns.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
            out += &format!("<thead><tr>{names}</tr></thead>\n");
        }
        out += "<tbody>\n";
        for row in self.shown() {
            let cell = |(column, cell): (usize, &Cell)| {
                let align = if self.is_numeric(column) { " style=\"text-align:right\"" } else { "" };
                format!("<td{align}>{}</td>", escape(&cell.text()))
            };
            out += &format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
        }
        out += "</tbody></table>";
        for note in self.hidden().iter().chain(&self.notes) {
            out += &format!("<p style=\"font-size:smaller;max-width:60em\">{}</p>", escape(note));
        }
        out
    }
}

/// A cell's text without line breaks, which would tear a row apart.
fn one_line(cell: &Cell) -> String {
    cell.text().replace(['\n', '\r', '\t'], " ")
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Cell::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Cell::Count(count as u64)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Cell::Number(number)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Cell::Empty, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_aligned_and_html_is_escaped() {
        let table = PlainTable::new(["who <&>", "MB"])
            .titled("Sizes")
            .row(["short".into(), 0.0123456.into()])
            .row(["rather long".into(), Cell::Empty])
            .note("first note\nsecond");
        let text = "Sizes\nwho <&>            MB\nshort        0.012346\nrather long\nfirst note\nsecond";
        assert_eq!(table.text(), text);
        let html = table.html();
        assert!(html.contains("<th>who &lt;&amp;&gt;</th><th>MB</th>"), "{html}");
        assert!(html.contains("<td>short</td><td style=\"text-align:right\">0.012346</td>"), "{html}");
        assert!(html.starts_with("<p>Sizes</p>") && html.matches("<p style").count() == 2, "{html}");
    }

    #[test]
    fn rows_fit_the_columns_and_stay_on_a_line() {
        let table = PlainTable::new(["a", "b"]).row(["one\ntwo".into()]).row(["x".into(), "y".into(), "z".into()]);
        assert_eq!(table.cells(), [[Cell::from("one\ntwo"), Cell::Empty], [Cell::from("x"), Cell::from("y")]]);
        assert_eq!(table.text(), "a        b\none two\nx        y");
        assert_eq!(
            PlainTable::facts([("network", Cell::from("lenet")), ("rounds", 61u64.into())]).text(),
            "network  lenet\nrounds   61"
        );
    }

    #[test]
    fn rows_beyond_sixty_are_counted() {
        let table = PlainTable::new(["n"]).rows((0..100u64).map(|n| [n.into()]));
        assert!(table.text().ends_with("59\n60 of 100 rows"), "{}", table.text());
        assert!(table.html().contains("60 of 100 rows") && !table.html().contains(">60<"));
        assert!(table.whole().text().ends_with("98\n99"));
    }
}
