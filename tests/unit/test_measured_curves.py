"""CSV files of instruments: what they write, and what nobody should be able to do with one."""

import numpy as np
import pytest

from ps3d_core.errors import InputError
from ps3d_core.granulometry.agreement import comparison
from ps3d_core.granulometry.curve import Ranking
from ps3d_core.granulometry.measured import MOST_BYTES, decoded, measured_curve
from ps3d_core.size_params import MeasuredCurve

SIZES = (0.063, 0.125, 0.25, 0.5)
PASSING = (0.01, 0.2, 0.9, 1.0)
FILES = {
    "plain": "size_um,passing_percent\n63,1\n125,20\n250,90\n500,100\n",
    "fractions in mm": "aperture mm,passing\n0.063,0.01\n0.125,0.2\n0.25,0.9\n0.5,1.0\n",
    "German": "Probe;Sand 1\nBediener;Müller\nMaschenweite [µm];Durchgang [%]\n63;1,0\n125;20,0\n250;90\n500;100\n",
    "German, Greek mu": "Korngröße [μm];Durchgang [%]\n63;1,0\n125;20,0\n250;90\n500;100\n",
    "units in a line of their own": "x;Q3\n[mm];[%]\n0,063;1\n0,125;20\n0,25;90\n0,5;100\n",
    "coarse first": "size um\tpassing %\n500\t100\n250\t90\n125\t20\n63\t1\n",
    "blanks and decimal commas": "size mm  passing %\n0,063 1,0\n0,125 20,0\n0,25 90,0\n0,5 100\n",
    "percent signs": "size (um);finer\n63;1 %\n125;20 %\n250;90%\n500;100%\n",
    "retained in all": "Size (mm)\tCumulative retained (%)\n0.063\t99\n0.125\t80\n0.25\t10\n0.5\t0\n",
    "Rückstand": "Siebweite mm;Rückstand %\n0,063;99\n0,125;80\n0,25;10\n0,5;0\n",
    "masses on sieves": "Sieve aperture (mm);Retained (g)\n0.5;0\n0.25;10\n0.125;70\n0.063;19\npan;1\n",
    "the pan first": "Sieve aperture (mm);Retained (g)\npan;1\n0.063;19\n0.125;70\n0.25;10\n0.5;0\n",
    "the pan first, as a class": "Siebweite mm;Masse g\n<0,063;1\n0,063;19\n0,125;70\n0,25;10\n0,5;0\n",
    "remarks between rows": "# today\nsize um;passing %\n63;1\n# a break\n125;20\n250;90\n500;100\n",
    "classes and their curve": "x [um];p3 [%];Q3 [%]\n63;1;1\n125;19;20\n250;70;90\n500;10;100\n",
    "quoted": '"Size, um","Passing, %"\n"63","1"\n"125","20"\n"250","90"\n"500","100"\n',
    "empty lines and columns": "size um;passing %;\n63;1;\n\n125;20;\n250;90;\n500;100;\n;;\n",
}


@pytest.mark.parametrize("name", FILES)
def test_files_as_instruments_write_them(name):
    curve = measured_curve(FILES[name], name)
    assert curve.size_mm == pytest.approx(SIZES)
    assert curve.passing == pytest.approx(PASSING)


def test_what_the_header_does_not_say_can_be_said():
    text = "63,99\n125,80\n250,10\n500,0\n"
    with pytest.raises(InputError, match="does not say whether sizes are um or mm"):
        measured_curve(text, "bare.csv")
    with pytest.raises(InputError, match=r"bare\.csv: passing falls from 99 % to 80 % at 0\.125 mm"):
        measured_curve(text, "bare.csv", unit="um")
    assert measured_curve(text, "bare.csv", unit="um", kind="retained").passing == pytest.approx(PASSING)
    parts = "63,19\n125,70\n250,10\n500,0\n0,1\n"
    assert measured_curve(parts, "bare.csv", unit="um", kind="class").passing == pytest.approx(PASSING)


@pytest.mark.parametrize("text", ["size mm,passing\n1,0.1%\n2,0.5%\n", "size mm,passing in percent\n1,0.1\n2,0.5\n"])
def test_percents_below_one_are_percents(text):
    assert measured_curve(text, "fine.csv").passing == pytest.approx((0.001, 0.005))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings_of_instruments(encoding):
    content = FILES["German"].encode(encoding)
    assert measured_curve(decoded(content, "a.csv"), "a.csv").passing == pytest.approx(PASSING)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line with two numbers"),
        ("size um;passing\n", "no line with two numbers"),
        ("size um;passing\n63;5\n", "1 points"),
        ("size um;passing\n63;50\n125;40\n", "never falls"),
        ("size um;passing\n63;50\nfoo;60\n", "line 3: 'foo;60' has not two numbers"),
        ("size um;passing\n63;1.000,5\n125;60\n", "line 2: '63;1.000,5' has not two numbers"),
        ("size um;passing %\n63;5\n125;160\n", "must be at most 100"),
        ("size um;passing\n63;5\n63;60\n", "size 0.063 mm after 0.063 mm"),
        ("size um;passing\n-63;5\n63;60\n", "size -63; must be at least 0"),
        ("size um;passing\n63;-5\n125;60\n", "share -5; must be at least 0"),
        ("size um;passing\n63;nan\n125;60\n", "has not two numbers"),
        ("size um;passing\n1e300;5\n1e301;60\n", "must be at most 1e+06"),
        ("size um;retained g\n63;0\n125;0\n", "all shares are 0"),
        ("size um;passing\n" + "".join(f"{k};{k / 100}\n" for k in range(1, 2100)), "a curve has at most 2000"),
        ("size um;passing\n" + "1;1\n" * 20000, "lines; a curve has at most"),
        ("cum" * 200000 + "\n1;1\n", "characters; a line has at most"),
        ("size um,passing %\n63,10,5\n125,55,5\n250,100\n", "line 2: 3 columns under a header of 2"),
        ("size um;retained g\n2,500;5\n630;20.1\n", "decimal points and with commas"),
        ("size um;retained g\n2.500;5\n1.250;9\n630;20\n315;1\n", "size 0.63 mm after 0.00125 mm; sizes must rise"),
        ("size mm;retained g\n>0.5;5\n0.5;20\n0.25;1\n", "line 2: '>0.5;5' has not two numbers"),
        ("size mm;p3 %\n0.063-0.125;45\n0.125-0.25;55\n", "line 2: '0.063-0.125;45' has not two numbers"),
        ("=cmd|' /C calc'!A0;x um\n1;1\n2;x\n", "has not two numbers"),
    ],
)
def test_what_is_no_curve_is_refused_in_one_line(text, message):
    with pytest.raises(InputError) as refused:
        measured_curve(text, "evil.csv")
    said = "; ".join(map(str, refused.value.args))
    assert said.startswith("evil.csv")
    assert message in said
    assert "\n" not in said
    assert len(said) < 300


def test_a_file_is_bounded_and_text():
    with pytest.raises(InputError, match="at most"):
        decoded(b"1;1\n" * MOST_BYTES, "large.csv")
    with pytest.raises(InputError, match="no text"):
        decoded(b"PK\x03\x04\x00\x00", "table.xlsx")


def test_the_name_of_a_file_is_made_harmless():
    assert measured_curve(FILES["plain"], "a\x1b[31m.csv").name == r"a\x1b[31m.csv"


def test_distances_of_curves_that_lie_a_factor_apart():
    ranking = Ranking.of(0.1 * 10 ** ((0.5 + np.arange(1000)) / 1000))
    curve = ranking.curve(ranking.ranked(None))
    # Even in the logarithm from 0.2 to 2 mm: the same curve, twice as coarse.
    found = comparison(curve, MeasuredCurve(name="m", size_mm=(0.2, 2.0), passing=(0.0, 1.0)), "number")
    assert found.percentiles["D50"] == pytest.approx((0.2 * 10**0.5, 0.1 * 10**0.5), rel=2e-3)
    assert found.distance == pytest.approx(0.30103, abs=2e-3)
    assert found.distance_at_mm == 0.2
    # 0.301 wide over 0.699 decades, then falling to 0 over the rest.
    assert found.area == pytest.approx(0.30103 * 0.69897 + 0.30103**2 / 2, abs=2e-3)
    assert found.shift == pytest.approx(found.area)


def test_a_percentile_that_the_measured_curve_does_not_reach_is_none():
    ranking = Ranking.of(np.linspace(0.1, 1, 50))
    curve = ranking.curve(ranking.ranked(None))
    found = comparison(curve, MeasuredCurve(name="m", size_mm=(0.3, 0.5), passing=(0.2, 0.7)), "number")
    assert found.percentiles["D10"][0] is None
    assert found.percentiles["D90"][0] is None
    assert found.percentiles["D50"][0] == pytest.approx(0.3 * (5 / 3) ** 0.6)
