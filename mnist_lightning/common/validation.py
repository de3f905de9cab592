"""Checks of configuration values."""


class InvalidValueError(ValueError):
    """A configuration value is not allowed.

    Args:
        name: the value's key.
        value: the value itself.
        expected: what is allowed, completing "it must be …".
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name} is {value!r}; it must be {expected}")
        self.name, self.value, self.expected = name, value, expected


def check_between(name: str, value: float, high: float) -> None:
    """Raise InvalidValueError unless `value` is in [0, high]."""
    if not 0 <= value <= high:
        raise InvalidValueError(name, value, f"from 0 to {high:g}")


def check_fraction(name: str, value: float) -> None:
    """Raise InvalidValueError unless `value` is in [0, 1)."""
    if not 0 <= value < 1:
        raise InvalidValueError(name, value, "at least 0 and less than 1")
