//! How traces and their comparisons show themselves: a row for each step.

use super::{Comparison, Figures, Stats, StepTrace, Trace};
use crate::show::{Cell, PlainTable, Show, bytes_text, show_as_table};

impl Trace {
    /// The steps of the run, each with the steps within it, and the whole run.
    ///
    /// | column | |
    /// |---|---|
    /// | `step` | with those around it: `conv1/truncation` |
    /// | `calls` | how often it was entered |
    /// | `rounds` | by how much the longest chain of messages grew |
    /// | `messages`, `bytes` | sent by all parties; bytes of payload |
    /// | `ms` | wall-clock time, on average over the parties |
    /// | `computing ms`, `waiting ms` | its two parts: waiting is time blocked in a receive |
    /// | `% of time` | of the whole run |
    pub fn table(&self) -> PlainTable {
        let total = StepTrace { path: "total".to_owned(), ..self.total() };
        let whole = total.seconds();
        let columns = ["step", "calls", "rounds", "messages", "bytes", "ms", "computing ms", "waiting ms", "% of time"];
        let row = |step: &StepTrace| -> [Cell; 9] {
            let share = (whole > 0.0).then(|| 100.0 * step.seconds() / whole);
            let millis = |seconds: f64| Cell::Number(1e3 * seconds);
            [
                step.path.as_str().into(),
                step.calls().into(),
                step.rounds.into(),
                step.messages().into(),
                step.bytes().into(),
                millis(step.seconds()),
                millis(step.compute_seconds()),
                millis(step.wait_seconds()),
                share.into(),
            ]
        };
        let rows: Vec<[Cell; 9]> = self.steps().iter().chain([&total]).map(row).collect();
        PlainTable::new(columns).rows(rows).note(
            "A step includes the steps within it. Messages and bytes: sent by all parties. Times: on average over the \
             parties; waiting is time blocked in a receive.",
        )
    }
}

impl Comparison {
    /// A row for each step: what both traces, of these names, counted, and how many times as much the first has.
    pub fn table(&self, this: &str, other: &str) -> PlainTable {
        type Figure = fn(&Figures) -> f64;
        let figures: [(&str, Figure); 5] = [
            ("rounds", |figures| figures.rounds as f64),
            ("messages", |figures| figures.messages as f64),
            ("bytes", |figures| figures.bytes as f64),
            ("ms", |figures| 1e3 * figures.seconds),
            ("waiting ms", |figures| 1e3 * figures.wait_seconds),
        ];
        let names = figures
            .iter()
            .flat_map(|(name, _)| [format!("{name}, {this}"), format!("{name}, {other}"), format!("× {name}")]);
        let rows = self.steps.iter().chain([&self.total]).map(|step| {
            let of = |trace: &Option<Figures>, figure: Figure| Cell::from(trace.as_ref().map(figure));
            let cells = figures
                .iter()
                .flat_map(|&(_, figure)| [of(&step.this, figure), of(&step.other, figure), step.ratio(figure).into()]);
            std::iter::once(Cell::from(step.path.as_str())).chain(cells).collect::<Vec<_>>()
        });
        PlainTable::new(std::iter::once("step".to_owned()).chain(names)).rows(rows).note(format!(
            "Steps by their names; ×: how many times as much `{this}` has as `{other}`, where both have the step. Messages \
             and bytes of all parties; times on average over the parties.",
        ))
    }
}

show_as_table!(Trace);

impl Show for Comparison {
    fn text(&self) -> String {
        self.table("this", "other").text()
    }

    fn html(&self) -> String {
        self.table("this", "other").html()
    }
}

impl Show for Stats {
    fn text(&self) -> String {
        format!("{} messages, {} sent, {} rounds", self.messages(), bytes_text(self.payload_bytes()), self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Network, Options, Tag, memory};

    fn greeting(steps: &[&str]) -> Trace {
        let parties = memory::trio(Options::default());
        for (position, step) in (0..).zip(steps) {
            parties.iter().for_each(|party| party.endpoint().set_step(step));
            let tag = Tag { position, kind: 7 };
            for party in &parties {
                party.send(party.id().next(), tag, vec![1, 2]).unwrap();
            }
            for party in &parties {
                party.recv(party.id().prev(), tag, 2).unwrap();
            }
        }
        Trace::new(parties.map(|party| party.endpoint().take_timeline()))
    }

    #[test]
    fn a_trace_is_a_row_for_each_step_and_one_in_all() {
        let trace = greeting(&["a<b", "a<b/inner"]);
        let text = trace.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].starts_with("step") && lines[0].contains("waiting ms"), "{text}");
        let figures = |line: &str| line.split_whitespace().map(str::to_owned).take(5).collect::<Vec<_>>();
        assert_eq!(figures(lines[1]), ["a<b", "1", "2", "6", "96"], "{text}");
        assert_eq!(figures(lines[3]), ["total", "1", "2", "6", "96"], "{text}");
        let html = trace.html();
        assert!(html.contains("<td>a&lt;b/inner</td>") && !html.contains("a<b"), "{html}");
    }

    #[test]
    fn a_comparison_leaves_cells_empty_where_a_trace_lacks_the_step() {
        let text = greeting(&["one", "two"]).compare(&greeting(&["one"])).text();
        let two = text.lines().find(|line| line.starts_with("two")).unwrap();
        assert!(two.split_whitespace().count() < text.lines().nth(1).unwrap().split_whitespace().count(), "{text}");
        assert!(text.contains("rounds, other") && text.contains("× bytes"), "{text}");
    }
}
