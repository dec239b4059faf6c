"""A click in a view: what is there, where it is in space, and what it is called."""

import math

import numpy as np
import pytest
import torch
from small_answers import BALLS, CENTERS, FOCAL, HEIGHT, WIDTH, open_with_words, write_lifted, write_scene

from gaussian_renderer import prepare_view
from query.objects.clicks import best_phrases, click, clicked_instance
from query.objects.finding import InstanceOptions, ObjectFinder
from scene.camera import Camera
from scene.gaussian_model import GaussianModel
from workspace import InputError


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    return open_with_words(write_lifted(folder / "model", write_scene(folder / "scene"))).session


def _pixel(camera, point):
    x, y, z = camera.world_to_camera[:3, :3] @ point + camera.world_to_camera[:3, 3]
    return int(camera.fx * x / z + camera.cx), int(camera.fy * y / z + camera.cy)


@pytest.mark.parametrize("ball", [0, 1, 2])
def test_a_click_on_a_ball_says_where_it_is_and_what_it_is(session, ball):
    camera, gaussians = session.scene.train[2], session.field.trained.gaussians
    clicked = click(camera, gaussians, *_pixel(camera, np.array(CENTERS[ball])))
    half_pixel = 5.2 / FOCAL  # world units that a pixel covers at the distance of the balls
    np.testing.assert_allclose(clicked.position, CENTERS[ball], atol=half_pixel)
    assert clicked.gaussians[0] == ball and clicked.alpha > 0.9
    question = session.question(BALLS)
    ranked = best_phrases(clicked, question, 2)
    assert ranked[0].phrase == BALLS[ball] and ranked[0].score > 0.9 and ranked[0].level == "s"
    assert len(ranked) == 2 and ranked[1].score < ranked[0].score
    options = InstanceOptions(neighbours=1, min_gaussians=1, threshold=0.95, grow=1.0)
    answer, number, instance = clicked_instance(clicked, ObjectFinder(session.field).find(question, options))
    assert (answer.phrase, number, instance.members.tolist()) == (BALLS[ball], 1, [ball])


def test_a_click_on_nothing_is_none_and_one_outside_is_refused(session):
    camera, gaussians = session.scene.train[0], session.field.trained.gaussians
    assert click(camera, gaussians, WIDTH // 2, HEIGHT // 2) is None
    with pytest.raises(InputError, match="outside the view of 160x120"):
        click(camera, gaussians, WIDTH, 3)


def test_a_click_between_instances_belongs_to_none(session):
    camera, gaussians = session.scene.train[2], session.field.trained.gaussians
    clicked = click(camera, gaussians, *_pixel(camera, np.array(CENTERS[0])))
    options = InstanceOptions(neighbours=1, min_gaussians=1, threshold=0.95, grow=1.0)
    others = ObjectFinder(session.field).find(session.question(BALLS[1:3]), options)
    assert clicked_instance(clicked, others) is None


def test_the_position_is_on_the_surface_behind_haze_and_in_front_of_what_is_hidden():
    camera = Camera("view", np.eye(4), 60.0, 60.0, 32.0, 24.0, 64, 48)
    means = np.float32([[0, 0, 1], [0, 0, 4], [0, 0, 9], [0, 0, -5]])  # haze, surface, hidden, behind the camera
    gaussians = GaussianModel.from_points(means, np.full((4, 3), 90, np.uint8))
    gaussians.log_scales[:] = torch.tensor([[0.05], [0.3], [3.0], [1.0]]).log().expand(-1, 3)
    gaussians.opacity_logits[:] = torch.logit(torch.tensor([0.2, 0.9, 0.9, 0.9]))[..., None].reshape(
        gaussians.opacity_logits.shape
    )
    for prepared in (None, prepare_view(camera, gaussians)):
        clicked = click(camera, gaussians, 31, 23, prepared)
        assert clicked.depth == pytest.approx(4.0)  # the mean depth of the three would be about 3.7
        np.testing.assert_allclose(clicked.position, [-0.5 / 60 * 4, -0.5 / 60 * 4, 4.0], atol=1e-6)
        assert clicked.gaussians[0] == 1
        assert clicked.weights.sum() == pytest.approx(clicked.alpha) and math.isclose(clicked.alpha, 0.99, abs_tol=0.01)
