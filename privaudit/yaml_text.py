"""YAML as a configuration needs it: keys and values; what YAML allows beyond that is refused."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Refuses two equal keys, of which YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The keys and values of a mapping."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key.value[:60]}' stands there twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def parsed(text: str) -> Any:
    """The content of a YAML text. Raises yaml.YAMLError where it is none. It may hold itself."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise yaml.constructor.ConstructorError(problem="a value is not of the kind that it is said to be") from error
    except RecursionError:
        raise yaml.constructor.ConstructorError(problem="it is nested too deeply") from None
    finally:
        loader.dispose()
