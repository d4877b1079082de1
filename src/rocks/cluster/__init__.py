"""Frozen records, names, selectors, the MAC pool and the plan_* rules. Pure."""
