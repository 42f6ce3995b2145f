from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evokd.teacher.heads import common_head, groups

PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), max_size=8)


@given(PROMPTS)
def test_the_common_head_is_shared_and_leaves_each_a_token(prompts: list[list[int]]) -> None:
    size = common_head(prompts)
    assert all(len(p) > size and p[:size] == prompts[0][:size] for p in prompts)
    longer = {tuple(p[: size + 1]) for p in prompts if len(p) > size + 1}
    assert not prompts or len(longer) != 1 or any(len(p) == size + 1 for p in prompts)


@given(PROMPTS)
def test_groups_hold_each_prompt_once_and_never_cost_more(prompts: list[list[int]]) -> None:
    found = list(groups(prompts))
    assert sorted(i for group, _ in found for i in group) == list(range(len(prompts)))
    for group, shared in found:
        members = [prompts[i] for i in group]
        assert shared == common_head(members)
        alone = sum(map(len, members))
        assert shared + sum(len(p) - shared for p in members) <= alone


def test_two_label_orders_make_two_groups() -> None:
    first, second = [1] * 40, [1] * 5 + [2] * 35
    prompts = [[*(first if i % 2 else second), 9, i, 9] for i in range(8)]
    assert sorted(sorted(g) for g, _ in groups(prompts)) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert {shared for _, shared in groups(prompts)} == {41}
