"""What a list is asked for, as SQL."""

from collections.abc import Mapping, Sequence

from store.db import Value


def where(given: Mapping[str, Sequence[Value]]) -> tuple[str, list[Value]]:
    """Return the WHERE clause of all conditions that are asked for, and its values.

    A condition whose one value is None is not asked for: `? IS NULL OR …` would use no index.
    """
    asked = {clause: values for clause, values in given.items() if [*values] != [None]}
    clause = f" WHERE {' AND '.join(asked)}" if asked else ""
    return clause, [value for values in asked.values() for value in values]
