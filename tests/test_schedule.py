import pytest

from training.schedule import Schedule


def test_published_schedule_densifies_resets_and_raises_when_the_paper_does():
    schedule = Schedule.of("published")
    densified = [i for i in range(1, schedule.iterations + 1) if schedule.densifies(i)]
    assert densified == list(range(600, 15_000, 100))
    assert [i for i in range(1, 30_001) if schedule.resets_opacities(i)] == [3_000, 6_000, 9_000, 12_000]
    white = [i for i in range(1, 30_001) if schedule.resets_opacities(i, white_background=True)]
    assert white == [500, 3_000, 6_000, 9_000, 12_000]
    assert not any(Schedule.of("fast").resets_opacities(i, white_background=True) for i in range(1, 1_501))
    assert [i for i in range(1, 4_000) if schedule.raises_sh_degree(i)] == [1_000, 2_000, 3_000]
    assert not schedule.prunes_large(3_000) and schedule.prunes_large(3_100)
    assert {schedule.divisor(i) for i in (1, 500, 30_000)} == {1}


def test_fewer_published_iterations_cut_the_recipe_short_instead_of_squeezing_it():
    assert Schedule.of("published", 7_000).position_lr_iterations == 30_000


def test_position_learning_rate_is_log_linear():
    schedule = Schedule.of("published")
    assert schedule.position_lr(0, 1.6e-4, 1.6e-6) == pytest.approx(1.6e-4)
    assert schedule.position_lr(15_000, 1.6e-4, 1.6e-6) == pytest.approx(1.6e-5)
    assert schedule.position_lr(40_000, 1.6e-4, 1.6e-6) == pytest.approx(1.6e-6)


@pytest.mark.parametrize("iterations", [0, 1, 10, 1_000])
def test_fast_schedule_fits_any_length(iterations):
    schedule = Schedule.of("fast", iterations)
    assert schedule.iterations == iterations
    assert schedule.densify_from <= schedule.densify_until <= iterations
    assert schedule.divisor(iterations) == 1 or iterations == 0
    assert schedule.position_lr(iterations, 1.0, 0.01) == pytest.approx(0.01)
