//! The prefix tree over generate and propagate bits, level by level, as each role computes it: role 0 deals its shares of
//! all products at once, and roles 1 and 2 exchange theirs. How G and P come about is `msb.rs`'s.

use super::message::{MessageKind, Part, Side};
use crate::device::{Binary, Buffer, View, kernels};
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
        let ([mut c0, mut c1], mut at) = (leaves, 0);
        for (half, level) in tree.levels {
            let ([mask, first, zeroth], words) = (level.nonces, planes(half) * tree.words);
            kernels::fill(&self.prg.with_next(mask), message.slice_mut(at..at + words));
            let share = message.slice_mut(at..at + words);
            kernels::sign_tree_level(tree.elements, half, [c0.view(), c1.view()], share);
            c0 = self.packed(&self.prg.with_prev(zeroth), words);
            c1 = self.packed(&self.prg.with_next(first), words);
            at += words;
        }
        self.post(Side::Prev, MessageKind::SIGN_DEALT, message)?;
        Ok([c0, c1])
    }

    /// Roles 1 and 2: exchange their shares, level by level. The leaves' components to the carry's, for each role.
    pub(super) fn climb_tree(
        &self,
        [one, two]: [Tree; 2],
        leaves: [[Buffer; 2]; 2],
        dealt: &Buffer,
    ) -> Result<[[Buffer; 2]; 2], MpcError> {
        let ([mut at_one, mut at_two], mut at) = (leaves, 0);
        for ((half, level_one), (_, level_two)) in one.levels.into_iter().zip(two.levels) {
            let [mask, first, _] = level_one.nonces;
            let c1 = self.packed(&self.prg.with_prev(first), planes(half) * one.words);
            let mask = self.packed(&self.prg.with_prev(mask), c1.len());
            let own_one = self.tree_share(one.elements, half, at_one, [mask.view(), c1.view()]);
            self.post_copy(Side::Next, MessageKind::SIGN_TREE, own_one.view())?;

            let [_, _, zeroth] = level_two.nonces;
            let c0 = self.packed(&self.prg.with_next(zeroth), planes(half) * two.words);
            let from_zero = dealt.slice(at..at + c0.len());
            let own_two = self.tree_share(two.elements, half, at_two, [from_zero, c0.view()]);
            self.post_copy(Side::Prev, MessageKind::SIGN_TREE, own_two.view())?;
            at += c0.len();

            // Component 2 is the sum of both.
            let other = self.take(Side::Prev, MessageKind::SIGN_TREE, own_two.len())?;
            at_two = [self.xor(own_two.view(), other.view()), c0];
            let other = self.take(Side::Next, MessageKind::SIGN_TREE, own_one.len())?;
            at_one = [c1, self.xor(own_one.view(), other.view())];
        }
        Ok([at_one, at_two])
    }

    /// The share of a level's products of these components, behind both masks.
    fn tree_share(&self, elements: usize, half: usize, components: [Buffer; 2], [mask, other]: [View; 2]) -> Buffer {
        let mut share = self.xor(mask, other);
        kernels::sign_tree_level(elements, half, components.each_ref().map(Buffer::view), share.view_mut());
        share
    }

    /// x ⊕ y.
    pub(super) fn xor(&self, x: View, y: View) -> Buffer {
        let mut out = self.device().alloc(x.len());
        kernels::binary(Binary::Xor, x, y, out.view_mut());
        out
    }
}
