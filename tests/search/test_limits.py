import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbits.errors import FewbitsError
from fewbits.search.limits import SENSE, parse_limit


@pytest.mark.parametrize(
    ("text", "original", "bound"),
    [
        ("size<=16MiB", 0, 16 * 2**20),
        ("size <= 16 MB", 0, 16e6),
        ("size<=25%", 400, 100),
        ("memory<=-50%", 400, 200),
        ("ppl<=+2%", 20, 20.4),
        ("ppl<=14", 20, 14),
        ("accuracy>=-0.5pt", 0.8, 0.795),
        ("accuracy>=-1%", 0.8, 0.792),
        ("accuracy>=90%", 0.8, 0.9),
        ("accuracy>=0.9", 0.8, 0.9),
        ("top1>=-1pt", 1.0, 0.99),
        ("kl<=5e-2", 0, 0.05),
        ("bits<=4.25", 16, 4.25),
        ("decode_speed>=100", 80, 100),
        ("decode_speed>=+50%", 80, 120),
        ("latency<=20ms", 1, 0.02),
        ("latency<=-10%", 1, 0.9),
        ("size \u2264 16 MiB", 0, 16 * 2**20),
        ("accuracy\u2265\u22120.5pt", 0.8, 0.795),
        ("size<=16mib", 0, 16 * 2**20),
    ],
)
def test_the_bound_in_the_measures_own_unit(text: str, original: float, bound: float) -> None:
    assert parse_limit(text).bound(float(original)) == pytest.approx(bound)


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("size", "MEASURE<=VALUE"),
        ("speed>=3", "decode_speed"),
        ("size>=3MiB", "size<=3MiB"),
        ("kl>=0.1", "kl<=0.1"),
        ("accuracy<=0.9", "accuracy>=0.9"),
        ("accuracy==0.9", "accuracy>=0.9"),
        ("size<=3XB", "MiB"),
        ("latency<=3min", "ms"),
        ("decode_speed>=3x", "no unit 'x'"),
        ("kl<=+2%", "kl<=0.05"),
        ("kl<=-1pt", "accuracy and top1"),
        ("accuracy>=1pt", "sign"),
        ("ppl<=+2", "in % or pt"),
        ("accuracy>=90", "accuracy>=90%"),
        ("accuracy>=1", "accuracy>=100%"),
        ("accuracy>=0", "every plan"),
        ("accuracy>=0%", "every plan"),
        ("accuracy>=-100%", "every plan"),
        ("accuracy>=-100pt", "100 points"),
        ("decode_speed>=0", "every plan"),
        ("ppl<=2%", "'ppl<=+2%'"),
        ("loss<=2%", "'loss<=+2%'"),
        ("loss<=120%", "'loss<=+20%'"),
        ("ppl<=80%", "'ppl<=-20%'"),
        ("kl<=5%", "kl<=0.05"),
        ("bits<=25%", "no unit '%'"),
        ("size<=0", "no plan"),
        ("size<=0MiB", "no plan"),
        ("size<=-16MiB", "never negative"),
        ("size<=-100%", "no plan"),
        ("size<=-200%", "no plan"),
        ("size<=0%", "no plan"),
        ("kl<=0", "no plan"),
        ("ppl<=0.5", "at least 1"),
        ("ppl<=nan", "MEASURE<=VALUE"),
        ("ppl<=inf", "MEASURE<=VALUE"),
        ("ppl<=1e999", "no finite number"),
        ("size<=1e308GiB", "too large"),
        ("memory<=1e306kB", "too large"),
        ("accuracy>=101%", "no plan"),
        ("top1>=1e300%", "no plan"),
        ("size<=16Mb", "MiB"),
        ("size<=16kb", "MiB"),
        ("size=<16MiB", "size<=16MiB"),
        ("size<16MiB", "size<=16MiB"),
        ("size<=1 000", "MEASURE<=VALUE"),
        ("size<=1,5MiB", "MEASURE<=VALUE"),
        ("size<=16MiB size<=3MiB", "MEASURE<=VALUE"),
        ("SIZE<=16MiB", "MEASURE<=VALUE"),
        ("", "MEASURE<=VALUE"),
        ("size<=" + "9" * 500, "MEASURE<=VALUE"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused_with_what_would_do(text: str, helps: str) -> None:
    with pytest.raises(FewbitsError, match="limit") as refused:
        parse_limit(text)
    assert helps in str(refused.value) and "\n" not in str(refused.value)


@given(st.sampled_from(sorted(SENSE)), st.integers(1, 100))
def test_a_limit_prints_back_as_it_parses(name: str, number: int) -> None:
    text = f"{name}{SENSE[name]}{number}" + ("%" if name in ("accuracy", "top1") else "")
    assert str(parse_limit(text)) == text
