"""Reading YAML that came from elsewhere: plain values alone, as `devices.reading` has them.

No tags, anchors or aliases, keys are text, and a date is text. Apart from JSON's, for a process that reads none starts
a third sooner.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import MOST_DEEP, check_plain, printable, read_text, shown, whole

MOST_YAML_BYTES = 200_000


def load_yaml(path: Path | str, missing: str = "no such file", error: type[InputError] = InputError) -> Any:
    """What the YAML file at `path` holds. Raises `error`; see the module's text."""
    return parse_yaml(read_text(path, MOST_YAML_BYTES, missing, error), printable(str(path)), error)


def parse_yaml(text: str, where: str, error: type[InputError] = InputError) -> Any:
    """What the YAML `text` holds; `where` names its origin in messages. Raises `error`."""
    loader = None
    try:
        loader = _PlainLoader(text)
        content = loader.get_single_data()
    except yaml.YAMLError as failure:
        place = getattr(failure, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        problem = getattr(failure, "problem", None) or " ".join(str(failure).split())
        raise error(f"{where}: not valid YAML{line} ({printable(problem)})") from None
    except (ValueError, RecursionError) as failure:
        raise error(f"{where}: not valid YAML ({printable(str(failure))})") from None
    finally:
        if loader is not None:
            loader.dispose()
    check_plain(content, where, error)
    return content


class _PlainLoader(yaml.SafeLoader):
    """YAML's plain kinds; refuses tags, anchors, aliases, deep nesting and keys that are no text or come twice."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused("anchors and aliases (& and *) are not read here; write the value out", event)
        if getattr(event, "tag", None) is not None:
            raise _refused(f"the tag {shown(event.tag)} is not read here; write a plain value", event)
        self.depth += 1
        if self.depth > MOST_DEEP:
            raise _refused(f"nested more than {MOST_DEEP} deep", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise _refused("a key must be text; put quotes around it", key)
            if key.value in keys:
                raise _refused(f"the key {shown(key.value)} comes twice", key)
            keys.add(key.value)
        return dict(super().construct_mapping(node, deep))


_WHOLE, _DECIMAL = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_KEPT = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null")
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in kinds if tag in _KEPT]
    for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(_WHOLE, re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_PlainLoader.add_implicit_resolver(
    _DECIMAL,
    re.compile(r"^([-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)
_PlainLoader.add_constructor(_WHOLE, lambda _, node: whole(node.value))
_PlainLoader.add_constructor(_DECIMAL, lambda _, node: float(re.sub(r"(?i)\.(?=inf|nan)", "", node.value)))


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
