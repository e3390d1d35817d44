"""What is chosen for a run, and when."""

from __future__ import annotations

from typing import Any

import pytest

from prisma.trainer.v1 import resources_pb2
from services.chassis.errors import InvalidArgument
from services.trainer import requests
from services.trainer.recipes import Recipe
from services.trainer.sae.config import Config


def test_before_the_data_is_known_only_what_is_certain_is_shown() -> None:
    assert {"expansion", "epochs", "learning_rate", "k_aux", "threads"} & Recipe(auto=True).preview().keys() == set()
    assert Recipe({"expansion": 8}).preview()["expansion"] == 8
    assert Recipe({"k": 5}, auto=True).title == "auto"
    assert Recipe({"k": 5}).title == "x4-k5"
    assert Recipe({"k": 5, "latent_count": 70}).title == "n70-k5"
    assert Recipe({"latent_count": 70}, auto=True).title == "n70"


def test_the_size_of_a_new_run_is_chosen_unless_it_is_set() -> None:
    def is_chosen(is_new: bool = True, **fields: Any) -> bool:
        return requests.recipe(resources_pb2.Config(**fields), is_new=is_new).auto

    assert is_chosen()
    assert is_chosen(k=5, epochs=3)
    assert not is_chosen(latent_count=70)
    assert not is_chosen(expansion=2)
    assert is_chosen(latent_count=70, auto=True)
    assert not is_chosen(auto=False)
    assert not is_chosen(is_new=False)  # a clone has the size of its original


def test_a_number_of_latents_replaces_an_expansion() -> None:
    config = Recipe({"latent_count": 70, "k": 8}).resolve(row_count=1000, dimension=16)
    assert config.latents(16) == config.plan(16).latents == 70
    assert Recipe({"latent_count": 70}).latent_count(16) == 70
    assert Recipe.like(config, Recipe({"expansion": 2})).resolve(row_count=1000, dimension=16).latents(16) == 32
    assert Recipe({"latent_count": 70}).changed(Recipe({"expansion": 2})).latent_count(16) == 32
    assert Recipe.like(config, Recipe(auto=True)).latent_count(16) is None
    with pytest.raises(InvalidArgument, match="either expansion or latent_count"):
        requests.recipe(resources_pb2.Config(expansion=2, latent_count=70))


def test_a_training_has_cycles_of_a_hundred_steps() -> None:
    def cycles(rows: int, epochs: int) -> int:
        return Recipe({"epochs": epochs}).resolve(row_count=rows, dimension=16).cycles

    assert (cycles(500, 20), cycles(20_000, 20), cycles(20_000, 500)) == (1, 7, 12)
    older = Config.resolve(1000, 16, 1).to_dict()
    del older["cycles"], older["siblings"]
    assert (Config.from_dict(older).cycles, Config.from_dict(older).siblings) == (1, 0)


def test_a_clone_keeps_every_setting_except_for_changes_and_what_follows_from_them() -> None:
    config = Recipe({"k": 8, "k_aux": 20, "learning_rate": 0.5}).resolve(row_count=1000, dimension=16)
    same = Recipe.like(config, Recipe()).resolve(row_count=1000, dimension=16)
    assert same == config
    changed = Recipe.like(config, Recipe({"k": 4})).resolve(row_count=1000, dimension=16)
    assert (changed.k, changed.k_aux) == (4, 8)
    assert changed.learning_rate != 0.5
    assert changed.epochs == config.epochs


@pytest.mark.parametrize("recipe", [Recipe({"k": 65}), Recipe({"expansion": 1, "k": 17})])
def test_more_active_latents_than_there_are_is_refused(recipe: Recipe) -> None:
    with pytest.raises(InvalidArgument, match="number of latents"):
        recipe.check(16)
    with pytest.raises(InvalidArgument, match="number of latents"):
        recipe.resolve(row_count=100, dimension=16)


def test_what_a_configuration_says_is_what_a_recipe_of_it_gives() -> None:
    assert (
        Recipe(Config.resolve(10, 4, 1, expansion=2, k=2, seed=5).to_dict()).resolve(row_count=10, dimension=4).seed
        == 5
    )


def test_zeros_of_the_protocol_are_no_settings() -> None:
    """0 threads are all cores, and 0 epochs of patience mean that none runs out."""
    recipe = requests.recipe(resources_pb2.Config(threads=0, patience=0))
    assert recipe == Recipe({"patience": None})
    config = recipe.resolve(row_count=10_000, dimension=16)
    assert config.patience is None
    assert config.threads > 0


def test_what_depends_on_the_data_has_no_default() -> None:
    assert not {"learning_rate", "k_aux", "dead_window", "threads"} & Config.defaults().keys()
    with pytest.raises(TypeError):
        Config()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
