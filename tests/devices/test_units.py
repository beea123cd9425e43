import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import SPICE_SUFFIX_EXPONENT, Quantity, format_si, parse_spice_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("308p", 308e-12),
        ("25u", 25e-6),
        ("10meg", 1e7),
        ("10MEG", 1e7),
        ("10M", 10e-3),  # SPICE: M is milli
        ("1e-9", 1e-9),
        ("1.5e3k", 1.5e6),
        ("-.5n", -0.5e-9),
        ("2.5 V", 2.5),
        ("308pA", 308e-12),
        (0.15, 0.15),
    ],
)
def test_numbers_read_as_spice_reads_them(text, value):
    assert parse_spice_number(text) == value


@pytest.mark.parametrize("text", ["", "abc", "1x", "1e", "308 p A", "nan", "inf", "1,5", "--1"])
def test_anything_else_is_refused_with_the_text(text):
    with pytest.raises(InputError, match="is not a"):
        parse_spice_number(text)


@pytest.mark.parametrize(
    ("text", "value", "unit"), [("2.4", 2.4, ""), ("15f", 15e-15, ""), ("10nm", 10e-9, "m"), ("2.5 V", 2.5, "V")]
)
def test_a_quantity_keeps_the_unit_it_was_written_with(text, value, unit):
    found = Quantity.parse(text)
    assert (found, found.unit) == (value, unit)


@pytest.mark.parametrize(("text", "said"), [("2.4A", "atto"), ("15F", "femto")])
def test_a_capital_unit_that_spice_takes_for_a_prefix_is_refused(text, said):
    with pytest.raises(InputError, match=f"'{text}' is {said} in SPICE"):
        Quantity.parse(text)


@given(st.floats(min_value=-999, max_value=999, allow_nan=False), st.sampled_from(sorted(SPICE_SUFFIX_EXPONENT)))
def test_a_suffix_is_a_power_of_ten(mantissa, suffix):
    value = parse_spice_number(f"{mantissa:.6f}{suffix}")
    assert value == float(f"{mantissa:.6f}e{SPICE_SUFFIX_EXPONENT[suffix]}")


@given(st.floats(min_value=1e-17, max_value=1e12))
def test_printed_numbers_lie_within_their_digits_of_the_value(value):
    text = format_si(value, digits=6).replace("µ", "u").replace("M", "meg")
    assert math.isclose(parse_spice_number(text), value, rel_tol=1e-5)
