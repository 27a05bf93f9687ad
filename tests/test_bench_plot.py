"""The benchmark's charts are well-formed, and their points stand where their figures say."""

from xml.etree import ElementTree

from bench.plot import HEIGHT, WIDTH, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def circles(svg: str) -> list[tuple[float, float]]:
    return [(float(one.get("cx")), float(one.get("cy"))) for one in ElementTree.fromstring(svg).iter(f"{SVG}circle")]


def test_a_chart_is_well_formed_whatever_its_words():
    svg = line_chart("a < b & c", "size <", 'ms "', {"line & line": [(10, 1.0), (1000, 3.0)]})
    assert ElementTree.fromstring(svg).tag == f"{SVG}svg"


def test_larger_sizes_stand_further_right_and_higher_costs_higher_up():
    places = circles(line_chart("t", "n", "ms", {"one": [(0, 0.0), (10, 2.0), (100, 1.0)]}))
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[1][1] < places[2][1] < places[0][1]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)


def test_sizes_are_on_a_logarithmic_axis():
    (first, _), (second, _), (third, _) = circles(
        line_chart("t", "n", "ms", {"one": [(1, 1.0), (10, 1.0), (100, 1.0)]})
    )
    assert abs((second - first) - (third - second)) < 0.2
