from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.archive.retention import Policy, parse_age, plan
from app.store.errors import UsageError

TODAY = date(2025, 8, 31)
DAYS = [(TODAY - timedelta(days=age)).isoformat() for age in range(-1, 100)]
policies = st.builds(
    Policy, st.none() | st.integers(0, 120), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)
).filter(lambda policy: policy != Policy())


def removed(policy: Policy, days: list[str] = DAYS, protected: str = "") -> set[str]:
    return {decision.date for decision in plan(days, TODAY, policy, {protected: "because"}) if decision.remove}


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def test_what_is_older_goes_and_what_is_as_old_stays() -> None:
    gone = removed(Policy(older_than_days=30))
    assert ago(31) in gone
    assert ago(30) not in gone
    assert len(gone) == 69


def test_the_last_day_of_each_of_the_last_weeks_and_months_stays() -> None:
    kept = set(DAYS) - removed(Policy(keep_weekly=2, keep_monthly=3)) - {ago(0), ago(-1)}
    assert kept == {"2025-08-24", "2025-07-31", "2025-06-30"}  # and today, which ends its week and its month


def test_the_last_days_that_have_records_count_however_far_apart_they_are() -> None:
    days = ["2024-01-01", "2024-06-01", "2025-01-01", "2025-02-01"]
    assert removed(Policy(keep_daily=2), days) == {"2024-01-01", "2024-06-01"}


def test_rules_add_up_and_each_decision_has_its_reason() -> None:
    decisions = {
        one.date: one.reason for one in plan(DAYS, TODAY, Policy(30, 1, 0, 3), {ago(50): "latest leads to it"})
    }
    assert decisions[ago(0)] == "today's"
    assert decisions[ago(-1)] == "it lies ahead"
    assert decisions[ago(50)] == "latest leads to it"
    assert decisions[ago(3)] == "3 days old"
    assert decisions["2025-07-31"] == "kept as monthly"
    assert decisions[ago(40)] == "40 days old"


@given(policies)
def test_today_what_lies_ahead_and_what_is_protected_never_go(policy: Policy) -> None:
    gone = removed(policy, protected=ago(90))
    assert gone.isdisjoint({ago(0), ago(-1), ago(90)})


@given(policies, st.sets(st.sampled_from(DAYS)))
def test_a_policy_that_keeps_more_removes_less(policy: Policy, days: set[str]) -> None:
    more = Policy(policy.older_than_days, policy.keep_daily + 1, policy.keep_weekly + 1, policy.keep_monthly + 1)
    assert removed(more, sorted(days)) <= removed(policy, sorted(days))


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="no policy"):
        plan(DAYS, TODAY, Policy(), {})


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("4w", 28), ("0d", 0)])
def test_an_age_is_in_days_or_weeks(text: str, days: int) -> None:
    assert parse_age(text) == days


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1m", "30 d", "1e3d", "99999999d"])
def test_any_other_age_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an age"):
        parse_age(text)
