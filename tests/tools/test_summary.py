"""What a person confirms: from the arguments, on one line, with nothing in it that hides."""

from __future__ import annotations

from typing import Any

import pytest

from bargein.tools.errors import ToolInvalid
from bargein.tools.summary import MOST_CHARS
from bargein.tools.tool import Tool, tool


def paying(summary: Any = None) -> Tool:
    @tool(name="pay", summary=summary)
    async def pay(to: str, amount: float, note: str = "") -> None:
        """Pay."""

    return pay


def test_a_text_is_filled_with_the_arguments():
    summary = "Pay {amount} EUR to {to}"
    assert paying(summary).summarised({"to": "Ann", "amount": 3.5}) == "Pay 3.5 EUR to Ann"


def test_without_a_text_the_call_is_shown_as_it_is():
    assert paying().summarised({"to": "Ann", "amount": 3}) == 'pay(to="Ann", amount=3)'


def test_a_text_whose_argument_was_left_out_shows_the_call():
    assert paying("Pay: {note}").summarised({"to": "Ann", "amount": 3}).startswith("pay(")


@pytest.mark.parametrize(
    "summary", ["Pay {whom}", "Pay {to.name}", "Pay {to!r}", "Pay {amount:9}", "{"]
)
def test_a_text_that_cannot_be_filled_is_refused_where_it_is_declared(summary: str):
    with pytest.raises(ToolInvalid):
        paying(summary)


def test_nothing_in_an_argument_can_hide_or_begin_a_line():
    shown = paying("Pay {to}").summarised({"to": "Ann\n\u202eevE\x1b[2J\u2028?  yes", "amount": 1})
    assert shown == "Pay Ann \\u202eevE\\x1b[2J ? yes"
    assert shown.isprintable()


def test_a_brace_in_an_argument_is_no_argument():
    assert paying("Pay {to}").summarised({"to": "{amount}", "amount": 1}) == "Pay {amount}"


def test_a_long_argument_is_cut_and_says_so():
    shown = paying("Pay {to}").summarised({"to": "x" * 5000, "amount": 1})
    assert len(shown) == MOST_CHARS
    assert shown.endswith("(cut: all of it is in the arguments)")


def test_a_function_may_render_and_if_it_breaks_the_call_is_shown():
    def broken(args: Any) -> str:
        return args["nothing"]

    def rendered(args: Any) -> str:
        return f"To {args['to']}!"

    assert paying(rendered).summarised({"to": "A", "amount": 1}) == "To A!"
    assert paying(broken).summarised({"to": "A", "amount": 1}) == 'pay(to="A", amount=1)'
