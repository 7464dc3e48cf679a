"""The recipes: each setting that no training can have is refused by name, with what is allowed."""

import math
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest

from cvae_lib.pretrained import load_manifest
from cvae_lib.training.recipes import RECIPES, Recipe, RecipeError

NOT_NUMBERS = ("1", "", None, True, math.nan, math.inf, -math.inf, 1j, [1], {}, np.float32(0.5), np.ones(2))
NOT_INTEGERS = (2.0, 0.5, np.int64(2), *NOT_NUMBERS)
NOT_WORDS = ("", None, 0, True, ["constant"], {}, np.array(["constant", "cosine"]), b"grey")
NOT_BOOLS = (0, 1, None, "False", [], np.True_)
POSITIVE = ("an int, at least 1", (0, -1, *NOT_INTEGERS))
NOT_NEGATIVE = ("an int, at least 0", (-1, -5, *NOT_INTEGERS))
# What is allowed for each setting, in words, and what is not.
SETTINGS = {
    "n_z": ("an int, from 1 to 100000", (0, -1, 100_001, 10**30, *NOT_INTEGERS)),
    "n_hidden": ("an int, from 1 to 100000", (0, -1, 100_001, 10**30, *NOT_INTEGERS)),
    "n_layers": ("an int, from 1 to 100", (0, -1, 101, *NOT_INTEGERS)),
    "network": ("'dense' or 'convolutional'", ("convolution", "Dense", *NOT_WORDS)),
    "batch_size": POSITIVE,
    "learning_rate": ("a number, above 0", (0, 0.0, -1e-3, *NOT_NUMBERS)),
    "schedule": ("'constant' or 'cosine'", ("cosin", "Cosine", "constant ", *NOT_WORDS)),
    "epochs": ("an int, from 1 to 4000", (0, -1, 4001, *NOT_INTEGERS)),
    "patience": POSITIVE,
    "held_out": NOT_NEGATIVE,
    "labelled": ("True or False", NOT_BOOLS),
    "pixels": ("'grey' or 'binary'", ("gray", "GREY", "black", *NOT_WORDS)),
    "beta": ("a number, at least 0", (-1, -0.5, *NOT_NUMBERS)),
    "warm_up": NOT_NEGATIVE,
    "continuous": ("True or False", NOT_BOOLS),
    "dropout": ("a number, from 0 to below 1", (1, 1.0, 1.5, -0.1, *NOT_NUMBERS)),
}


@pytest.mark.parametrize("setting", [field.name for field in fields(Recipe)])
def test_what_no_training_can_have_is_refused_by_name(setting):
    """By every way to a recipe: a changed copy of another one, too."""
    allowed, refused = SETTINGS[setting]
    for value in refused:
        for make in (Recipe, lambda **settings: replace(RECIPES["mnist-20d"], **settings)):
            with pytest.raises(RecipeError) as caught:
                make(**{setting: value})
            assert str(caught.value) == f"{setting}: found {value!r}; expected {allowed}."


@pytest.mark.parametrize(
    "setting, values",
    [
        ("n_z", (1, 100_000)),
        ("n_hidden", (1, 100_000)),
        ("n_layers", (1, 100)),
        ("epochs", (1, 4000)),
        ("batch_size", (1, 60_000)),
        ("learning_rate", (1, 1e-9, np.float64(0.1))),
        ("held_out", (0, 59_999)),
        ("beta", (0, 4, 0.5)),
        ("warm_up", (0, 100)),
        ("dropout", (0, 0.999)),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(setting, values):
    for value in values:
        assert getattr(Recipe(**{setting: value}), setting) == value


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="'learning_rat'"):
        Recipe(learning_rat=0.1)


def test_a_recipe_cannot_be_changed_past_the_check():
    with pytest.raises(FrozenInstanceError):
        RECIPES["mnist-2d"].epochs = 0


def test_recipes_and_their_errors_come_back_from_another_process():
    """A sweep trains in processes of its own."""
    assert all(pickle.loads(pickle.dumps(recipe)) == recipe for recipe in RECIPES.values())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        good, bad = pool.submit(Recipe, beta=2), pool.submit(Recipe, epochs=0)
        assert good.result() == Recipe(beta=2)
        with pytest.raises(RecipeError, match="epochs: found 0; expected an int, from 1 to 4000"):
            bad.result()


def test_recipe_of_the_book_is_that_of_2017():
    assert asdict(RECIPES["mnist-2d"]) == {
        "n_z": 2,
        "n_hidden": 512,
        "n_layers": 1,
        "network": "dense",
        "batch_size": 250,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "epochs": 50,
        "patience": 5,
        "held_out": 0,
        "labelled": True,
        "pixels": "grey",
        "beta": 1,
        "warm_up": 0,
        "continuous": False,
        "dropout": 0,
    }


def test_settings_are_given_by_name():
    with pytest.raises(TypeError):
        Recipe(20)


@pytest.mark.parametrize("name", [name for name in RECIPES if name in load_manifest()])
def test_a_model_that_ships_was_trained_by_the_recipe_of_its_name(name):
    recipe, entry = RECIPES[name], load_manifest()[name]
    protocol, sizes = entry["protocol"], entry["configuration"]
    assert all(sizes[size] == getattr(recipe, size) for size in ("n_z", "n_hidden", "n_layers"))
    assert all(protocol[setting] == getattr(recipe, setting) for setting in ("batch_size", "epochs"))
    assert protocol["objective"] == {setting: getattr(recipe, setting) for setting in protocol["objective"]}
    assert protocol["early_stopping"] == f"validation loss, patience {recipe.patience}"
    assert protocol["optimizer"] == f"Adam, learning rate {recipe.learning_rate}, {recipe.schedule}"
    assert protocol["training"] == f"{60_000 - recipe.held_out} digits"


def test_quick_recipes_are_those_that_the_page_of_costs_compares():
    same = {"schedule": "cosine", "patience": 5}
    assert RECIPES["mnist-2d-quick"] == Recipe(learning_rate=3e-3, epochs=35, **same)
    assert RECIPES["mnist-2d-deep-quick"] == Recipe(n_layers=2, learning_rate=4e-3, epochs=10, **same)
