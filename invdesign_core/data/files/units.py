"""Which texts are units of measurement."""

from __future__ import annotations

import re

PREFIX = r"(?:da|[YZEPTGMkhdcmµμunpfazy])"
PREFIXED = (
    "m|g|s|A|K|mol|cd|Hz|N|Pa|J|W|C|V|F|Ω|Ω|[Oo]hms?|S|Wb|T|H|lm|lx|Bq|Gy|Sv|kat|rad|sr|l|L|eV|bar|t|M|P|St|cal|Da|"
    "px|Wh|Ah|VA|var|psi|B"
)
PLAIN = (
    r"°|°C|°F|degC|degF|deg|degrees?|[CFK]elsius|Celsius|Fahrenheit|Kelvin|mins?|minutes?|h|hrs?|hours?|d|days?|weeks?|"
    r"months?|yrs?|years?|a|secs?|seconds?|in|inch|inches|ft|yd|mi|mil|mils|lb|lbs|lbf|kip|kips|ksi|oz|gal|Btu|BTU|hp|"
    r"HP|PS|dB[mi]?|rpm|RPM|rev|cycles?|counts?|cts|atm|at|mmHg|Torr|torr|[Dd]a?N|Nm|kNm|Å|µ|μ|um|micron|phr|ppm|ppb|ppt|"
    r"a\.?u\.?|arb\. ?u\.?|wt|vol|at|pixels?|gr|gsm|acre|ha|knots?|kts?|mph|kph|USD|EUR|GBP|CHF|[$€£¥]"
)
SHARE = r"(?:wt|vol|mol|at|mass|Vol|Gew|Mol|Ma|m|w|v)?[.\-]{0,2} ?(?:%|‰|percent)(?: ?\(?[wv]/[wv]\)?)?"
POWER = r"(?:\^\(?[-−+]?\d(?:[./]\d)?\)?|[-−]\d|[2-4]|\*\*[-−]?\d|[⁻]?[²³¹⁰⁴⁵⁶])?"
FACTOR = rf"(?:(?:{PREFIX}?(?:{PREFIXED})|{PLAIN}|{SHARE}){POWER}|10\^?-?\d+|1)"
UNIT = re.compile(rf"\(?{FACTOR}\)?(?:(?: ?[/·⋅*×.] ?| )\(?{FACTOR}\)?)*")
BRACKETED = re.compile(r"\[(.*)\]|\((.*)\)|<(.*)>|\{(.*)\}")
NONE = ("", "-", "–", "—", "1", "none", "dimensionless", "unitless", "n/a", "nondim", "#")
"""What stands in place of a unit for numbers without one."""


def unit_of(text: str) -> str | None:
    """Return the unit that a text is, empty for none such as `[-]`; None where it is something else."""
    bracketed = BRACKETED.fullmatch(text)
    inside = next((group for group in bracketed.groups() if group is not None), "").strip() if bracketed else text
    if text.lower().rstrip(":") in ("unit", "units", "einheit", "einheiten", "unité", "unités"):
        return ""  # the name of the line itself
    if inside.lower() in NONE and (bracketed or inside in ("", "-", "–", "—")):
        return ""
    if bracketed and not re.fullmatch(r"[\d.,]+", inside):
        return inside
    return inside if UNIT.fullmatch(inside) and inside != "1" else None
