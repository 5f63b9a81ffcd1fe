//! Atoms: what is cut or moved as one.

/// A set of positions of axes that stay or go together.
pub(super) type Atom = u32;

/// Disjoint sets of atoms (Tarjan 1975), each free or with the reason why it stays.
#[derive(Debug, Clone, Default)]
pub(super) struct Atoms {
    parents: Vec<Atom>,
    /// Index into `reasons`, at roots.
    fixed: Vec<Option<u32>>,
    reasons: Vec<String>,
}

impl Atoms {
    /// As many new free atoms.
    pub(super) fn fresh(&mut self, count: usize) -> Vec<Atom> {
        let first = self.parents.len() as Atom;
        let new: Vec<Atom> = (first..).take(count).collect();
        self.parents.extend(&new);
        self.fixed.resize(self.parents.len(), None);
        new
    }

    /// A reason, to be given to [`Self::fix`] any number of times.
    pub(super) fn reason(&mut self, text: String) -> u32 {
        self.reasons.push(text);
        (self.reasons.len() - 1) as u32
    }

    /// The atom that stands for the whole set.
    pub(super) fn root(&self, mut atom: Atom) -> Atom {
        while self.parents[atom as usize] != atom {
            atom = self.parents[atom as usize];
        }
        atom
    }

    /// The same, and the way there is shorter from now on.
    fn find(&mut self, atom: Atom) -> Atom {
        let root = self.root(atom);
        let mut at = atom;
        while at != root {
            at = std::mem::replace(&mut self.parents[at as usize], root);
        }
        root
    }

    /// From now on both stay or go together; the earlier atom stands for both.
    pub(super) fn join(&mut self, a: Atom, b: Atom) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return;
        }
        let (root, other) = (a.min(b), a.max(b));
        self.parents[other as usize] = root;
        let reason = self.fixed[root as usize].or(self.fixed[other as usize]);
        self.fixed[root as usize] = reason;
    }

    /// From now on it stays; the first reason is kept.
    pub(super) fn fix(&mut self, atom: Atom, reason: u32) {
        let root = self.find(atom) as usize;
        self.fixed[root].get_or_insert(reason);
    }

    /// Why it stays; `None` if it may go.
    pub(super) fn fixed(&self, atom: Atom) -> Option<&str> {
        let reason = self.fixed[self.root(atom) as usize]?;
        self.reasons.get(reason as usize).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_atoms_share_a_reason() {
        let mut atoms = Atoms::default();
        let new = atoms.fresh(5);
        atoms.join(new[3], new[1]);
        atoms.join(new[4], new[3]);
        assert_eq!(atoms.root(new[4]), new[1]);
        assert_eq!(atoms.fixed(new[4]), None);
        let (first, second) = (atoms.reason("first".into()), atoms.reason("second".into()));
        atoms.fix(new[3], first);
        atoms.fix(new[0], second);
        assert_eq!(atoms.fixed(new[1]), Some("first"));
        atoms.join(new[0], new[4]);
        assert_eq!(atoms.fixed(new[4]), Some("second"));
        assert_eq!(atoms.fixed(new[2]), None);
    }
}
