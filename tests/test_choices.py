from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evokd.teacher.choices import trees

CHOICES = st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=9)


@given(CHOICES, st.sampled_from([None, 7]), st.integers(1, 9))
def test_paths_through_trees_spell_the_choices(
    choices: list[list[int]], end: int | None, most: int
) -> None:
    spelt = {}
    for tree in trees(choices, end=end, most=most):
        assert len(tree.numbers) <= most
        for number, path in zip(tree.numbers, tree.paths, strict=True):
            spelt[number] = [token for _, token in path]
            assert all(token in tree.nodes[place].follow for place, token in path)
        depths = [node.depth for node in tree.nodes]
        assert depths == sorted(depths)
        starts = {tuple(choices[n][: d + 1]) for n in tree.numbers for d in range(len(choices[n]))}
        assert len(tree.nodes) == 1 + len(starts)
    ending = [] if end is None else [end]
    assert spelt == {i: [*choice, *ending] for i, choice in enumerate(choices)}
