"""The checker's rules of actions: see `bargein.testing.action_rules`."""

from __future__ import annotations

from bargein.testing.action_rules import EDGES, Deed, broken_action_rules, digest_of

__all__ = ["EDGES", "Deed", "broken_action_rules", "digest_of"]
