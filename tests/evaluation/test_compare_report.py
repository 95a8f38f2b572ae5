"""``jambatalk compare``: the page explains its numbers, and its pictures show what they claim."""

from __future__ import annotations

import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from jambatalk.cli.main import app
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.evaluation.dataset import find_regions, load_test_set
from jambatalk.evaluation.metrics import METRICS
from jambatalk.evaluation.metrics.base import Unit
from jambatalk.evaluation.report import page as page_module
from jambatalk.evaluation.report import page as sections
from jambatalk.evaluation.report.collect import ReportSystem, open_report_system
from jambatalk.evaluation.report.figures import (
    BOTTOM,
    CLASSES,
    CURVES_TOP,
    LEFT,
    RIGHT,
    WIDTH,
    FrontView,
    MotionMap,
    Scale,
    SpokenClip,
    colour_table,
    figure,
    nice_step,
    score_classes,
    shared_scale,
)
from jambatalk.evaluation.report.page import write_report
from jambatalk.evaluation.report.table import FEW, UNCLEAR, WORSE, make_head, make_table
from jambatalk.evaluation.statistics import bootstrap_interval, compare_paired
from jambatalk.evaluation.tables import Protocol, Published
from jambatalk.text.phones import Timed
from tiny_talk import FRAMES, LOWER, VERTICES, mask, write_predictions, write_talk

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
from PIL import Image  # matplotlib brings it


class Tables(HTMLParser):
    """The tables of class "results": for each, the metrics of its columns and system -> data-value
    of each cell.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[list[str], dict[str, list[str]]]] = []
        self.addresses: list[str] = []
        self._in_head = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.addresses += [
            values[name] or "" for name in ("src", "href", "poster", "action") if name in values
        ]
        if tag == "table":
            self._inside = values.get("class") == "results"
            if self._inside:
                self.found.append(([], {}))
        elif tag == "th" and self._inside:
            if "data-metric" in values:
                self.found[-1][0].append(str(values["data-metric"]))
            self._in_head = values.get("scope") == "row"
        elif tag == "td" and self._inside and "data-value" in values:
            self.found[-1][1][self._system].append(str(values["data-value"]))

    def handle_data(self, data: str) -> None:
        if self._in_head:
            self._system, self._in_head = data, False
            self.found[-1][1][data] = []


class Made:
    """A corpus, predictions in folders, and the page made of them."""

    def __init__(self, folder: Path) -> None:
        self.corpus = folder / "talk"
        self.truth = write_talk(self.corpus)
        self.good = write_predictions(folder / "good", self.truth, gain=0.95, noise=0.01)
        self.again = write_predictions(folder / "again!", self.truth, gain=0.9, noise=0.01)
        self.timid = write_predictions(folder / "timid", self.truth, gain=0.4, late=1)
        self.set = load_test_set(self.corpus)
        self.page = folder / "out" / "report.html"
        self.systems = self.write(self.page, f"two={self.good},{self.again}", str(self.timid))

    def write(self, path: Path, *specs: str, **options) -> list[ReportSystem]:
        systems = [open_report_system(spec, self.set) for spec in specs]
        return write_report(
            systems, self.set, find_regions(self.set), path, **{"videos": 0, **options}
        )

    def system(self, name: str) -> ReportSystem:
        return next(system for system in self.systems if system.name == name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("compare"))


def test_the_page_holds_the_numbers_of_evaluate(made: Made) -> None:
    text = made.page.read_text(encoding="utf-8")
    (metrics, rows), *others = Tables(text).found
    assert not others
    assert list(rows) == ["two", "timid", "truth", "static", "mean"]
    for name, values in rows.items():
        for metric, value in zip(metrics, values):
            scored = made.system(name).scored["test"]
            expected = np.mean([one.totals[metric] for one in scored])
            assert (value == "") == bool(np.isnan(expected)), (name, metric)
            if value:
                assert float(value) == pytest.approx(expected), (name, metric)
    assert len(made.system("two").scored["test"]) == 2
    assert float(rows["truth"][metrics.index("LVE_mm")]) == 0
    # The lower lip of the timid face is 60 % of the way off, and a frame late.
    assert float(rows["timid"][metrics.index("LVE_mm")]) > 3 * float(
        rows["two"][metrics.index("LVE_mm")]
    )


def test_nothing_is_loaded_from_elsewhere(made: Made) -> None:
    text = made.page.read_text(encoding="utf-8")
    addresses = Tables(text).addresses
    assert any(address.startswith("data:image/png") for address in addresses)
    assert [a for a in addresses if not a.startswith(("data:", "#"))] == []
    outside = re.sub(r"data:[^\"]*", "", text)
    assert re.findall(r"(?:https?:)?//[a-z]", outside) == []
    assert "default-src 'none'" in text
    assert '<html lang="en">' in text
    assert len(re.findall("<h1", text)) == 1
    assert "<img" in text
    assert re.findall(r"<img (?![^>]*alt=\"[^\"])", text) == []


def test_the_protocol_is_told(made: Made) -> None:
    text = made.page.read_text(encoding="utf-8")
    for part in (
        made.set.data_hash,
        find_regions(made.set).hash,
        "centimetres",
        "7 clips",
        "2 speakers",
        "speaker",
    ):
        assert part in text
    assert "none of the" in text  # published numbers


def test_the_same_input_gives_the_same_file(made: Made, tmp_path: Path) -> None:
    made.write(tmp_path / "once.html", str(made.timid), command="as typed <b>")
    made.write(tmp_path / "twice.html", str(made.timid), command="as typed <b>")
    assert (tmp_path / "once.html").read_bytes() == (tmp_path / "twice.html").read_bytes()
    text = (tmp_path / "once.html").read_text(encoding="utf-8")
    assert "as typed &lt;b&gt;" in text
    assert "None" not in re.sub(r"<(script|style).*?</\1>|data:[^\"]*", "", text, flags=re.S)


def test_differences_are_judged_against_the_reference(made: Made) -> None:
    table = make_table(made.systems, "test", made.set.clips, "two")
    metrics = [column.metric for column in table.columns]
    order = [metric.full_name(Unit(made.set.unit)) for metric in METRICS]
    assert metrics == sorted(metrics, key=order.index)
    rows = {row.system: dict(zip(metrics, row.cells)) for row in table.rows}
    cell = rows["timid"]["LVE_mm"]
    values = (
        made.system("timid").values("test", "LVE_mm"),
        made.system("two").values("test", "LVE_mm"),
    )
    weights = np.full(7, float(FRAMES))
    assert cell.difference == compare_paired(
        *values, list(range(7)), weights=weights
    )  # one comparison: Holm changes nothing
    assert cell.verdict == WORSE
    assert cell.interval == bootstrap_interval(values[0], list(range(7)), weights=weights)
    assert rows["two"]["LVE_mm"].best
    assert not cell.best
    assert rows["two"]["LVE_mm"].deviation == pytest.approx(np.std(values[1].mean(1), ddof=1))
    # Correlations are better when high: the late face is worse although its number is lower.
    assert rows["timid"]["opening_correlation"].verdict == WORSE
    assert rows["timid"]["opening_correlation"].value < rows["two"]["opening_correlation"].value
    assert all(
        cell.verdict == "" and not cell.best
        for name in ("truth", "static", "mean")
        for cell in rows[name].values()
    )
    same = make_table([made.system("timid"), made.system("two")], "test", made.set.clips, "timid")
    assert same.rows[0].reference
    assert all(cell.verdict == "" for cell in same.rows[0].cells)


def test_a_system_against_itself_shows_no_difference_and_five_clips_show_none(
    made: Made, tmp_path: Path
) -> None:
    twin = open_report_system(f"twin={made.timid}", made.set)
    regions = find_regions(made.set)
    systems = write_report(
        [open_report_system(str(made.timid), made.set), twin],
        made.set,
        regions,
        tmp_path / "r.html",
        videos=0,
    )
    table = make_table(systems, "test", made.set.clips, "timid")
    judged = {cell.verdict for row in table.rows for cell in row.cells if row.system == "twin"}
    assert judged <= {UNCLEAR, ""}
    small = tmp_path / "small"
    truth = write_talk(small, test_clips=5, phones=False)
    few = load_test_set(small)
    one, other = (
        write_predictions(tmp_path / name, truth, gain)
        for name, gain in (("one", 0.9), ("other", 0.2))
    )
    systems = write_report(
        [open_report_system(str(p), few) for p in (one, other)],
        few,
        find_regions(few),
        tmp_path / "s.html",
        videos=0,
    )
    table = make_table(systems, "test", few.clips, "one")
    row = next(row for row in table.rows if row.system == "other")
    assert {cell.verdict for cell in row.cells} <= {FEW, ""}
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "5 clips are too few for any test" in text
    assert "tell no phones" in text


def test_published_numbers_stand_beside_ours_only_where_they_agree(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Protocol("talk", "speaker", "test", "centimetres", "regions.json", "somebody's")
    one = Published("TheirSystem", "LVE_mm", 1.25, protocol)
    monkeypatch.setattr(sections, "published_beside", lambda head: [one])
    made.write(tmp_path / "r.html", str(made.timid))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.search(r"TheirSystem</th><td>LVE_mm</td><td>1\.25</td><td>somebody.*s table", text)
    assert "none of the" not in text


def test_the_maps_show_where_it_is_wrong() -> None:
    rest = np.zeros((4, 3, 3))
    moved = rest.copy()
    moved[:, 0, 1] = 2.0
    moved[::2, 2, 0] = 6.0  # 6, 0, 6, 0: mean 3, deviation 3
    found = MotionMap(3)
    found.add(rest, moved)
    found.add(rest[:2], rest[:2])
    assert found.error == pytest.approx([4 * 2 / 6, 0, 12 / 6])
    assert found.moved == pytest.approx([0, 0, np.sqrt(9 / 2)])

    template, triangles = mask()
    values = np.zeros(VERTICES)
    values[LOWER] = 1.0
    scale = Scale(1.0, (0.0, 1.0), ())
    image = np.asarray(
        Image.open(io.BytesIO(FrontView(template, triangles, 120).paint(values, scale)))
    )
    assert image.shape == (120, 120, 4)
    assert image[0, 0, 3] == 0  # the ground
    shown = image[:, :, 3] == 255
    dull = np.abs(image[:, :, :3] / 255 - colour_table()[0]).sum(2) < 0.3
    bright = (image[:, :, 1] > 150) & shown
    assert bright.any()
    assert (dull & shown).sum() > 0.9 * shown.sum()
    rows, columns = np.nonzero(bright)
    assert abs(columns.mean() - 60) < 3  # in the middle of the face
    assert rows.mean() > 62  # below it: row 0 is the top


def test_one_scale_for_all_maps() -> None:
    scale = shared_scale([np.array([0.0, 1.0]), np.full(1000, 2.3)])
    assert scale.top == pytest.approx(2.3)
    assert scale.ticks == (0, 0.5, 1, 1.5, 2)
    assert len(scale.colours) == 16
    assert shared_scale([np.zeros(5)]).top == 1
    assert [nice_step(v) for v in (0.9, 1.0, 1.1, 0.03, 70, 0)] == pytest.approx(
        [1, 1, 2, 0.05, 100, 1]
    )


def test_closure_by_class_of_phones() -> None:
    """A mouth at 10 that shuts in /b/, half shuts in /f/, and one that never moves."""
    fps = 100.0
    true = np.full(200, 10.0)
    true[20:31], true[60:71] = 0.0, 4.0
    phones = [
        Timed("b", 0.2, 0.3),
        Timed("f", 0.6, 0.7),
        Timed("ɑ", 1.0, 1.3),
        Timed("a", 1.5, 1.52),
    ]
    clip = SpokenClip(
        "c", "s", fps, np.r_[np.zeros(30), true], [Timed(p, a + 0.3, b + 0.3) for p, a, b in phones]
    )
    own = score_classes([clip], {"c": clip.true})
    assert (own["lips meet"].count, own["lips meet"].opening, own["lips meet"].closed) == (
        1,
        0.0,
        1.0,
    )
    assert (own["lip on teeth"].opening, own["lip on teeth"].closed) == (4.0, 0.0)
    assert (own["open vowels"].count, own["open vowels"].closed) == (
        1,
        0.0,
    )  # 20 ms are too short to tell
    assert own["rounded"].count == 0
    still = score_classes([clip], {"c": np.full(230, 3.0)})
    assert (still["lips meet"].opening, still["lips meet"].closed) == (3.0, 0.0)
    low = score_classes([clip], {"c": np.full(230, 1.9)})  # 20 % of the way from 0 to 10 is 2
    assert low["open vowels"].closed == low["lips meet"].closed == 1.0
    assert not set(CLASSES["rounded"]) & set(CLASSES["open vowels"])


def test_curves_are_drawn_where_they_belong() -> None:
    truth = np.array([0.0, 5.0, 10.0, 0.0])
    svg = figure(
        "a <clip>",
        truth,
        {"s0": truth / 2},
        2.0,
        np.zeros(32000, np.float32),
        "mm",
        [Timed("hi<", 0.0, 1.0)],
    )
    assert "a &lt;clip&gt;" in svg
    assert "hi&lt;" in svg
    path = re.search(r'class="curve truth" d="M([^"]*)"', svg)
    assert path is not None
    points = np.array([[float(v) for v in point.split()] for point in path.group(1).split("L")])
    assert points[:, 0] == pytest.approx(
        LEFT + (WIDTH - LEFT - RIGHT) * np.array([0, 0.25, 0.5, 0.75]), abs=0.06
    )
    assert points[0, 1] == BOTTOM
    assert CURVES_TOP < points[2, 1] < points[1, 1] < BOTTOM
    assert points[1, 1] - BOTTOM == pytest.approx((points[2, 1] - BOTTOM) / 2, abs=0.06)


def test_every_metric_has_its_words(made: Made) -> None:
    for metric in made.system("two").scored["test"][0].totals:
        assert make_head(metric).meaning, metric
    for name, title, unit in (
        ("LVE_cm2", "LVE, squared", "cm²"),
        ("LVE_mm", "LVE", "mm"),
        ("absFDD_m2", "|FDD|", "m²"),
        ("opening_correlation", "opening r", ""),
        ("unknown_metric", "unknown_metric", ""),
    ):
        assert (make_head(name).title, make_head(name).unit) == (title, unit)


def test_a_report_is_written_whole_or_not_at_all(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.html"
    out.write_text("before")

    def fail(*_, **__):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(page_module, "split_section", fail)
    with pytest.raises(RuntimeError):
        made.write(out, str(made.timid))
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert out.read_text() == "before"


def test_what_cannot_be_compared_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no system is called 'x': choose the reference from timid"
    ):
        made.write(tmp_path / "r.html", str(made.timid), reference="x")
    with pytest.raises(InputError, match="two systems are called timid"):
        made.write(tmp_path / "r.html", str(made.timid), str(made.timid))
    with pytest.raises(InputError, match="nothing between two commas"):
        open_report_system(f"a={made.timid},", made.set)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("absent", ["jinja2", "scipy.stats", "matplotlib.image"])
def test_a_missing_extra_is_named(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=re.escape('pip install "jambatalk[evaluate]"')):
        made.write(tmp_path / "r.html", str(made.timid))


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_command_writes_the_page(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = _run(
        f"shy <b>={made.timid}",
        made.good,
        made.corpus,
        "--reference",
        "good",
        "--videos",
        0,
        "-o",
        out,
    )
    assert done.exit_code == 0, done.stderr
    assert str(out) in done.stdout
    text = out.read_text(encoding="utf-8")
    assert "shy &lt;b&gt;" in text
    assert "shy <b>" not in text
    assert "--reference good" in text
    for arguments, told in (
        ((made.timid,), "expected at least one model and, last, the folder"),
        ((made.timid, made.corpus, "-o", tmp_path / "r.pdf"), "ending in .html"),
        ((made.timid, made.corpus, "--split", "x", "-o", out), "no split 'x'"),
    ):
        refused = _run(*arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: ")
        assert told in refused.stderr
