"""Token buckets: the memory of a node; the same of Redis is in test_store_contract."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tandemd.ratelimit.buckets import RoomQuota, TokenBucket, TokenBuckets

NOW = 1_700_000_000.0


class BudgetsTest(TestCase):
    def test_memory_is_bounded_and_what_was_used_longest_ago_goes_first(self) -> None:
        budgets = TokenBuckets(kept=3)
        for name in ("from:a", "from:b", "from:a", "from:c", "from:d"):
            budgets.take([[TokenBucket(name, 2, 60)]], NOW)
        self.assertEqual(len(budgets), 3)
        self.assertEqual(budgets.take([[TokenBucket("from:a", 2, 60)]], NOW).way, -1)
        self.assertEqual(budgets.take([[TokenBucket("from:b", 1, 60)]], NOW).way, 0)

    def test_many_addresses_do_not_make_a_room_forgotten(self) -> None:
        budgets = TokenBuckets(kept=3)
        budgets.take([[TokenBucket("room:r", 1, 60)]], NOW)
        for number in range(100):
            budgets.take([[TokenBucket(f"from:{number}", 1, 60)]], NOW)
        self.assertEqual(budgets.take([[TokenBucket("room:r", 1, 60)]], NOW).way, -1)

    def test_shares_are_bounded_too(self) -> None:
        budgets = TokenBuckets(kept=3)
        for number in range(10):
            budgets.take([[RoomQuota(f"rooms:{number}", "r", 1)]], NOW)
        self.assertEqual(len(budgets), 3)

    def test_what_is_refused_is_not_remembered(self) -> None:
        """A million addresses that are refused by a room leave nothing behind."""
        budgets = TokenBuckets()
        full = TokenBucket("room:r", 1, 60)
        budgets.take([[full]], NOW)
        for number in range(1000):
            self.assertEqual(budgets.take([[full, TokenBucket(f"from:{number}", 5, 60)]], NOW).way, -1)
        self.assertEqual(len(budgets), 1)

    @given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 100))
    def test_never_more_than_promised(self, seed: int, most: int, per: int) -> None:
        """In no stretch of time are more taken than `most` and the refill in it; and a client that waits as told gets one."""
        chance, budgets, now, taken = random.Random(seed), TokenBuckets(), NOW, []
        budget = TokenBucket("x:y", most, per)
        for _ in range(60):
            now += chance.choice((0.0, chance.random() * per / most, chance.random() * per))
            found = budgets.take([[budget]], now)
            if found.way == 0:
                taken.append(now)
            elif chance.random() < 0.3:
                now += found.wait
                assert budgets.take([[budget]], now).way == 0
                taken.append(now)
        for first, start in enumerate(taken):
            for last in range(first, len(taken)):
                assert last - first + 1 <= most + (taken[last] - start) / budget.interval + 1e-3
