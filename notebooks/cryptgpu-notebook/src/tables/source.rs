//! Where numbers come from: machine, version and date of ours, and the published figures of other systems for the same
//! network and batch.

use cryptgpu_core::experiment::{Cited, ExperimentError, Machine};
use cryptgpu_datasets::paper::{self, Figure, Table, quantity};

use crate::Result;
use crate::sheet::{Cell, Column, Quantity};

/// A published figure as a cell.
pub(super) fn cited(cited: &Option<Cited>) -> Cell {
    let of = |cited: &Cited| Cell {
        number: Some(cited.value),
        source: cited.tag().to_string(),
        unverified: !cited.verified,
        ..Cell::default()
    };
    cited.as_ref().map_or_else(Cell::default, of)
}

/// A row's times: ours, CryptGPU's, how many times as fast ours is, Falcon's.
pub(super) type Times<'a> = (Option<f64>, &'a Option<Cited>, Option<f64>, &'a Option<Cited>);

/// The four columns of them, the same in the tables of inference and of training.
pub(super) fn times(rows: &[Times<'_>]) -> [Column; 4] {
    [
        Column::new("ours", Quantity::Seconds, rows.iter().map(|row| Cell::number(row.0))),
        Column::new("CryptGPU", Quantity::Seconds, rows.iter().map(|row| cited(row.1))),
        Column::new("ours is faster", Quantity::Times, rows.iter().map(|row| Cell::number(row.2))),
        Column::new("Falcon", Quantity::Seconds, rows.iter().map(|row| cited(row.3))),
    ]
}

/// Where and when a number of ours was measured.
pub(super) struct Measured<'a> {
    pub machine: &'a Machine,
    pub card: &'a str,
    pub commit: &'a str,
    pub time: &'a str,
}

impl Measured<'_> {
    /// A network with what sets its row apart, but for what the columns of [`measured`] say.
    pub fn label(&self, network: &str, marks: &[String]) -> String {
        let Measured { machine, card, commit, time } = self;
        let cores = machine.cores;
        let said = [
            format!("{}, {cores} cores", machine.cpu),
            format!("{cores} threads"),
            machine.isa.join(" "),
            format!("commit {commit}"),
            (*time).to_owned(),
            (*card).to_owned(),
        ];
        let marks: Vec<&str> = marks.iter().filter(|mark| !said.contains(mark)).map(String::as_str).collect();
        if marks.is_empty() { network.to_owned() } else { format!("{network} ({})", marks.join(", ")) }
    }
}

/// Machines, commits and days of records in one line, for a figure that is seen alone.
pub(super) fn line(rows: &[Measured<'_>]) -> String {
    let all = |of: fn(&Measured<'_>) -> String| {
        let mut all: Vec<String> = rows.iter().map(of).filter(|text| !text.is_empty()).collect();
        all.sort();
        all.dedup();
        all
    };
    let (machines, commits) = (all(name), all(|row| row.commit.get(..7).unwrap_or(row.commit).to_owned()));
    let days = all(|row| row.time.get(..10).unwrap_or(row.time).to_owned());
    let days = match (days.first(), days.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(day), _) => day.clone(),
        _ => String::new(),
    };
    let parts = [format!("ours: {}", machines.join("; ")), format!("commit {}", commits.join(", ")), days];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if rows.is_empty() { String::new() } else { parts.join("; ") }
}

/// `AMD EPYC, 2 cores`, with a card in front where there is one.
fn name(row: &Measured<'_>) -> String {
    let cores = row.machine.cores;
    let cpu = format!("{}, {cores} core{}", row.machine.cpu, if cores == 1 { "" } else { "s" });
    if row.card.is_empty() { cpu } else { format!("{} ({cpu})", row.card) }
}

/// The columns `machine` (a letter), `commit` and `date`, and what the letters stand for, a line each.
pub(super) fn measured(rows: &[Measured<'_>]) -> (Vec<Column>, String) {
    let mut names: Vec<String> = vec![];
    for row in rows {
        if !names.contains(&name(row)) {
            names.push(name(row));
        }
    }
    let letter = |index: usize| char::from(b'A' + (index % 26) as u8).to_string();
    let place = |row: &Measured<'_>| letter(names.iter().position(|one| *one == name(row)).unwrap_or(0));
    let columns = vec![
        Column::texts("machine", rows.iter().map(place)),
        Column::texts("commit", rows.iter().map(|row| row.commit.get(..7).unwrap_or(row.commit))),
        Column::texts("date", rows.iter().map(|row| row.time.get(..10).unwrap_or(row.time))),
    ];
    let lines: Vec<String> = names.iter().enumerate().map(|(at, name)| format!("{}: {name}", letter(at))).collect();
    (columns, lines.join("\n"))
}

/// The figures that systems besides CryptGPU and Falcon have published, and those that Antelope's authors measured when they
/// ran them again.
pub(super) struct Others(Vec<Figure>);

impl Others {
    pub(super) fn read() -> Result<Self> {
        let tables = [Table::Inference, Table::LaterSystems];
        let figures = tables.map(Table::figures).into_iter().collect::<std::result::Result<Vec<_>, _>>();
        Ok(Others(figures.map_err(ExperimentError::from)?.concat()))
    }

    /// Columns of a quantity, one for each system that has a figure for one of the rows, given as network and batch; none
    /// for a row beside which it would mislead.
    pub(super) fn columns(
        &self,
        suffix: &str,
        (quantities, unit): (&[&str], Quantity),
        rows: &[Option<(String, usize)>],
    ) -> Vec<Column> {
        let systems = ["CrypTFlow", "Piranha P-Falcon", "Piranha", "Antelope"].into_iter();
        let column = |system: &str| {
            let of = |row: &Option<(String, usize)>| {
                let (network, batch) = row.as_ref()?;
                let is = |figure: &&Figure| {
                    (figure.network.as_str(), figure.batch, figure.system.as_str())
                        == (network.as_str(), Some(*batch as u32), system)
                        && quantities.contains(&figure.quantity.as_str())
                };
                self.0.iter().find(is).cloned().map(Cited::from)
            };
            Column::new(format!("{system}{suffix}"), unit, rows.iter().map(|row| cited(&of(row))))
        };
        systems.map(column).collect()
    }
}

/// Quantities of times of one inference, of bytes likewise, and of both of an iteration of training.
pub(super) const SECONDS: (&[&str], Quantity) = (&[quantity::SECONDS], Quantity::Seconds);
pub(super) const BYTES: (&[&str], Quantity) = (&[quantity::BYTES_TOTAL], Quantity::Bytes);
pub(super) const TRAINING_SECONDS: (&[&str], Quantity) = (&[quantity::SECONDS_PER_ITERATION], Quantity::Seconds);
pub(super) const TRAINING_BYTES: (&[&str], Quantity) = (&[quantity::BYTES_TOTAL_TRAINING], Quantity::Bytes);

/// The sources that columns cite and a caption does not explain yet, a line each.
pub(super) fn explained(columns: &[Column], caption: &str) -> Result<String> {
    let mut lines = vec![];
    for source in paper::sources().map_err(ExperimentError::from)? {
        let line =
            format!("{}{}: {}", source.tag, if source.verified { "" } else { " (unverified)" }, source.description);
        let is = |cell: &Cell| cell.source.split(", ").next() == Some(source.tag.as_str());
        if columns.iter().flat_map(|column| &column.cells).any(is) && !caption.contains(&line) {
            lines.push(line);
        }
    }
    Ok(lines.join("\n"))
}
