from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evokd.teacher.heads import WORTH, common_head, groups, plan

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


@given(PROMPTS, st.integers(0, 4))
def test_a_plan_has_each_prompt_once_below_what_it_shares(
    short: list[list[int]], levels: int
) -> None:
    prompts = [[token for token in p for _ in range(WORTH)] for p in short]
    planned = plan(prompts, levels=levels)
    assert sorted(i for i, _ in planned) == list(range(len(prompts)))
    chains = [head.chain if head else [] for _, head in planned]
    for (i, _), chain in zip(planned, chains, strict=True):
        sizes = [len(head.tokens) for head in chain]
        assert sizes == sorted(set(sizes))
        assert len(chain) <= levels
        assert all(prompts[i][: len(h.tokens)] == h.tokens for h in chain)
        assert all(len(prompts[i]) > size for size in sizes)
    # One chain is enough at a time: a head that was left does not come again.
    flat = [id(head) for chain in chains for head in chain]
    for head in set(flat):
        places = [n for n, chain in enumerate(chains) if head in map(id, chain)]
        assert places == list(range(places[0], places[-1] + 1))
        assert len(places) > 1


def test_a_plan_finds_heads_below_heads() -> None:
    system, tasks = [1] * 40, ([2] * 30, [3] * 30)
    prompts = [[*system, *tasks[i % 2], 9, i, 9] for i in range(8)]
    planned = plan(prompts, levels=8)
    assert [i for i, _ in planned] == [0, 2, 4, 6, 1, 3, 5, 7]
    assert all(h and [len(c.tokens) for c in h.chain] == [40, 71] for _, h in planned)
    assert all(h and len(h.chain) == 1 for _, h in plan(prompts, levels=1))
