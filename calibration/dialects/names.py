"""Names of a received deck as ngspice can read them: letters, digits and underscores, and none twice.

ngspice takes ``Out`` and ``out`` for one node, ``gnd`` for ground and ``a.b`` for a node within an instance; a language
in which they differ keeps them apart by a number behind the name.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

LONGEST = 60


@dataclass
class Names:
    """Names of one kind. `exact`: whether upper and lower case differ where they come from."""

    exact: bool = False
    reserved: Collection[str] = ()
    """Lower-case words that ngspice understands otherwise."""
    written: dict[str, str] = field(default_factory=dict)
    """Ours by theirs."""
    taken: set[str] = field(default_factory=set)

    def of(self, name: str, begin: str = "") -> str:
        """Our name for theirs, the same each time; it begins with the letter `begin`, which is added if need be."""
        key = f"{begin} {name if self.exact else name.lower()}"
        if key not in self.written:
            self.written[key] = self.new(name if name.lower().startswith(begin.lower()) else f"{begin}_{name}")
        return self.written[key]

    def new(self, wish: str) -> str:
        """A name like `wish` that nothing has yet."""
        base = re.sub(r"\W", "_", wish, flags=re.ASCII)[:LONGEST] or "_"
        found, number = base, 1
        while found.lower() in self.taken or found.lower() in self.reserved:
            number += 1
            found = f"{base}_{number}"
        self.taken.add(found.lower())
        return found
