//! The prefix tree over generate and propagate bits, level by level, as each role computes it: role 0 deals its shares of
//! all products at once, and roles 1 and 2 exchange theirs. How G and P come about is `msb.rs`'s.

use super::message::{MessageKind, Part, Side};
use crate::device::{Buffer, Draw, Summed, TreeStep, View, ViewMut, kernels};
use crate::mpc::{MpcError, Party, SignWindow};
use std::ops::Range;

/// A level of the tree in one role: its nonces are role 0's mask, component 1 and component 0 of the level's results.
pub(super) type Level = Part<3>;

/// What role 0 needs to deal the tree over the elements of its part.
pub(super) struct DealtTree {
    elements: usize,
    levels: Vec<DealtLevel>,
}

/// A level: the number of pairs that it has as its result, the mask of role 0's share, and its components, which are streams.
struct DealtLevel {
    half: usize,
    mask: Draw,
    results: [Draw; 2],
}

/// What roles 1 and 2 need to climb the tree over the elements of their parts.
pub(super) struct ClimbedTree {
    elements: [usize; 2],
    levels: Vec<ClimbedLevel>,
}

/// A level: its pairs, role 1's component 1 and mask, and role 2's component 0.
struct ClimbedLevel {
    half: usize,
    first: Draw,
    mask: Draw,
    zeroth: Draw,
}

/// Both components of a level's G and P in one role, each one buffer or the sum of two, which nobody adds up before they are
/// used.
pub(super) struct Components(pub(super) [(Buffer, Option<Buffer>); 2]);

impl Components {
    fn step<'a>(
        &'a self,
        elements: usize,
        half: usize,
        [mask, more]: [View<'a>; 2],
        out: ViewMut<'a>,
    ) -> TreeStep<View<'a>, ViewMut<'a>> {
        let x = self.0.each_ref().map(|(first, second)| Summed(first.view(), second.as_ref().map(Buffer::view)));
        TreeStep { elements, half, x, mask: Summed(mask, Some(more)), out }
    }
}

/// Planes of the results of a level with so many pairs.
fn planes(half: usize) -> usize {
    2 * half - 1
}

/// Words of the results of all levels, in a part with so many words a plane.
pub(super) fn tree_words(window: SignWindow, words: usize) -> usize {
    halves(window).map(|half| planes(half) * words).sum()
}

/// The pairs of all levels' results, from the leaves.
pub(super) fn halves(window: SignWindow) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(window.groups() / 2), |half| Some(half / 2)).take_while(|&half| half > 0)
}

impl DealtTree {
    /// All masks.
    pub(super) fn draws(&mut self) -> impl Iterator<Item = &mut Draw> {
        self.levels.iter_mut().flat_map(|DealtLevel { mask, results, .. }| std::iter::once(mask).chain(results))
    }
}

impl ClimbedTree {
    /// All masks.
    pub(super) fn draws(&mut self) -> impl Iterator<Item = &mut Draw> {
        self.levels.iter_mut().flat_map(|ClimbedLevel { first, mask, zeroth, .. }| [first, mask, zeroth])
    }
}

impl Party {
    /// The trees of role 0, and of roles 1 and 2.
    pub(super) fn trees(&self, window: SignWindow, levels: Vec<[Level; 3]>) -> (DealtTree, ClimbedTree) {
        let mut dealt = DealtTree { elements: 0, levels: vec![] };
        let mut climbed = ClimbedTree { elements: [0; 2], levels: vec![] };
        for (half, [zero, one, two]) in halves(window).zip(levels) {
            let draw = |stream, part: &Range<usize>| Draw::of(stream, planes(half) * part.len());
            let [mask, first, zeroth] = zero.nonces;
            let mask = draw(self.prg.with_next(mask), &zero.words);
            let results = [draw(self.prg.with_prev(zeroth), &zero.words), draw(self.prg.with_next(first), &zero.words)];
            dealt.levels.push(DealtLevel { half, mask, results });
            let ([mask, first, _], [_, _, zeroth]) = (one.nonces, two.nonces);
            let (mask, first) =
                (draw(self.prg.with_prev(mask), &one.words), draw(self.prg.with_prev(first), &one.words));
            climbed.levels.push(ClimbedLevel {
                half,
                first,
                mask,
                zeroth: draw(self.prg.with_next(zeroth), &two.words),
            });
            (dealt.elements, climbed.elements) = (zero.count, [one.count, two.count]);
        }
        (dealt, climbed)
    }

    /// Role 0: deals its shares of the products of all levels to role 2, and has both its components of the carry.
    pub(super) fn deal_tree(&self, tree: DealtTree, leaves: [Buffer; 2]) -> Result<[Buffer; 2], MpcError> {
        let device = self.device();
        let DealtTree { elements, levels } = tree;
        let mut message = device.alloc(levels.iter().map(|level| level.mask.len()).sum());
        // Its components are streams at every level, so no level waits for another.
        let (mut components, mut masks) = (vec![leaves], vec![]);
        for DealtLevel { half, mask, results } in levels {
            masks.push((half, mask.into_buffer(device)));
            components.push(results.map(|result| result.into_buffer(device)));
        }
        let (mut steps, mut rest) = (vec![], message.view_mut());
        for ((half, mask), level) in masks.iter().zip(&components) {
            let (out, behind) = rest.split_at(mask.len());
            let x = level.each_ref().map(|component| Summed(component.view(), None));
            steps.push(TreeStep { elements, half: *half, x, mask: Summed(mask.view(), None), out });
            rest = behind;
        }
        kernels::sign_tree(steps);
        self.post(Side::Prev, MessageKind::SIGN_DEALT, message)?;
        Ok(components.swap_remove(components.len() - 1))
    }

    /// Roles 1 and 2: exchange their shares, level by level. The leaves' components to the carry's, for each role.
    pub(super) fn climb_tree(
        &self,
        tree: ClimbedTree,
        leaves: [Components; 2],
        dealt: &Buffer,
    ) -> Result<[Components; 2], MpcError> {
        let ([mut at_one, mut at_two], mut at) = (leaves, 0);
        let (device, elements) = (self.device(), tree.elements);
        for ClimbedLevel { half, first, mask, zeroth } in tree.levels {
            let [c1, mask, c0] = [first, mask, zeroth].map(|draw| draw.into_buffer(device));
            let [mut own_one, mut own_two] = [&c1, &c0].map(|masks| device.alloc(masks.len()));
            let from_zero = dealt.slice(at..at + c0.len());
            at += c0.len();
            let (hidden_one, hidden_two) = ([mask.view(), c1.view()], [from_zero, c0.view()]);
            kernels::sign_tree(vec![
                at_one.step(elements[0], half, hidden_one, own_one.view_mut()),
                at_two.step(elements[1], half, hidden_two, own_two.view_mut()),
            ]);
            self.post_copy(Side::Next, MessageKind::SIGN_TREE, own_one.view())?;
            self.post_copy(Side::Prev, MessageKind::SIGN_TREE, own_two.view())?;
            // Component 2 is the sum of both.
            let other = self.take(Side::Prev, MessageKind::SIGN_TREE, own_two.len())?;
            at_two = Components([(own_two, Some(other)), (c0, None)]);
            let other = self.take(Side::Next, MessageKind::SIGN_TREE, own_one.len())?;
            at_one = Components([(c1, None), (own_one, Some(other))]);
        }
        Ok([at_one, at_two])
    }
}
