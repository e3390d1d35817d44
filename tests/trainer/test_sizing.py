"""How the size of an autoencoder is choice."""

from __future__ import annotations

import numpy as np

from services.trainer.sae import sizing
from services.trainer.sae.config import Goal
from services.trainer.sae.vectors import Vectors

DIMENSION = 32


def planted(rows: int, directions: int, seed: int = 3) -> Vectors:
    """Vectors that are sums of four of so many directions."""
    rng = np.random.default_rng(seed)
    units = rng.standard_normal((directions, DIMENSION))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    members = np.argsort(rng.random((rows, directions)), axis=1)[:, :4]
    return Vectors((units[members] * (1 + rng.random((rows, 4, 1)))).sum(axis=1).astype(np.float32))


def test_structure_that_another_seed_finds_again_gets_latents_and_noise_does_not() -> None:
    structured = sizing.choose(planted(4000, 48), goal="interpretable", settings={"k": 4}, cores=1)
    choice = structured.pilots[-1]
    assert choice.latent_count == structured.latent_count
    assert choice.reproduced_share >= sizing.MIN_REPRODUCED_SHARE and choice.ratio <= sizing.MAX_RATIO
    assert structured.reason.startswith("The largest size whose features hold")

    rng = np.random.default_rng(5)
    noise = Vectors(rng.standard_normal((1500, DIMENSION)).astype(np.float32))
    none = sizing.choose(noise, goal="interpretable", settings={}, cores=1)
    assert len(none.pilots) > 1
    assert none.reason.startswith("No size holds well")


def test_the_choice_is_the_same_each_time_and_comes_back_from_json() -> None:
    first, second = (sizing.choose(planted(1000, 24), goal="faithful", settings={}, cores=1) for _ in range(2))
    assert first == second
    assert sizing.Sizing.from_dict(first.to_dict()) == first
    assert first.latent_count == min(first.pilots, key=lambda pilot: pilot.held_out_fvu).latent_count


def test_what_is_set_explicitly_is_kept() -> None:
    settings = {"latent_count": 50, "k": 3, "epochs": 7}
    assert sizing.choose(planted(600, 24), goal="interpretable", settings=settings, cores=1).settings == settings
    by_expansion = sizing.choose(planted(600, 24), goal="faithful", settings={"expansion": 2}, cores=1)
    assert by_expansion.latent_count == 2 * DIMENSION


def test_k_is_at_most_the_number_of_latents_that_was_asked_for() -> None:
    choice = sizing.choose(planted(600, 24), goal="faithful", settings={"latent_count": 5}, cores=1)
    assert (choice.latent_count, choice.k) == (5, 5)


def test_few_rows_get_a_size_too_whose_latents_are_active_in_few_of_them() -> None:
    for rows in (2, 20, 240, 2000):
        choice = sizing.choose(planted(rows, 24), goal="interpretable", settings={}, cores=1)
        assert 1 <= choice.k <= choice.latent_count
        assert rows < 100 or choice.k / choice.latent_count <= 1 / 8
        assert choice.k <= 4


def test_a_large_k_has_as_many_latents() -> None:
    choice = sizing.choose(planted(600, 24), goal="interpretable", settings={"k": 33}, cores=1)
    assert choice.latent_count >= choice.k == 33


def test_too_few_rows_to_hold_any_out_give_no_held_out_error() -> None:
    goals: list[Goal] = ["interpretable", "faithful"]
    for goal in goals:
        choice = sizing.choose(planted(12, 24), goal=goal, settings={}, cores=1)
        assert choice.pilots and all(pilot.held_out_fvu is None and pilot.ratio is None for pilot in choice.pilots)
        assert choice.latent_count == min(pilot.latent_count for pilot in choice.pilots)
        assert "so few rows (12)" in choice.reason and "0.000" not in choice.reason
        assert sizing.Sizing.from_dict(choice.to_dict()) == choice


def test_rows_that_do_not_differ_are_told() -> None:
    choice = sizing.choose(Vectors(np.ones((40, DIMENSION), np.float32)), goal="faithful", settings={}, cores=1)
    assert "rows (40) do not differ" in choice.reason and "FVU" not in choice.reason
