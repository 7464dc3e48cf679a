"""The animated image: as many frames as pictures, in order, with their pixels and times, and small."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cvae_lib.animation import animate_digits, play_button

rng = np.random.default_rng(0)
IMAGES = rng.uniform(size=(5, 784))


SHAPES = {(28, 28): 8, (8, 8): 28, (12, 20): 11, (12, 20, 3): 11}  # each with the side of a pixel's square


def read_frames(content, shape=(28, 28)):
    """The pictures (n, *shape) in [0, 1], the share of the bar that is bright, and the milliseconds of each frame."""
    film = Image.open(io.BytesIO(content))
    pictures, bars, times = [], [], []
    (height, width), side = shape[:2], SHAPES[shape]
    for i in range(film.n_frames):
        film.seek(i)
        frame = np.asarray(film.convert("RGB" if len(shape) == 3 else "L")).reshape(
            height * side + 14, width * side, -1
        )
        blocks = frame[: height * side].reshape(height, side, width, side, -1)
        assert (blocks == blocks[:, :1, :, :1]).all(), "a pixel is a square"
        pictures.append(blocks[:, 0, :, 0].reshape(shape) / 255)
        bars.append((frame[-5, :, 0] == 255).mean())
        times.append(film.info["duration"])
    return np.array(pictures), bars, times


@pytest.mark.parametrize("shape", SHAPES)
def test_each_frame_shows_its_image(shape):
    images = rng.uniform(size=(3, *shape))
    for given in (images, images.reshape(3, -1)):
        pictures, bars, _ = read_frames(animate_digits(given, 40, shape), shape)
        np.testing.assert_allclose(pictures, images, atol=0.5 / 31 + 0.5 / 255)
        np.testing.assert_allclose(bars, [0, 0.5, 1], atol=0.01)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="image_shape"):
        animate_digits(np.zeros((49, 64)), 40)


def test_black_and_white_stay_black_and_white():
    pictures, _, _ = read_frames(animate_digits(np.stack([np.zeros(784), np.ones(784)]), 40))
    assert (pictures[0] == 0).all() and (pictures[1] == 1).all()


def test_the_bar_grows_from_nothing_to_the_whole_width():
    _, bars, _ = read_frames(animate_digits(IMAGES, 40))
    np.testing.assert_allclose(bars, [0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("milliseconds", [40, [600, 30, 30, 30, 1500]])
def test_frames_stay_as_long_as_told(milliseconds):
    _, _, times = read_frames(animate_digits(IMAGES, milliseconds))
    assert times == np.broadcast_to(milliseconds, 5).tolist()


@pytest.mark.parametrize("images, shape", [(IMAGES, (28, 28)), (rng.uniform(size=(5, 720)), (12, 20, 3))])
def test_it_is_an_animated_png_that_plays_for_ever(images, shape):
    content = animate_digits(images, 40, shape)
    film = Image.open(io.BytesIO(content))
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" in content
    assert (film.format, film.n_frames, film.info["loop"]) == ("PNG", 5, 0)


def test_the_same_images_give_the_same_bytes():
    assert animate_digits(IMAGES, 40) == animate_digits(IMAGES.copy(), 40)


def test_one_image_is_a_film_of_one_frame():
    film = Image.open(io.BytesIO(animate_digits(IMAGES[0], 40)))
    assert (film.size, getattr(film, "n_frames", 1)) == ((224, 238), 1)


# The button beneath the film, on a page of its own.


@pytest.fixture
def open_film(browser):
    """A function that opens a page with a film and the chapter's button, in a browser with this wish for motion."""
    film = base64.b64encode(animate_digits(np.stack([np.zeros(784), np.ones(784)]), [60, 60])).decode()
    page = (
        f'<figure id="fig-film"><img alt="a film" src="data:image/png;base64,{film}"></figure>{play_button("fig-film")}'
    )
    contexts = []

    def open_page(motion, scripts=True):
        contexts.append(browser.new_context(reduced_motion=motion, java_script_enabled=scripts))
        tab = contexts[-1].new_page()
        tab.set_content(page)
        return tab

    yield open_page
    for context in contexts:
        context.close()


def test_the_film_plays_and_pauses_by_key(open_film):
    tab = open_film("no-preference")
    button, film, still = tab.get_by_role("button"), tab.locator("img"), tab.locator("canvas")
    assert button.inner_text() == "Pause the film" and film.is_visible() and still.is_hidden()
    tab.keyboard.press("Tab")
    for words, playing in (("Play the film", False), ("Pause the film", True)):
        tab.keyboard.press("Enter")
        assert (button.inner_text(), film.is_visible(), still.is_visible()) == (words, playing, not playing)


def test_the_still_is_the_first_frame_and_stays(open_film):
    tab = open_film("no-preference")
    tab.get_by_role("button").click()
    seen = set()
    for _ in range(8):
        seen.add(
            tab.evaluate("[...document.querySelector('canvas').getContext('2d').getImageData(9, 9, 1, 1).data] + ''")
        )
        tab.wait_for_timeout(30)
    assert seen == {"0,0,0,255"}
    assert (tab.locator("canvas").get_attribute("width"), tab.locator("canvas").get_attribute("height")) == (
        "224",
        "238",
    )


def test_readers_who_ask_for_less_motion_see_the_still_first(open_film):
    tab = open_film("reduce")
    assert tab.locator("canvas").is_visible() and tab.locator("img").is_hidden()
    tab.get_by_role("button", name="Play the film").click()
    assert tab.locator("img").is_visible() and tab.locator("canvas").is_hidden()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_without_scripts_the_film_stands_there_and_no_dead_button(open_film, motion):
    tab = open_film(motion, scripts=False)
    assert tab.locator("img").is_visible() and tab.get_by_role("button").count() == 0


def test_the_button_names_its_figure_only():
    assert "fig-one" in play_button("fig-one") and "NAME" not in play_button("fig-one")
