//! A sheet as plain columns, as comma-separated values and as a LaTeX table.

use super::number::Written;
use super::{Cell, Column, Quantity, Sheet, beside};

/// A column without looks: numbers, counts, or texts; empty cells are none.
pub(super) enum Plain {
    Numbers(Vec<Option<f64>>),
    Counts(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

/// Every column under its name and unit, with a column of sources behind those that have some.
pub(super) fn plain(sheet: &Sheet) -> Vec<(String, Plain)> {
    let mut columns = vec![];
    for column in sheet.columns() {
        let unit = column.quantity.unit();
        let name = if unit.is_empty() { column.name.clone() } else { format!("{} [{unit}]", column.name) };
        let cells = column.cells.iter();
        let values = match column.quantity {
            Quantity::Text => Plain::Texts(cells.map(|cell| some(&cell.text)).collect()),
            Quantity::Count => Plain::Counts(cells.map(|cell| cell.number.map(|number| number as i64)).collect()),
            _ => Plain::Numbers(cells.map(|cell| cell.number).collect()),
        };
        columns.push((name, values));
        if column.is_cited() {
            let sources = column.cells.iter().map(|cell| some(&beside(cell))).collect();
            columns.push((format!("{}, source", column.name), Plain::Texts(sources)));
        }
    }
    columns
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn csv(sheet: &Sheet) -> String {
    let columns = plain(sheet);
    let quoted = |text: &str| match text.contains(['"', ',', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut lines = vec![columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(",")];
    for row in 0..sheet.rows() {
        let cell = |(_, column): &(String, Plain)| match column {
            Plain::Numbers(cells) => cells.get(row).copied().flatten().map(|number| number.to_string()),
            Plain::Counts(cells) => cells.get(row).copied().flatten().map(|count| count.to_string()),
            Plain::Texts(cells) => cells.get(row).cloned().flatten().map(|text| quoted(&text)),
        };
        lines.push(columns.iter().map(|column| cell(column).unwrap_or_default()).collect::<Vec<_>>().join(","));
    }
    lines.join("\n") + "\n"
}

pub(super) fn latex(sheet: &Sheet) -> String {
    let side = |column: &Column| if column.quantity == Quantity::Text { 'l' } else { 'r' };
    let form: String = sheet.columns().iter().map(side).collect();
    let head: Vec<String> = sheet.columns().iter().map(|column| escaped(&column.name)).collect();
    let written: Vec<Vec<Written>> = sheet.columns().iter().map(Column::written).collect();
    let mut out = format!(
        "% \\usepackage{{booktabs}}\n\\begin{{table}}\n\\caption{{{}}}\n\\begin{{tabular}}{{{form}}}\n\\toprule\n{} \\\\\n\\midrule\n",
        escaped(sheet.title()),
        head.join(" & ")
    );
    for row in 0..sheet.rows() {
        let cells = sheet.columns().iter().zip(&written);
        let line: Vec<String> = cells
            .map(|(column, written)| match (column.cells.get(row), written.get(row)) {
                (Some(cell), Some(written)) => latex_cell(cell, written),
                _ => String::new(),
            })
            .collect();
        out += &format!("{} \\\\\n", line.join(" & "));
    }
    out += "\\bottomrule\n\\end{tabular}\n";
    let notes: Vec<String> = sheet.notes().iter().map(|note| escaped(note)).collect();
    out + &format!("\n\\smallskip\\footnotesize {}\n\\end{{table}}\n", notes.join("\\\\\n"))
}

fn latex_cell(cell: &Cell, written: &Written) -> String {
    if written.digits.is_empty() {
        return String::new();
    }
    // What others have in front of their decimals' end is there, and not seen.
    let phantom = match written.missing() {
        0 => String::new(),
        missing if written.decimals() == 0 => format!("\\phantom{{.{}}}", "0".repeat(missing - 1)),
        missing => format!("\\phantom{{{}}}", "0".repeat(missing)),
    };
    let number = format!("{}{phantom}", escaped(&written.digits));
    let number = if cell.unverified { format!("\\textit{{{number}}}") } else { number };
    let unit = match written.unit_width {
        0 => String::new(),
        _ => format!("\\,\\makebox[1.6em][l]{{{}}}", escaped(written.unit)),
    };
    let beside = beside(cell);
    let beside = if beside.is_empty() { beside } else { format!("~{{\\scriptsize {}}}", escaped(&beside)) };
    format!("{number}{unit}{beside}")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '×' => out += "$\\times$",
            'µ' => out += "$\\mu$",
            '−' => out += "$-$",
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;

    #[test]
    fn plain_numbers_have_their_unit_in_the_head() {
        let csv = sample().csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "network,time [s],\"time, source\",sent [B]");
        assert_eq!(lines[2], "resnet_50,9.31,\"mem, unverified\",8853000000");
        assert_eq!((lines[3], lines[4]), ("vgg16,0.1234,wrong,999", "lenet,,,12000"));
    }

    #[test]
    fn latex_has_rules_of_booktabs_and_no_letter_that_it_takes_for_a_command() {
        let latex = sample().latex();
        for part in ["{lrr}", "\\toprule", "\\midrule", "\\bottomrule", "a \\& b", "resnet\\_50"] {
            assert!(latex.contains(part), "{part}: {latex}");
        }
        assert!(latex.contains("\\textit{9.31}\\,\\makebox[1.6em][l]{s}~{\\scriptsize mem, unverified}"), "{latex}");
        assert!(latex.contains("123\\phantom{.00}") && latex.contains("12.0\\phantom{0}"), "{latex}");
    }
}
