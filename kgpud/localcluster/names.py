"""What names, labels and annotations may look like, in Kubernetes' own words."""

import re
from collections.abc import Iterator

from kgpud.localcluster.errors import Cause, required, wrong
from kgpud.localcluster.registry import Document

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{_SUBDOMAIN}')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    f"for validation is '{_LABEL}')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    f"validation is '{_PART}')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    f"or '12345', regex used for validation is '({_PART})?')"
)
_LONGEST_LABEL, _LONGEST_SUBDOMAIN = 63, 253
_MOST_ANNOTATIONS = 256 * 1024
# Roles and bindings may have any name that can stand in a path.
_PATH_RULES = (("/", "may not contain '/'"), ("%", "may not contain '%'"))


def label_trouble(value: str) -> str | None:
    """Return why a text is no DNS label, None where it is one."""
    if len(value) > _LONGEST_LABEL:
        return f"must be no more than {_LONGEST_LABEL} characters"
    return None if re.fullmatch(_LABEL, value) else _LABEL_RULE


def name_trouble(value: str) -> str | None:
    """Return why a text is no DNS subdomain, None where it is one."""
    if len(value) > _LONGEST_SUBDOMAIN:
        return f"must be no more than {_LONGEST_SUBDOMAIN} characters"
    return None if re.fullmatch(_SUBDOMAIN, value) else _SUBDOMAIN_RULE


def _path_trouble(value: str) -> str | None:
    if value in (".", ".."):
        return f"may not be '{value}'"
    return next((words for sign, words in _PATH_RULES if sign in value), None)


def metadata_causes(kind: str, document: Document) -> Iterator[Cause]:
    """Yield what is wrong with an object's name, labels and annotations."""
    metadata = document["metadata"]
    name = metadata.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        is_role = kind.endswith(("Role", "RoleBinding"))
        rules = {"Namespace": label_trouble}
        trouble = _path_trouble if is_role else rules.get(kind, name_trouble)
        if words := trouble(name):
            yield wrong("metadata.name", name, words)
    for key, value in (metadata.get("labels") or {}).items():
        yield from label_key_causes("metadata.labels", key)
        if len(value) > _LONGEST_LABEL:
            words = f"must be no more than {_LONGEST_LABEL} characters"
            yield wrong("metadata.labels", value, words)
        if not re.fullmatch(f"({_PART})?", value):
            yield wrong("metadata.labels", value, _VALUE_RULE)
    yield from _annotation_causes(metadata.get("annotations") or {})
    for number, owner in enumerate(metadata.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                words = f"{field} must not be empty"
                yield wrong(f"metadata.ownerReferences[{number}].{field}", "", words)


def _annotation_causes(annotations: dict[str, str]) -> Iterator[Cause]:
    for key in annotations:
        yield from label_key_causes("metadata.annotations", key, lower=True)
    if sum(len(f"{k}{v}".encode()) for k, v in annotations.items()) > _MOST_ANNOTATIONS:
        words = f"Too long: may not be more than {_MOST_ANNOTATIONS} bytes"
        yield Cause("metadata.annotations", "FieldValueTooLong", words)


def label_key_causes(field: str, key: str, *, lower: bool = False) -> Iterator[Cause]:
    """Yield why a text is no key of a label."""
    checked = key.lower() if lower else key
    prefix, slash, name = checked.rpartition("/")
    if slash and not prefix:
        yield wrong(field, key, "prefix part must be non-empty")
    elif slash and (words := name_trouble(prefix)):
        yield wrong(field, key, f"prefix part {words}")
    if not name:
        yield wrong(field, key, "name part must be non-empty")
    elif len(name) > _LONGEST_LABEL:
        yield wrong(field, key, f"name part must be no more than {_LONGEST_LABEL} characters")
    if not re.fullmatch(_PART, name):
        yield wrong(field, key, _KEY_RULE)
