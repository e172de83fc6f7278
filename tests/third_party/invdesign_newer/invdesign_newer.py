"""Uses what the installed version of the core doesn't have."""

from invdesign_core.plugin import of_a_later_version  # noqa: F401
