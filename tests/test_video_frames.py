"""Frames of a video: the sharp ones, spread over its length."""

import cv2
import numpy as np
import pytest
from corner_room import picture, pose

from conversion.video_frames import extract_frames, sharpness
from workspace import InputError

BLURRED = {0, 1, 3, 4, 6, 7, 9, 10}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for i in range(12):
        frame = picture(pose(i, 12), 160, 120, 150)[..., ::-1]
        writer.write(cv2.GaussianBlur(frame, (0, 0), 3) if i in BLURRED else np.ascontiguousarray(frame))
    writer.release()
    return path


def test_the_sharpest_frame_of_each_stretch(video, tmp_path):
    assert extract_frames(video, tmp_path, 4) == [f"frame_{i:06d}.jpg" for i in (2, 5, 8, 11)]
    image = cv2.imread(str(tmp_path / "frame_000005.jpg")).astype(float)
    differences = [np.abs(image - picture(pose(i, 12), 160, 120, 150)[..., ::-1]).mean() for i in range(12)]
    assert np.argmin(differences) == 5  # the right one, RGB the right way round


def test_a_short_video_gives_every_frame(video, tmp_path):
    assert len(extract_frames(video, tmp_path, 100)) == 12


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(InputError, match="not a video"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "out", 10)


def test_blur_lowers_sharpness():
    image = picture(pose(0, 2), 160, 120, 150)
    assert sharpness(image) > 2 * sharpness(cv2.GaussianBlur(image, (0, 0), 1.5))
