"""How often each address may be wrong."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_network
from typing import Final

import trio
from attrs import define, field

ADDRESSES_MOST: Final = 10_000
"""Those that were wrong lately; of more, the oldest are forgotten: memory is worth more."""

_IPV6_CUSTOMER_BITS: Final = 64
"""A customer has at least that network for itself, and as many addresses as it likes."""


@define(eq=False)
class _Record:
    at_s: deque[float] = field(factory=deque[float])
    shut_out_at_s: float = float("-inf")


@define(eq=False)
class Attempts:
    """Count failed tokens by address, and shut an address out for a while after too many.

    Lives as long as the process.  What it holds addresses to may be changed at any time, and
    counts for those that are shut out already, too.

    Attributes:
        most: Failures within *window_s* that shut an address out for *shut_out_s*.
        window_s: How long a failure is remembered.
        shut_out_s: How long it lasts.
        exempt: Says of whom none are counted.
    """

    most: int
    window_s: float
    shut_out_s: float
    exempt: Callable[[str], bool]
    _records: OrderedDict[str, _Record] = field(factory=OrderedDict[str, _Record], init=False)

    def wait_s(self, address: str) -> float:
        """Return for how long an address is still shut out; 0 where it is not."""
        record = self._records.get(_household(address))
        if record is None or self.exempt(address):
            return 0.0
        left_s = record.shut_out_at_s + self.shut_out_s - trio.current_time()
        if left_s <= 0:
            record.shut_out_at_s = float("-inf")  # it is over, whatever *shut_out_s* becomes
        return max(0.0, left_s)

    def failed(self, address: str) -> bool:
        """Count a token that was no good; say whether that shuts its address out."""
        if self.exempt(address):
            return False
        now_s = trio.current_time()
        household = _household(address)
        record = self._records.setdefault(household, _Record())
        self._records.move_to_end(household)
        if len(self._records) > ADDRESSES_MOST:
            self._records.popitem(last=False)
        record.at_s.append(now_s)
        while record.at_s[0] <= now_s - self.window_s:
            record.at_s.popleft()
        if len(record.at_s) >= self.most:
            record.shut_out_at_s = now_s
            record.at_s.clear()
            return True
        return False


def _household(address: str) -> str:
    """Return what stands for all addresses that one customer of a provider has."""
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _IPV6_CUSTOMER_BITS), strict=False))
