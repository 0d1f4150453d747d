//! The prefix tree over generate and propagate bits, level by level, as each role computes it: role 0 deals its shares of
//! all products at once, and roles 1 and 2 exchange theirs. How G and P come about is `msb.rs`'s.

use super::draws::Draw;
use super::message::{MessageKind, Part, Side};
use crate::device::{Binary, Buffer, Summed, TreeStep, View, ViewMut, kernels};
use crate::mpc::{MpcError, Party, SignWindow};

/// A level of the tree in one role: its nonces are role 0's mask, component 1 and component 0 of the level's results.
pub(super) type Level = Part<3>;

/// The tree over the elements of one part.
pub(super) struct Tree {
    elements: usize,
    words: usize,
    /// From the leaves, with the number of pairs that each has as its result.
    levels: Vec<(usize, Level)>,
}

/// Both components of a level's G and P in one role, each one buffer or the sum of two, which nobody adds up before they are
/// used.
pub(super) struct Components(pub(super) [(Buffer, Option<Buffer>); 2]);

impl Components {
    fn step<'a>(
        &'a self,
        elements: usize,
        half: usize,
        masks: [View<'a>; 2],
        out: ViewMut<'a>,
    ) -> TreeStep<View<'a>, ViewMut<'a>> {
        let x = self.0.each_ref().map(|(first, second)| Summed(first.view(), second.as_ref().map(Buffer::view)));
        TreeStep { elements, half, x, masks: Some(masks), out }
    }
}

/// Planes of the results of a level with so many pairs.
fn planes(half: usize) -> usize {
    2 * half - 1
}

impl Tree {
    /// Those of roles 0, 1 and 2.
    pub(super) fn of_roles(window: SignWindow, parts: [&Part<3>; 3], levels: Vec<[Level; 3]>) -> [Tree; 3] {
        let mut trees =
            parts.map(|part| Tree { elements: part.elements.len(), words: part.words.len(), levels: vec![] });
        let mut half = window.groups();
        for level in levels {
            half /= 2;
            for (tree, level) in trees.iter_mut().zip(level) {
                tree.levels.push((half, level));
            }
        }
        trees
    }

    /// Words that role 0 deals.
    pub(super) fn dealt_words(&self) -> usize {
        self.levels.iter().map(|(half, _)| planes(*half) * self.words).sum()
    }
}

impl Party {
    /// Role 0: deals its shares of the products of all levels to role 2, and has both its components of the carry.
    pub(super) fn deal_tree(&self, tree: Tree, leaves: [Buffer; 2]) -> Result<[Buffer; 2], MpcError> {
        let mut message = self.device().alloc(tree.dealt_words());
        let (mut masks, mut results, mut rest) = (vec![], vec![], message.view_mut());
        for (half, level) in tree.levels {
            let ([mask, first, zeroth], words) = (level.nonces, planes(half) * tree.words);
            let (share, behind) = rest.split_at(words);
            masks.push((half, self.prg.with_next(mask), share));
            results.push([(self.prg.with_prev(zeroth), words), (self.prg.with_next(first), words)]);
            rest = behind;
        }
        kernels::fills(masks.iter_mut().map(|(_, mask, share)| (&*mask, share.reborrow())).collect());
        // Its components are streams at every level, so no level waits for another.
        let results = self.draw_groups(results).into_iter().map(|level| level.map(Draw::take));
        let mut components: Vec<[Buffer; 2]> = std::iter::once(leaves).chain(results).collect();
        let steps = masks.into_iter().zip(&components).map(|((half, _, out), level)| TreeStep {
            elements: tree.elements,
            half,
            x: level.each_ref().map(|component| Summed(component.view(), None)),
            masks: None,
            out,
        });
        kernels::sign_tree(steps.collect());
        self.post(Side::Prev, MessageKind::SIGN_DEALT, message)?;
        Ok(components.swap_remove(components.len() - 1))
    }

    /// Roles 1 and 2: exchange their shares, level by level. The leaves' components to the carry's, for each role.
    pub(super) fn climb_tree(
        &self,
        [one, two]: [Tree; 2],
        leaves: [Components; 2],
        dealt: &Buffer,
    ) -> Result<[Components; 2], MpcError> {
        let ([mut at_one, mut at_two], mut at) = (leaves, 0);
        let elements = [one.elements, two.elements];
        for (half, [c1, mask, c0]) in self.masks_of_levels(one, two) {
            let [c1, mask, c0] = [c1, mask, c0].map(Draw::take);
            let [mut own_one, mut own_two] = [&c1, &c0].map(|masks| self.device().alloc(masks.len()));
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

    /// Of every level its pairs, and role 1's component 1 and mask and role 2's component 0 of its results.
    fn masks_of_levels(&self, one: Tree, two: Tree) -> impl Iterator<Item = (usize, [Draw; 3])> + use<> {
        let level = |((half, level_one), (_, level_two)): ((usize, Level), (usize, Level))| {
            let ([mask, first, _], [_, _, zeroth]) = (level_one.nonces, level_two.nonces);
            let [one, two] = [one.words, two.words].map(|words| planes(half) * words);
            let (first, mask) = (self.prg.with_prev(first), self.prg.with_prev(mask));
            (half, [(first, one), (mask, one), (self.prg.with_next(zeroth), two)])
        };
        let (halves, streams): (Vec<_>, Vec<_>) = one.levels.into_iter().zip(two.levels).map(level).unzip();
        halves.into_iter().zip(self.draw_groups(streams))
    }

    /// x ⊕ y.
    pub(super) fn xor(&self, x: View, y: View) -> Buffer {
        let mut out = self.device().alloc(x.len());
        kernels::binary(Binary::Xor, x, y, out.view_mut());
        out
    }
}
