//! The lanes of a timeline: where each is, and which colour its steps have.

use cryptgpu_core::net::{NO_STEP, PartyId, StepTrace, Trace};
use plotters::prelude::*;

pub(super) const TOP: i32 = 40;
/// Between lanes, where the messages are.
const GAP: i32 = 58;
pub(super) const BAR: i32 = 26;
pub(super) const STRIP: i32 = 15;
/// Up to so many messages are drawn one by one.
const SINGLE_MESSAGES: u64 = 240;
/// Levels of steps that have a strip with their names.
const STRIPS: usize = 2;

/// Colours of steps: of one lightness, and apart for most of those who see red and green alike.
pub(super) const COLOURS: [RGBColor; 9] = [
    RGBColor(51, 117, 184),
    RGBColor(230, 142, 38),
    RGBColor(62, 152, 108),
    RGBColor(196, 78, 88),
    RGBColor(129, 104, 178),
    RGBColor(66, 170, 190),
    RGBColor(214, 110, 170),
    RGBColor(150, 140, 60),
    RGBColor(140, 98, 74),
];
pub(super) const OTHER: RGBColor = RGBColor(148, 154, 160);

/// Where lanes are, and which colour a step has.
pub(super) struct Lanes {
    pub(super) strips: usize,
    /// The level of steps by which bars are coloured: the outermost with more than one step.
    pub(super) level: usize,
    /// Paths or kinds of steps with a colour, in the order of the trace.
    pub(super) coloured: Vec<String>,
    /// Whether steps are coloured by kind, because there are too many.
    by_kind: bool,
    /// Whether messages are few enough to be drawn one by one.
    pub(super) single: bool,
    /// What has no colour of its own, if that is to be seen.
    pub(super) others: Option<&'static str>,
}

impl Lanes {
    pub(super) fn new(trace: &Trace) -> Self {
        let single = trace.total().messages() <= SINGLE_MESSAGES;
        let steps = trace.steps();
        let named: Vec<_> = steps.iter().filter(|step| step.path != NO_STEP).collect();
        let deepest = named.iter().map(|step| step.depth()).max();
        let several = |level: &usize| named.iter().filter(|step| step.depth() == *level).count() > 1;
        let level = deepest.and_then(|deepest| (0..=deepest).find(several)).unwrap_or(0);
        // Steps at that level, and those further out which have none within them.
        let coloured = |step: &&&StepTrace| {
            step.depth() == level || step.depth() < level && !named.iter().any(|inner| within(inner, step))
        };
        let candidates: Vec<_> = named.iter().filter(coloured).collect();
        let by_kind = candidates.len() > COLOURS.len();
        let mut kinds: Vec<(String, f64)> = vec![];
        for step in candidates {
            let kind = if by_kind { kind_of(&step.path) } else { step.path.clone() };
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, seconds)) => *seconds += step.seconds(),
                None => kinds.push((kind, step.seconds())),
            }
        }
        let mut by_time = kinds.clone();
        by_time.sort_by(|a, b| b.1.total_cmp(&a.1));
        by_time.truncate(COLOURS.len());
        let outside = steps.iter().filter(|step| step.depth() == 0 && step.path != NO_STEP).map(StepTrace::seconds);
        let outside = 1.0 - outside.sum::<f64>() / trace.total().seconds();
        let others = match kinds.len() > by_time.len() {
            true => Some("other steps, or none"),
            false => (outside > 0.002).then_some(NO_STEP),
        };
        kinds.retain(|kind| by_time.contains(kind));
        let coloured = kinds.into_iter().map(|(kind, _)| kind).collect();
        Lanes {
            strips: deepest.map_or(0, |deepest| (deepest + 1).min(STRIPS)),
            level,
            coloured,
            by_kind,
            single,
            others,
        }
    }

    pub(super) fn height(&self) -> i32 {
        BAR + STRIP * self.strips as i32
    }

    pub(super) fn top(&self, party: PartyId) -> i32 {
        TOP + party.index() as i32 * (self.height() + GAP)
    }

    pub(super) fn bottom(&self) -> i32 {
        self.top(PartyId::P2) + self.height()
    }

    /// The colour of a step that has one of its own.
    pub(super) fn own_colour(&self, path: &str) -> Option<RGBColor> {
        let kind = if self.by_kind { kind_of(path) } else { path.to_owned() };
        self.coloured.iter().position(|known| *known == kind).map(|index| COLOURS[index % COLOURS.len()])
    }

    pub(super) fn colour(&self, path: &str) -> RGBColor {
        self.own_colour(path).unwrap_or(OTHER)
    }
}

/// The name of a step without the number at its end and without the steps around it: `conv` for `block/conv12`.
fn kind_of(path: &str) -> String {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | ' '));
    if kind.is_empty() { name.to_owned() } else { kind.to_owned() }
}

fn within(inner: &StepTrace, outer: &StepTrace) -> bool {
    inner.path.strip_prefix(&outer.path).is_some_and(|rest| rest.starts_with('/'))
}
