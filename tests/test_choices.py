from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evokd.teacher.choices import tree

CHOICES = st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=9)


def with_ends(choices: list[list[int]], end: int | None) -> list[list[int]]:
    """The end of the turn is there only where a choice goes on from another."""
    unclear = any(a != b and b[: len(a)] == a for a in choices for b in choices) or [] in choices
    return [[*choice, end] for choice in choices] if end is not None and unclear else choices


@given(CHOICES, st.sampled_from([None, 7]))
def test_ways_through_a_tree_spell_the_choices(choices: list[list[int]], end: int | None) -> None:
    made = tree(choices, end=end)
    whole = with_ends(choices, end)
    assert made.lengths == tuple(map(len, whole))
    spelt: dict[int, list[int]] = {}
    before: dict[int, list[int]] = {-1: []}
    for number, branch in enumerate(made.branches):
        assert branch.parent < number
        assert branch.depth == len(before[branch.parent])
        before[number] = [*before[branch.parent], *branch.tokens]
        for choice in branch.ends:
            spelt[choice] = before[number]
        for choice in branch.members:
            assert whole[choice][: len(before[number])] == before[number]
    assert spelt == dict(enumerate(whole))


@given(CHOICES, st.sampled_from([None, 7]))
def test_no_prefix_is_decoded_twice_and_no_last_token(
    choices: list[list[int]], end: int | None
) -> None:
    made = tree(choices, end=end)
    whole = [tuple(choice) for choice in with_ends(choices, end)]
    needed = {w[:n] for w in whole for n in range(1, len(w))}
    assert made.size == sum(len(b.read) for b in made.branches) == len(needed)
    assert made.deepest == max(map(len, needed), default=0)
    for branch in made.branches:
        below = [made.branches[n] for n in branch.below]
        asked = [*((token,) for token in branch.tokens[1:])]
        if below:
            asked.append(tuple(b.tokens[0] for b in below))
        assert list(branch.after) == asked
        assert len(set(asked[-1])) == len(asked[-1]) if asked else not branch.read
