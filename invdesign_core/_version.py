"""The version of this core, which plugins may ask for."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("invdesign")
except PackageNotFoundError:  # running from a checkout that was never installed
    __version__ = "0+unknown"
