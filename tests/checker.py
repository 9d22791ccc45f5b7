"""The offline checker, which app authors have too: see `bargein.testing.checker`."""

from __future__ import annotations

from bargein.testing.checker import Deed, broken_rules, check_client_log, overlap_differs

__all__ = ["Deed", "broken_rules", "check_client_log", "overlap_differs"]
