"""Run a chat template that somebody downloaded: no way out, and no endless work.

jinja2's sandbox keeps a template from Python's insides. This one also refuses where jinja2 would
print nothing and go on, and takes whatever makes a text or repeats something off a budget, so
that a template that loops without end or doubles a text forty times is stopped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

BUDGET = 2**28  # of a rendering: letters that its steps may make, and what its loops cost
TURN = 2048  # cost of one turn of a loop, and of one call of a macro
ITEM = 512  # cost of one value in a list, and of one that is neither text nor number
BARRED = {  # filters that chat templates don't need: they make long texts, or chance, or reach out
    *("attr", "batch", "center", "filesizeformat", "format", "pprint", "random", "slice"),
    *("truncate", "urlencode", "urlize", "wordwrap", "xmlattr"),
}
GROWING = {"replace", "join", "indent", "tojson", "string"}  # filters that may make long texts


class Sandbox(ImmutableSandboxedEnvironment):
    """A jinja2 environment for chat templates, with what Hugging Face's has, and with a budget."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        extensions = ["jinja2.ext.loopcontrols", _Generation]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        self._state = threading.local()
        self.finalize = self._shown
        self.filters["tojson"] = _tojson
        kept = {name: work for name, work in self.filters.items() if name not in BARRED}
        self.filters = {name: self._metered(name, work) for name, work in kept.items()}
        self.globals.pop("lipsum")
        self.globals["range"] = self._range

    def compiled(self, source: str) -> Template:
        """Compile a template; only what this returns keeps to the budget."""
        tree = _Meter().visit(self.parse(source))
        tree.set_environment(self)
        return self.from_string(tree)

    def render(self, template: Template, values: dict[str, Any]) -> str:
        """Run a compiled template, with a budget of its own."""
        self._state.left = BUDGET
        return template.render(values)

    # -- the way out ------------------------------------------------------------------------------

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """Refuse the attribute, where jinja2 would go on with nothing."""
        raise SecurityError(f"access to attribute {attribute!r} is unsafe")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Refuse `str.format`: it reaches attributes, and a width in it makes any length."""
        wrapped = super().wrap_str_format(value)
        if wrapped:
            raise SecurityError("access to attribute 'format' is unsafe")
        return wrapped

    # -- the budget -------------------------------------------------------------------------------

    def spend(self, amount: int = TURN) -> bool:
        """Take something off the budget; true, so that it can stand in a condition."""
        left = getattr(self._state, "left", BUDGET) - amount
        self._state.left = left
        if left < 0:
            raise SecurityError("it works without end, which is unsafe")
        return True

    def joined(self, *parts: Any) -> str:
        """Do what the template wrote as `a ~ b`."""
        self.spend(sum(map(self._weigh, parts)))
        return "".join(map(str, parts))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do what the template wrote as `a + b`, and the like."""
        if operator == "**" or (operator == "%" and isinstance(left, str | bytes)):
            raise SecurityError(f"operator {operator} is unsafe here")
        if operator == "+":
            self.spend(_length(left) + _length(right))
        elif operator == "*":
            texts = [v for v in (left, right) if not isinstance(v, int)]
            once = max(map(_length, texts)) * _times(left, right) if texts else 0
            self.spend(once + _length(left) + _length(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call something for the template; a text's own methods are metered."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, bytes | int | float | complex):
            raise SecurityError(f"{type(owner).__name__}.{obj.__name__} is not safely callable")
        if isinstance(owner, str):
            self._grow(owner, *args, *kwargs.values())
        return super().call(context, obj, *args, **kwargs)

    def _grow(self, first: Any, *others: Any) -> None:
        """Pay for the longest text that could come of these: each letter replaced by the others."""
        more = sum(self._weigh(other) + _times(other) for other in others)
        self.spend((1 + self._weigh(first)) * (1 + more))

    def _weigh(self, value: Any) -> int:
        """Return the letters of a value written out; lists within lists are paid for at once."""
        if isinstance(value, dict):
            value = [*value.keys(), *value.values()]
        if not isinstance(value, list | tuple):
            return _length(value)
        self.spend(ITEM * len(value))
        return len(value) + sum(map(self._weigh, value))

    def _metered(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)  # keeps the marks by which jinja2 passes its context
        def metered(*args: Any, **kwargs: Any) -> Any:
            at = 1 if hasattr(work, "jinja_pass_arg") else 0
            values = [*args[at:], *kwargs.values()]
            if name == "join" and not isinstance(values[0], list | tuple | str):
                values[0] = list(values[0])
                args = (*args[:at], values[0], *args[at + 1 :])
            if name in GROWING:
                self._grow(*values)
            else:
                self.spend(sum(map(_length, values[:1])))
            return work(*args, **kwargs)

        return metered

    def _shown(self, value: Any) -> Any:
        self.spend(self._weigh(value))
        return value

    def _range(self, *args: int) -> range:
        self.spend(len(range(*args)))
        return range(*args)


class _Meter(NodeTransformer):
    """Puts a payment into every loop and macro, and turns `~` into a call that is metered."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("spend")))
        if node.test is not None:
            node.test = nodes.And(_call("spend"), node.test)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("spend")))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call("joined", *node.nodes)


class _Generation(Extension):
    """`{% generation %}`: marks what the assistant wrote, for training. Here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 wants it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def raise_exception(message: str) -> NoReturn:
    """Refuse the conversation, for the template."""
    raise TemplateError(message)


def _call(name: str, *args: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None)


def _tojson(value: Any, **options: Any) -> str:
    """Plain JSON: jinja2's own filter escapes for HTML."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _length(value: Any) -> int:
    """Return the length of a text or a list, of a number the bits."""
    if isinstance(value, str | bytes | list | tuple):
        return len(value)
    return value.bit_length() if isinstance(value, int) else ITEM


def _times(*values: Any) -> int:
    """Return how often a number among the values may repeat the others."""
    return max((abs(value) for value in values if isinstance(value, int)), default=1)
