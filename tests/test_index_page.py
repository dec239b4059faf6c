"""The index page: every model with what it has, failed jobs, and nothing that text could break."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from evaluation.index_page import IndexConfig, write_index
from workspace import InputError, ModelFolder
from workspace.slugs import slug

EVIL = "mug</script><script>alert(1)</script>\"'&"


def write(path: Path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_model(root, field="lifted", phrase="red mug", miou=None):
    model = ModelFolder(root, field)
    write(model.point_clouds / "stage.json", {"complete": True})
    write(model.rgb_metrics, {"gaussians": 12345, "seconds": 90.0, "mean": {"test": {"psnr": 27.25, "ssim": 0.9}}})
    write(model.language / "stage.json", {"complete": True, "report": {"seconds": 30.0}})
    rows = [{"image": "view 1", "phrase": phrase, "score": 0.9}, {"image": "view 2", "phrase": phrase, "score": 0.2}]
    write(model.metrics, {"rows": rows} | ({} if miou is None else {"miou": miou, "localization_accuracy": 1.0}))
    model.report.write_text("report")
    picture = model.answer_picture("view 1", slug(phrase))
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (900, 600), (255, 0, 0)).save(picture)
    return model


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.scripts, self.text = [], [], 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.scripts += tag == "script"
        if tag == "a":
            self.links.append(unquote(values["href"]))
        if tag == "img":
            self.images.append((unquote(values["src"]), values["alt"]))

    def handle_data(self, data):
        self.text += data


def indexed(output, **settings):
    write_index(IndexConfig(output, **settings))
    return Page((output / "index.html").read_text(encoding="utf-8"))


def test_every_model_is_listed_with_figures_pictures_and_links_that_lead_somewhere(tmp_path):
    write_model(tmp_path / "kitchen" / "seed_0", miou=0.625)
    write_model(tmp_path / "office #2" / "seed_0", phrase="lamp")
    write(tmp_path / "hall" / "autoencoder" / "published" / "stage.json", {"complete": False})
    page = indexed(tmp_path)
    for said in (
        "kitchen/seed_0",
        "office #2/seed_0",
        "27.2 dB",
        "12,345 Gaussians",
        "mIoU 0.62",
        "2 min",
        "2of 3 models finished",
    ):
        assert said in page.text, said
    assert re.search(r"hall\s+in progress", page.text)
    assert {alt for _, alt in page.images} == {"red mug", "lamp"}
    for path in [*page.links, *(source for source, _ in page.images)]:
        assert (tmp_path / path).exists(), path
    assert "kitchen/seed_0/eval/lifted/report.html" in page.links
    with Image.open(tmp_path / page.images[0][0]) as thumbnail:
        assert max(thumbnail.size) == 360


def test_text_cannot_break_the_page(tmp_path):
    model = write_model(tmp_path / "a" / "seed_0", phrase=EVIL)
    write(model.objects / "objects.json", {})
    write(tmp_path / "workflow" / "failures.json", [{"job": EVIL, "reason": EVIL, "log": "workflow/a.log"}])
    page = indexed(tmp_path)
    assert page.scripts == 0
    assert page.images == [("thumbnails/a__seed_0.0.jpg", EVIL)]
    assert page.text.count(EVIL) == 2, "the failed job and its reason, as they are"


def test_a_damaged_file_is_named_and_hides_nothing_else(tmp_path):
    write_model(tmp_path / "good")
    write_model(tmp_path / "bad").metrics.write_text('{"rows": [')
    page = indexed(tmp_path)
    assert "bad/eval/lifted/metrics.json is not valid JSON" in page.text
    assert len(page.images) == 1 and "good" in page.text


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        ("metrics", {"rows": None}, "metrics.json is damaged at rows: expected array"),
        ("metrics", [], "metrics.json is damaged: expected object"),
        ("rgb_metrics", {"mean": 3}, "metrics.json is damaged at mean: expected object"),
        ("language_record", {"complete": True, "report": 3}, "stage.json is damaged at report: expected object"),
    ],
)
def test_a_file_of_another_shape_is_named_and_hides_nothing_else(tmp_path, place, content, said):
    write_model(tmp_path / "good")
    model = write_model(tmp_path / "bad")
    write(model.language / "stage.json" if place == "language_record" else getattr(model, place), content)
    page = indexed(tmp_path)
    assert said in page.text and "2 models" in page.text and "good/eval/lifted/report.html" in page.links


def test_a_new_answer_gets_a_new_picture(tmp_path):
    model = write_model(tmp_path / "a")
    indexed(tmp_path)
    picture = model.answer_picture("view 1", "red_mug")
    Image.new("RGB", (600, 900), (0, 0, 255)).save(picture)
    os.utime(picture, (2**31, 2**31))
    page = indexed(tmp_path)
    with Image.open(tmp_path / page.images[0][0]) as thumbnail:
        assert thumbnail.size == (240, 360) and thumbnail.getpixel((5, 5))[2] > 200


def test_a_young_page_is_left_alone_when_asked(tmp_path):
    indexed(tmp_path)
    write_model(tmp_path / "a")
    assert "1 models" not in indexed(tmp_path, every=3600).text
    assert "0of 0 models" in indexed(tmp_path, every=3600).text
    assert "1of 1 models" in indexed(tmp_path).text


def test_the_time_of_a_workflow_is_that_of_its_jobs(tmp_path):
    write_model(tmp_path / "a" / "seed_0")
    jobs = tmp_path / "workflow" / "a" / "seed_0"
    jobs.mkdir(parents=True)
    (jobs / "gaussians.tsv").write_text("s\th:m:s\tmax_rss\n7000.0\t1:56:40\t900\n")
    (jobs.parent / "preprocess.tsv").write_text("s\th:m:s\tmax_rss\n200.0\t0:03:20\t900\n")
    assert "2.0 h" in indexed(tmp_path).text


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="No folder"):
        write_index(IndexConfig(tmp_path / "missing"))
